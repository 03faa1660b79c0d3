//! Storms of handshakes: they are spread over turns, and everybody comes in at the first try.

use std::time::Duration;

use super::client::{Client, Wish};
use super::run::Shards;
use super::sealed::{client_config, server_config};
use super::world::World;
use crate::config::Config;

/// The other work of a turn of a busy shard.
const TURN: Duration = Duration::from_millis(30);

fn shards(config: Config) -> Shards {
    let tls = Some(server_config());
    let shards = Shards::new(1, Config { tls, ..config }, 7);
    World::seal_some(client_config());
    shards
}

fn config() -> Config {
    Config { ping_interval: Duration::ZERO, ..Config::with_cores(Vec::new()) }
}

/// So many clients that speak TLS, which all come at once.
fn storm(shards: &mut Shards, count: usize) -> Vec<Client> {
    let wish = Wish { channel: Some("lobby"), ..Wish::default() };
    let connected = (0..2 * count).map(|_| Client::connect(wish, usize::MAX));
    // Every second one speaks TLS.
    let sealed = connected.filter(|(stream, _)| stream.is_sealed).collect::<Vec<_>>();
    let accept = |(stream, client)| {
        shards.accept(0, stream);
        client
    };
    sealed.into_iter().map(accept).collect()
}

fn handshakes(shards: &Shards) -> u64 {
    shards.all[0].clients.tally.tls_handshakes
}

/// A turn behind one that took so long for everything but handshakes.
fn turn(shards: &mut Shards, other: Duration) {
    let other_ns = u64::try_from(other.as_nanos()).unwrap();
    shards.all[0].clients.sealing.handshakes.end_turn(other_ns);
    shards.turn(0);
    shards.now.ns += other_ns;
}

/// The simulated clock counts a tenth of a millisecond for each step.
#[test]
fn a_turn_spends_a_part_of_its_time_on_handshakes() {
    for (other, steps_max) in [(Duration::ZERO, 5), (Duration::from_millis(3), 10)] {
        let mut shards = shards(config());
        let clients = storm(&mut shards, 100);
        let (mut turns, mut before) = (0, 0);
        while handshakes(&shards) < 100 {
            turn(&mut shards, other);
            turns += 1;
            // One more, as a turn reads one hello whatever comes before it.
            assert!(handshakes(&shards) - before <= steps_max + 1, "no more than a turn's part");
            before = handshakes(&shards);
        }
        // Each client takes two steps.
        assert!(turns >= 200 / (steps_max + 1), "{turns} turns");
        shards.come_to_rest(|| {});
        assert!(clients.iter().all(Client::stayed));
    }
}

/// With turns as long as these the last client waits for many times its time limit.
#[test]
fn a_storm_beside_long_turns_comes_in_at_the_first_try() {
    let config = Config { handshake_timeout: Duration::from_millis(300), ..config() };
    let mut shards = shards(config);
    let clients = storm(&mut shards, 1_000);
    let begin = shards.now;
    while handshakes(&shards) < 1_000 {
        turn(&mut shards, TURN / 10);
        let passed_ms = shards.now.long_ms() - begin.long_ms();
        assert!(passed_ms < 3_000, "{} are in", handshakes(&shards));
    }
    assert!(shards.now.long_ms() - begin.long_ms() > 500, "it has taken longer than the limit");
    shards.come_to_rest(|| {});
    assert!(clients.iter().all(Client::stayed));
}

/// The time limit goes on for a client that the shard does not keep waiting.
#[test]
fn a_client_that_stops_in_a_storm_is_let_go_in_time() {
    let config = Config { handshake_timeout: Duration::from_millis(300), ..config() };
    let mut shards = shards(config);
    let mut clients = storm(&mut shards, 200);
    for client in &clients[..100] {
        World::with(client.fd, |socket| socket.inbound.truncate(20));
    }
    let begin = shards.now;
    while !clients[..100].iter().all(Client::is_closed) {
        turn(&mut shards, TURN);
        let passed_ms = shards.now.long_ms() - begin.long_ms();
        assert!(passed_ms < 1_000, "half a hello does not stay");
    }
    assert!(clients.split_off(100).iter().all(Client::stayed));
}

/// A key exchange for nobody would be the most expensive part of a storm whose clients try again.
#[test]
fn clients_that_have_gone_get_no_answer_to_their_hello() {
    let mut shards = shards(config());
    let mut clients = storm(&mut shards, 200);
    turn(&mut shards, Duration::ZERO);
    let answered = |client: &Client| client.sends() > 0;
    let before = clients.iter().filter(|client| answered(client)).count();
    clients[..100].iter_mut().for_each(Client::finish);
    while handshakes(&shards) < 100 {
        turn(&mut shards, Duration::ZERO);
    }
    shards.come_to_rest(|| {});
    let gone = clients[..100].iter().filter(|client| answered(client)).count();
    assert!(gone <= before, "{gone} answers to clients that were gone");
    assert!(clients[..100].iter().all(Client::is_closed));
    assert!(clients[100..].iter().all(Client::stayed));
}
