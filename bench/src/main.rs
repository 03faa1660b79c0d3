//! Latency and load of WebSocket broadcast servers, beside the host's own limit.
#![forbid(unsafe_code)]

mod cli;
mod shell;
mod files;
mod units;
mod agents;
mod tls;
mod load;
mod live;
mod scenario;
mod meter;
mod window;
mod swarm;
mod raw;
mod run;
mod output;
mod frame;
#[cfg(test)]
mod fuzz;
mod proc;
mod served;
mod pair;
mod search;
mod random;
mod host;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
