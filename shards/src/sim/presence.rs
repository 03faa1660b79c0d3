//! The members of a channel as its watchers hear of them, under schedules of joins, leaves and
//! returns.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::books::check_books;
use super::client::{Client, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::run::Shards;
use crate::config::{Config, DuplicateUser};
use crate::rules::{ChannelRules, Marks, Rules};

pub(super) const ROOM: &str = "room";
pub(super) const DEBOUNCE: Duration = Duration::from_secs(100);
pub(super) const USERS: [&str; 4] = ["ann", "bob", "cid", "dan"];
pub(super) const JSON: Wish = Wish::JSON;

pub(super) fn config(debounce: Duration) -> Config {
    let rules = ChannelRules { leave_debounce: debounce, ..ChannelRules::open("") };
    let mut config = Config::with_cores(Vec::new());
    config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    config.duplicate_user = DuplicateUser::Allow;
    config.ping_interval = Duration::ZERO;
    config
}

fn shards(count: usize, seed: u64, debounce: Duration, more: impl FnOnce(&mut Config)) -> Shards {
    let mut config = config(debounce);
    more(&mut config);
    Shards::new(count, config, seed)
}

fn come(shards: &mut Shards, shard: usize, wish: Wish) -> Client {
    let (stream, client) = Client::connect(wish, usize::MAX);
    shards.accept(shard, stream);
    client
}

fn watch(client: &Client) {
    client.ask(&format!(r#"{{"type":"join","channel":"{ROOM}","presence":true}}"#));
}

fn ask(client: &Client) {
    client.ask(&format!(r#"{{"type":"presence","channel":"{ROOM}","id":1}}"#));
}

/// Returns `true` if its join was answered.
fn watches(client: &Client) -> bool {
    told(client).iter().any(|said| said["type"] == "joined" && said.get("offset").is_some())
}

/// All that a client was told since a watch.
fn told(client: &Client) -> Vec<Value> {
    client.frames().iter().map(|frame| serde_json::from_str(frame.text()).unwrap()).collect()
}

/// The users in the channel as a watcher has heard it: the answer, and all news since the question.
fn heard(client: &Client) -> BTreeSet<String> {
    let told = told(client);
    let answer = told.iter().find(|said| said["type"] == "presence").expect("it is answered");
    let members = answer["clients"].as_array().unwrap();
    let named = members.iter().filter_map(|member| member["user"].as_str());
    let mut users: BTreeSet<String> = named.map(str::to_owned).collect();
    for said in &told {
        let Some(user) = said["user"].as_str().filter(|_| said["type"] != "welcome") else {
            continue;
        };
        if said["type"] == "joined" {
            users.insert(user.to_owned());
        } else {
            users.remove(user);
        }
    }
    users
}

/// The users that are in the channel in one process.
pub(super) fn present(shards: &Shards) -> BTreeSet<String> {
    let mut users = BTreeSet::new();
    for shard in &shards.all {
        let Some(index) = shard.rooms.channels.find(ROOM) else { continue };
        for slot in shard.rooms.channels.get(index).members.iter() {
            let client = shard.clients.roster.get(slot).unwrap();
            users.extend(client.user.as_ref().map(ToString::to_string));
        }
    }
    users
}

/// Returns the number of users that returned in time.
fn simulate(seed: u64) -> u64 {
    let mut dice = Dice::seeded(seed);
    let debounce = if dice.below(4) == 0 { Duration::ZERO } else { DEBOUNCE };
    let count = 1 + dice.below(4);
    let mut shards = shards(count, seed, debounce, |config| {
        config.lane_parcels = 1 + dice.below(4);
        config.read_buffer_bytes = 512;
    });
    let (mut clients, mut watchers) = (Vec::new(), Vec::new());
    let mut asked = 0;
    for _ in 0..300 {
        // Before its join is answered, a client would miss what happens meanwhile.
        if watchers.get(asked).is_some_and(watches) {
            ask(&watchers[asked]);
            asked += 1;
        }
        let shard = dice.below(count);
        match dice.below(12) {
            0 | 1 => {
                let user = Some(USERS[dice.below(USERS.len())]);
                let channel = Some(ROOM);
                clients.push(come(&mut shards, shard, Wish { channel, user, ..JSON }));
            }
            2 if watchers.len() < 4 => {
                let watcher = come(&mut shards, shard, JSON);
                watch(&watcher);
                watchers.push(watcher);
            }
            3 | 4 if !clients.is_empty() => {
                let at = dice.below(clients.len());
                let client: &mut Client = &mut clients[at];
                match dice.below(4) {
                    0 => client.cut(),
                    1 => client.goodbye(),
                    2 => client.ask(&format!(r#"{{"type":"leave","channel":"{ROOM}"}}"#)),
                    _ => client.ask(&format!(r#"{{"type":"join","channel":"{ROOM}"}}"#)),
                }
            }
            5 => shards.now.ns += 20_000_000,
            // Nobody may hear an answer later than a user is waited for.
            6 if dice.below(8) == 0 => {
                shards.come_to_rest(|| {});
                shards.now.ns += 1 + u64::try_from(DEBOUNCE.as_nanos()).unwrap();
            }
            _ => shards.turn(shard),
        }
    }
    // One step for what is due, and another one for what is swept with it.
    for _ in 0..2 {
        shards.come_to_rest(|| {});
        shards.now.ns += 2 * u64::try_from(DEBOUNCE.as_nanos()).unwrap();
    }
    shards.come_to_rest(|| {});
    check_books(&shards.all);
    for watcher in &watchers[..asked] {
        if debounce.is_zero() {
            continue;
        }
        assert_eq!(heard(watcher), present(&shards), "{:#?}", told(watcher));
    }
    assert!(shards.all.iter().all(|shard| shard.rooms.returns.is_empty()), "nothing is waited for");
    shards.all.iter().map(|shard| shard.rooms.returns.returned).sum()
}

#[test]
fn watchers_know_who_is_there_however_users_leave_and_return() {
    if let Some(returned) = for_each_seed(256, simulate) {
        assert!(returned > 100, "hardly anybody returned: {returned}");
    }
}

fn kinds(client: &Client) -> Vec<String> {
    let is_news = |said: &Value| said.get("id").is_none() && said["type"] != "welcome";
    let told = told(client).into_iter().filter(is_news);
    told.map(|said| {
        let name = said["user"].as_str().map(str::to_owned);
        let name = name.or(said["count"].as_u64().map(|count| count.to_string()));
        format!("{} {}", said["type"].as_str().unwrap(), name.unwrap_or_default())
    })
    .collect()
}

#[test]
fn a_quick_return_is_no_event_and_a_late_one_is_two() {
    for count in 1..3 {
        let mut shards = shards(count, 1, Duration::from_secs(3), |_| {});
        let watcher = come(&mut shards, 0, JSON);
        watch(&watcher);
        shards.come_to_rest(|| {});
        let ann = Wish { user: Some("ann"), channel: Some(ROOM), ..JSON };
        for (away_s, shard) in [(1, 0), (2, count - 1), (4, 0)] {
            come(&mut shards, shard, ann).goodbye();
            shards.come_to_rest(|| {});
            shards.now.ns += away_s * 1_000_000_000;
            shards.come_to_rest(|| {});
        }
        let joins = ["joined ", "joined ann", "left ann"];
        assert_eq!(kinds(&watcher), joins, "{count} shards");
        check_books(&shards.all);
        let asker = come(&mut shards, 0, JSON);
        come(&mut shards, 0, ann).goodbye();
        shards.come_to_rest(|| {});
        watch(&asker);
        shards.come_to_rest(|| {});
        ask(&asker);
        shards.come_to_rest(|| {});
        assert_eq!(heard(&asker), BTreeSet::from(["ann".to_owned()]), "it may return");
    }
}

#[test]
fn watchers_of_a_large_channel_hear_counts_once_a_second() {
    let mut shards = shards(2, 1, Duration::ZERO, |config| config.presence_names = 8);
    let watcher = come(&mut shards, 0, JSON);
    watch(&watcher);
    shards.come_to_rest(|| {});
    let mut all = Vec::new();
    let mut more = |shards: &mut Shards, count: usize| {
        for number in 0..count {
            let wish = Wish { user: Some("ann"), channel: Some(ROOM), ..JSON };
            all.push(come(shards, number % 2, wish));
            shards.come_to_rest(|| {});
        }
        std::mem::take(&mut all)
    };
    let mut first = more(&mut shards, 9);
    let mut expected = vec!["joined ".to_owned()];
    expected.extend(vec!["joined ann".to_owned(); 7]);
    expected.push("crowd 9".into());
    assert_eq!(kinds(&watcher), expected, "the tenth member is counted with the next ones");
    shards.now.ns += 2_000_000_000;
    shards.come_to_rest(|| {});
    first.extend(more(&mut shards, 20));
    expected.push("crowd 10".into());
    assert_eq!(kinds(&watcher), expected);
    shards.now.ns += 1_100_000_000;
    shards.come_to_rest(|| {});
    expected.push("crowd 30".into());
    assert_eq!(kinds(&watcher), expected);
    check_books(&shards.all);
    for client in first.drain(..).skip(1) {
        { client }.goodbye();
        shards.come_to_rest(|| {});
    }
    // Names are told again from seven on.
    expected.push("crowd 7".into());
    expected.extend(vec!["left ann".to_owned(); 5]);
    assert_eq!(kinds(&watcher), expected);
    shards.now.ns += 1_100_000_000;
    shards.come_to_rest(|| {});
    assert_eq!(kinds(&watcher), expected, "no count is told where names are");
    check_books(&shards.all);
}
