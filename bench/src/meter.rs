//! When a server sleeps, so that a run does not pay for the one before it.

use std::io;
use std::time::{Duration, Instant};

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

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
/// Returns a count as a number that can be divided.
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}
