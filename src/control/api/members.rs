//! `subscribe` and `unsubscribe`: clients are put into a channel and taken out of it, a few at a
//! time, whatever the number of clients that a user has.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use stentor_shards::{ClientId, MOVED_MAX, NoChannel, Numbering, Seating, Since, Target};
use tokio::time::{Instant, sleep};

use super::answer::{Answer, Fault, read, written};
use super::history::Heard;
use crate::control::State;
use crate::control::ask::{Unanswered, ask, ask_one};

/// The longest time that the home of a channel may take to let clients in.
const HOME_TIMEOUT: Duration = Duration::from_secs(5);

/// The pause between two looks at clients that are under way.
const LOOK_PAUSE: Duration = Duration::from_millis(1);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    #[serde(default)]
    user: String,
    channel: String,
    client: Option<String>,
    session: Option<String>,
    recover_since: Option<Heard>,
    info: Option<Value>,
    b64info: Option<String>,
    data: Option<Value>,
    b64data: Option<String>,
    r#override: Option<Value>,
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

/// Refuses what is not there for subscriptions, unless it says nothing.
fn check_features(asked: &Subscribe) -> Result<(), Fault> {
    let says = |value: &Option<Value>| match value {
        None | Some(Value::Null) => false,
        Some(Value::Object(members)) => !members.is_empty(),
        Some(_) => true,
    };
    let has = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let unsupported = [
        ("info", says(&asked.info)),
        ("b64info", has(&asked.b64info)),
        ("data", says(&asked.data)),
        ("b64data", has(&asked.b64data)),
        ("override", says(&asked.r#override)),
    ];
    match unsupported.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(Fault::bad(format!("{name} is not supported"))),
        None => Ok(()),
    }
}

pub(super) async fn subscribe(state: &State, params: &[u8]) -> Answer {
    let asked: Subscribe = read(params)?;
    check_features(&asked)?;
    let Subscribe { user, channel, client, session, recover_since, .. } = asked;
    let since = recover_since
        .map(|heard| Since { epoch: Numbering::read_or_any(&heard.epoch), offset: heard.offset });
    let clients = Selected::new(user, client, session)?.clients(state).await?;
    let mut members = 0_u64;
    let mut refusal = None;
    for some in chunks(&clients) {
        for seating in seat(state, some, &channel, since).await? {
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
    since: Option<Since>,
) -> Result<Vec<Seating>, Fault> {
    let end = Instant::now() + HOME_TIMEOUT;
    let mut settled = Vec::with_capacity(clients.len());
    let mut waiting: BTreeSet<ClientId> = clients.iter().copied().collect();
    let mut asks_only = false;
    loop {
        let some: Vec<ClientId> = waiting.iter().copied().collect();
        let answers = ask(|| state.shards.enlist(&some, channel, since, asks_only)).await;
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
