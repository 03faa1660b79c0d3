//! Load on one thread against a WebSocket broadcast server, and the bare loop that it is held
//! against.
#![forbid(unsafe_code)]

mod frame;
mod proc;
mod raw;
mod scenario;
mod swarm;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use scenario::Target;

#[derive(Parser)]
#[command(about, version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve as the bare loop: accept, a fixed 101, one send(2) for each client and message.
    Raw(raw::Args),
    /// One publisher with a window of messages in flight: CPU per delivery.
    Fanout {
        #[command(flatten)]
        target: Target,
        /// Messages in flight.
        #[arg(short = 'w', long, default_value_t = 1)]
        window: u64,
    },
    /// All clients publish, one message each in flight: CPU per delivery.
    All(Target),
    /// Silent clients: private memory of the server for each.
    Idle(Target),
    /// A connect storm: CPU per accept.
    Accept(Target),
    /// A steady rate: publish to last receipt, from the intended moment.
    Latency {
        #[command(flatten)]
        target: Target,
        /// Publications a second.
        #[arg(short = 'r', long, default_value_t = 20.0)]
        rate: f64,
    },
    /// A server that pings: CPU per ping and pong.
    Ping(Target),
    /// Two shards, JSON clients: publish to receipt across them.
    Cross(Target),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Raw(args) => raw::serve(args).map(|()| serde_json::Value::Null),
        Command::Fanout { target, window } => scenario::fanout(&target, window),
        Command::All(target) => scenario::all(&target),
        Command::Idle(target) => scenario::idle(&target),
        Command::Accept(target) => scenario::accept(&target),
        Command::Latency { target, rate } => scenario::latency(&target, rate),
        Command::Ping(target) => scenario::ping(&target),
        Command::Cross(target) => scenario::cross(&target),
    };
    match result {
        Ok(value) => {
            let written = writeln!(std::io::stdout(), "{value}");
            if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "stentor-bench: {error}");
            ExitCode::from(3)
        }
    }
}
