//! The memory that one client can make its shard hold is bounded, however much it asks for at once.

use std::time::Duration;

use super::books::check_books;
use super::client::{Client, Wish};
use super::run::Shards;
use crate::config::{Config, DuplicateUser};

const LANE_PARCELS: usize = 8;
const CHANNELS: usize = 4;

/// Two shards with small limits, and a JSON client of the first.
fn two_shards() -> (Shards, Client) {
    let (shards, [client]) = two_shards_of(LANE_PARCELS);
    (shards, client)
}

/// The same with lanes of so many parcels, and some clients, all on the first one.
fn two_shards_of<const CLIENTS: usize>(lane_parcels: usize) -> (Shards, [Client; CLIENTS]) {
    let mut config = Config::with_cores(Vec::new());
    config.lane_parcels = lane_parcels;
    config.channels_per_client = CHANNELS;
    config.channels_per_shard = 1_000;
    config.errors_max = 1_000_000;
    config.read_buffer_bytes = 4_096;
    let mut shards = Shards::new(2, config, 1);
    let clients = std::array::from_fn(|_| come(&mut shards, 0, None));
    shards.come_to_rest(|| {});
    assert!(clients.iter().all(Client::stayed));
    (shards, clients)
}

/// One more JSON client, of that shard.
fn come(shards: &mut Shards, shard: usize, user: Option<&'static str>) -> Client {
    let (stream, client) =
        Client::connect(Wish { json: true, user, ..Wish::default() }, usize::MAX);
    shards.accept(shard, stream);
    client
}

/// Returns the number of frames of a kind that a client got.
fn told(client: &Client, kind: &str) -> usize {
    client.frames().iter().filter(|frame| frame.text().contains(kind)).count()
}

/// A name whose home is the second shard.
fn elsewhere(shards: &Shards, number: usize) -> String {
    room_at(shards, 1, number)
}

fn room_at(shards: &Shards, home: usize, number: usize) -> String {
    let mut names = (0..).map(|twist| format!("room{number}-{twist}"));
    names.find(|name| shards.all[0].port.mesh.home_of(&**name).index() == home).unwrap()
}

#[test]
fn joins_that_wait_for_a_home_count_as_channels() {
    let (mut shards, client) = two_shards();
    for number in 0..50 {
        let channel = elsewhere(&shards, number);
        client.ask(&format!(r#"{{"type":"join","channel":"{channel}"}}"#));
    }
    shards.turn(0);
    assert!(shards.all[0].rooms.channels.len() <= CHANNELS + 1, "the default channel and its own");
    shards.come_to_rest(|| {});
    let [joined, refused] = ["\"joined\"", "too_many_channels"].map(|kind| told(&client, kind));
    assert_eq!((joined, refused), (CHANNELS, 50 - CHANNELS));
    let channel = elsewhere(&shards, 0);
    client.ask(&format!(r#"{{"type":"leave","channel":"{channel}"}}"#));
    client.ask(&format!(r#"{{"type":"join","channel":"{channel}"}}"#));
    shards.come_to_rest(|| {});
    assert_eq!(
        told(&client, "\"joined\""),
        CHANNELS + 1,
        "a seat that was given back is free again"
    );
}

#[test]
fn asks_that_a_client_causes_are_bounded() {
    let (mut shards, client) = two_shards();
    let channel = elsewhere(&shards, 0);
    client.ask(&format!(r#"{{"type":"join","channel":"{channel}"}}"#));
    shards.come_to_rest(|| {});
    for round in 0..4_000 {
        let presence = round % 2 == 0;
        client.ask(&format!(r#"{{"type":"join","channel":"{channel}","presence":{presence}}}"#));
    }
    let mut most = 0;
    for _ in 0..500 {
        shards.turn(0);
        most = most.max(shards.all[0].port.owed());
    }
    // One read of requests beyond the bound; each makes its shard owe three parcels at most.
    let one_read = 3 * 4_096 / r#"{"type":"join","channel":"","presence":true}"#.len();
    assert!(most >= LANE_PARCELS, "the second shard took nothing");
    assert!(most <= LANE_PARCELS + one_read, "{most} parcels");
    shards.come_to_rest(|| {});
    assert_eq!(told(&client, "\"joined\""), 4_001, "each is answered all the same");
}

#[test]
fn an_outbox_that_begins_while_others_are_swept_is_looked_after_too() {
    let mut config = Config::with_cores(Vec::new());
    config.write_timeout = Duration::from_millis(50);
    let mut shards = Shards::new(1, config, 1);
    let json = Wish { json: true, ..Wish::default() };
    let wishes = [json, Wish { channel: Some("busy"), ..json }, json];
    let [mut watcher, mut slow, speaker] = wishes.map(|wish| {
        let (stream, client) = Client::connect(wish, usize::MAX);
        shards.accept(0, stream);
        client
    });
    shards.come_to_rest(|| {});
    watcher.ask(r#"{"type":"join","channel":"quiet","presence":true}"#);
    slow.ask(r#"{"type":"join","channel":"quiet"}"#);
    shards.come_to_rest(|| {});
    slow.stall();
    speaker.ask(r#"{"type":"publish","channel":"busy","body":"for the slow one"}"#);
    shards.come_to_rest(|| {});
    watcher.stall();
    // The slow client is closed for it, and the watcher, which reads nothing either, is to be told.
    shards.now.ns += 100_000_000;
    shards.come_to_rest(|| {});
    let queued =
        shards.all[0].clients.roster.iter().filter(|(_, client)| client.outbox.is_some()).count();
    assert_eq!(queued, 2, "the close frame of one and the news for the other");
    check_books(&shards.all);
}

#[test]
fn comings_and_goings_that_others_watch_do_not_fill_a_lane() {
    let (mut shards, [watcher, client]) = two_shards_of(1_000);
    let channel = elsewhere(&shards, 0);
    watcher.ask(&format!(r#"{{"type":"join","channel":"{channel}","presence":true}}"#));
    shards.come_to_rest(|| {});
    for _ in 0..2_000 {
        client.ask(&format!(r#"{{"type":"join","channel":"{channel}"}}"#));
        client.ask(&format!(r#"{{"type":"leave","channel":"{channel}"}}"#));
    }
    for _ in 0..500 {
        shards.turn(0);
    }
    let (asks, _) = shards.all[1].port.depths();
    assert!((16..=100).contains(&asks), "{asks} parcels lie before what others say");
    shards.come_to_rest(|| {});
    assert_eq!(told(&client, "\"left\""), 2_000, "each is answered all the same");
    assert_eq!(told(&watcher, "\"left\""), 2_000);
}

#[test]
fn publications_do_not_wait_for_crowded_lanes() {
    let (mut shards, [flooder, speaker]) = two_shards_of(1_000);
    let owned = |user: &&str| shards.all[0].port.mesh.home_of(*user).index() == 0;
    let user = ["ann", "bob", "cid", "dan", "eve"].into_iter().find(owned).unwrap();
    let hearer = come(&mut shards, 1, Some(user));
    let channel = room_at(&shards, 0, 0);
    speaker.ask(&format!(r#"{{"type":"join","channel":"{channel}"}}"#));
    shards.come_to_rest(|| {});
    for _ in 0..200 {
        flooder.ask(&format!(r#"{{"type":"direct","user":"{user}","body":1}}"#));
    }
    // The second shard takes no turn: the parcels for it stay where they are.
    (0..100).for_each(|_| shards.turn(0));
    assert!(shards.all[0].port.is_stalled(), "nobody had to wait");
    speaker.ask(&format!(r#"{{"type":"publish","channel":"{channel}","body":"here"}}"#));
    shards.turn(0);
    assert_eq!(told(&speaker, "\"here\""), 1);
    shards.come_to_rest(|| {});
    assert_eq!(told(&hearer, "\"message\""), 200);
}

#[test]
fn a_shard_that_is_told_of_many_all_the_time_answers_asks_too() {
    let (mut shards, flooders) = two_shards_of::<16>(1_000);
    let (watched, channel) = (room_at(&shards, 0, 0), elsewhere(&shards, 0));
    let watchers: [Client; 128] = std::array::from_fn(|_| come(&mut shards, 1, None));
    let speaker = come(&mut shards, 0, None);
    for watcher in &watchers {
        watcher.ask(&format!(r#"{{"type":"join","channel":"{watched}","presence":true}}"#));
    }
    speaker.ask(&format!(r#"{{"type":"join","channel":"{channel}"}}"#));
    shards.come_to_rest(|| {});
    for flooder in &flooders {
        for _ in 0..200 {
            flooder.ask(&format!(r#"{{"type":"join","channel":"{watched}"}}"#));
            flooder.ask(&format!(r#"{{"type":"leave","channel":"{watched}"}}"#));
        }
    }
    let rounds = |shards: &mut Shards, count| {
        for _ in 0..count {
            (0..2).for_each(|shard| shards.turn(shard));
        }
    };
    rounds(&mut shards, 50);
    speaker.ask(&format!(r#"{{"type":"publish","channel":"{channel}","body":"here"}}"#));
    rounds(&mut shards, 20);
    assert!(shards.all[1].port.depths().1 > 0, "nobody floods any more");
    assert_eq!(told(&speaker, "\"here\""), 1);
    shards.come_to_rest(|| {});
}

#[test]
fn a_client_that_was_refused_is_not_refused_again() {
    let mut config = Config::with_cores(Vec::new());
    config.duplicate_user = DuplicateUser::Refuse;
    config.channels_per_shard = 2;
    let mut shards = Shards::new(2, config, 1);
    let leaked = |name: String| -> &'static str { Box::leak(name.into_boxed_str()) };
    let (known, unknown) = (leaked(room_at(&shards, 1, 0)), leaked(room_at(&shards, 1, 1)));
    let owned = |user: &&str| shards.all[0].port.mesh.home_of(*user).index() == 0;
    let user = ["ann", "bob", "cid", "dan", "eve"].into_iter().find(owned);
    // With the default channel it fills the second shard's table.
    let wishes = [(1, Some(known), None), (0, None, user), (0, Some(unknown), user)];
    for (shard, channel, user) in wishes {
        let (stream, _) = Client::connect(Wish { channel, user, ..Wish::default() }, usize::MAX);
        shards.accept(shard, stream);
        shards.come_to_rest(|| {});
    }
    let refused: u64 = shards.all[0].clients.tally.refusals.iter().sum();
    assert_eq!(refused, 1, "the name was taken, before the channel's home had no room");
}
