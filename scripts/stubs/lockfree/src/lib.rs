//! Empty on purpose: glommio depends on `lockfree` without using it, and the real one has an
//! advisory.
