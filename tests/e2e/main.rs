//! The real binary on a free port, with real sockets: each module proves one behaviour.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod client;
mod filter;
mod server;

mod broadcast;
mod channels;
mod cli;
mod container;
mod control;
mod control_api;
mod delay;
mod descriptors;
mod drain;
mod environment;
mod handshake;
mod heartbeat;
mod history;
mod host;
mod json;
mod leaks;
mod limits;
mod logs;
mod manager;
mod many;
mod members;
mod metrics;
mod one_server;
mod order;
mod paths;
mod presence;
mod proxies;
mod publishing;
mod real_clients;
mod rekey;
mod rules;
mod scripts;
mod slow;
mod streams;
mod takeover;
mod tokens;
mod two_processes;
mod unix;
mod users;
