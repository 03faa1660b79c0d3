//! The end of what a client says in TLS: all that it has said before counts, as in the clear.

use super::client::{Client, Heard, Wish};
use super::run::{Shards, SimStream};
use super::sealed::{client_config, server_config};
use super::world::World;
use crate::config::Config;

/// The words that a client says at once: more than one turn takes of a client.
const WORDS: usize = 200;

/// The way in which a client ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It says in TLS that nothing more comes, and leaves the socket open.
    Tls,
    /// It ends its direction of the socket as well.
    Both,
}

impl Client {
    fn end(&self, end: End) {
        World::with(self.fd, |socket| match end {
            End::Tls => socket.finish_tls(),
            End::Both => socket.finish(),
        });
        World::ring(self.fd);
    }
}

fn shards(lane_parcels: usize) -> Shards {
    let config = Config::with_cores(Vec::new());
    let tls = Some(server_config());
    let shards = Shards::new(2, Config { tls, lane_parcels, ..config }, 7);
    World::seal_some(client_config());
    shards
}

/// Has a client that speaks TLS, or a plain one, say much at once and end behind it, in its first
/// bytes or later. Returns the words that another client of its channel hears.
fn heard_of_one_that_ends(
    is_sealed: bool,
    (channel, lane_parcels): (&'static str, usize),
    (end, with_its_request): (End, bool),
) -> Vec<Heard> {
    let mut shards = shards(lane_parcels);
    let wish = Wish { channel: Some(channel), ..Wish::default() };
    // Every second one speaks TLS.
    let silent = || Client::silent(wish, usize::MAX);
    let ((first, sealed), (second, plain)) = (silent(), silent());
    let (mut speaker, listener): ((SimStream, Client), (SimStream, Client)) = if is_sealed {
        ((first, sealed), (second, plain))
    } else {
        ((second, plain), (first, sealed))
    };
    assert_eq!(speaker.0.is_sealed, is_sealed);
    shards.accept(0, speaker.0);
    shards.accept(1, listener.0);
    listener.1.send(wish.head().as_bytes());
    shards.come_to_rest(|| {});
    speaker.1.send(wish.head().as_bytes());
    if !with_its_request {
        shards.come_to_rest(|| {});
    }
    for number in 0..WORDS {
        speaker.1.say(number, 0);
    }
    speaker.1.end(end);
    shards.come_to_rest(|| {});
    assert!(speaker.1.is_closed(), "it is let go behind its last word");
    listener.1.heard()
}

#[test]
fn all_that_comes_before_the_end_of_tls_counts() {
    // Homes of either shard; lanes that take everything, and such that clients are held.
    for place in [("lobby", 1024), ("north", 1024), ("lobby", 1), ("north", 1)] {
        for with_its_request in [false, true] {
            let plain = heard_of_one_that_ends(false, place, (End::Both, with_its_request));
            assert_eq!(plain.len(), WORDS, "{place:?}");
            for end in [End::Tls, End::Both] {
                let sealed = heard_of_one_that_ends(true, place, (end, with_its_request));
                assert_eq!(sealed, plain, "{place:?}, {end:?}, {with_its_request}");
            }
        }
    }
}

/// Has a client that speaks TLS refused, whose socket takes `room` bytes at first and then few at a
/// time. Returns what it opens.
fn refusal(room: usize) -> String {
    let mut shards = shards(1024);
    let (stream, client) = Client::silent(Wish::default(), room);
    assert!(stream.is_sealed);
    client.send(
        b"GET /ws?channel= HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    shards.accept(0, stream);
    for _ in 0..200 {
        shards.turn(0);
        World::make_room(client.fd, 20);
    }
    assert_eq!(shards.all[0].clients.outboxes.bytes, 0, "nothing waits any more");
    String::from_utf8(client.outbound()).unwrap()
}

/// The end of the server's part of a handshake may wait for the socket, and a refusal behind it.
#[test]
fn a_refusal_leaves_behind_the_handshake() {
    let whole = refusal(100_000);
    assert!(whole.starts_with("HTTP/1.1 400 "), "{whole}");
    for room in (1..1_200).step_by(7) {
        assert_eq!(refusal(room), whole, "with room for {room} bytes at first");
    }
}
