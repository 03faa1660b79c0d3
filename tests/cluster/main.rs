//! Several nodes of the real binary with a real nats-server between them: one server for clients.
//! `scripts/nats.sh` installs the nats-server; it must be there.
#![cfg(feature = "nats")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../e2e/client.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod client;
#[path = "../e2e/server.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod server;

mod nats;
mod node;

mod control;
mod faults;
mod order;
