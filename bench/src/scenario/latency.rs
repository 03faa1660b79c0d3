//! An open loop: publications at a steady rate, each measured from the moment it was meant to
//! leave.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::{PATIENCE, TURN, Target, number_of, put_numbered, rest};
use crate::swarm::Swarm;
use crate::window::Window;

/// Publish to last receipt at `rate` messages a second, from the intended moment of each
/// publication.
pub(crate) fn latency(target: &Target, rate: f64) -> io::Result<Value> {
    let gap = Duration::try_from_secs_f64(1.0 / rate).map_err(io::Error::other)?;
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    let mut window = Window::new(target.clients);
    let (mut last, mut each, mut late) = (microseconds()?, microseconds()?, microseconds()?);
    rest(&mut swarm, Duration::from_millis(200))?;

    let began = Instant::now();
    let intended = |number: u64| began + gap * u32::try_from(number).unwrap_or(u32::MAX);
    let end = began + target.seconds;
    let mut out = Vec::new();
    let due = loop {
        let due = intended(window.published());
        let now = Instant::now();
        if due >= end && (window.in_flight() == 0 || now > end + PATIENCE) {
            break due;
        }
        if due < end && now >= due {
            late.saturating_record(micros(now - due));
            out.clear();
            put_numbered(&mut out, window.publish(), target.bytes);
            swarm.send(0, &out)?;
            continue;
        }
        let wait = if due < end { due - now } else { TURN };
        swarm.receive(whole_milliseconds(wait.min(TURN)), |client, payload| {
            let Some(number) = number_of(payload) else { return };
            let us = micros(intended(number).elapsed());
            each.saturating_record(us);
            if window.receive(client, number) {
                last.saturating_record(us);
            }
        })?;
    };
    Ok(json!({
        "what": "publish to last receipt", "count": window.published(),
        "lost": window.missing() + window.strays(), "seconds": (due - began).as_secs_f64(),
        "last_p50_us": last.value_at_quantile(0.5), "last_p99_us": last.value_at_quantile(0.99),
        "each_p50_us": each.value_at_quantile(0.5), "each_p99_us": each.value_at_quantile(0.99),
        "generator_late_p99_us": late.value_at_quantile(0.99),
    }))
}

/// epoll rounds up to milliseconds, which would make publications late: the last one is polled.
fn whole_milliseconds(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs()) + Duration::from_millis(wait.subsec_millis().into())
}

/// A histogram of microseconds up to a minute.
pub(super) fn microseconds() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).map_err(io::Error::other)
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
