//! Clients that answer pings in their dialect's own words, under schedules: however late and among
//! whatever else an answer comes, it costs nobody the connection; one that nobody asked for does.

use std::time::Duration;

use super::books::check_books;
use super::client::{Client, Wish};
use super::dice::Dice;
use super::for_each_seed;
use super::run::Shards;
use crate::close::CloseReason;
use crate::config::Config;

/// A client that counts the pings it has read.
struct Member {
    client: Client,
    binary: bool,
    answered: usize,
}

impl Member {
    fn connect(shards: &mut Shards, binary: bool) -> Self {
        let (stream, client) = Client::silent(Wish::default(), usize::MAX);
        let protocol = if binary { "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n" } else { "" };
        let head = format!(
            "GET /connection/websocket HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{protocol}\r\n"
        );
        client.send(head.as_bytes());
        shards.accept(0, stream);
        let member = Self { client, binary, answered: 0 };
        // Connect with the number 1.
        member.say(r#"{"id":1,"connect":{}}"#, b"\x04\x08\x01\x22\x00");
        member
    }

    fn say(&self, json: &str, protobuf: &[u8]) {
        if self.binary {
            self.client.send_frame(2, protobuf);
        } else {
            self.client.send_frame(1, json.as_bytes());
        }
    }

    /// Says something that is no answer.
    fn speak(&self) {
        self.say(r#"{"id":2,"ping":{}}"#, b"\x04\x08\x02\x5a\x00");
    }

    fn pong(&mut self) {
        self.answered += 1;
        self.say("{}", b"\x00");
    }

    /// Returns the number of pings that it has read and not answered.
    fn owed(&self) -> usize {
        let ping = if self.binary { &b"\x00"[..] } else { b"{}" };
        let frames = self.client.frames();
        frames.iter().filter(|frame| frame.payload == ping).count() - self.answered
    }
}

fn config() -> Config {
    let mut config = Config::with_cores(Vec::new());
    config.ping_interval = Duration::from_secs(1);
    // Longer than an interval: several pings may be on their way to a client that speaks.
    config.pong_timeout = Duration::from_secs(3);
    config
}

fn disorderly(shards: &Shards) -> u64 {
    shards.all[0].clients.tally.closes[CloseReason::Disorderly.index()]
}

/// Returns the most pings that a client had not answered at once.
fn simulate(seed: u64) -> u64 {
    let mut dice = Dice::seeded(seed);
    let mut shards = Shards::new(1, config(), seed);
    let mut members: Vec<Member> =
        (0..6).map(|place| Member::connect(&mut shards, place % 2 == 0)).collect();
    let mut most = 0;
    for _ in 0..120 {
        shards.now.ns += 50_000_000 * dice.below(8) as u64;
        shards.turn(0);
        for member in &mut members {
            let owed = member.owed();
            most = most.max(owed);
            match dice.below(8) {
                0 if owed > 0 => member.pong(),
                1 => (0..owed).for_each(|_| member.pong()),
                // Whatever else it says tells that it lives.
                2..4 => member.speak(),
                _ => {}
            }
        }
    }
    shards.come_to_rest(|| {});
    assert_eq!(disorderly(&shards), 0, "each had as many pings as it has answered");
    check_books(&shards.all);
    most as u64
}

#[test]
fn a_late_answer_to_a_ping_ends_nobody() {
    if let Some(most) = for_each_seed(64, simulate) {
        assert!(most > 64 * 2, "hardly anybody was late: {most}");
    }
}

#[test]
fn an_answer_that_nobody_asked_for_ends_its_client() {
    for (binary, pings) in [false, true].into_iter().flat_map(|one| (0..3).map(move |n| (one, n))) {
        let mut shards = Shards::new(1, config(), 1);
        let mut member = Member::connect(&mut shards, binary);
        shards.come_to_rest(|| {});
        while member.owed() < pings {
            shards.now.ns += 100_000_000;
            member.speak();
            shards.turn(0);
        }
        (0..pings).for_each(|_| member.pong());
        shards.come_to_rest(|| {});
        assert_eq!((disorderly(&shards), member.client.is_sent_away()), (0, false));
        member.pong();
        shards.come_to_rest(|| {});
        assert_eq!((disorderly(&shards), member.client.is_sent_away()), (1, true), "{pings}");
        check_books(&shards.all);
    }
}
