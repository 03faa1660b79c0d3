//! The command line: one subcommand a scenario, and the bare server. Results are one JSON object on
//! standard output.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use serde::Serialize;
use serde_json::Value;

use crate::scenario::{self, Target};
use crate::{host, output, raw};

/// Load on one thread against a WebSocket broadcast server, and the bare loop that it is held
/// against.
#[derive(Parser)]
#[command(about, version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve as the bare loop: accept, a fixed 101, one send(2) for each client and message.
    Raw(raw::Args),
    /// One publisher with some messages in flight: CPU per delivery.
    Fanout {
        #[command(flatten)]
        target: Target,
        /// Messages in flight.
        #[arg(short = 'w', long = "window", default_value = "1", value_parser = in_flight)]
        in_flight: usize,
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
        #[arg(short = 'r', long, default_value = "20", value_parser = rate)]
        rate: f64,
    },
    /// A server that pings: CPU per ping and pong.
    Ping(Target),
    /// Two shards, JSON clients: publish to receipt across them.
    Cross {
        #[command(flatten)]
        target: Target,
        /// Measure within one shard, for the floor.
        #[arg(long)]
        same: bool,
    },
    /// No server: one thread wakes another, the floor under what crosses cores.
    Wake {
        /// Core of the thread that wakes.
        #[arg(long, default_value_t = 0)]
        from: usize,
        /// Core of the thread that is woken.
        #[arg(long, default_value_t = 1)]
        to: usize,
        /// Seconds to measure.
        #[arg(short = 'd', long, default_value = "3", value_parser = scenario::seconds)]
        seconds: Duration,
    },
    #[command(flatten)]
    Output(output::Command),
}

impl Cli {
    /// Makes what is asked of kept runs, if that is what was asked.
    pub(crate) fn output(&self) -> Option<ExitCode> {
        if let Command::Output(command) = &self.command { Some(command.run()) } else { None }
    }

    /// Runs the subcommand and returns what it found.
    pub(crate) fn run(self) -> io::Result<Value> {
        match &self.command {
            Command::Raw(args) => host::pin(args.core)?,
            Command::Wake { .. } | Command::Output(_) => {}
            Command::Fanout { target, .. }
            | Command::All(target)
            | Command::Idle(target)
            | Command::Accept(target)
            | Command::Latency { target, .. }
            | Command::Ping(target)
            | Command::Cross { target, .. } => target.prepare()?,
        }
        match self.command {
            Command::Raw(args) => raw::serve(args).map(|never| match never {}),
            Command::Fanout { target, in_flight } => value(scenario::fanout(&target, in_flight)?),
            Command::All(target) => value(scenario::all(&target)?),
            Command::Idle(target) => scenario::idle(&target),
            Command::Accept(target) => value(scenario::accept(&target)?),
            Command::Latency { target, rate } => scenario::latency(&target, rate),
            Command::Ping(target) => value(scenario::ping(&target)?),
            Command::Cross { target, same } => scenario::cross(&target, same),
            Command::Wake { from, to, seconds } => scenario::wake(from, to, seconds),
            Command::Output(_) => Ok(Value::Null),
        }
    }
}

fn value(cost: impl Serialize) -> io::Result<Value> {
    serde_json::to_value(cost).map_err(io::Error::other)
}

fn in_flight(text: &str) -> Result<usize, String> {
    match text.parse() {
        // A publisher's writes must fit its socket.
        Ok(count @ 1..=256) => Ok(count),
        _ => Err("from 1 to 256".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("from 0.1 to 10000".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let line =
            ["stentor-bench", "fanout", "--pid", "1", "-c", "15000", "-w", "16", "-d", "2.5"];
        let cli = Cli::try_parse_from(line).unwrap();
        assert!(matches!(cli.command, Command::Fanout { in_flight: 16, .. }));
        assert!(Cli::try_parse_from(["stentor-bench", "fanout", "--pid", "1", "-w", "0"]).is_err());
        assert!(
            Cli::try_parse_from(["stentor-bench", "latency", "--pid", "1", "-r", "0"]).is_err()
        );
    }
}
