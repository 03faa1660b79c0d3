//! The scenarios: what is asked of a server, and what it cost.

mod cli;
mod closed;
mod cross;
mod latency;
mod quiet;
mod wake;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) use cli::Scenario;
use closed::{all, fanout};
use cross::cross;
use latency::latency;
use quiet::{accept, idle, ping};
use wake::wake;

use crate::meter::settle;
use crate::swarm::{Request, Swarm};
use crate::{frame, host};

/// How long a server is left alone before its CPU time is read, so that all its threads sleep.
const SETTLE: Duration = Duration::from_millis(20);

/// How long nothing may come before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest wait in one turn.
const TURN: Duration = Duration::from_millis(50);

/// Digits of a message's number.
const DIGITS: usize = 20;

/// Which server is measured, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1:9001")]
    pub(crate) server: SocketAddr,
    /// Process id of the server, for its CPU time and memory.
    #[arg(long)]
    pub(crate) pid: u32,
    /// Clients.
    #[arg(short = 'c', long, default_value = "1000", value_parser = clients)]
    pub(crate) clients: usize,
    /// Seconds to measure.
    #[arg(short = 'd', long, default_value = "3", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Bytes of each message, 20 or more: it begins with its number.
    #[arg(long, default_value = "64", value_parser = message_bytes)]
    pub(crate) bytes: usize,
    /// Path and query of the endpoint.
    #[arg(long, default_value = "/ws")]
    pub(crate) path: String,
    /// Run on this core only.
    #[arg(long)]
    pub(crate) core: Option<usize>,
}

impl Target {
    /// Takes its core and waits until the server sleeps.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        host::pin(self.core)?;
        settle(self.pid)
    }

    fn request(&self) -> Request {
        Request::plain(self.server, &self.path)
    }

    /// How long is worked before measuring: caches, buffers and the kernel's windows find their
    /// size.
    fn warm_up(&self) -> Duration {
        self.seconds.min(Duration::from_secs(1))
    }
}

fn clients(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("from 1 to 1000000".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let time = crate::units::time(text)?;
    if (0.05..=3600.0).contains(&time.as_secs_f64()) {
        Ok(time)
    } else {
        Err("from 0.05 to 3600".to_owned())
    }
}

fn message_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ DIGITS..=frame::PAYLOAD_BYTES_MAX) => Ok(count),
        _ => Err(format!("from {DIGITS} to {}", frame::PAYLOAD_BYTES_MAX)),
    }
}

/// Appends the frame of a message that says its number.
fn put_numbered(out: &mut Vec<u8>, number: u64, bytes: usize) {
    let mut payload = format!("{number:0DIGITS$}").into_bytes();
    payload.resize(bytes.max(DIGITS), b'.');
    frame::put_masked(out, frame::TEXT, &payload);
}

fn number_of(payload: &[u8]) -> Option<u64> {
    std::str::from_utf8(payload.get(..DIGITS)?).ok()?.parse().ok()
}

/// Lets time pass; whatever comes is taken and pings are answered.
fn rest(swarm: &mut Swarm, time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        swarm.receive(left.min(TURN), |_, _| {})?;
    }
}

#[cfg(test)]
mod tests;
