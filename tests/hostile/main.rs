//! Clients that mean harm, with real sockets against the real binary, while a thousand good ones
//! watch how they are served themselves. SECURITY.md says what is promised; each promise is held to
//! here.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../e2e/bytes.rs"]
mod bytes;
#[path = "../e2e/server.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod server;

#[path = "../e2e/tls_files.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod tls_files;

#[path = "../e2e/signed.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod signed;

mod crowd;
mod raw;
mod siege;

mod handshakes;
mod frames;
mod deflated;
mod floods;
mod slow;
mod names;
mod resources;
mod streams;
mod recalls;
mod tokens;
mod words;
mod centrifugo;
mod sealed;
mod secrets;
mod signatures;
mod pusher;
