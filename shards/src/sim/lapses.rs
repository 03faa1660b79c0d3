//! Subscriptions that end with the token for their channel, or go on with a newer one.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::books::check_books;
use super::client::{Client, Wish};
use super::members::{dismiss, enlist};
use super::run::Shards;
use crate::config::{Config, DuplicateUser};
use crate::mesh::reply::Answers;
use crate::model::id::ClientId;
use crate::model::revoked::Revocation;
use crate::model::seating::Seating;
use crate::proof::{Asking, ChannelProof, Proof, Prover, TokenFault};
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};

/// Takes tokens for a channel such as `$room.40.7`: the channel, seconds to live, or nothing, and
/// an id. Tokens of connections name a user.
#[derive(Debug)]
struct Trusting;

impl Prover for Trusting {
    fn connection(&self, token: &str, _: u64) -> Result<Proof, TokenFault> {
        Ok(Proof { user: Some(token.into()), ..Proof::default() })
    }

    fn subscription(
        &self,
        token: &str,
        asking: Asking<'_>,
        now_s: u64,
    ) -> Result<ChannelProof, TokenFault> {
        let parts: Vec<&str> = token.split('.').collect();
        let [channel, lasts, id] = parts[..] else { return Err(TokenFault::Invalid) };
        if channel != asking.channel {
            return Err(TokenFault::Invalid);
        }
        let expires = lasts.parse().ok().map(|lasts: u64| now_s + lasts);
        Ok(ChannelProof {
            channel: channel.into(),
            expires,
            id: Some(id.into()),
            ..ChannelProof::default()
        })
    }
}

pub(super) fn shards(count: usize, seed: u64) -> Shards {
    let history = HistoryRules { size: 1000, ttl: Duration::from_hours(1), bytes: 1 << 20 };
    let rules = ChannelRules { history, recovery: true, ..ChannelRules::open("") };
    let mut config = Config::with_cores(Vec::new());
    config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    config.prover = Some(Arc::new(Trusting));
    config.duplicate_user = DuplicateUser::Allow;
    // Only tokens end anything here.
    config.ping_interval = Duration::ZERO;
    Shards::new(count, config, seed)
}

pub(super) fn come(shards: &mut Shards, shard: usize) -> (Client, ClientId) {
    let (stream, client) = Client::connect(Wish::JSON, usize::MAX);
    shards.accept(shard, stream);
    shards.come_to_rest(|| {});
    let roster = &shards.all[shard].clients.roster;
    let newest = roster.iter().map(|(slot, _)| slot).max().unwrap();
    (client, roster.id(newest))
}

/// A client of Centrifugo's protocol that is connected.
fn come_otherwise(shards: &mut Shards, shard: usize) -> Client {
    let (stream, client) = Client::silent(Wish::JSON, usize::MAX);
    let head = Wish::JSON.head().replace("/ws?", "/connection/websocket?");
    client.send(head.replace("Sec-WebSocket-Protocol: stentor.v1\r\n", "").as_bytes());
    shards.accept(shard, stream);
    client.ask(r#"{"id":1,"connect":{}}"#);
    shards.come_to_rest(|| {});
    client
}

pub(super) fn pass(shards: &mut Shards, seconds: u64) {
    shards.now.ns += seconds * 1_000_000_000;
    shards.come_to_rest(|| {});
}

/// All that a client was told in JSON.
pub(super) fn told(client: &Client) -> Vec<Value> {
    let texts = client.frames().into_iter().filter(|frame| frame.opcode == 1);
    texts.map(|frame| serde_json::from_str(frame.text()).unwrap()).collect()
}

fn join(channel: &str, token: &str) -> String {
    format!(r#"{{"type":"join","channel":"{channel}","token":"{token}","id":1}}"#)
}

fn refresh(channel: &str, token: &str) -> String {
    format!(r#"{{"type":"refresh","channel":"{channel}","token":"{token}","id":2}}"#)
}

fn publish(shards: &mut Shards, speaker: &Client, channel: &str, body: u64) {
    speaker.ask(&format!(r#"{{"type":"publish","channel":"{channel}","body":{body}}}"#));
    shards.come_to_rest(|| {});
}

/// The bodies that a client was told.
fn bodies(client: &Client) -> Vec<u64> {
    told(client).iter().filter_map(|one| one["body"].as_u64()).collect()
}

#[test]
fn a_subscription_ends_with_its_token_unless_a_newer_one_comes() {
    let mut shards = shards(2, 1);
    let [(ends, _), (stays, _), (speaker, _)] = [0, 1, 0].map(|shard| come(&mut shards, shard));
    for (client, token) in [(&ends, "$room.100.0"), (&stays, "$room.100.0"), (&speaker, "$room..0")]
    {
        client.ask(&join("$room", token));
    }
    shards.come_to_rest(|| {});
    let joined = told(&ends).pop().unwrap();
    assert!((99..=100).contains(&joined["expires"].as_u64().unwrap()), "{joined}");
    assert_eq!(told(&speaker).pop().unwrap().get("expires"), None);
    publish(&mut shards, &speaker, "$room", 1);
    pass(&mut shards, 60);
    assert_eq!(told(&ends).len(), 3, "the greeting, the answer and a message");
    pass(&mut shards, 15);
    for client in [&ends, &stays] {
        let expiring = told(client).pop().unwrap();
        let left_s = expiring["in"].as_u64().unwrap();
        assert_eq!(
            (&expiring["type"], &expiring["channel"]),
            (&"expiring".into(), &"$room".into())
        );
        assert!((20..=25).contains(&left_s), "{expiring}");
    }
    stays.ask(&refresh("$room", "$other.100.0"));
    shards.come_to_rest(|| {});
    assert_eq!(told(&stays).pop().unwrap()["code"], "bad_token");
    stays.ask(&refresh("$room", "$room.100.0"));
    shards.come_to_rest(|| {});
    let refreshed = told(&stays).pop().unwrap();
    assert_eq!((&refreshed["type"], &refreshed["channel"]), (&"refreshed".into(), &"$room".into()));
    assert!(refreshed["expires"].as_u64().unwrap() >= 99 && refreshed["id"] == 2, "{refreshed}");
    publish(&mut shards, &speaker, "$room", 2);
    pass(&mut shards, 25);
    publish(&mut shards, &speaker, "$room", 3);
    let left = serde_json::json!({ "type": "left", "channel": "$room", "reason": "expired" });
    assert_eq!(told(&ends).pop(), Some(left));
    assert_eq!((bodies(&ends), bodies(&stays)), (vec![1, 2], vec![1, 2, 3]));
    ends.ask(&refresh("$room", "$room.100.0"));
    shards.come_to_rest(|| {});
    assert_eq!(told(&ends).pop().unwrap()["code"], "not_joined", "too late");
    pass(&mut shards, 70);
    assert_eq!(told(&stays).pop().unwrap()["type"], "expiring", "once more");
    assert!(ends.stayed() && stays.stayed(), "the connections go on");
    let count = |of: fn(&crate::client::tally::Tally) -> u64| {
        shards.all.iter().map(|shard| of(&shard.clients.tally)).sum::<u64>()
    };
    assert_eq!(count(|tally| tally.expired_subscriptions), 1);
    assert_eq!(count(|tally| tally.refreshed_subscriptions), 1);
    check_books(&shards.all);
}

#[test]
fn clients_of_the_other_protocol_bring_a_newer_token_when_theirs_has_ended() {
    let mut shards = shards(2, 1);
    let (speaker, _) = come(&mut shards, 1);
    let [ends, stays] = [0, 1].map(|shard| come_otherwise(&mut shards, shard));
    for client in [&ends, &stays] {
        client.ask(r#"{"id":2,"subscribe":{"channel":"$room","token":"$room.40.0"}}"#);
    }
    shards.come_to_rest(|| {});
    let reply = told(&ends).pop().unwrap();
    assert_eq!(reply["subscribe"]["expires"], true);
    assert!((39..=40).contains(&reply["subscribe"]["ttl"].as_u64().unwrap()), "{reply}");
    pass(&mut shards, 45);
    stays.ask(r#"{"id":3,"sub_refresh":{"channel":"$room","token":"$room.40.0"}}"#);
    shards.come_to_rest(|| {});
    let reply = told(&stays).pop().unwrap();
    assert_eq!((&reply["id"], &reply["sub_refresh"]["expires"]), (&3.into(), &true.into()));
    assert!(reply["sub_refresh"]["ttl"].as_u64().unwrap() >= 39, "{reply}");
    speaker.ask(&join("$room", "$room..0"));
    publish(&mut shards, &speaker, "$room", 1);
    pass(&mut shards, 25);
    publish(&mut shards, &speaker, "$room", 2);
    let heard = |client: &Client| {
        let pushes = told(client).into_iter();
        pushes.filter_map(|one| one["push"]["pub"]["data"].as_u64()).collect::<Vec<_>>()
    };
    let last = told(&ends).pop().unwrap();
    assert_eq!(last["push"]["unsubscribe"]["code"], 2501, "{last}");
    assert_eq!((heard(&ends), heard(&stays)), (vec![1], vec![1, 2]));
    for (id, request, code) in [
        (4, r#"{"channel":"$room","token":"$room.9.0"}"#, 103),
        (5, r#"{"channel":"$room"}"#, 107),
        (6, r#"{"channel":"$room","token":"t","type":1}"#, 108),
    ] {
        ends.ask(&format!(r#"{{"id":{id},"sub_refresh":{request}}}"#));
        shards.come_to_rest(|| {});
        assert_eq!(told(&ends).pop().unwrap()["error"]["code"], code, "{request}");
    }
    check_books(&shards.all);
}

#[test]
fn a_client_with_short_tokens_is_not_told_at_once_again() {
    let mut shards = shards(1, 1);
    let (client, _) = come(&mut shards, 0);
    let expiring = || told(&client).iter().filter(|one| one["type"] == "expiring").count();
    client.ask(&join("$room", "$room.20.0"));
    shards.come_to_rest(|| {});
    pass(&mut shards, 1);
    assert_eq!(expiring(), 1, "at once");
    for round in 1..4 {
        client.ask(&refresh("$room", "$room.20.0"));
        shards.come_to_rest(|| {});
        pass(&mut shards, 5);
        assert_eq!(expiring(), round, "not yet");
        pass(&mut shards, 7);
        assert_eq!(expiring(), round + 1, "halfway");
    }
    assert!(told(&client).iter().all(|one| one["type"] != "left"), "it has never been out");
}

#[test]
fn a_subscription_that_has_ended_leaves_nothing_behind() {
    let mut shards = shards(1, 1);
    let (client, id) = come(&mut shards, 0);
    client.ask(&join("$room", "$room.5.0"));
    pass(&mut shards, 1);
    // The API takes the client out and puts it back: it has no end then.
    assert_eq!(dismiss(&mut shards, id, "$room"), Ok(1));
    assert!(!shards.all[0].clients.has_ends());
    assert!(shards.all[0].clients.roster.iter().all(|(_, client)| client.extra.is_none()));
    let member = Ok(vec![(id, Seating::Member)]);
    assert_eq!(enlist(&mut shards, id, "$room", None, false), member);
    pass(&mut shards, 100);
    assert_eq!(enlist(&mut shards, id, "$room", None, true), member, "it stays");
    // The API does not prolong what a token limits.
    client.ask(&join("$other", "$other.5.0"));
    shards.come_to_rest(|| {});
    assert_eq!(enlist(&mut shards, id, "$other", None, false), member);
    pass(&mut shards, 10);
    let outside = Ok(vec![(id, Seating::Outside)]);
    assert_eq!(enlist(&mut shards, id, "$other", None, true), outside);
    assert!(!shards.all[0].clients.has_ends());
}

#[test]
fn a_token_that_ends_on_the_way_lets_nobody_in() {
    let mut shards = shards(2, 1);
    let home = |name: &String| shards.all[0].port.mesh.home_of(&**name).index();
    let channel = (0..100).map(|number| format!("$room{number}")).find(|name| home(name) == 1);
    let channel = channel.unwrap();
    let (speaker, _) = come(&mut shards, 1);
    speaker.ask(&join(&channel, &format!("{channel}..0")));
    for body in 1..=20 {
        publish(&mut shards, &speaker, &channel, body);
    }
    let epoch = shards.all[1].rooms.channels.start().epoch;
    let (client, _) = come(&mut shards, 0);
    let since = format!(r#""since":{{"epoch":"{epoch}","offset":0}}"#);
    let asks = |client: &Client| {
        client.ask(&format!(
            r#"{{"type":"join","channel":"{channel}","token":"{channel}.5.0","id":7,{since}}}"#
        ));
    };
    asks(&client);
    shards.turn(0);
    shards.turn(1);
    pass(&mut shards, 10);
    let error = told(&client).pop().unwrap();
    assert_eq!((&error["code"], &error["id"]), (&"bad_token".into(), &7.into()), "not in at all");
    assert_eq!(bodies(&client), [0_u64; 0]);
    // Some pages have come, and the others are told no more.
    asks(&client);
    while bodies(&client).is_empty() {
        shards.turn(0);
        shards.turn(1);
    }
    let before = bodies(&client);
    pass(&mut shards, 10);
    assert!(before.len() < 20 && bodies(&client) == before, "{before:?}");
    assert_eq!(told(&client).pop().unwrap()["code"], "bad_token");
    check_books(&shards.all);
}

#[test]
fn a_revoked_token_opens_no_channel() {
    let mut shards = shards(1, 1);
    let (client, _) = come(&mut shards, 0);
    let revocation = Revocation::Token { id: "stolen".into(), at_s: 1 };
    let (reply, _answers) = Answers::expect(1);
    shards.all[0].obey(crate::mesh::parcel::Instruction::Revoke { revocation, reply });
    client.ask(&join("$room", "$room.50.stolen"));
    client.ask(&join("$room", "$room.50.other"));
    shards.come_to_rest(|| {});
    let told = told(&client);
    assert_eq!((&told[1]["code"], &told[2]["type"]), (&"bad_token".into(), &"joined".into()));
}
