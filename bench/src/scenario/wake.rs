//! The floor under everything that crosses cores: one thread wakes another, both idle before.

use std::io;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use serde_json::{Value, json};

use super::latency::{micros, microseconds};
use crate::host;

/// The pause before each wake: both cores sleep when it comes.
const PAUSE: Duration = Duration::from_millis(2);

/// From an eventfd's write on core `from` to the return of its reader on core `to`.
pub(crate) fn wake(from: usize, to: usize, time: Duration) -> io::Result<Value> {
    let event = eventfd(0, EventfdFlags::CLOEXEC)?;
    let (woke, wakes) = mpsc::channel();
    let mut receipts = microseconds()?;
    let reader = event.try_clone()?;
    let thread = std::thread::spawn(move || -> io::Result<()> {
        host::pin(Some(to))?;
        let mut count = [0; 8];
        loop {
            rustix::io::read(&reader, &mut count)?;
            // The writer has gone when nobody listens.
            if woke.send(Instant::now()).is_err() {
                return Ok(());
            }
        }
    });
    host::pin(Some(from))?;
    let until = Instant::now() + time;
    while Instant::now() < until {
        #[expect(clippy::disallowed_methods, reason = "a thread of its own, idle on purpose")]
        std::thread::sleep(PAUSE);
        let began = Instant::now();
        rustix::io::write(&event, &1_u64.to_ne_bytes())?;
        let woken = wakes.recv().map_err(|_| io::Error::other("the woken thread has ended"))?;
        receipts.saturating_record(micros(woken.saturating_duration_since(began)));
    }
    drop(wakes);
    rustix::io::write(&event, &1_u64.to_ne_bytes())?;
    thread.join().map_err(|_| io::Error::other("the woken thread panicked"))??;
    Ok(json!({
        "what": "wake of a thread on another core", "count": receipts.len(),
        "p50_us": receipts.value_at_quantile(0.5), "p99_us": receipts.value_at_quantile(0.99),
    }))
}
