//! Webhooks: the backends of apps are told what happens in their channels, each endpoint on its
//! own. One that is down keeps no other one waiting, and no shard.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use stentor_shards::{App, Happening, News, Rules, signature, unix_ms};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{sleep, timeout, timeout_at};

use super::debounce::Debounces;
use super::line::{Bounds, Budget, Line};
use super::{FAREWELL, RETRY_MAX, RETRY_MIN};
use crate::config;
use crate::config::apps::webhook::Webhook;
use crate::config::events::Events;
use crate::hooks::Poster;

/// A channel or a user that is there again within this time was not gone.
const DEBOUNCE: Duration = Duration::from_secs(3);

/// The most bytes that wait for one endpoint, and for all of them together.
const LINE_BYTES_MAX: usize = 8 << 20;
const BYTES_MAX: usize = 256 << 20;

/// The most events that wait for one endpoint.
const LINE_EVENTS_MAX: usize = 10_000;

/// The webhooks of all apps, and the rules that the apps are in.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    rules: Arc<Rules>,
    of_apps: HashMap<Arc<str>, Vec<Webhook>>,
    retry: Duration,
}

impl Settings {
    /// The webhooks of the settings, with the rules in force.
    pub(crate) fn of(settings: &config::Settings, rules: Arc<Rules>) -> Self {
        let declared = settings.apps.declared.iter();
        let of_apps =
            declared.map(|declared| (Arc::clone(&declared.app.id), declared.webhooks.clone()));
        Self { rules, of_apps: of_apps.collect(), retry: settings.apps.webhook_retry }
    }
}

/// One endpoint, and the events that wait for it.
struct Endpoint {
    app: Arc<str>,
    webhook: Webhook,
    line: Line,
}

/// All endpoints, each with a task of its own.
pub(super) struct Webhooks {
    settings: watch::Receiver<Settings>,
    events: Events,
    endpoints: Vec<(Rc<Endpoint>, JoinHandle<()>)>,
    debounces: Debounces,
    /// The bytes that wait for all endpoints.
    budget: Budget,
}

impl Webhooks {
    /// Starts the tasks, on the thread of the events.
    pub(super) fn start(mut settings: watch::Receiver<Settings>, events: Events) -> Self {
        settings.mark_changed();
        let (debounces, budget) = (Debounces::new(DEBOUNCE), Budget::new(BYTES_MAX));
        Self { settings, events, endpoints: Vec::new(), debounces, budget }
    }

    /// Waits for other webhooks, and puts them in force.
    pub(super) async fn follow(&mut self) {
        if self.settings.changed().await.is_err() {
            // Nobody is there who could change them.
            std::future::pending::<()>().await;
        }
        self.follow_settings();
    }

    /// Returns the time at which the next news are due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.debounces.due()
    }

    /// Takes news, which may have to wait.
    pub(super) fn take(&mut self, news: &News, now: Instant) {
        let Some(channel) = news.what.of_app() else { return };
        self.tell_due(now, false);
        // The channels of an app have a namespace of their own.
        let namespace = channel.split(':').next().unwrap_or_default();
        if let Some(news) = self.debounces.take(namespace, news, now) {
            self.tell(&news);
        }
    }

    /// Tells the news that are due; with `all`, whether they are or not.
    pub(super) fn tell_due(&mut self, now: Instant, all: bool) {
        while let Some(news) = self.debounces.next(now, all) {
            self.tell(&news);
        }
    }

    /// Tells what is left, and ends the tasks.
    pub(super) async fn finish(mut self) {
        self.tell_due(Instant::now(), true);
        self.endpoints.iter().for_each(|(endpoint, _)| endpoint.line.close());
        let rules = Arc::clone(&self.settings.borrow().rules);
        let until = tokio::time::Instant::now() + FAREWELL;
        for (endpoint, task) in self.endpoints {
            let _ = timeout_at(until, task).await;
            // The rest is lost with the process.
            let lost = endpoint.line.abandon();
            if let Some(app) = rules.app(&endpoint.app) {
                app.tally.count_dropped(lost as u64);
            }
        }
    }

    fn tell(&mut self, news: &News) {
        if self.settings.has_changed().unwrap_or(false) {
            self.follow_settings();
        }
        let rules = Arc::clone(&self.settings.borrow().rules);
        let Some(channel) = news.what.of_app() else { return };
        let Some(app) = rules.app_of_channel(channel) else { return };
        let Some(own) = app.own_name(channel) else { return };
        let (name, json) = written(&news.what, own);
        let of_app = self.endpoints.iter().filter(|(endpoint, _)| endpoint.app == app.id);
        for (endpoint, _) in of_app {
            let webhook = &endpoint.webhook;
            let wants = webhook.events.contains(&name)
                && own.starts_with(&webhook.channel_prefix)
                && own.ends_with(&webhook.channel_suffix);
            if wants && endpoint.line.push(json.clone()).is_err() {
                app.tally.count_dropped(1);
            }
        }
    }

    /// Starts and ends tasks, so that each webhook has one. What waits for an endpoint that stays
    /// goes on waiting.
    fn follow_settings(&mut self) {
        let wanted = self.settings.borrow_and_update().clone();
        let mut before = std::mem::take(&mut self.endpoints);
        for (app, webhook) in wanted
            .of_apps
            .iter()
            .flat_map(|(app, webhooks)| webhooks.iter().map(move |webhook| (app, webhook)))
        {
            let is_same =
                |(known, _): &(Rc<Endpoint>, _)| known.app == *app && known.webhook == *webhook;
            let known = before.iter().position(is_same).map(|at| before.swap_remove(at));
            let endpoint = known.unwrap_or_else(|| self.open(app, webhook));
            self.endpoints.push(endpoint);
        }
        for (endpoint, _) in before {
            let lost = endpoint.line.abandon();
            if let Some(app) = wanted.rules.app(&endpoint.app) {
                app.tally.count_dropped(lost as u64);
            }
        }
    }

    fn open(&self, app: &Arc<str>, webhook: &Webhook) -> (Rc<Endpoint>, JoinHandle<()>) {
        let Events { batch, delay, queue, .. } = self.events;
        let events = queue.min(LINE_EVENTS_MAX);
        let bounds = Bounds { events, bytes: LINE_BYTES_MAX, batch, delay };
        let line = Line::sharing(bounds, self.budget.clone());
        let endpoint = Rc::new(Endpoint { app: Arc::clone(app), webhook: webhook.clone(), line });
        let own = Rc::clone(&endpoint);
        let task = spawn_local(post_all(own, self.settings.clone(), self.events.timeout));
        (endpoint, task)
    }
}

/// Posts what waits for one endpoint, one post after the other: the order is that in which it
/// happened.
async fn post_all(
    endpoint: Rc<Endpoint>,
    settings: watch::Receiver<Settings>,
    answer_timeout: Duration,
) {
    let uri = &endpoint.webhook.url;
    let poster = Poster::new(1, uri.scheme_str() == Some("https"));
    while let Some(batch) = endpoint.line.batch().await {
        let body = format!("{{\"time_ms\":{},\"events\":[{}]}}", unix_ms(), batch.join(","));
        let (begin, mut pause, count) = (Instant::now(), RETRY_MIN, batch.len() as u64);
        loop {
            // A reload may bring another secret while the events wait to be taken.
            let (app, retry) = {
                let settings = settings.borrow();
                (settings.rules.app(&endpoint.app).cloned(), settings.retry)
            };
            let Some(app) = app else { break };
            let headers = headers(&app, &endpoint.webhook, body.as_bytes());
            let post = poster.post(uri, headers, body.clone().into_bytes());
            let why = match timeout(answer_timeout, post).await {
                Ok(Ok((status, _))) if status.is_success() => {
                    app.tally.count_told(count);
                    break;
                }
                Ok(Ok((status, _))) => format!("the answer is {status}"),
                Ok(Err(why)) => why,
                Err(_) => "no answer in time".into(),
            };
            app.tally.count_failed_post();
            let (app_id, host) = (&*app.id, uri.host().unwrap_or_default());
            if begin.elapsed() + pause > retry || endpoint.line.is_abandoned() {
                app.tally.count_dropped(count);
                tracing::warn!(app_id, host, why, count, "events of a webhook are dropped");
                break;
            }
            tracing::warn!(app_id, host, why, retry_in = ?pause, "a webhook has not taken events");
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }
}

fn headers(app: &App, webhook: &Webhook, body: &[u8]) -> HeaderMap {
    let mut headers: HeaderMap = webhook.headers.iter().cloned().collect();
    let own = [
        ("x-pusher-key", app.key.to_string()),
        ("x-pusher-signature", signature(&app.secret, body)),
    ];
    for (name, value) in own {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    headers
}

/// The name of an event of webhooks and its JSON, in a channel with this name in its app.
fn written(what: &Happening, channel: &str) -> (&'static str, String) {
    let of = |name: &'static str| (name, json!({ "name": name, "channel": channel }));
    let (name, json) = match what {
        Happening::Occupied(_) => of("channel_occupied"),
        Happening::Vacated(_) => of("channel_vacated"),
        Happening::CacheMissed(_) => of("cache_miss"),
        Happening::MemberAdded(_, user) => {
            let (name, mut json) = of("member_added");
            json["user_id"] = (**user).into();
            (name, json)
        }
        Happening::MemberRemoved(_, user) => {
            let (name, mut json) = of("member_removed");
            json["user_id"] = (**user).into();
            (name, json)
        }
        Happening::Subscribers(_, count) => {
            let (name, mut json) = of("subscription_count");
            json["subscription_count"] = (*count).into();
            (name, json)
        }
        Happening::ClientEvent(event) => {
            let (name, mut json) = of("client_event");
            json["event"] = (*event.event).into();
            json["data"] = (*event.data).into();
            json["socket_id"] = (*event.socket_id).into();
            if let Some(user) = &event.user {
                json["user_id"] = (**user).into();
            }
            (name, json)
        }
        Happening::Connected(_)
        | Happening::Disconnected(..)
        | Happening::Subscribed(..)
        | Happening::Unsubscribed(..)
        | Happening::HandedOver => of(""),
    };
    (name, json.to_string())
}

#[cfg(test)]
mod tests {
    use stentor_shards::ClientEvent;

    use super::*;

    #[test]
    fn events_are_written_as_the_protocol_has_them() {
        let channel: Arc<str> = "app-1:presence-a".into();
        let event = ClientEvent {
            channel: Arc::clone(&channel),
            event: "client-x".into(),
            data: "{\"a\":1}".into(),
            socket_id: "1.2".into(),
            user: Some("ana".into()),
        };
        let own = "presence-a";
        for (what, wanted) in [
            (Happening::Occupied(Arc::clone(&channel)), json!({ "name": "channel_occupied" })),
            (
                Happening::MemberAdded(Arc::clone(&channel), "ana".into()),
                json!({ "name": "member_added", "user_id": "ana" }),
            ),
            (
                Happening::Subscribers(Arc::clone(&channel), 3),
                json!({ "name": "subscription_count", "subscription_count": 3 }),
            ),
            (
                Happening::ClientEvent(Box::new(event)),
                json!({
                    "name": "client_event", "event": "client-x", "data": "{\"a\":1}",
                    "socket_id": "1.2", "user_id": "ana",
                }),
            ),
        ] {
            let (name, json) = written(&what, own);
            let mut told: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(told.as_object_mut().unwrap().remove("channel"), Some(own.into()));
            assert_eq!((told, wanted["name"].as_str()), (wanted.clone(), Some(name)));
        }
    }
}
