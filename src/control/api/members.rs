//! `subscribe` and `unsubscribe`: clients are put into a channel and taken out of it, a few at a
//! time, whatever the number of clients that a user has.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use stentor_shards::proof::Grant;
use stentor_shards::{
    ClientId, MOVED_MAX, NoChannel, Numbering, Placement, Seating, Since, Target, unix_ms,
};
use tokio::time::{Instant, sleep};

use super::answer::{Answer, Fault, read, written};
use super::history::Heard;
use crate::control::State;
use crate::control::ask::{Unanswered, ask, ask_one};

/// The longest time that the home of a channel may take to let clients in.
const HOME_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two looks at clients that are under way.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

/// The most bytes of `info` and of `data`. Each is kept for as long as its subscription.
const GIVEN_BYTES_MAX: usize = 4096;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe<'a> {
    #[serde(default)]
    user: String,
    channel: String,
    client: Option<String>,
    session: Option<String>,
    recover_since: Option<Heard>,
    expire_at: Option<u64>,
    #[serde(default, borrow)]
    info: Option<&'a RawValue>,
    b64info: Option<String>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    b64data: Option<String>,
    r#override: Option<Override>,
}

/// Wishes for a subscription that differ from the rules of its channel.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Override {
    presence: Option<Switch>,
    join_leave: Option<Switch>,
    force_recovery: Option<Switch>,
    force_positioning: Option<Switch>,
    force_push_join_leave: Option<Switch>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
struct Switch {
    #[serde(default)]
    value: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe {
    #[serde(default)]
    user: String,
    channel: String,
    client: Option<String>,
    session: Option<String>,
}

/// The clients that a request is about: those of a user, or one, or one if it is of that user.
struct Selected {
    user: String,
    client: Option<String>,
}

impl Selected {
    fn new(user: String, client: Option<String>, session: Option<String>) -> Result<Self, Fault> {
        let given = |name: Option<String>| name.filter(|name| !name.is_empty());
        if given(session).is_some() {
            return Err(Fault::bad("session is not supported"));
        }
        match given(client) {
            None if user.is_empty() => Err(Fault::bad("user or client is needed")),
            client => Ok(Self { user, client }),
        }
    }

    async fn clients(&self, state: &State) -> Result<Vec<ClientId>, Fault> {
        if self.user.is_empty() {
            let client = Target::Client(self.client.clone().unwrap_or_default());
            let found = ask_one(|| state.shards.clients_of(&client)).await;
            return found.map_err(|why| Fault::about("client", why));
        }
        let user = Target::User(self.user.clone());
        let found = ask_one(|| state.shards.clients_of(&user)).await;
        let mut clients = found.map_err(|why| Fault::about("user", why))?;
        if let Some(only) = &self.client {
            clients.retain(|client| client.to_string() == *only);
        }
        Ok(clients)
    }
}

/// The clients as many as a call takes at a time; an empty part if there are none, so that the
/// channel is asked for all the same.
fn chunks(clients: &[ClientId]) -> impl Iterator<Item = &[ClientId]> {
    let nobody = clients.is_empty().then_some(clients);
    nobody.into_iter().chain(clients.chunks(MOVED_MAX))
}

/// Returns JSON that is given as it is or in base64.
fn json_of(
    name: &str,
    json: Option<&RawValue>,
    base64: Option<&str>,
) -> Result<Option<Arc<str>>, Fault> {
    let given = match base64.filter(|text| !text.is_empty()) {
        None => json.map(|json| json.get().to_owned()),
        Some(base64) => {
            let why = || Fault::bad(format!("b64{name} is not JSON in base64"));
            let bytes = STANDARD.decode(base64).map_err(|_| why())?;
            let json: &RawValue = serde_json::from_slice(&bytes).map_err(|_| why())?;
            Some(json.get().to_owned())
        }
    };
    if given.as_ref().is_some_and(|given| given.len() > GIVEN_BYTES_MAX) {
        return Err(Fault::bad(format!("{name} is longer than {GIVEN_BYTES_MAX} bytes")));
    }
    Ok(given.map(Arc::from))
}

impl Override {
    /// Returns whether the clients hear of joins and leaves. Members are in presence, are told of
    /// and may recover wherever the rules say so: nobody can be left out of that.
    fn watches(&self) -> Result<bool, Fault> {
        let fixed = [
            ("presence", self.presence),
            ("join_leave", self.join_leave),
            ("force_recovery", self.force_recovery),
            ("force_positioning", self.force_positioning),
        ];
        match fixed.iter().find(|(_, switch)| switch.is_some_and(|switch| !switch.value)) {
            Some((name, _)) => {
                Err(Fault::bad(format!("override: {name} cannot be turned off for one client")))
            }
            None => Ok(self.force_push_join_leave.is_some_and(|switch| switch.value)),
        }
    }
}

impl Subscribe<'_> {
    /// The terms of the subscription, at a Unix time.
    fn placement(&self, now_s: u64) -> Result<Placement, Fault> {
        let since = self.recover_since.as_ref();
        let ends = self.expire_at.filter(|at| *at > 0);
        if ends.is_some_and(|at| at <= now_s) {
            return Err(Fault::bad("expire_at has passed"));
        }
        let grant = Grant {
            info: json_of("info", self.info, self.b64info.as_deref())?,
            data: json_of("data", self.data, self.b64data.as_deref())?,
            watches: self.r#override.as_ref().map_or(Ok(false), Override::watches)?,
        };
        let heard =
            |at: &Heard| Since { epoch: Numbering::read_or_any(&at.epoch), offset: at.offset };
        Ok(Placement { since: since.map(heard), grant, ends })
    }
}

pub(super) async fn subscribe(state: &State, params: &[u8]) -> Answer {
    let asked: Subscribe<'_> = read(params)?;
    let placement = asked.placement(unix_ms() / 1000)?;
    let Subscribe { user, channel, client, session, .. } = asked;
    let clients = Selected::new(user, client, session)?.clients(state).await?;
    let mut members = 0_u64;
    let mut refusal = None;
    for some in chunks(&clients) {
        for seating in seat(state, some, &channel, &placement).await? {
            match seating {
                Seating::Member => members += 1,
                Seating::Full => refusal = Some(Fault::LimitExceeded),
                // Its home has no room for it, or the client has left already.
                Seating::NoRoom | Seating::Outside => refusal = Some(Unanswered::NoRoom.into()),
                Seating::UnderWay => refusal = Some(Fault::Busy),
                Seating::Gone => {}
            }
        }
    }
    match refusal {
        Some(fault) if members == 0 => Err(fault),
        _ => Ok(written(&json!({ "clients": members }))),
    }
}

/// Puts a few clients into a channel, and waits until its home has let them in: what is published
/// behind the answer reaches them.
async fn seat(
    state: &State,
    clients: &[ClientId],
    channel: &str,
    placement: &Placement,
) -> Result<Vec<Seating>, Fault> {
    let end = Instant::now() + HOME_TIMEOUT;
    let mut settled = Vec::with_capacity(clients.len());
    let mut waiting: BTreeSet<ClientId> = clients.iter().copied().collect();
    let mut asks_only = false;
    loop {
        let some: Vec<ClientId> = waiting.iter().copied().collect();
        let answers = ask(|| state.shards.enlist(&some, channel, placement, asks_only)).await;
        let answers = answers.map_err(|why| Fault::about("channel", why))?;
        let is_over = Instant::now() >= end;
        let answers: Result<Vec<_>, NoChannel> = answers.into_iter().collect();
        let seatings = answers.map_err(Unanswered::from)?.into_iter().flatten();
        for (client, seating) in seatings {
            if seating != Seating::UnderWay || is_over {
                waiting.remove(&client);
                settled.push(seating);
            }
        }
        if waiting.is_empty() {
            return Ok(settled);
        }
        asks_only = true;
        sleep(LOOK_PAUSE).await;
    }
}

pub(super) async fn unsubscribe(state: &State, params: &[u8]) -> Answer {
    let Unsubscribe { user, channel, client, session } = read(params)?;
    let clients = Selected::new(user, client, session)?.clients(state).await?;
    let mut dismissed = 0_u64;
    for some in chunks(&clients) {
        let counts = ask(|| state.shards.dismiss(some, &channel)).await;
        let counts = counts.map_err(|why| Fault::about("channel", why))?;
        let counts: Result<Vec<u64>, NoChannel> = counts.into_iter().collect();
        dismissed += counts.map_err(Unanswered::from)?.iter().sum::<u64>();
    }
    Ok(written(&json!({ "clients": dismissed })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_is_granted_on_its_terms() {
        let placed = |params: &str| {
            let asked: Subscribe<'_> = read(params.as_bytes())?;
            asked.placement(100)
        };
        let whole = placed(
            r#"{"channel":"a","expire_at":101,"info":{"n":1},"b64data":"WzFd",
                "override":{"force_push_join_leave":{"value":true},"presence":{"value":true}}}"#,
        );
        let Placement { since, grant, ends } = whole.unwrap();
        assert_eq!((since, ends), (None, Some(101)));
        assert_eq!(
            (grant.info.as_deref(), grant.data.as_deref()),
            (Some(r#"{"n":1}"#), Some("[1]"))
        );
        assert!(grant.watches);
        let defaults = placed(
            r#"{"channel":"a","expire_at":0,"info":null,"b64info":"","data":null,"override":{}}"#,
        );
        let defaults = defaults.unwrap();
        assert_eq!((defaults.grant, defaults.ends), (Grant::default(), None));
        for (params, part) in [
            (r#"{"channel":"a","expire_at":100}"#, "expire_at"),
            (r#"{"channel":"a","b64info":"="}"#, "b64info"),
            (r#"{"channel":"a","b64data":"ew=="}"#, "b64data"),
            (r#"{"channel":"a","override":{"presence":{"value":false}}}"#, "presence"),
            (r#"{"channel":"a","override":{"join_leave":{}}}"#, "join_leave"),
            (r#"{"channel":"a","override":{"delta":{"value":true}}}"#, "delta"),
            (&format!(r#"{{"channel":"a","info":"{}"}}"#, "x".repeat(4095)), "info"),
        ] {
            let found = placed(params);
            assert!(matches!(&found, Err(Fault::Bad(why)) if why.contains(part)), "{params:.80}");
        }
    }
}
