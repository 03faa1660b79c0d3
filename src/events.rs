//! Events: the thread that tells the application what happens, over HTTP: in order, several in one
//! post, and again until a post is taken. Nothing waits for it, and what waits is bounded.

mod debounce;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use stentor_shards::{Crossing, Happening, Inbox, News, Whose};
use tokio::sync::Notify;
use tokio::time::{sleep, sleep_until, timeout};

use self::debounce::Debounce;
use crate::config::events::Events;
use crate::hooks::Poster;

/// The most bytes of one post.
const POST_BYTES_MAX: usize = 1 << 20;

/// The most bytes of all events that wait.
const QUEUE_BYTES_MAX: usize = 64 << 20;

/// The pauses between two tries of one post.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The time in which what is left is told when the server ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// The figures of events in `/metrics`. Relaxed everywhere: they order nothing.
#[derive(Debug, Default)]
pub(crate) struct EventCounts {
    pub(crate) told: AtomicU64,
    pub(crate) posts: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) waiting: AtomicU64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// The events that wait, each in JSON.
#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<String>,
    bytes: usize,
    /// No further ones will come.
    is_over: bool,
}

/// The state that collector and poster share.
struct Desk {
    settings: Events,
    queue: RefCell<Queue>,
    bell: Notify,
    counts: Arc<EventCounts>,
}

/// Starts the thread; it ends a little after the shards.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(
    news: Inbox,
    settings: Events,
    counts: Arc<EventCounts>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("events".into()).spawn(move || {
        let (queue, bell) = (RefCell::default(), Notify::new());
        let desk = Rc::new(Desk { settings, queue, bell, counts });
        runtime.block_on(async move {
            let posts = post_all(&desk);
            tokio::pin!(posts);
            tokio::select! {
                () = &mut posts => return,
                () = collect(news, &desk) => {}
            }
            let _ = timeout(FAREWELL, posts).await;
            let left = desk.queue.borrow().events.len() as u64;
            add(&desk.counts.dropped, left);
        });
    })
}

/// Puts news into the queue, until the shards are gone.
async fn collect(mut news: Inbox, desk: &Desk) {
    let mut debounce = Debounce::new(desk.settings.debounce);
    loop {
        let due = debounce.due();
        let until = tokio::time::Instant::from_std(due.unwrap_or_else(Instant::now));
        let received = tokio::select! {
            received = news.receive() => Some(received),
            () = sleep_until(until), if due.is_some() => None,
        };
        let now = Instant::now();
        match received {
            Some(Some(Crossing::News(news))) => {
                // First what is due: it happened before.
                while let Some(due) = debounce.next(now, false) {
                    desk.push(&due);
                }
                if let Some(news) = debounce.take(*news, now) {
                    desk.push(&news);
                }
            }
            Some(Some(_)) => {}
            Some(None) => break,
            None => {
                while let Some(due) = debounce.next(now, false) {
                    desk.push(&due);
                }
            }
        }
    }
    while let Some(news) = debounce.next(Instant::now(), true) {
        desk.push(&news);
    }
    desk.queue.borrow_mut().is_over = true;
    desk.bell.notify_one();
}

impl Desk {
    /// Adds an event that is wanted, or drops it where there is no room.
    fn push(&self, news: &News) {
        let (name, json) = written(news);
        if !self.settings.wanted.contains(&name) {
            return;
        }
        let mut queue = self.queue.borrow_mut();
        if queue.events.len() >= self.settings.queue || queue.bytes + json.len() > QUEUE_BYTES_MAX {
            return add(&self.counts.dropped, 1);
        }
        queue.bytes += json.len();
        queue.events.push_back(json);
        self.counts.waiting.store(queue.events.len() as u64, Ordering::Relaxed);
        self.bell.notify_one();
    }

    /// Waits for the events of one post. `None`: there will be none.
    async fn batch(&self) -> Option<Vec<String>> {
        let mut full_by = None;
        loop {
            {
                let queue = self.queue.borrow();
                let is_full = queue.events.len() >= self.settings.batch
                    || full_by.is_some_and(|time| tokio::time::Instant::now() >= time);
                if queue.events.is_empty() && queue.is_over {
                    return None;
                }
                if !queue.events.is_empty() && (is_full || queue.is_over) {
                    break;
                }
                if !queue.events.is_empty() && full_by.is_none() {
                    full_by = Some(tokio::time::Instant::now() + self.settings.delay);
                }
            }
            match full_by {
                None => self.bell.notified().await,
                Some(time) => tokio::select! {
                    () = self.bell.notified() => {}
                    () = sleep_until(time) => {}
                },
            }
        }
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let mut queue = self.queue.borrow_mut();
        while batch.len() < self.settings.batch
            && let Some(next) = queue.events.front()
            && (batch.is_empty() || bytes + next.len() <= POST_BYTES_MAX)
            && let Some(next) = queue.events.pop_front()
        {
            bytes += next.len();
            batch.push(next);
        }
        queue.bytes -= bytes;
        self.counts.waiting.store(queue.events.len() as u64, Ordering::Relaxed);
        Some(batch)
    }
}

/// Posts what waits, one post after the other: the order is that in which it happened.
async fn post_all(desk: &Desk) {
    let Some(uri) = desk.settings.url.clone() else { return };
    let poster = Poster::new(1, uri.scheme_str() == Some("https"));
    while let Some(batch) = desk.batch().await {
        let body = format!("{{\"events\":[{}]}}", batch.join(",")).into_bytes();
        let headers = desk.signature(&body);
        let mut pause = RETRY_MIN;
        loop {
            let post = poster.post(&uri, headers.clone(), body.clone());
            let why = match timeout(desk.settings.timeout, post).await {
                Ok(Ok((status, _))) if status.is_success() => break,
                Ok(Ok((status, _))) => format!("the answer is {status}"),
                Ok(Err(why)) => why,
                Err(_) => "no answer in time".into(),
            };
            add(&desk.counts.failures, 1);
            tracing::warn!(%uri, why, retry_in = ?pause, "events were not taken: they wait");
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
        add(&desk.counts.posts, 1);
        add(&desk.counts.told, batch.len() as u64);
    }
}

impl Desk {
    fn signature(&self, body: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(secret) = &self.settings.secret {
            let signature = stentor_auth::hmac_sha256_hex(secret.as_bytes(), body);
            if let Ok(value) = HeaderValue::try_from(signature) {
                headers.insert(HeaderName::from_static("x-stentor-signature"), value);
            }
        }
        headers
    }
}

/// An event's name and its JSON.
fn written(news: &News) -> (&'static str, String) {
    let time = news.time_ms;
    let of = |name: &'static str, whose: &Whose| {
        json!({ "event": name, "time": time, "client": whose.client.to_string(),
            "user": whose.user.as_deref().unwrap_or_default() })
    };
    let (name, mut json) = match &news.what {
        Happening::Connected(whose) => ("connected", of("connected", whose)),
        Happening::Disconnected(whose, _) => ("disconnected", of("disconnected", whose)),
        Happening::Subscribed(whose, _) => ("subscribed", of("subscribed", whose)),
        Happening::Unsubscribed(whose, _) => ("unsubscribed", of("unsubscribed", whose)),
        Happening::Occupied(_) => {
            ("channel_occupied", json!({ "event": "channel_occupied", "time": time }))
        }
        Happening::Vacated(_) => {
            ("channel_vacated", json!({ "event": "channel_vacated", "time": time }))
        }
    };
    match &news.what {
        Happening::Disconnected(_, reason) => json["reason"] = (*reason).into(),
        Happening::Subscribed(_, channel)
        | Happening::Unsubscribed(_, channel)
        | Happening::Occupied(channel)
        | Happening::Vacated(channel) => json["channel"] = (**channel).into(),
        Happening::Connected(_) => {}
    }
    (name, json.to_string())
}
