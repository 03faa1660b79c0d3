//! The fixed scenarios on the command line: each gives one JSON object.

use std::io;
use std::time::Duration;

use clap::Subcommand;
use serde::Serialize;
use serde_json::Value;

use super::{Target, accept, all, cross, fanout, idle, latency, ping, seconds, wake};

/// What is measured, one figure each.
#[derive(Subcommand)]
pub(crate) enum Scenario {
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
        #[arg(short = 'd', long, default_value = "3", value_parser = seconds)]
        seconds: Duration,
    },
}

impl Scenario {
    /// Runs it and returns what it found.
    pub(crate) fn run(self) -> io::Result<Value> {
        match &self {
            Self::Wake { .. } => {}
            Self::Fanout { target, .. }
            | Self::All(target)
            | Self::Idle(target)
            | Self::Accept(target)
            | Self::Latency { target, .. }
            | Self::Ping(target)
            | Self::Cross { target, .. } => target.prepare()?,
        }
        match self {
            Self::Fanout { target, in_flight } => value(fanout(&target, in_flight)?),
            Self::All(target) => value(all(&target)?),
            Self::Idle(target) => idle(&target),
            Self::Accept(target) => value(accept(&target)?),
            Self::Latency { target, rate } => latency(&target, rate),
            Self::Ping(target) => value(ping(&target)?),
            Self::Cross { target, same } => cross(&target, same),
            Self::Wake { from, to, seconds } => wake(from, to, seconds),
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
    match crate::units::rate(text) {
        Ok(rate) if (0.1..=10_000.0).contains(&rate) => Ok(rate),
        _ => Err("from 0.1 to 10000".to_owned()),
    }
}
