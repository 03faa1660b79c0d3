//! Latency and load of WebSocket broadcast servers, beside the host's own limit.
//!
//! Each layer may use those below it, and nothing above it or beside it on its own line; no two
//! files use each other in a circle (`bench/tests/tidy.rs`).
//!
//! ```text
//! cli  help  shell                the command line, and what is said of it
//! search  pair  limit             several runs, and their comparison
//! measure                         one run: by this process, or by agents
//! agents                          several processes that drive one load
//! load                            one process's threads: who publishes, who listens, the record
//! swarm   coordination            connections of one thread; moments and counts of all processes
//! live                            the view while a run goes on
//! seconds raw  served  files      what threads record; the bare loop; a server's process; outputs
//! output  histogram               records as text, JSON and pages; histograms
//! host  meter                     the host's clocks, cores and limits
//! dialect                         protocols that clients speak by name
//! run  frame  tls  proc  units  random
//! ```
#![forbid(unsafe_code)]

mod cli;
mod help;
mod shell;
mod search;
mod pair;
mod limit;
mod measure;
mod agents;
mod load;
mod swarm;
mod coordination;
mod live;
mod seconds;
mod raw;
mod served;
mod files;
mod output;
mod histogram;
mod host;
mod meter;
mod dialect;
mod run;
mod frame;
mod tls;
mod handshake;
mod proc;
mod units;
mod random;
#[cfg(test)]
mod fuzz;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::Cli::read().run()
}
