//! The threads that speak with the application: the one that asks its backend, and the one that
//! tells it what happens.

use std::thread::JoinHandle;

use stentor_shards::{Handle, Run};

use crate::config::Settings;
use crate::{control, events, hooks};

/// The threads as they run.
pub(crate) struct Threads {
    events: Option<JoinHandle<()>>,
}

impl Threads {
    /// Waits until what the last clients have left is told, which takes a bounded time; but not
    /// behind a shard that has failed.
    pub(crate) fn finish(self, is_well: bool) {
        if let Some(events) = self.events.filter(|_| is_well) {
            let _ = events.join();
        }
    }
}

/// Starts the threads, each if it is needed.
///
/// # Errors
/// A thread cannot be started.
pub(crate) fn start(
    run: &mut Run,
    shards: &Handle,
    settings: &Settings,
    asked: &control::Settings,
) -> Result<Threads, String> {
    if let Some(questions) = run.take_questions() {
        let (settings, counts) = asked.hooks();
        hooks::start(questions, shards.clone(), settings, counts)
            .map_err(|error| format!("hooks thread: {error}"))?;
    }
    let events = match run.take_news() {
        None => None,
        Some(news) => Some(
            events::start(news, settings.events.clone(), asked.event_counts(), asked.webhooks())
                .map_err(|error| format!("events thread: {error}"))?,
        ),
    };
    Ok(Threads { events })
}
