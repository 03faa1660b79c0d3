//! Clients with tokens under seeded schedules: they come, refresh, end and are revoked in any
//! order, and the tables of the shards agree throughout.

use std::sync::Arc;
use std::time::Duration;

use super::books::check_books;
use super::client::{Client, Heard, Wish};
use super::dice::Dice;
use super::run::{CHANNELS, Shards, USERS};
use crate::close::CloseReason;
use crate::config::{Config, DuplicateUser};
use crate::mesh::parcel::{Fate, Instruction, Whom};
use crate::mesh::reply::Answers;
use crate::model::revoked::Revocation;
use crate::proof::{Asking, ChannelProof, Proof, Prover, TokenFault};
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};

/// Takes tokens such as `ana.60.5.t1.news`: user, seconds to live (or nothing), time of issue, id
/// and channel.
#[derive(Debug)]
struct Trusting;

impl Prover for Trusting {
    fn connection(&self, token: &str, now_s: u64) -> Result<Proof, TokenFault> {
        let parts: Vec<&str> = token.split('.').collect();
        let [user, lasts, issued, id, channel] = parts[..] else {
            return Err(TokenFault::Invalid);
        };
        let text = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        let lasts: Option<u64> = lasts.parse().ok();
        if lasts == Some(0) {
            return Err(TokenFault::Expired);
        }
        Ok(Proof {
            user: text(user),
            expires: lasts.map(|lasts| now_s + lasts),
            issued: issued.parse().ok(),
            id: text(id),
            channels: text(channel).into_iter().collect(),
            ..Proof::default()
        })
    }

    fn subscription(&self, _: &str, _: Asking<'_>, _: u64) -> Result<ChannelProof, TokenFault> {
        Err(TokenFault::Invalid)
    }
}

fn shards(count: usize, seed: u64) -> Shards {
    let mut config = Config::with_cores(Vec::new());
    config.prover = Some(Arc::new(Trusting));
    config.duplicate_user = DuplicateUser::Allow;
    // Only tokens end clients here.
    config.ping_interval = Duration::ZERO;
    Shards::new(count, config, seed)
}

fn connect(shards: &mut Shards, shard: usize, wish: Wish, token: &str) -> Client {
    let (stream, client) = Client::silent(wish, usize::MAX);
    client.send(wish.head().replace("/ws?", &format!("/ws?token={token}&")).as_bytes());
    shards.accept(shard, stream);
    client
}

/// The close code that a client was told, if any.
fn code_of(client: &Client) -> Option<u16> {
    let frames = client.frames();
    let close = frames.iter().find(|frame| frame.opcode == 8)?;
    Some(u16::from_be_bytes(close.payload[..2].try_into().unwrap()))
}

fn pass(shards: &mut Shards, seconds: u64) {
    shards.now.ns += seconds * 1_000_000_000;
    shards.come_to_rest(|| {});
}

#[test]
fn a_client_ends_with_its_token_unless_it_refreshes() {
    let mut shards = shards(1, 1);
    let json = Wish { json: true, ..Wish::default() };
    let ends = connect(&mut shards, 0, json, "ana.100...");
    let plain = connect(&mut shards, 0, Wish::default(), "bob.100...");
    let stays = connect(&mut shards, 0, json, "cid.100...");
    let forever = connect(&mut shards, 0, json, "ana....");
    shards.come_to_rest(|| {});
    pass(&mut shards, 60);
    let told = |client: &Client| {
        let texts = client.frames().into_iter().filter(|frame| frame.opcode == 1);
        texts.filter(|frame| frame.text().contains("expiring")).count()
    };
    assert_eq!((told(&ends), ends.heard().len()), (0, 1), "the greeting and nothing else");
    pass(&mut shards, 15);
    assert_eq!((told(&ends), told(&stays), plain.frames().len()), (1, 1, 0));
    let words = ends.frames().last().unwrap().text().to_owned();
    assert!(words.contains("\"in\":2"), "some seconds before thirty: {words}");
    stays.ask(r#"{"type":"refresh","token":"bob.100..."}"#);
    pass(&mut shards, 2);
    assert!(stays.frames().last().unwrap().text().contains("bad_token"), "another user");
    pass(&mut shards, 1);
    stays.ask(r#"{"type":"refresh","token":"cid.100..."}"#);
    shards.come_to_rest(|| {});
    pass(&mut shards, 30);
    assert_eq!((code_of(&ends), code_of(&plain)), (Some(3005), Some(3005)));
    assert!(stays.stayed() && forever.stayed());
    pass(&mut shards, 50);
    assert_eq!((code_of(&stays), told(&stays)), (None, 2));
    pass(&mut shards, 30);
    assert_eq!(code_of(&stays), Some(3005));
    assert!(forever.stayed() && !shards.all[0].clients.has_ends());
}

#[test]
fn clients_without_a_token_keep_no_memory_for_one() {
    let mut shards = shards(1, 1);
    let (stream, client) = Client::connect(Wish::default(), usize::MAX);
    shards.accept(0, stream);
    shards.come_to_rest(|| {});
    assert!(client.stayed());
    assert!(shards.all[0].clients.roster.iter().all(|(_, client)| client.extra.is_none()));
}

#[test]
fn a_token_that_is_revoked_while_its_client_waits_does_not_open() {
    let mut shards = shards(2, 1);
    let elsewhere = USERS.iter().find(|user| shards.all[0].port.mesh.home_of(**user).index() == 1);
    let user: Arc<str> = (*elsewhere.unwrap()).into();
    let token = format!("{user}..5..");
    let waits = connect(&mut shards, 0, Wish::default(), &token);
    shards.turn(0);
    let revocation = Revocation::User { user, before_s: 6 };
    assert_eq!(shards.all[0].revoke(&revocation), 1);
    shards.come_to_rest(|| {});
    assert!(waits.is_closed() && waits.outbound().is_empty(), "not even an answer");
    let later = connect(&mut shards, 0, Wish::default(), &token);
    shards.come_to_rest(|| {});
    let answer = String::from_utf8(later.outbound()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401 ") && answer.contains("revoked"), "{answer}");
}

#[test]
fn channels_of_a_token_wait_while_their_client_is_told_what_it_missed_in_another() {
    let history = HistoryRules { size: 100, ttl: Duration::from_mins(5), bytes: 1 << 20 };
    let rules = ChannelRules { history, recovery: true, ..ChannelRules::open("") };
    let mut config = Config::with_cores(Vec::new());
    config.prover = Some(Arc::new(Trusting));
    config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    for (json, count) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
        let mut shards = Shards::new(count, config.clone(), 1);
        let mesh = &shards.all[0].port.mesh;
        let mut names = (0..100).map(|number| format!("room{number}"));
        // Both have their home on the last shard.
        let mut next =
            || names.find(|name| mesh.home_of(&**name).index() == count - 1).unwrap().leak();
        let (room, side): (&str, &str) = (next(), next());
        let (stream, speaker) = Client::connect(Wish { json: true, ..Wish::default() }, usize::MAX);
        shards.accept(count - 1, stream);
        let say = |shards: &mut Shards, channel: &str| {
            let body = "\"body\":\"of twenty-four bytes\"";
            speaker.ask(&format!(r#"{{"type":"publish","channel":"{channel}",{body}}}"#));
            shards.come_to_rest(|| {});
        };
        say(&mut shards, room);
        say(&mut shards, room);
        let epoch = shards.all[count - 1].rooms.channels.start().epoch;
        let wish = Wish { channel: Some(room), since: Some((epoch, 0)), json, ..Wish::default() };
        let mut client = connect(&mut shards, 0, wish, &format!("ana....{side}"));
        shards.come_to_rest(|| {});
        let texts = |client: &Client| {
            let frames = client.frames().into_iter();
            frames.filter(|frame| frame.text().contains("twenty-four")).count()
        };
        assert_eq!(texts(&client), 2, "what it missed: {:?}", client.frames());
        say(&mut shards, side);
        assert_eq!(texts(&client), 3, "what comes in the other: {:?}", client.frames());
        check_books(&shards.all);

        // One that goes meanwhile leaves nothing behind.
        let mut gone = connect(&mut shards, 0, wish, &format!("bob....{side}"));
        for _ in 0..2 {
            shards.turn(0);
            shards.turn(count - 1);
        }
        gone.cut();
        client.cut();
        shards.come_to_rest(|| {});
        check_books(&shards.all);
    }
}

/// One step of the schedule.
fn step(shards: &mut Shards, clients: &mut Vec<Client>, dice: &mut Dice) {
    let shard = dice.below(shards.all.len());
    let user = USERS[dice.below(USERS.len())];
    match dice.below(20) {
        0..5 => {
            let (lasts, issued) = (["", "1", "40", "0"][dice.below(4)], dice.below(9));
            let channel = CHANNELS[dice.below(CHANNELS.len())];
            let token = format!("{user}.{lasts}.{issued}.t{issued}.{channel}");
            let wish = Wish { json: dice.below(2) == 0, ..Wish::default() };
            clients.push(connect(shards, shard, wish, &token));
        }
        5..8 if !clients.is_empty() => {
            let lasts = ["", "2", "60"][dice.below(3)];
            let token = format!("{user}.{lasts}.9..");
            let client = &clients[dice.below(clients.len())];
            if client.wish.json {
                client.ask(&format!(r#"{{"type":"refresh","token":"{token}"}}"#));
            }
        }
        8 => order(shards, |reply| Instruction::Revoke {
            revocation: Revocation::User { user: user.into(), before_s: 4 },
            reply,
        }),
        9 => {
            let fate = [Fate::Close(CloseReason::Expired), Fate::End(Some(1)), Fate::End(None)];
            let fate = fate[dice.below(3)];
            let whom = Whom::User(user.into());
            order(shards, |reply| Instruction::Decide { whom: whom.clone(), fate, reply });
        }
        10 if !clients.is_empty() => {
            let index = dice.below(clients.len());
            clients[index].cut();
        }
        11 => shards.now.ns += 700_000_000,
        _ => shards.turn(shard),
    }
}

/// Gives an instruction to all shards, as the control plane does.
fn order(shards: &mut Shards, order: impl Fn(crate::mesh::reply::Reply<u64>) -> Instruction) {
    let (reply, _answers) = Answers::expect(shards.all.len());
    for shard in &mut shards.all {
        shard.obey(order(reply.clone()));
    }
}

#[test]
fn seeded_runs_with_tokens_end_with_agreeing_tables() {
    for seed in 0..200 {
        let mut dice = Dice::seeded(seed);
        let count = 1 + dice.below(3);
        let mut shards = shards(count, seed);
        let mut clients = Vec::new();
        for _ in 0..150 {
            step(&mut shards, &mut clients, &mut dice);
        }
        shards.come_to_rest(|| {});
        // Every token that ends has ended, and the others have not.
        pass(&mut shards, 100);
        pass(&mut shards, 1);
        check_books(&shards.all);
        let open: usize = shards.all.iter().map(|shard| shard.clients.open).sum();
        let stayed = clients.iter().filter(|client| client.stayed()).count();
        assert_eq!(open, stayed, "seed {seed}");
        for shard in &shards.all {
            assert!(!shard.clients.has_ends(), "seed {seed}: nothing ends any more");
            for (slot, _) in shard.clients.roster.iter() {
                let proof = shard.clients.proof(slot);
                let revoked = proof.is_some_and(|proof| shard.trust.revoked.is_revoked(proof));
                assert!(!revoked, "seed {seed}: a revoked client is open");
            }
        }
        let greeted = clients.iter().filter(|client| client.wish.json && client.stayed());
        assert!(greeted.into_iter().all(|client| client.heard().first() == Some(&Heard::Other)));
    }
}
