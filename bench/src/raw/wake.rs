//! The floor under everything that crosses cores: one thread wakes another, both idle before.

use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::event::{EventfdFlags, eventfd};
use serde_json::{Value, json};

use crate::{host, units};

/// The pause before each wake: both cores sleep when it comes.
const PAUSE: Duration = Duration::from_millis(2);

/// The longest time that is told apart, in microseconds.
const LONGEST_US: u64 = 60_000_000;

/// Two cores, and how long to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Wake {
    /// Core of the thread that wakes.
    #[arg(long, default_value_t = 0)]
    from: usize,
    /// Core of the thread that is woken.
    #[arg(long, default_value_t = 1)]
    to: usize,
    /// How long to measure.
    #[arg(
        short = 'd', long = "duration", value_name = "TIME", default_value = "3s",
        value_parser = units::time
    )]
    time: Duration,
}

impl Wake {
    /// Measures from an eventfd's write on one core to the return of its reader on the other.
    pub(crate) fn run(&self) -> io::Result<Value> {
        let event = eventfd(0, EventfdFlags::CLOEXEC)?;
        let (woke, wakes) = mpsc::channel();
        let mut receipts =
            Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3).map_err(io::Error::other)?;
        let reader = event.try_clone()?;
        let core = self.to;
        let thread = std::thread::spawn(move || -> io::Result<()> {
            host::pin(Some(core))?;
            let mut count = [0; 8];
            loop {
                rustix::io::read(&reader, &mut count)?;
                // The writer has gone when nobody listens.
                if woke.send(Instant::now()).is_err() {
                    return Ok(());
                }
            }
        });
        host::pin(Some(self.from))?;
        let until = Instant::now() + self.time;
        while Instant::now() < until {
            #[expect(clippy::disallowed_methods, reason = "a thread of its own, idle on purpose")]
            std::thread::sleep(PAUSE);
            let began = Instant::now();
            rustix::io::write(&event, &1_u64.to_ne_bytes())?;
            let woken = wakes.recv().map_err(|_| io::Error::other("the woken thread has ended"))?;
            let took = woken.saturating_duration_since(began).as_micros();
            receipts.saturating_record(u64::try_from(took).unwrap_or(u64::MAX));
        }
        drop(wakes);
        rustix::io::write(&event, &1_u64.to_ne_bytes())?;
        thread.join().map_err(|_| io::Error::other("the woken thread panicked"))??;
        Ok(json!({
            "what": "wake of a thread on another core", "count": receipts.len(),
            "p50_us": receipts.value_at_quantile(0.5), "p99_us": receipts.value_at_quantile(0.99),
        }))
    }
}
