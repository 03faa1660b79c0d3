//! Faults of processes, hosts and networks against the real binary: what the server and its clients
//! do under each. SECURITY.md says what is promised.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

#[path = "../e2e/bytes.rs"]
mod bytes;
#[path = "../e2e/client.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod client;
#[path = "../e2e/server.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod server;

mod proxy;
mod raw;
mod swarm;

mod clock;
mod cuts;
mod files;
mod halved;
mod network;
mod page;
mod panic;
mod recovery;
mod restart;
mod saturated;
mod two;
