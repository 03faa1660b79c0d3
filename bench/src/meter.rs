//! What a stretch of work cost the server, between two moments in which it sleeps.

use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::proc::CpuTime;

/// One look at whether a server sleeps.
const LOOK: Duration = Duration::from_millis(20);

/// How many looks in a row must find it asleep.
const LOOKS: u32 = 5;

/// Less than this in one look is sleep: heartbeats and clocks.
const ASLEEP_NS: u64 = 200_000;

/// How long a server is waited for; one that never sleeps is measured as it is.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(5);

/// Waits until a server has done with what was before: the clients of an earlier run may still be
/// leaving.
pub(crate) fn settle(pid: u32) -> io::Result<()> {
    let until = Instant::now() + SETTLE_TIME_MAX;
    let (mut before, mut quiet) = (CpuTime::of(pid)?, 0);
    while quiet < LOOKS && Instant::now() < until {
        std::thread::park_timeout(LOOK);
        let now = CpuTime::of(pid)?;
        quiet = if now.since(&before) < ASLEEP_NS { quiet + 1 } else { 0 };
        before = now;
    }
    Ok(())
}

/// CPU time at the beginning of a stretch.
pub(crate) struct Meter {
    pid: u32,
    server: CpuTime,
    generator: CpuTime,
    began: Instant,
}

/// What a stretch cost.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cost {
    /// What was counted.
    pub(crate) what: &'static str,
    /// How many of them.
    pub(crate) count: u64,
    /// How many should have come and did not.
    pub(crate) lost: u64,
    pub(crate) seconds: f64,
    pub(crate) per_second: f64,
    /// CPU time of the server, all its threads.
    pub(crate) server_cpu_ns: u64,
    pub(crate) server_us_each: f64,
    pub(crate) generator_us_each: f64,
}

impl Meter {
    /// Begins to count. The server should sleep, as its threads' times lag while they run.
    pub(crate) fn start(pid: u32) -> io::Result<Self> {
        let generator = CpuTime::of(std::process::id())?;
        Ok(Self { pid, server: CpuTime::of(pid)?, generator, began: Instant::now() })
    }

    /// CPU time of the server since the start.
    pub(crate) fn server_ns(&self) -> io::Result<u64> {
        Ok(CpuTime::of(self.pid)?.since(&self.server))
    }

    /// The cost of `count` things called `what`, `lost` of which more should have come.
    pub(crate) fn cost(&self, what: &'static str, count: u64, lost: u64) -> io::Result<Cost> {
        let seconds = self.began.elapsed().as_secs_f64();
        let server_cpu_ns = self.server_ns()?;
        let generator_ns = CpuTime::of(std::process::id())?.since(&self.generator);
        Ok(Cost {
            what,
            count,
            lost,
            seconds,
            per_second: real(count) / seconds,
            server_cpu_ns,
            server_us_each: per(server_cpu_ns, count) / 1000.0,
            generator_us_each: per(generator_ns, count) / 1000.0,
        })
    }
}

/// `total` for each of `count`; of nothing, all of it.
pub(crate) fn per(total: u64, count: u64) -> f64 {
    real(total) / real(count.max(1))
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}
