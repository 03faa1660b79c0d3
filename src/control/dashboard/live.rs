//! Live snapshots: taken once a second while somebody watches, and seldom otherwise, so that a
//! viewer who comes finds the last minutes.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::columns::{BOUNDS_US, Columns};
use super::sample::Sampler;
use crate::control::State;

/// The most viewers at once. Each holds one of the connections of the admin address.
const VIEWERS_MAX: usize = 16;

/// The time between two snapshots while somebody watches.
const PACE: Duration = Duration::from_secs(1);

/// The same while nobody does, in units of the first.
const IDLE_BEATS: u32 = 10;

/// The snapshots and their viewers. Cheap to clone.
#[derive(Clone)]
pub(in crate::control) struct Live {
    shared: Arc<Shared>,
    /// `true` once this process serves the admin address no longer.
    over: watch::Receiver<bool>,
}

struct Shared {
    /// The newest snapshot as an event of the stream.
    newest: watch::Sender<Bytes>,
    viewers: Arc<Semaphore>,
    /// Rings if a viewer has come.
    wanted: Notify,
    /// The last minutes. Nobody waits for a change of them.
    columns: watch::Sender<Columns>,
}

impl Live {
    pub(in crate::control) fn new(over: watch::Receiver<bool>) -> Self {
        let shared = Shared {
            newest: watch::Sender::new(Bytes::new()),
            viewers: Arc::new(Semaphore::new(VIEWERS_MAX)),
            wanted: Notify::new(),
            columns: watch::Sender::default(),
        };
        Self { shared: Arc::new(shared), over }
    }

    fn is_watched(&self) -> bool {
        self.shared.viewers.available_permits() < VIEWERS_MAX
    }

    fn past(&self) -> Value {
        self.shared.columns.borrow().told()
    }
}

/// Takes snapshots until the admin address is another process's.
pub(in crate::control) async fn keep(state: State) {
    let live = state.live.clone();
    let mut over = live.over.clone();
    let mut sampler = Sampler::new();
    let mut beats = interval(PACE);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut beat = 0;
    loop {
        tokio::select! {
            _ = over.wait_for(|over| *over) => return,
            _ = beats.tick() => beat += 1,
            () = live.shared.wanted.notified() => beat = IDLE_BEATS,
        }
        let is_watched = live.is_watched();
        if !is_watched && beat < IDLE_BEATS {
            continue;
        }
        beat = 0;
        let sample = sampler.sample(&state, is_watched).await;
        let Ok(sample) = sample else {
            // The page says that the shards do not answer; the next beat asks again.
            live.shared.newest.send_replace(event("unanswered", &json!({})));
            continue;
        };
        live.shared.columns.send_modify(|columns| columns.extend(sample.column));
        if let Some(snapshot) = sample.snapshot {
            live.shared.newest.send_replace(event("snapshot", &snapshot));
        }
    }
}

/// One viewer, whose place is free again when this is dropped.
pub(super) struct Viewer {
    newest: watch::Receiver<Bytes>,
    over: watch::Receiver<bool>,
    keys: [watch::Receiver<Option<String>>; 2],
    first: Option<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    /// `None`: there are as many as there may be.
    pub(super) fn new(state: &State, may_act: bool) -> Option<Self> {
        let live = &state.live;
        let place = Arc::clone(&live.shared.viewers).try_acquire_owned().ok()?;
        let hello = json!({
            "may_act": may_act,
            "bounds_us": BOUNDS_US,
            "columns": live.past(),
        });
        let mut newest = live.shared.newest.subscribe();
        // An older snapshot would stand beside columns that are newer.
        newest.mark_unchanged();
        live.shared.wanted.notify_one();
        let settings = &state.settings;
        Some(Self {
            newest,
            over: live.over.clone(),
            keys: [settings.api_key.subscribe(), settings.api_read_key.subscribe()],
            first: Some(event("hello", &hello)),
            _place: place,
        })
    }

    /// Returns the next event; `None` if another process serves the address or a reload may have
    /// changed the key: the viewer shows its key again.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let [key, read_key] = &mut self.keys;
        tokio::select! {
            changed = self.newest.changed() => {
                changed.ok()?;
                Some(self.newest.borrow_and_update().clone())
            }
            _ = self.over.wait_for(|over| *over) => None,
            _ = key.changed() => None,
            _ = read_key.changed() => None,
        }
    }
}

/// Writes one event. JSON in compact form has no line breaks.
fn event(name: &str, data: &Value) -> Bytes {
    let mut text = String::with_capacity(8 << 10);
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
    text.into()
}

/// The time since the last sample.
#[derive(Debug, Default)]
pub(super) struct Stopwatch(Option<Instant>);

impl Stopwatch {
    /// Returns the time since the last call; `None` at the first one.
    pub(super) fn lap(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.0.replace(now).map(|before| now - before)
    }
}
