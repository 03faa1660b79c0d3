//! Latency and load of WebSocket broadcast servers, beside the host's own limit.
#![forbid(unsafe_code)]

mod cli;
mod units;
mod url;
mod tls;
mod load;
mod scenario;
mod meter;
mod window;
mod swarm;
mod raw;
mod run;
mod output;
mod frame;
mod proc;
mod host;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::Cli::parse().run()
}
