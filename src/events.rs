//! Events: the thread that tells the application what happens, over HTTP: in order, several in one
//! post, and again until a post is taken. Nothing waits for it, and what waits is bounded.

mod debounce;
mod line;
pub(crate) mod webhooks;

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use stentor_shards::{Crossing, Happening, Inbox, News, Whose};
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, sleep_until, timeout};

use self::debounce::Debounce;
use self::line::{Bounds, Line};
use self::webhooks::Webhooks;
use crate::config::events::Events;
use crate::hooks::Poster;

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

/// The state that collector and poster share.
struct Desk {
    settings: Events,
    line: Line,
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
    webhooks: watch::Receiver<webhooks::Settings>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("events".into()).spawn(move || {
        let tasks = LocalSet::new();
        tasks.block_on(&runtime, serve(news, settings, counts, webhooks));
    })
}

async fn serve(
    news: Inbox,
    settings: Events,
    counts: Arc<EventCounts>,
    webhooks: watch::Receiver<webhooks::Settings>,
) {
    let Events { queue, batch, delay, .. } = settings;
    let line = Line::new(Bounds { events: queue, bytes: QUEUE_BYTES_MAX, batch, delay });
    let webhooks = Webhooks::start(webhooks, settings.clone());
    let desk = Rc::new(Desk { settings, line, counts });
    let posts = spawn_local(post_all(Rc::clone(&desk)));
    let webhooks = collect(news, &desk, webhooks).await;
    desk.line.close();
    let all = async { tokio::join!(posts, webhooks.finish()) };
    let _ = timeout(FAREWELL, all).await;
    add(&desk.counts.dropped, desk.line.len() as u64);
}

/// Hands news on to those that are told, until the shards are gone.
async fn collect(mut news: Inbox, desk: &Desk, mut webhooks: Webhooks) -> Webhooks {
    let mut debounce = Debounce::new(desk.settings.debounce);
    loop {
        let due = [debounce.due(), webhooks.due()].into_iter().flatten().min();
        let until = tokio::time::Instant::from_std(due.unwrap_or_else(Instant::now));
        let received = tokio::select! {
            received = news.receive() => Some(received),
            () = sleep_until(until), if due.is_some() => None,
            () = webhooks.follow() => None,
        };
        let now = Instant::now();
        // First what is due: it happened before.
        while let Some(due) = debounce.next(now, false) {
            desk.push(&due);
        }
        webhooks.tell_due(now, false);
        match received {
            Some(Some(Crossing::News(news))) => {
                if matches!(news.what, Happening::HandedOver) {
                    // Another process tells what comes next, and does not know what waits here.
                    while let Some(news) = debounce.next(now, true) {
                        desk.push(&news);
                    }
                    webhooks.tell_due(now, true);
                    continue;
                }
                webhooks.take(&news, now);
                if let Some(news) = debounce.take(*news, now) {
                    desk.push(&news);
                }
            }
            Some(Some(_)) | None => {}
            Some(None) => break,
        }
    }
    while let Some(news) = debounce.next(Instant::now(), true) {
        desk.push(&news);
    }
    webhooks
}

impl Desk {
    /// Adds an event that is wanted, or drops it where there is no room.
    fn push(&self, news: &News) {
        let Some((name, json)) = written(news) else { return };
        if self.settings.url.is_none() || !self.settings.wanted.contains(&name) {
            return;
        }
        if self.line.push(json).is_err() {
            return add(&self.counts.dropped, 1);
        }
        self.count_waiting();
    }

    fn count_waiting(&self) {
        self.counts.waiting.store(self.line.len() as u64, Ordering::Relaxed);
    }
}

/// Posts what waits, one post after the other: the order is that in which it happened.
async fn post_all(desk: Rc<Desk>) {
    let Some(uri) = desk.settings.url.clone() else { return };
    let poster = Poster::new(1, uri.scheme_str() == Some("https"));
    while let Some(batch) = desk.line.batch().await {
        desk.count_waiting();
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

/// An event's name and its JSON; `None` for what only webhooks tell.
fn written(news: &News) -> Option<(&'static str, String)> {
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
        Happening::MemberAdded(..)
        | Happening::MemberRemoved(..)
        | Happening::ClientEvent(_)
        | Happening::CacheMissed(_)
        | Happening::Subscribers(..)
        | Happening::HandedOver => return None,
    };
    match &news.what {
        Happening::Disconnected(_, reason) => json["reason"] = (*reason).into(),
        Happening::Subscribed(_, channel)
        | Happening::Unsubscribed(_, channel)
        | Happening::Occupied(channel)
        | Happening::Vacated(channel) => json["channel"] = (**channel).into(),
        _ => {}
    }
    Some((name, json.to_string()))
}
