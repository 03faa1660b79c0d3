//! Latency and load of WebSocket broadcast servers, beside the host's own limit.
#![forbid(unsafe_code)]

mod cli;
mod files;
mod units;
mod url;
mod agents;
mod tls;
mod load;
mod live;
mod meter;
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
