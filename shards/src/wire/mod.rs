//! The protocols of clients as pure functions: bytes to commands, events and publications to
//! frames.

pub(crate) mod frame;
pub(crate) mod extension;
pub(crate) mod deflate;
pub(crate) mod window;
pub(crate) mod inflate;
mod zip;
pub(crate) mod shim;
pub(crate) mod text;
pub(crate) mod machine;
pub(crate) mod name;
pub(crate) mod origin;
pub(crate) mod forwarded;
pub(crate) mod proxy;
pub(crate) mod path;
pub(crate) mod entry;
pub(crate) mod credentials;
pub(crate) mod body;
pub(crate) mod http;
pub(crate) mod refusal;
pub(crate) mod route;
pub(crate) mod stream;
pub(crate) mod transport;
pub(crate) mod dialect;
pub(crate) mod command;
pub(crate) mod event;
pub(crate) mod json;
pub(crate) mod patch;
pub(crate) mod plain;
pub(crate) mod stentor;
pub(crate) mod centrifugo;
pub(crate) mod uni;
pub(crate) mod protobuf;
pub(crate) mod pusher;
#[cfg(any(test, fuzzing))]
pub(crate) mod lines;
