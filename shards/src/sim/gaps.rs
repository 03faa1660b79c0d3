//! Clients that are too slow under the policies that lose publications: the messages that a client
//! has heard and the gaps that it was told are all offsets of its channels, in their order.

use std::collections::HashMap;

use super::client::{Client, Heard, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::run::{CHANNELS, Shards};
use super::{Order, follows, orders};
use crate::close::CloseReason;
use crate::config::Config;
use crate::rules::SlowClients;

fn shards(dice: &mut Dice, seed: u64) -> Shards {
    let mut config = Config::with_cores(Vec::new());
    config.slow_clients = [SlowClients::Drop, SlowClients::Conflate][dice.below(2)];
    config.outbox_bytes = 300 + dice.below(1_200);
    config.lane_parcels = 1 + dice.below(4);
    Shards::new(1 + dice.below(3), config, seed)
}

/// Clients that are members of all channels before anything is said. The first one of each shard
/// reads all the time.
fn clients(shards: &mut Shards, dice: &mut Dice) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 0..10 {
        let lines = dice.below(4) == 0;
        let wish = Wish {
            channel: Some(CHANNELS[dice.below(CHANNELS.len())]),
            lines,
            json: !lines,
            echoless: dice.below(4) == 0,
            ..Wish::default()
        };
        let (stream, client) = Client::connect(wish, usize::MAX);
        shards.accept(number % shards.all.len(), stream);
        clients.push(client);
    }
    shards.come_to_rest(|| {});
    for client in &clients {
        for channel in CHANNELS {
            join(client, channel, false);
        }
    }
    shards.come_to_rest(|| {});
    for client in &mut clients[3..] {
        client.take_up(1_000);
    }
    clients
}

fn join(client: &Client, channel: &str, presence: bool) {
    if client.wish.lines {
        client.ask_in_lines(b'j', channel);
    } else {
        client.ask(&format!(r#"{{"type":"join","channel":"{channel}","presence":{presence}}}"#));
    }
}

/// Checks what a client was told of a channel. Returns the number of publications that it lost.
fn check(client: &Client, channel: &str, order: &Order) -> u64 {
    let heard = client.heard();
    let (mut next, mut lost) = (1, 0);
    for one in &heard {
        match one {
            Heard::Json { channel: of, offset, .. } if of == channel => {
                assert!(follows(client, order, next, *offset), "{channel} {next}: {heard:?}");
                next = offset + 1;
            }
            Heard::Gap { channel: of, from, to } if of == channel => {
                assert!(follows(client, order, next, *from), "{channel} {next}: {heard:?}");
                assert!(from <= to, "{heard:?}");
                lost += to - from + 1;
                next = to + 1;
            }
            _ => {}
        }
    }
    let end = order.last_key_value().map_or(1, |(newest, _)| newest + 1);
    assert!(follows(client, order, next, end), "{channel} {next} of {end}: {heard:?}");
    lost
}

/// Returns the number of publications that clients were told to have lost.
fn simulate(seed: u64) -> u64 {
    let mut dice = Dice::seeded(seed);
    let mut shards = shards(&mut dice, seed);
    let mut clients = clients(&mut shards, &mut dice);
    let mut said = 0;
    for _ in 0..400 {
        let (shard, index) = (dice.below(shards.all.len()), dice.below(clients.len()));
        match dice.below(20) {
            0..7 => {
                said += 1;
                clients[index].say(said, 100 * dice.below(3));
            }
            7 if index >= 3 => clients[index].stall(),
            8 | 9 if index >= 3 => {
                clients[index].take_up(usize::MAX);
                clients[index].take_up(100 + dice.below(900));
            }
            10 => join(&clients[index], CHANNELS[dice.below(3)], dice.below(2) == 0),
            _ => shards.turn(shard),
        }
    }
    shards.come_to_rest(|| {
        for client in &mut clients {
            client.take_up(usize::MAX);
        }
    });
    let heard: Vec<_> = clients.iter().map(Client::heard).enumerate().collect();
    let orders: HashMap<String, Order> = orders(&heard);
    let nothing = Order::new();
    let lost_by = |client: &Client| -> u64 {
        assert!(client.stayed());
        let of = |channel: &&str| check(client, channel, orders.get(*channel).unwrap_or(&nothing));
        CHANNELS.iter().map(of).sum()
    };
    clients.iter().map(lost_by).sum()
}

#[test]
fn messages_and_gaps_are_all_offsets_in_their_order() {
    if let Some(lost) = for_each_seed(256, simulate) {
        assert!(lost > 1_000, "hardly anything was lost: {lost}");
    }
}

#[test]
fn a_client_that_is_closed_as_too_slow_is_told_nothing_behind_what_it_has_lost() {
    let mut config = Config::with_cores(Vec::new());
    config.outbox_bytes = 40_000;
    let mut shards = Shards::new(1, config, 1);
    let mut come = |json| {
        let wish = Wish { channel: Some(CHANNELS[0]), json, ..Wish::default() };
        let (stream, client) = Client::connect(wish, usize::MAX);
        shards.accept(0, stream);
        shards.come_to_rest(|| {});
        client
    };
    let [mut first, mut second, mut slow] = [true, true, false].map(&mut come);
    slow.take_up(1_000);
    first.say(1, 30_000);
    shards.come_to_rest(|| {});
    // The second message finds no room, and the third one leaves in the same turn.
    first.say(2, 30_000);
    second.say(3, 10);
    slow.take_up(usize::MAX);
    shards.come_to_rest(|| {});
    let heard: Vec<(u8, usize)> =
        slow.frames().iter().map(|frame| (frame.opcode, frame.payload.len())).collect();
    assert!(matches!(heard[..], [(1, 30_000..), (8, _)]), "{heard:?}");
    assert_eq!(shards.all[0].clients.tally.closes[CloseReason::Slow.index()], 1);
}
