//! Clients that come back for what they missed, and what a channel keeps for them.

use std::sync::Arc;
use std::time::Duration;

use super::books::check_books;
use super::client::{Client, Heard, Wish};
use super::run::Shards;
use crate::client::TOLD_PER_TURN;
use crate::config::Config;
use crate::model::channel::Channel;
use crate::model::history::Query;
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};

const JSON: Wish = Wish::JSON;

/// Shards whose channels keep much, and let clients recover it if `recovery` says so.
fn shards(count: usize, recovery: bool) -> Shards {
    let history = HistoryRules { size: 1000, ttl: Duration::from_mins(5), bytes: 1 << 20 };
    let rules = ChannelRules { history, recovery, ..ChannelRules::open("") };
    let mut config = Config::with_cores(Vec::new());
    config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    config.ping_interval = Duration::from_secs(1);
    config.pong_timeout = Duration::from_mins(1);
    Shards::new(count, config, 1)
}

fn come(shards: &mut Shards, shard: usize, wish: Wish) -> Client {
    let (stream, client) = Client::connect(wish, usize::MAX);
    shards.accept(shard, stream);
    shards.come_to_rest(|| {});
    client
}

/// A channel whose home is this shard.
fn channel_of(shards: &Shards, home: usize) -> &'static str {
    let mesh = &shards.all[0].port.mesh;
    let mut names = (0..100).map(|number| format!("room{number}"));
    names.find(|name| mesh.home_of(&**name).index() == home).unwrap().leak()
}

fn publish(shards: &mut Shards, speaker: &Client, channel: &str, count: usize) {
    for number in 0..count {
        let body = format!("a message of 24 b {number:04}");
        speaker.ask(&format!(r#"{{"type":"publish","channel":"{channel}","body":"{body}"}}"#));
    }
    shards.come_to_rest(|| {});
}

fn at_home<'a>(shards: &'a Shards, home: usize, channel: &str) -> &'a Channel {
    let channels = &shards.all[home].rooms.channels;
    channels.get(channels.find(channel).unwrap())
}

/// A request to join a channel for all behind an offset.
fn join(shards: &Shards, home: usize, channel: &str, offset: u64) -> String {
    let epoch = at_home(shards, home, channel).order.newest.epoch;
    let since = format!(r#"{{"epoch":"{epoch}","offset":{offset}}}"#);
    format!(r#"{{"type":"join","channel":"{channel}","since":{since}}}"#)
}

fn messages(client: &Client) -> Vec<u64> {
    let heard = client.heard().into_iter();
    heard
        .filter_map(|one| if let Heard::Json { offset, .. } = one { Some(offset) } else { None })
        .collect()
}

#[test]
fn the_answer_to_an_abandoned_join_is_not_taken_for_that_of_the_next_one() {
    let mut shards = shards(2, true);
    let channel = channel_of(&shards, 1);
    let member = come(&mut shards, 0, Wish { channel: Some(channel), ..JSON });
    publish(&mut shards, &member, channel, 3);
    let client = come(&mut shards, 0, JSON);
    // The home does not answer yet.
    client.ask(&join(&shards, 1, channel, 0));
    client.ask(&format!(r#"{{"type":"leave","channel":"{channel}"}}"#));
    // With the next ping the client's shard frees what it keeps of requests.
    for _ in 0..40 {
        shards.now.ns += 50_000_000;
        shards.turn(0);
    }
    let keeps = |shards: &Shards| {
        let mut clients = shards.all[0].clients.roster.iter();
        clients.any(|(_, client)| client.brief_ref().is_some())
    };
    assert!(!keeps(&shards));
    client.ask(&join(&shards, 1, channel, 3));
    shards.come_to_rest(|| {});
    let joined = |one: &Heard| matches!(one, Heard::Joined { recovered: Some((_, true)), .. });
    assert!(client.heard().iter().any(joined), "{:?}", client.heard());
    assert_eq!(messages(&client), [0_u64; 0], "nothing was missed behind the third one");
    check_books(&shards.all);
}

#[test]
fn the_newest_messages_come_in_pages_from_a_channel_that_recovers_nothing() {
    let mut shards = shards(2, false);
    for home in 0..2 {
        let channel = channel_of(&shards, home);
        let speaker = come(&mut shards, 0, JSON);
        publish(&mut shards, &speaker, channel, 5);
        let wish = Wish { channel: Some(channel), last: Some(4), json: false, ..JSON };
        let client = come(&mut shards, 0, wish);
        assert_eq!((client.heard().len(), client.start()), (4, Some(1)));
        assert!(client.stayed());
        // A position is not honoured here.
        let json = come(&mut shards, 0, JSON);
        json.ask(&join(&shards, home, channel, 1));
        shards.come_to_rest(|| {});
        assert_eq!(messages(&json), [0_u64; 0]);
    }
}

#[test]
fn a_client_that_takes_its_pages_at_once_shares_the_turns_of_their_home() {
    const MISSED: usize = 400;
    let mut shards = shards(1, true);
    let speaker = come(&mut shards, 0, JSON);
    publish(&mut shards, &speaker, "room", MISSED);
    let client = come(&mut shards, 0, JSON);
    let before = shards.all[0].clients.tally.bytes_out;
    client.ask(&join(&shards, 0, "room", 0));
    shards.turn(0);
    let first = messages(&client).len();
    assert!((1..=TOLD_PER_TURN / 8).contains(&first), "{first} pages in one turn");
    shards.come_to_rest(|| {});
    assert!(messages(&client).into_iter().eq(1..=MISSED as u64));
    let texts = client.frames().into_iter().map(|frame| frame.text().to_owned());
    let told = texts.filter(|text| text.contains("\"message\""));
    let bytes: usize = told.map(|text| text.len() + if text.len() < 126 { 2 } else { 4 }).sum();
    assert_eq!(shards.all[0].clients.tally.bytes_out - before, bytes as u64);
}

#[test]
fn frames_that_wait_count_with_all_their_bytes() {
    let mut shards = shards(1, true);
    let wish = Wish { channel: Some("room"), ..JSON };
    let [mut slow, speaker] = [(); 2].map(|()| come(&mut shards, 0, wish));
    slow.stall();
    let before = shards.all[0].clients.tally.bytes_out;
    slow.take_outbound();
    speaker.take_outbound();
    publish(&mut shards, &speaker, "room", 3);
    slow.take_up(usize::MAX);
    shards.come_to_rest(|| {});
    let bytes = slow.take_outbound().len() + speaker.take_outbound().len();
    assert_eq!(shards.all[0].clients.tally.bytes_out - before, bytes as u64);
}

#[test]
fn a_welcome_tells_the_position_in_front_of_the_first_message() {
    let mut shards = shards(1, true);
    let speaker = come(&mut shards, 0, JSON);
    publish(&mut shards, &speaker, "room", 5);
    let epoch = at_home(&shards, 0, "room").order.newest.epoch;
    let wish = Wish { channel: Some("room"), since: Some((epoch, 2)), ..JSON };
    let client = come(&mut shards, 0, wish);
    let welcome: serde_json::Value = serde_json::from_str(client.frames()[0].text()).unwrap();
    assert_eq!((welcome["type"].as_str(), welcome["offset"].as_u64()), (Some("welcome"), Some(2)));
    assert_eq!(messages(&client), [3, 4, 5]);
}

#[test]
fn a_history_of_another_epoch_is_refused() {
    let mut shards = shards(1, true);
    let client = come(&mut shards, 0, JSON);
    publish(&mut shards, &client, "room", 2);
    for epoch in ["00000000", "nonsense", ""] {
        let since = format!(r#"{{"epoch":"{epoch}","offset":0}}"#);
        client.take_outbound();
        client.ask(&format!(r#"{{"type":"history","channel":"room","id":1,"since":{since}}}"#));
        shards.come_to_rest(|| {});
        let answer = String::from_utf8_lossy(&client.take_outbound()).into_owned();
        assert!(answer.contains("\"wrong_epoch\""), "{epoch}: {answer}");
    }
}

/// Lets a client of Centrifugo's protocol in.
fn come_from_centrifugo(shards: &mut Shards) -> Client {
    let (stream, client) = Client::silent(JSON, usize::MAX);
    let head = JSON.head().replace("/ws?", "/connection/websocket?");
    client.send(head.replace("Sec-WebSocket-Protocol: stentor.v1\r\n", "").as_bytes());
    shards.accept(0, stream);
    client.ask(r#"{"id":1,"connect":{}}"#);
    client
}

#[test]
fn a_client_of_centrifugo_may_leave_the_epoch_empty_or_demand_everything() {
    let mut shards = shards(1, true);
    let speaker = come(&mut shards, 0, JSON);
    publish(&mut shards, &speaker, "room", 30);
    for (epoch, offset, flag, words) in [
        ("", 28, 0, "\"recovered\":true"),
        ("", 28, 2, "\"recovered\":true"),
        ("", 99, 2, "\"code\":112"),
        ("nonsense", 28, 2, "\"code\":112"),
        ("nonsense", 28, 0, "\"was_recovering\":true"),
    ] {
        let mut client = come_from_centrifugo(&mut shards);
        let recover = format!(r#""recover":true,"epoch":"{epoch}","offset":{offset}"#);
        let subscribe = format!(r#"{{"channel":"room",{recover},"flag":{flag}}}"#);
        client.ask(&format!(r#"{{"id":2,"subscribe":{subscribe}}}"#));
        shards.come_to_rest(|| {});
        let told = client.frames().iter().any(|frame| frame.text().contains(words));
        assert!(told, "{epoch} {flag}: {:?}", client.frames());
        client.goodbye();
    }
}

#[test]
fn kept_publications_share_the_name_of_their_channel() {
    let mut shards = shards(2, true);
    let channel = channel_of(&shards, 1);
    let speaker = come(&mut shards, 0, JSON);
    publish(&mut shards, &speaker, channel, 2);
    let channel = at_home(&shards, 1, channel);
    let all = Query { beyond: None, newest_first: false, limit: 10, bytes: usize::MAX };
    let page = channel.order.history.as_ref().unwrap().page(&all);
    assert_eq!(page.publications.len(), 2);
    assert!(page.publications.iter().all(|one| Arc::ptr_eq(&one.channel, &channel.name)));
}

#[test]
fn a_client_hears_what_it_says_behind_its_join_of_a_channel_without_history() {
    let mut shards = Shards::new(2, Config::with_cores(Vec::new()), 1);
    let channel = channel_of(&shards, 1);
    let member = come(&mut shards, 1, Wish { channel: Some(channel), ..JSON });
    publish(&mut shards, &member, channel, 3);
    for (offset, all_heard) in [(1, false), (4, true)] {
        let mut client = come(&mut shards, 0, JSON);
        // Its shard is not subscribed yet: the message may be numbered before the join is done.
        client.ask(&join(&shards, 1, channel, offset));
        client.ask(&format!(r#"{{"type":"publish","channel":"{channel}","body":"own"}}"#));
        for _ in 0..3 {
            shards.turn(0);
        }
        shards.come_to_rest(|| {});
        let next = at_home(&shards, 1, channel).order.newest.offset;
        assert_eq!(messages(&client), [next], "{:?}", client.heard());
        let verdict = |one: &Heard| match one {
            Heard::Joined { recovered: Some((_, told)), .. } => *told == all_heard,
            _ => false,
        };
        assert!(client.heard().iter().any(verdict), "{:?}", client.heard());
        client.goodbye();
        shards.come_to_rest(|| {});
    }
}

#[test]
fn a_client_that_loses_the_rest_of_one_channel_is_told_of_the_others() {
    let history = HistoryRules { size: 1000, ttl: Duration::from_mins(5), bytes: 1 << 20 };
    let rules = ChannelRules { history, recovery: true, ..ChannelRules::open("") };
    let mut config = Config::with_cores(Vec::new());
    config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    // So small that one page is asked for at a time.
    config.outbox_bytes = 64;
    let mut shards = Shards::new(2, config, 1);
    let home = |name: &String| shards.all[0].port.mesh.home_of(&**name).index();
    let names = (0..100).map(|number| format!("room{number}"));
    let names: Vec<String> = names.filter(|name| home(name) == 1).take(2).collect();
    let [first, second] = [0, 1].map(|place| &*names[place]);
    let speaker = come(&mut shards, 1, JSON);
    for channel in [first, second] {
        publish(&mut shards, &speaker, channel, 3);
    }
    let epoch = shards.all[1].rooms.channels.start().epoch;

    let client = come_from_centrifugo(&mut shards);
    for (id, channel) in [(2, first), (3, second)] {
        let recover = format!(r#""recover":true,"epoch":"{epoch}","offset":0"#);
        client.ask(&format!(r#"{{"id":{id},"subscribe":{{"channel":"{channel}",{recover}}}}}"#));
    }
    let told = |text: &str| client.frames().iter().any(|frame| frame.text().contains(text));
    for _ in 0..20 {
        shards.turn(0);
        if told("\"recovered\":true") {
            break;
        }
        shards.turn(1);
    }
    assert!(told(&format!("\"channel\":\"{first}\",\"pub\"")), "{:?}", client.frames());
    let index = shards.all[1].rooms.channels.find(first).unwrap();
    shards.all[1].rooms.remove_history(index);
    shards.come_to_rest(|| {});
    assert!(told("\"unsubscribe\":{\"code\":2500"), "{:?}", client.frames());
    assert!(told("\"id\":3,\"subscribe\""), "{:?}", client.frames());
    check_books(&shards.all);
}
