//! What clients speak, as pure functions: bytes to commands, publications to frames.

pub(crate) mod frame;
pub(crate) mod text;
pub(crate) mod name;
pub(crate) mod http;
pub(crate) mod refusal;
pub(crate) mod plain;
pub(crate) mod stentor;
