//! A request head in any pieces: only heads that follow the standards are granted, all of those
//! are, and the pieces make no difference.

use async_tungstenite::tungstenite::handshake::derive_accept_key;
use async_tungstenite::tungstenite::handshake::machine::TryParse;
use async_tungstenite::tungstenite::handshake::server::{Request, create_response};

use super::input::{Input, pieces};
use super::request::{Asked, read_request};
use super::world::{HEAD_BYTES, READ_BYTES, World, config};
use crate::sim::reader::{read_frames, split_head};

/// The most headers of a request; beyond, right ones are refused too.
const HEADERS_MAX: usize = 64;

/// The outcome of a head.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing yet.
    Undecided,
    /// It went to the control plane.
    Visit,
    Refused(u16),
    /// A stream begins, or something beside one was answered.
    Streamed,
    /// The whole answer.
    Granted(Vec<u8>),
}

/// A list of lengths, then what the client sends.
///
/// # Panics
/// If the server and the standards disagree.
pub fn head(data: &[u8]) {
    let mut input = Input::new(data);
    let cuts = input.cuts();
    let bytes = input.rest;
    let asked = read_request(bytes);
    let whole = outcome(bytes, &[], asked.as_ref());
    check(&whole, bytes, asked.as_ref());
    if cuts.is_empty() {
        return;
    }
    let split = outcome(bytes, cuts, asked.as_ref());
    // A head that is over the limit and has a fault as well may be refused for either.
    let same = match (&split, &whole) {
        (Outcome::Refused(_), Outcome::Refused(_)) if bytes.len() >= HEAD_BYTES => true,
        // Bytes behind the head may close the connection in a later turn.
        (Outcome::Granted(split), Outcome::Granted(whole)) => {
            split_head(split).0 == split_head(whole).0
        }
        (split, whole) => split == whole,
    };
    assert!(same, "in pieces of {cuts:?}: {split:?}, and whole: {whole:?}");
}

fn outcome(bytes: &[u8], cuts: &[u8], asked: Option<&Asked>) -> Outcome {
    let mut world = World::new(config());
    let client = world.silent();
    world.say(&client, &pieces(bytes, cuts), || {});
    if client.outbound().is_empty() && !client.is_closed() && !cuts.is_empty() {
        // A line that has not ended is looked at when it has.
        world.say(&client, &[b"\r\n\r\n"], || {});
        if bytes.len() < READ_BYTES && outcome(bytes, &[], asked) == Outcome::Undecided {
            return Outcome::Undecided;
        }
    }
    let heard = client.outbound();
    let shard = &world.shards.all[0];
    let visits = shard.clients.tally.visitors;
    if visits > 0 {
        assert!(heard.is_empty() && client.is_closed());
        return Outcome::Visit;
    }
    if heard.is_empty() {
        return Outcome::Undecided;
    }
    let (head, rest) = split_head(&heard);
    let head = std::str::from_utf8(head).expect("an answer is text");
    let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
    let is_upgrade = asked.is_some_and(|asked| asked.upgrade);
    if !is_upgrade && matches!(status, 100 | 200 | 204) {
        return Outcome::Streamed;
    }
    if status != 101 {
        let length = format!("Content-Length: {}\r\n", rest.len());
        assert!(head.contains(&length), "{head}");
        assert!(matches!(status, 400 | 401 | 403 | 404 | 405 | 413 | 426 | 431 | 503), "{status}");
        return Outcome::Refused(status);
    }
    let closing = read_frames(rest).0.iter().any(|frame| frame.opcode == 8);
    assert_eq!(shard.clients.open, usize::from(!closing && !client.is_closed()));
    if let (Some(asked), 1) = (asked, shard.clients.open) {
        let channel = asked.channel.as_deref().or((!asked.json).then_some("lobby"));
        assert!(channel.is_none_or(|channel| shard.rooms.channels.find(channel).is_some()));
        let user = asked.user.as_deref();
        assert!(user.is_none_or(|user| shard.directory.clients_of(user).len() == 1));
    }
    Outcome::Granted(heard)
}

fn check(outcome: &Outcome, bytes: &[u8], asked: Option<&Asked>) {
    match outcome {
        Outcome::Granted(heard) => {
            let asked = asked.expect("what is granted was asked for");
            assert_eq!(asked.fault, None, "granted");
            assert!(asked.head_len <= HEAD_BYTES);
            check_answer(heard, asked);
            check_second_opinion(bytes, asked);
        }
        Outcome::Visit => {
            let upgrade = asked.is_some_and(|asked| asked.upgrade);
            assert!(!upgrade, "an upgrade is not for the control plane");
        }
        Outcome::Streamed => {}
        Outcome::Undecided => {
            let done = asked.is_some_and(|asked| {
                asked.tame && !asked.waits_for_body && asked.head_len < READ_BYTES
            });
            assert!(!done, "a whole head is decided on");
        }
        Outcome::Refused(status) => {
            let right = asked.is_some_and(|asked| {
                let fits = asked.head_len <= HEAD_BYTES && asked.headers <= HEADERS_MAX;
                asked.tame && fits && asked.fault.is_none()
            });
            assert!(!right, "{status} for a head in which nothing is wrong");
        }
    }
}

/// The 101, and what a JSON client is greeted with.
fn check_answer(heard: &[u8], asked: &Asked) {
    let (head, rest) = split_head(heard);
    let protocol = if asked.json { "Sec-WebSocket-Protocol: stentor.v1\r\n" } else { "" };
    let expected = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\n{protocol}\r\n",
        derive_accept_key(asked.key.as_bytes())
    );
    assert_eq!(std::str::from_utf8(head), Ok(expected.as_str()));
    if asked.json {
        let frames = read_frames(rest).0;
        let welcome: serde_json::Value =
            serde_json::from_str(frames[0].text()).expect("the server writes JSON");
        assert_eq!(welcome["channel"].as_str(), asked.channel.as_deref());
        assert_eq!(welcome["user"].as_str(), asked.user.as_deref());
    }
}

/// A library's own handshake must grant what this server does. It has opinions of its own on what a
/// URL may hold, and takes no lists of upgrades and no second `Connection` header.
fn check_second_opinion(bytes: &[u8], asked: &Asked) {
    let Ok(Some((head_len, request))) = Request::try_parse(bytes) else { return };
    assert_eq!(head_len, asked.head_len);
    let all = |name| request.headers().get_all(name).iter().collect::<Vec<_>>();
    let (upgrades, connections) = (all("upgrade"), all("connection"));
    let usual = upgrades[0].as_bytes().eq_ignore_ascii_case(b"websocket")
        && connections.len() == 1
        && !connections[0].as_bytes().contains(&b'\t');
    if !usual {
        return;
    }
    let response = create_response(&request).expect("tungstenite grants it too");
    let accept = &response.headers()["sec-websocket-accept"];
    assert_eq!(accept.as_bytes(), derive_accept_key(asked.key.as_bytes()).as_bytes());
}
