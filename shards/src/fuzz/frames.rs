//! A plain client's frames, in any pieces, against a decoder of the standard's letter; and what
//! three kinds of listeners are told of them.

use super::input::{Input, pieces};
use super::oracle::{Account, End, Said, account};
use super::world::{MESSAGE_BYTES, World, config};
use crate::sim::client::{Client, Wish};
use crate::sim::reader::{Frame, read_frames, split_head};

/// A list of lengths, then what the client sends after its handshake.
///
/// # Panics
/// If the server and the standard disagree.
pub fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let cuts = input.cuts();
    let account = account(input.rest, MESSAGE_BYTES);
    let whole = heard(input.rest, &[], &account);
    if !cuts.is_empty() {
        let split = heard(input.rest, cuts, &account);
        let either = matches!(&account.end, End::Fault { codes, .. } if codes.len() > 1);
        assert!(whole == split || either, "{whole:?} of one piece, {split:?} of several");
    }
}

/// The close frame, if one came.
fn heard(bytes: &[u8], cuts: &[u8], account: &Account) -> Option<Frame> {
    let mut config = config();
    config.text_ping = false;
    let mut world = World::new(config);
    let lobby = Wish { channel: Some("lobby"), ..Wish::default() };
    let speaker = world.client(lobby);
    let plain = world.client(Wish { echoless: true, ..lobby });
    let joined = world.client(Wish { joined: true, ..lobby });
    let json = world.client(Wish { json: true, ..lobby });
    let bystander = world.client(Wish { channel: Some("elsewhere"), ..Wish::default() });
    let pieces = pieces(bytes, cuts);
    world.say(&speaker, &pieces, || bystander.send_frame(1, b"hi"));

    // Protocol state is lent from one client to the next; none may meet another's half message.
    let his = data_of(&frames_of(&bystander));
    assert_eq!(his, vec![Said::Text("hi".into()); pieces.len()], "a bystander hears himself");

    let frames = frames_of(&speaker);
    let close = frames.last().filter(|last| last.opcode == 8);
    check_end(account, close, speaker.is_closed());
    let echoes = data_of(&frames);
    assert_eq!(echoes[..], account.said[..echoes.len().min(account.said.len())], "what comes back");
    // A client that sends a close frame, with any code, does not wait for the rest.
    let gone = speaker.is_closed();
    assert!(gone || echoes.len() == account.said.len(), "all comes back");
    let pongs: Vec<_> = frames.iter().filter(|f| f.opcode == 10).map(|f| &f.payload).collect();
    assert_eq!(pongs, account.pings.iter().collect::<Vec<_>>(), "every ping is answered");

    assert_eq!(data_of(&frames_of(&plain)), account.said, "a plain listener");
    assert_eq!(lines(&data_of(&frames_of(&joined))), lines(&account.said), "a joined listener");
    check_json(&frames_of(&json), &account.said);
    close.cloned()
}

fn frames_of(client: &Client) -> Vec<Frame> {
    let bytes = client.outbound();
    let frames = split_head(&bytes).1;
    let (read, used) = read_frames(frames);
    assert_eq!(used, frames.len(), "a frame that begins also ends");
    read
}

fn data_of(frames: &[Frame]) -> Vec<Said> {
    let data = frames.iter().filter(|frame| frame.opcode < 8);
    data.map(|frame| match frame.opcode {
        1 => Said::Text(frame.text().to_owned()),
        _ => Said::Binary(frame.payload.clone()),
    })
    .collect()
}

fn check_end(account: &Account, close: Option<&Frame>, closed: bool) {
    match &account.end {
        End::Open => assert!(close.is_none() && !closed, "nothing was wrong: {close:?}"),
        End::Goodbye(said) => {
            assert!(closed, "a goodbye ends it");
            assert_eq!(close.expect("a goodbye is answered").code(), *said);
        }
        End::Fault { codes, must } => {
            let code = close.map(|close| close.code().expect("a fault has a code"));
            assert!(code.is_some() || !must, "no close frame: {:?}", account.end);
            assert!(code.is_none_or(|code| codes.contains(&code)), "{code:?} for {codes:?}");
        }
    }
}

/// The same in one text for each run of texts: where ticks end is the server's choice.
fn lines(said: &[Said]) -> Vec<Said> {
    let mut lines: Vec<Said> = Vec::new();
    for said in said {
        match (lines.last_mut(), said) {
            (Some(Said::Text(line)), Said::Text(text)) => {
                line.push('\n');
                line.push_str(text);
            }
            _ => lines.push(said.clone()),
        }
    }
    lines
}

fn check_json(frames: &[Frame], said: &[Said]) {
    let messages: Vec<serde_json::Value> = frames
        .iter()
        .filter(|frame| frame.opcode == 1)
        .map(|frame| serde_json::from_str(frame.text()).expect("the server writes JSON"))
        .filter(|value: &serde_json::Value| value["type"] == "message")
        .collect();
    assert_eq!(messages.len(), said.len(), "a JSON listener");
    for (index, (message, said)) in messages.iter().zip(said).enumerate() {
        assert_eq!(message["offset"], index + 1);
        assert_eq!(message["channel"], "lobby");
        let body = message["body"].as_str().unwrap();
        match said {
            Said::Text(text) => assert_eq!(body, text),
            Said::Binary(bytes) => {
                assert_eq!(message["encoding"], "base64");
                let decoded = data_encoding::BASE64.decode(body.as_bytes());
                assert_eq!(decoded.as_ref(), Ok(bytes));
            }
        }
    }
}
