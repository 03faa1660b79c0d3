//! Empty on purpose: glommio depends on `bitmaps` without using it, and the real one is unsound and
//! nobody tends it any more.
