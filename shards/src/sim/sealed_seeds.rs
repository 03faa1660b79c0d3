//! Clients that speak TLS among plain ones: records are cut anywhere, sockets are full, and what
//! each client opens is what it would have been told in the clear.

use std::time::Duration;

use super::client::{Client, Heard, Wish};
use super::dice::Dice;
use super::run::{Run, Shards};
use super::sealed::{client_config, server_config};
use super::world::{Socket, World};
use super::{for_each_seed, judge};
use crate::config::Config;
use crate::rules::SlowClients;

/// A server whose every second client speaks TLS, and nothing else that is out of the ordinary.
fn shards(config: Config) -> Shards {
    let tls = Some(server_config());
    let shards = Shards::new(2, Config { tls, ..config }, 7);
    World::seal_some(client_config());
    shards
}

fn config() -> Config {
    Config { ping_interval: Duration::ZERO, ..Config::with_cores(Vec::new()) }
}

/// A client that speaks TLS, and a plain one.
fn pair(shards: &mut Shards, wish: Wish, room: usize) -> [Client; 2] {
    [0, 1].map(|_| {
        let (stream, client) = Client::connect(wish, room);
        shards.accept(0, stream);
        client
    })
}

impl Client {
    /// Takes so many bytes more, though it has stalled.
    fn take_up_bytes(&self, bytes: usize) {
        World::make_room(self.fd, bytes);
    }

    /// Reads as before.
    fn make_room(&mut self) {
        self.stalled = false;
        World::make_room(self.fd, usize::MAX);
    }

    /// Has both sides change the keys of TLS.
    fn change_keys(&self) {
        World::with(self.fd, Socket::change_keys);
        World::ring(self.fd);
    }
}

#[test]
fn seeded_runs_hold_for_clients_that_speak_tls_too() {
    let handshakes = for_each_seed(96, |seed| {
        let mut run = Run::sealed(Dice::seeded(seed), seed);
        run.go(400);
        run.come_to_rest();
        judge(&run);
        run.shards.all.iter().map(|shard| shard.clients.tally.tls_handshakes).sum()
    });
    assert!(handshakes.is_none_or(|count| count > 500), "{handshakes:?}");
}

/// Each byte of room that a socket makes is an end of a part of a record.
#[test]
fn a_client_that_reads_byte_by_byte_opens_everything_in_order() {
    let mut shards = shards(config());
    let wish = Wish { channel: Some("lobby"), ..Wish::default() };
    let [mut slow, mut plain] = pair(&mut shards, wish, 4_000);
    shards.come_to_rest(|| {});
    plain.make_room();
    slow.stall();
    let mut said = Vec::new();
    for number in 0..40 {
        plain.say(number, if number % 7 == 0 { 20_000 } else { 10 });
        said.push(Heard::Plain(plain.words[number].clone()));
        shards.come_to_rest(|| {});
    }
    for _ in 0..160_000 {
        slow.take_up_bytes(1);
        shards.turn(0);
    }
    assert_eq!(slow.heard(), said);
    assert_eq!(shards.all[0].clients.outboxes.bytes, 0);
}

/// Frames behind a sealed rest are not sealed before they leave, so that a newer one may take their
/// place, and so that all that wait share them.
#[test]
fn frames_that_wait_are_overtaken_in_the_clear() {
    let config = Config { slow_clients: SlowClients::Conflate, ..config() };
    let mut shards = shards(config);
    let wish = Wish { channel: Some("lobby"), ..Wish::default() };
    let [mut slow, mut plain] = pair(&mut shards, wish, 4_000);
    shards.come_to_rest(|| {});
    slow.stall();
    slow.take_up_bytes(10);
    for number in 0..20 {
        plain.say(number, 100);
        shards.come_to_rest(|| {});
    }
    slow.take_up(usize::MAX);
    shards.come_to_rest(|| {});
    slow.make_room();
    shards.come_to_rest(|| {});
    let word = |number: usize| Heard::Plain(plain.words[number].clone());
    assert_eq!(slow.heard(), [word(0), word(19)], "the begun one and the newest");
    assert_eq!(shards.all[0].clients.tally.conflated, 18);
}

/// A client may change its keys at any time, also while much waits for it.
#[test]
fn keys_may_change_while_frames_wait() {
    let mut shards = shards(config());
    let wish = Wish { channel: Some("lobby"), ..Wish::default() };
    let [mut slow, mut plain] = pair(&mut shards, wish, 4_000);
    shards.come_to_rest(|| {});
    let mut said = Vec::new();
    for number in 0..30 {
        if number % 5 == 0 {
            slow.stall();
            slow.take_up_bytes(number);
            slow.change_keys();
        }
        plain.say(number, 50);
        said.push(Heard::Plain(plain.words[number].clone()));
        shards.come_to_rest(|| {});
        if number % 5 == 4 {
            slow.make_room();
            shards.come_to_rest(|| {});
        }
    }
    assert_eq!(slow.heard(), said);
    slow.say(30, 0);
    shards.come_to_rest(|| {});
    assert_eq!(plain.heard().len(), 31, "it is understood as well");
}
