//! The table of channels and what keeps one in it.

use super::*;
use crate::model::id::Slot;
use crate::model::message::Payload;
use crate::model::shape::{Form, Shape};
use crate::rules::{ChannelRules, Denied, Marks, Standing};

fn channels(count_max: usize, epoch: Epoch) -> Channels {
    Channels::new(count_max, epoch, Arc::default())
}

fn rules_of(namespaces: &[&str]) -> Arc<Rules> {
    let namespaces = namespaces.iter().map(|name| ChannelRules::open(name)).collect();
    Arc::new(Rules::new(Marks::default(), ChannelRules::open(""), namespaces).unwrap())
}

#[test]
fn a_channel_of_an_unknown_namespace_takes_no_room() {
    let mut channels = Channels::new(1, Epoch(1), rules_of(&["chat"]));
    let home = ShardId(0);
    let unknown = channels.find_or_add(&"news:1".into(), home);
    assert_eq!(unknown, Err(NoChannel::UnknownNamespace));
    assert_eq!((channels.len(), channels.forgotten()), (0, 0));
    assert!(channels.find_or_add(&"chat:1".into(), home).is_ok());
    // An unknown one makes nobody go either.
    assert_eq!(channels.find_or_add(&"news:1".into(), home), unknown);
    assert_eq!((channels.len(), channels.forgotten()), (1, 0));
}

#[test]
fn other_rules_reach_the_channels_that_are_known() {
    let mut channels = Channels::new(4, Epoch(1), rules_of(&["chat", "news"]));
    let home = ShardId(0);
    let chat = channels.find_or_add(&"chat:1".into(), home).unwrap();
    let news = channels.find_or_add(&"news:1".into(), home).unwrap();
    channels.set_rules(rules_of(&["chat"]));
    assert!(channels.get(chat).terms.publish_is_free());
    let terms = &channels.get(news).terms;
    assert!(terms.is_gone() && !terms.publish_is_free() && &*terms.rules.name == "news");
    let verdict = channels.rules().may_subscribe(terms, "news:1", Standing::default());
    assert_eq!(verdict, Err(Denied::UnknownNamespace));
    channels.set_rules(rules_of(&["chat", "news"]));
    assert!(!channels.get(news).terms.is_gone());
}

#[test]
fn under_pressure_only_idle_channels_are_forgotten() {
    let mut channels = channels(2, Epoch(1));
    let home = ShardId(0);
    let busy = channels.find_or_add(&"busy".into(), home).unwrap();
    channels.at(busy).members.add(Slot(3), Form::default());
    channels.find_or_add(&"idle".into(), home).unwrap();
    let third = channels.find_or_add(&"third".into(), home).unwrap();
    assert_eq!(channels.find("idle"), None);
    assert_eq!(channels.find("third"), Some(third));
    channels.at(third).members.add(Slot(4), Form::default());
    assert_eq!(channels.find_or_add(&"fourth".into(), home), Err(NoChannel::NoRoom));
    assert_eq!(channels.find_or_add(&"busy".into(), home), Ok(busy));
}

/// One idle channel among many is found in time, and no single look is at all of them.
#[test]
fn a_full_table_is_looked_through_in_parts() {
    let count = 4 * LOOKS_MAX;
    let mut channels = channels(count, Epoch(1));
    for number in 0..count {
        let name: Arc<str> = number.to_string().into();
        let index = channels.find_or_add(&name, ShardId(0)).unwrap();
        if number != count - 1 {
            channels.at(index).members.add(Slot(1), Form::default());
        }
    }
    let tries = (1..10).find(|_| channels.find_or_add(&"new".into(), ShardId(0)).is_ok());
    assert_eq!(tries, Some(4));
    assert_eq!((channels.len(), channels.forgotten()), (count, 1));
}

#[test]
fn a_channel_whose_home_still_counts_on_this_shard_is_not_forgotten() {
    let mut channels = channels(1, Epoch(1));
    let index = channels.find_or_add(&"left".into(), ShardId(1)).unwrap();
    channels.at(index).subscription = Subscription::Live;
    assert_eq!(channels.find_or_add(&"next".into(), ShardId(1)), Err(NoChannel::NoRoom));
    channels.at(index).subscription = Subscription::None;
    assert!(channels.find_or_add(&"next".into(), ShardId(1)).is_ok());
}

#[test]
fn a_channel_that_comes_back_after_it_was_forgotten_has_another_epoch() {
    let mut channels = channels(1, Epoch(u32::MAX));
    let home = ShardId(0);
    let index = channels.find_or_add(&"room".into(), home).unwrap();
    let before = channels.get(index).order.newest.epoch;
    channels.find_or_add(&"other".into(), home).unwrap();
    let index = channels.find_or_add(&"room".into(), home).unwrap();
    assert_ne!(channels.get(index).order.newest.epoch, before);
}

#[test]
fn previous_publications_of_all_channels_have_one_bound() {
    let rules = |delta| {
        let rules = ChannelRules { delta, ..ChannelRules::open("") };
        Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap())
    };
    let mut channels = Channels::new(2, Epoch(1), rules(Delta::Fossil));
    let [one, other] = ["one", "other"].map(|name| {
        let index = channels.find_or_add(&name.into(), ShardId(0)).unwrap();
        channels.at(index).members.add(Slot(1), Form::first(Shape(0), true));
        index
    });
    let mut keep = |index, part: usize| {
        let publication = Publication {
            channel: "x".into(),
            offset: 1,
            time_ms: 0,
            ingress_ns: 0,
            from: None,
            details: None,
            payload: Payload::Text("x".repeat(PREVIOUS_BYTES_MAX * part / 100).into()),
        };
        let is_kept = channels.keep_previous(index, Some(&Arc::new(publication)));
        (is_kept, channels.get(index).previous.is_some())
    };
    assert_eq!(keep(one, 60), (true, true));
    assert_eq!(keep(other, 60), (false, false));
    assert_eq!(keep(one, 10), (true, true), "in the place of the one before");
    assert_eq!(keep(other, 60), (true, true));
    assert_eq!(keep(one, 60), (false, false), "not even the one before");
    channels.set_rules(rules(Delta::Off));
    let newest = channels.get(other).previous.clone();
    assert!(channels.keep_previous(other, newest.as_ref()));
    assert!(channels.get(other).previous.is_none(), "nobody asks for it under these rules");
    assert_eq!(channels.previous_bytes(), 0);
}
