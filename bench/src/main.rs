//! Load on one thread against a WebSocket broadcast server, and the bare loop that it is held
//! against.
#![forbid(unsafe_code)]

mod cli;
mod scenario;
mod meter;
mod window;
mod swarm;
mod raw;
#[allow(dead_code, reason = "outputs and scenarios come to use it one after the other")]
mod run;
#[allow(dead_code, reason = "scenarios come to use it one after the other")]
mod output;
mod frame;
mod proc;
mod host;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

/// The exit code of a run that failed; 2 is clap's, for usage.
const FAILED: u8 = 3;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    if let Some(code) = cli.output() {
        return code;
    }
    let result = host::raise_nofile().and_then(|()| cli.run());
    match result.and_then(|value| writeln!(std::io::stdout(), "{value}")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where standard error is closed, the exit code still says it.
            let _ = writeln!(std::io::stderr(), "stentor-bench: {error}");
            ExitCode::from(FAILED)
        }
    }
}
