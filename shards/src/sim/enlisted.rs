//! Single cases of clients that the API puts into channels and takes out of them.

use std::sync::Arc;

use super::books::check_books;
use super::client::{Client, Heard, Wish};
use super::members::{dismiss, enlist};
use super::run::{CHANNELS, Shards};
use crate::config::Config;
use crate::model::channel::NoChannel;
use crate::model::id::ClientId;
use crate::model::past::{Numbering, Since};
use crate::model::seating::Seating;
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules, Subscribe};

fn shards(count: usize, change: impl FnOnce(&mut Config)) -> Shards {
    let history =
        HistoryRules { size: 100, ttl: std::time::Duration::from_mins(5), bytes: 1 << 16 };
    let open = ChannelRules { history, recovery: true, ..ChannelRules::open("") };
    let closed = ChannelRules { subscribe: Subscribe::Nobody, ..ChannelRules::open("staff") };
    let mut config = Config::with_cores(Vec::new());
    config.rules = Arc::new(Rules::new(Marks::default(), open, vec![closed]).unwrap());
    change(&mut config);
    Shards::new(count, config, 3)
}

fn come(shards: &mut Shards, shard: usize, wish: Wish) -> (Client, ClientId) {
    let (stream, client) = Client::connect(wish, usize::MAX);
    shards.accept(shard, stream);
    shards.come_to_rest(|| {});
    let roster = &shards.all[shard].clients.roster;
    let newest = roster.iter().map(|(slot, _)| slot).max().unwrap();
    (client, roster.id(newest))
}

/// A channel that is at home on shard 1.
fn elsewhere(shards: &Shards) -> &'static str {
    let mesh = &shards.all[0].port.mesh;
    let mut names = (0..100).map(|number| format!("room{number}"));
    names.find(|name| mesh.home_of(&**name).index() == 1).unwrap().leak()
}

fn json() -> Wish {
    Wish { json: true, ..Wish::default() }
}

#[test]
fn a_client_is_put_into_a_channel_and_taken_out_and_told_both() {
    let mut shards = shards(2, |_| {});
    let channel = elsewhere(&shards);
    let (client, id) = come(&mut shards, 0, json());
    let (speaker, _) = come(&mut shards, 1, json());
    assert_eq!(enlist(&mut shards, id, channel, None, false), Ok(vec![(id, Seating::UnderWay)]));
    assert_eq!(enlist(&mut shards, id, channel, None, true), Ok(vec![(id, Seating::UnderWay)]));
    shards.come_to_rest(|| {});
    assert_eq!(enlist(&mut shards, id, channel, None, true), Ok(vec![(id, Seating::Member)]));
    let say = |body: &str| {
        speaker.ask(&format!(r#"{{"type":"publish","channel":"{channel}","body":"{body}"}}"#));
    };
    say("heard");
    shards.come_to_rest(|| {});
    assert_eq!(dismiss(&mut shards, id, channel), Ok(1));
    assert_eq!(dismiss(&mut shards, id, channel), Ok(0), "it is out");
    say("not heard");
    shards.come_to_rest(|| {});
    let channel = channel.to_owned();
    let heard = [
        Heard::Joined { channel: channel.clone(), offset: 0, recovered: None },
        Heard::Json { channel: channel.clone(), offset: 1, body: "heard".into() },
        Heard::Left { channel },
    ];
    assert_eq!(client.heard()[1..], heard);
    check_books(&shards.all);
}

#[test]
fn what_was_missed_comes_first_where_that_is_asked_for() {
    let mut shards = shards(2, |_| {});
    let channel = elsewhere(&shards);
    let (client, id) = come(&mut shards, 0, json());
    let (speaker, _) = come(&mut shards, 1, json());
    for body in ["one", "two", "three"] {
        speaker.ask(&format!(r#"{{"type":"publish","channel":"{channel}","body":"{body}"}}"#));
    }
    shards.come_to_rest(|| {});
    let epoch = shards.all[1].rooms.channels.start().epoch;
    let since = Some(Since { epoch: Numbering::Is(epoch), offset: 1 });
    assert_eq!(enlist(&mut shards, id, channel, since, false), Ok(vec![(id, Seating::UnderWay)]));
    shards.come_to_rest(|| {});
    let told: Vec<Option<u64>> = client.heard()[1..].iter().map(offset_of).collect();
    assert_eq!(told, [Some(2), Some(3), None]);
    let last = client.heard().pop().unwrap();
    assert!(matches!(last, Heard::Joined { recovered: Some((None, true)), offset: 3, .. }));
}

fn offset_of(heard: &Heard) -> Option<u64> {
    match heard {
        Heard::Json { offset, .. } => Some(*offset),
        _ => None,
    }
}

#[test]
fn rules_do_not_bind_the_api_and_namespaces_and_bounds_do() {
    let mut shards = shards(1, |config| config.channels_per_client = 2);
    let (client, id) = come(&mut shards, 0, json());
    let member = Ok(vec![(id, Seating::Member)]);
    assert_eq!(enlist(&mut shards, id, "staff:1", None, false), member);
    assert_eq!(enlist(&mut shards, id, "staff:1", None, false), member, "once more is no fault");
    let unknown = Err(NoChannel::UnknownNamespace);
    assert_eq!(enlist(&mut shards, id, "other:1", None, false), unknown);
    assert_eq!(dismiss(&mut shards, id, "other:1"), Err(NoChannel::UnknownNamespace));
    client.ask(r#"{"type":"join","channel":"b"}"#);
    shards.come_to_rest(|| {});
    assert_eq!(enlist(&mut shards, id, "c", None, false), Ok(vec![(id, Seating::Full)]));
    let gone = ClientId { generation: id.generation + 1, ..id };
    assert_eq!(enlist(&mut shards, gone, "b", None, false), Ok(vec![(gone, Seating::Gone)]));
    assert_eq!(dismiss(&mut shards, gone, "b"), Ok(0));
    check_books(&shards.all);
}

#[test]
fn a_plain_client_goes_on_speaking_in_the_channel_of_its_url() {
    let mut shards = shards(1, |_| {});
    let wish = |channel| Wish { channel: Some(channel), ..Wish::default() };
    let (mut client, id) = come(&mut shards, 0, wish(CHANNELS[1]));
    let (first, _) = come(&mut shards, 0, wish(CHANNELS[1]));
    let (second, _) = come(&mut shards, 0, wish(CHANNELS[2]));
    assert_eq!(enlist(&mut shards, id, CHANNELS[2], None, false), Ok(vec![(id, Seating::Member)]));
    client.say(1, 0);
    shards.come_to_rest(|| {});
    assert_eq!(dismiss(&mut shards, id, CHANNELS[1]), Ok(1));
    client.say(2, 0);
    shards.come_to_rest(|| {});
    let plain = |text: &str| Heard::Plain(text.into());
    assert_eq!(first.heard(), [plain("m1-"), plain("m2-")]);
    assert_eq!((second.heard(), client.heard()), (vec![], vec![plain("m1-")]));
    assert_eq!(dismiss(&mut shards, id, CHANNELS[2]), Ok(1));
    client.say(3, 0);
    shards.come_to_rest(|| {});
    assert!(client.stayed() && first.heard().len() == 3);
    check_books(&shards.all);
}
