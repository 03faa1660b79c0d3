//! Clients that send and read compressed messages among others: each inflates what it would have
//! been told in the clear, and is understood as if it had never compressed anything.

use std::time::Duration;

use super::client::{Client, Heard, Wish};
use super::dice::Dice;
use super::run::{Run, Shards};
use super::words::deflated;
use super::{for_each_seed, judge};
use crate::config::Config;
use crate::rules::Compression;

const OFFER: Wish =
    Wish { channel: Some("lobby"), offers: Some("permessage-deflate"), ..Wish::PLAIN };

fn config() -> Config {
    let config = Config::with_cores(Vec::new());
    Config { ping_interval: Duration::ZERO, compression: Compression::On, ..config }
}

/// One shard, with a client of each wish.
fn shard<const N: usize>(config: Config, wishes: [Wish; N]) -> (Shards, [Client; N]) {
    let mut shards = Shards::new(1, config, 7);
    let clients = wishes.map(|wish| {
        let (stream, client) = Client::connect(wish, usize::MAX);
        shards.accept(0, stream);
        client
    });
    shards.come_to_rest(|| {});
    assert!(clients.iter().all(Client::stayed));
    (shards, clients)
}

/// The frames of a client's message, masked by nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap().to_be_bytes();
    let head = match payload.len() {
        0..126 => vec![first, 0x80 | len[1]],
        _ => vec![first, 0xfe, len[0], len[1]],
    };
    [&head, &[0; 4][..], payload].concat()
}

/// Runs a schedule. Returns the number of messages that were inflated in it, and of those that were
/// compressed, in one number.
fn counted(run: Run, compression: Compression) -> u64 {
    let mut run = run.deflated(compression);
    run.go(400);
    run.come_to_rest();
    judge(&run);
    let tallies = run.shards.all.iter().map(|shard| &shard.clients.tally);
    tallies.map(|tally| (tally.inflated_messages << 32) + tally.deflated_messages).sum()
}

/// Checks that both happened so often.
fn check_counts(counts: Option<u64>, often: u64) {
    let is_often = |counts: u64| counts >> 32 > often && counts & 0xffff_ffff > often;
    assert!(counts.is_none_or(is_often), "{counts:x?}");
}

#[test]
fn seeded_runs_hold_for_compressed_clients_too() {
    let run = |seed| counted(Run::new(Dice::seeded(seed), seed), Compression::On);
    check_counts(for_each_seed(96, run), 500);
}

#[test]
fn seeded_runs_hold_for_compressed_clients_over_tls() {
    let run = |seed| counted(Run::sealed(Dice::seeded(seed), seed), Compression::On);
    check_counts(for_each_seed(48, run), 200);
}

#[test]
fn seeded_runs_hold_for_clients_within_windows() {
    let run = |seed| counted(Run::new(Dice::seeded(seed), seed), Compression::Shared);
    check_counts(for_each_seed(128, run), 500);
}

#[test]
fn seeded_runs_hold_for_clients_within_windows_over_tls() {
    let run = |seed| counted(Run::sealed(Dice::seeded(seed), seed), Compression::Shared);
    check_counts(for_each_seed(48, run), 200);
}

/// Wherever the bytes of a compressed message are cut, with frames of other kinds between its
/// parts, it is one message, and nothing is kept of the client afterwards.
#[test]
fn a_compressed_message_is_understood_in_any_pieces() {
    let text = b"a message that has some length, and says so, and says so again";
    let pressed = deflated(text);
    let (begin, end) = pressed.split_at(10);
    let bytes = [
        frame(0x41, begin),
        frame(0x89, b"ping"),
        frame(0x00, b""),
        frame(0x80, end),
        frame(0x81, b"plain"),
        frame(0xc2, &deflated(b"")),
    ]
    .concat();
    let (mut shards, [speaker, listener]) = shard(config(), [OFFER, OFFER]);
    for cut in 0..=bytes.len() {
        listener.forget_frames();
        for piece in [&bytes[..cut], &bytes[cut..]] {
            speaker.send(piece);
            shards.come_to_rest(|| {});
        }
        let said: Vec<_> = listener.frames().into_iter().map(|frame| frame.payload).collect();
        assert_eq!(said, [&text[..], b"plain", b""], "cut at {cut}");
        let roster = &shards.all[0].clients.roster;
        assert!(roster.iter().all(|(_, client)| client.machine.is_none()), "cut at {cut}");
    }
}

/// Returns the code with which a client is closed that sends this.
fn code(config: Config, wish: Wish, bytes: &[u8]) -> Option<u16> {
    let (mut shards, [speaker, witness]) = shard(config, [wish, OFFER]);
    speaker.send(bytes);
    shards.come_to_rest(|| {});
    assert!(witness.stayed(), "nobody else is concerned");
    speaker.frames().iter().find(|frame| frame.opcode == 8)?.code()
}

#[test]
fn rules_that_compressed_messages_break_end_their_client() {
    let word = deflated(b"word");
    let plain = Wish { channel: Some("lobby"), ..Wish::default() };
    let long = config().message_bytes;
    let bomb = deflated(&vec![0; long + 1]);
    let begun = frame(0x41, &word);
    let cases: [(&str, Vec<u8>, Option<u16>); 14] = [
        ("a whole one", frame(0xc1, &word), None),
        (
            "a continuation that says it is compressed",
            [&begun[..], &frame(0xc0, b"")].concat(),
            Some(1002),
        ),
        (
            "such a one of a plain message",
            [frame(0x01, b"a"), frame(0xc0, b"")].concat(),
            Some(1002),
        ),
        ("a compressed ping", frame(0xc9, b""), Some(1002)),
        ("another bit", frame(0xa1, b""), Some(1002)),
        ("both bits", frame(0xe1, b""), Some(1002)),
        ("a message within one", [&begun[..], &frame(0x81, b"b")].concat(), Some(1002)),
        ("a compressed one within one", [&begun[..], &frame(0xc1, &word)].concat(), Some(1002)),
        ("nothing that a compressor made", frame(0xc1, &[0xff; 9]), Some(1002)),
        ("a frame without a mask", vec![0xc1, 0x01], Some(1002)),
        ("bytes as text", frame(0xc1, &deflated(b"\xff\xfe")), Some(1007)),
        ("more than a message may be", frame(0xc2, &bomb), Some(1009)),
        ("a frame that claims to be longer", vec![0xc2, 0xff, 0, 0, 0, 0, 1], Some(1009)),
        (
            "parts that are together",
            [frame(0x42, &bomb[..40]), frame(0x80, &bomb[40..])].concat(),
            Some(1009),
        ),
    ];
    for (what, bytes, expected) in cases {
        assert_eq!(code(config(), OFFER, &bytes), expected, "{what}");
    }
    assert_eq!(code(config(), plain, &frame(0xc1, &word)), Some(1002), "nobody has agreed");
    let off = Config { compression: Compression::Off, ..config() };
    assert_eq!(code(off, OFFER, &frame(0xc1, &word)), Some(1002), "an offer is no agreement");
}

/// The longest message passes, also if compression has made it longer.
#[test]
fn the_longest_message_passes() {
    let long = 65_000;
    let config = Config { message_bytes: long, ..config() };
    let mut noise = 1_u32;
    let text: Vec<u8> = (0..long)
        .map(|_| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_be_bytes()[0]
        })
        .collect();
    let (mut shards, [speaker, listener]) = shard(config, [OFFER, OFFER]);
    let pressed = deflated(&text);
    assert!(pressed.len() > long, "nothing could be saved");
    speaker.send(&frame(0xc2, &pressed));
    shards.come_to_rest(|| {});
    assert_eq!(listener.frames().last().unwrap().payload, text);
    assert_eq!(shards.all[0].clients.tally.deflated_messages, 0, "it goes as it is");
}

/// A few bytes that become many take many turns, in which others have theirs.
#[test]
fn a_turn_inflates_so_much_of_a_client() {
    let (mut shards, [speaker, other]) = shard(config(), [OFFER, OFFER]);
    let one = frame(0xc2, &deflated(&[7; 200]));
    speaker.send(&one.repeat(100));
    let mut before = 0;
    for _ in 0..100 {
        shards.turn(0);
        let after = shards.all[0].clients.tally.inflated_bytes_after;
        assert!(after - before <= 256 + 200, "{} in a turn", after - before);
        before = after;
    }
    shards.come_to_rest(|| {});
    assert_eq!(other.frames().len(), 100);
}

#[test]
fn rates_are_about_what_a_client_has_said() {
    let config = Config { bytes_per_second: 1_000, ..config() };
    let zeros = frame(0xc2, &deflated(&[0; 900]));
    assert!(zeros.len() < 100, "few bytes");
    assert_eq!(code(config.clone(), OFFER, &zeros), None);
    assert_eq!(code(config, OFFER, &zeros.repeat(2)), Some(1008));
}

/// Words for one client alone are not compressed, and those of a channel only where it pays.
#[test]
fn only_what_many_hear_is_compressed() {
    let json = Wish { offers: OFFER.offers, ..Wish::JSON };
    let (mut shards, [speaker, asker]) = shard(config(), [OFFER, json]);
    asker.ask(r#"{"type":"join","channel":"lobby"}"#);
    speaker.send(&frame(0x81, b"short"));
    shards.come_to_rest(|| {});
    let before = shards.all[0].clients.tally.deflated_messages;
    speaker.send(&frame(0x81, &[b'x'; 100]));
    shards.come_to_rest(|| {});
    assert_eq!(shards.all[0].clients.tally.deflated_messages - before, 2, "once for each dialect");
    let body = "x".repeat(100);
    assert!(speaker.heard().contains(&Heard::Plain(body.clone())));
    assert!(
        asker
            .heard()
            .iter()
            .any(|heard| matches!(heard, Heard::Json { body: b, .. } if *b == body))
    );
}

/// Server-sent events come in the coding gzip where it is asked for, and each event can be read at
/// once.
#[test]
fn events_are_zipped_where_that_is_asked_for() {
    let events = Wish { channel: Some("lobby"), events: true, offers: None, ..Wish::PLAIN };
    let asked = |offers| Wish { offers: Some(offers), ..events };
    let wishes =
        [OFFER, asked("gzip, deflate, br"), asked("gzip;q=0, *;q=0.0"), asked("identity"), events];
    let (mut shards, mut clients) = shard(config(), wishes);
    for number in 0..20 {
        clients[0].say(number, number * 20);
        shards.come_to_rest(|| {});
    }
    for (index, client) in clients.iter().enumerate() {
        let head = client.outbound();
        let is_zipped = String::from_utf8_lossy(&head).contains("\r\nContent-Encoding: gzip\r\n");
        assert_eq!(is_zipped, index == 1, "{:?}", client.wish.offers);
        assert_eq!(client.heard(), clients[0].heard());
    }
    assert!(clients[1].outbound().len() < clients[4].outbound().len() / 2);
}
