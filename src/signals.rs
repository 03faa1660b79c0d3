//! SIGTERM and SIGINT drain, after a delay where one is set; the next one does not wait for the
//! delay, and the one after the drain's begin ends at once. SIGHUP reads the rules of channels
//! again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use stentor_shards::{Answers, Handle};

use crate::control::reload::Reloads;
use crate::notify;

/// `true` if this process has been asked to stop. Relaxed: it orders nothing.
static LEAVING: AtomicBool = AtomicBool::new(false);

/// `true` if its drain has begun. Relaxed likewise.
static GOING: AtomicBool = AtomicBool::new(false);

/// The time for which the thread that orders a drain waits for room in the shards' lanes.
const ORDER_PATIENCE: Duration = Duration::from_secs(1);

const SERVING: u8 = 0;
const DELAYING: u8 = 1;
const DRAINING: u8 = 2;

/// The way in which this process stops, which it does once.
#[derive(Debug, Clone)]
pub(crate) struct Departure {
    shards: Handle,
    delay: Duration,
    /// For how long the drain may go on after the delay.
    drain: Duration,
    stage: Arc<AtomicU8>,
    /// Another process holds the listening sockets: new connections wait for the next process.
    sockets_stay: bool,
}

/// Returns `true` once this process has been asked to go, though it may serve on for a while.
pub(crate) fn is_leaving() -> bool {
    LEAVING.load(Ordering::Relaxed)
}

/// Returns `true` once the drain has begun, after which shards end one by one.
pub(crate) fn has_gone() -> bool {
    GOING.load(Ordering::Relaxed)
}

/// Catches signals from here on, for [`Departure::begin_at`] to handle: one that comes as soon as
/// this process can be reached must not end it.
pub(crate) fn catch() -> io::Result<Signals> {
    Signals::new([SIGTERM, SIGINT, SIGHUP])
}

impl Departure {
    pub(crate) fn new(
        shards: Handle,
        settings: &crate::config::Settings,
        sockets_stay: bool,
    ) -> Self {
        let drain = settings.shards.drain_spread.saturating_add(settings.shards.drain_timeout);
        let stage = Arc::new(AtomicU8::new(SERVING));
        Self { shards, delay: settings.drain_delay, drain, stage, sockets_stay }
    }

    /// Handles caught signals on a thread of its own until the process ends.
    pub(crate) fn begin_at(&self, mut signals: Signals, reloads: Reloads) -> io::Result<()> {
        let departure = self.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            for signal in signals.forever() {
                if signal == SIGHUP {
                    reloads.ask();
                } else {
                    departure.take(signal);
                }
            }
        })?;
        Ok(())
    }

    fn take(&self, signal: i32) {
        // Relaxed: the stage is all that passes between the threads.
        let stage = self.stage.load(Ordering::Relaxed);
        match signal {
            // The drain has begun because another process took over: the first signal asks for what
            // is under way.
            _ if stage == DRAINING && !LEAVING.swap(true, Ordering::Relaxed) => {
                tracing::info!(signal, "draining already: another process has taken over");
            }
            _ if stage == DRAINING => {
                tracing::warn!("another signal: ending at once");
                crate::log::flush();
                std::process::exit(128 + signal);
            }
            _ if stage == DELAYING || self.delay.is_zero() => {
                LEAVING.store(true, Ordering::Relaxed);
                tracing::info!(signal, "draining");
                self.drain(false);
            }
            _ => self.serve_on(signal),
        }
    }

    /// Serves on for the delay, on a thread of its own, so that a load balancer sees in time that
    /// it should send no more connections here.
    fn serve_on(&self, signal: i32) {
        self.stage.store(DELAYING, Ordering::Relaxed);
        LEAVING.store(true, Ordering::Relaxed);
        let seconds = self.delay.as_secs_f64();
        tracing::info!(signal, seconds, "leaving: serving on, and not ready any more");
        notify::stopping("serving on before the drain", self.delay.saturating_add(self.drain));
        let departure = self.clone();
        let until = Instant::now() + self.delay;
        let waits = thread::Builder::new().name("drain-delay".into()).spawn(move || {
            while let Some(left) = until.checked_duration_since(Instant::now()) {
                thread::park_timeout(left);
            }
            if departure.stage.load(Ordering::Relaxed) == DELAYING {
                tracing::info!("draining");
                departure.drain(false);
            }
        });
        if waits.is_err() {
            self.drain(false);
        }
    }

    /// Drains now. With a `successor`, or where the sockets stay, nobody is refused. Returns when a
    /// successor has the listeners alone.
    pub(crate) fn drain(&self, has_successor: bool) {
        self.stage.store(DRAINING, Ordering::Relaxed);
        GOING.store(true, Ordering::Relaxed);
        notify::stopping("draining", self.drain);
        let successor = has_successor || self.sockets_stay;
        // A full lane empties itself: the order is repeated until every shard has it. A shard that
        // hangs must not keep this thread from the next signal.
        let shards = self.shards.clone();
        let repeat = move |until: Option<Instant>| loop {
            match shards.drain(successor) {
                Ok(answers) => return Some(answers),
                Err(_) if until.is_some_and(|until| Instant::now() >= until) => return None,
                Err(_) => thread::park_timeout(Duration::from_millis(1)),
            }
        };
        match repeat(Some(Instant::now() + ORDER_PATIENCE)) {
            Some(answers) if has_successor => wait_for(answers),
            Some(_) => {}
            None => {
                tracing::warn!("a shard takes no orders");
                let _ = thread::Builder::new().name("drain".into()).spawn(move || repeat(None));
            }
        }
    }

    /// The longest that this process may take to go.
    pub(crate) fn longest(&self) -> Duration {
        self.drain
    }
}

/// Waits until all shards accept nobody any more, but not for long: publishers wait meanwhile.
fn wait_for(answers: Answers<()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let answered = runtime.map(|runtime| {
        runtime.block_on(async { tokio::time::timeout(ORDER_PATIENCE, answers).await.is_ok() })
    });
    if !matches!(answered, Ok(true)) {
        tracing::warn!("a shard may still accept clients that should come to the other process");
    }
}
