//! The way in which a process goes when another one has taken over from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::history_file::HistoryFile;
use crate::log;
use crate::signals::Departure;

/// How much longer than its times a process may take to go after another one has taken over.
const GOING_SLACK: Duration = Duration::from_secs(10);

/// How this process goes when another one has taken over.
pub(crate) struct Relief {
    pub(crate) relieved: Arc<AtomicBool>,
    pub(crate) admin_over: watch::Sender<bool>,
    pub(crate) departure: Departure,
    pub(crate) history: Option<HistoryFile>,
}

impl Relief {
    /// Drains, and ends with `code`.
    pub(crate) fn go(self, code: u8) {
        // Relaxed: the process's end, which reads it, comes long after it.
        self.relieved.store(true, Ordering::Relaxed);
        self.admin_over.send_replace(true);
        if let Some(history) = &self.history {
            history.give_up();
        }
        // First: the order to drain may wait for a shard that hangs.
        end_later(&self.departure, code);
        self.departure.drain(true);
    }
}

/// Ends a process that another one has taken over from, though a part of it should hang.
fn end_later(departure: &Departure, code: u8) {
    let longest = departure.longest().saturating_add(GOING_SLACK);
    let _ = thread::Builder::new().name("end".into()).spawn(move || {
        let until = Instant::now() + longest;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            thread::park_timeout(left);
        }
        tracing::error!("the drain has not come to an end: ending at once");
        log::flush();
        std::process::exit(code.into());
    });
}
