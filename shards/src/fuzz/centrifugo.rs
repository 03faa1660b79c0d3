//! Commands of Centrifugo's protocol, and what is written in it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::BytesMut;
use serde_json::Value;

use crate::model::id::{ClientId, ShardId, Slot};
use crate::model::message::{From, Payload, Publication};
use crate::model::shape::Form;
use crate::sim::reader::read_frames;
use crate::wire::command::{Command, Said};
use crate::wire::dialect::{Dialect, Reading};

const READING: Reading = Reading { text_ping: true, trim_text: false };

/// A message falls into commands, each of which says what a reader of plain JSON finds in it, and
/// every body is written in one line that reads back as it was.
pub fn centrifugo(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = Vec::new();
    let mut said = Said::Text(text.into());
    loop {
        let left = Dialect::Centrifugo.split(&mut said);
        let Said::Text(first) = &said else { panic!("a text falls into texts") };
        assert!(left.is_none() || !first.contains('\n'), "one command is one line");
        lines.push(first.to_string());
        check_command(first);
        let Some(left) = left else { break };
        assert!(left.len() < text.len());
        said = left;
    }
    let whole = lines.join("\n");
    assert_eq!(whole.trim_ascii_end(), text.trim_ascii_end(), "nothing is lost between commands");
    check_written(text);
}

fn check_command(text: &str) {
    let mut said = Said::Text(text.into());
    let Ok(command) = Dialect::Centrifugo.read(&mut said, READING) else { return };
    let value: Value = serde_json::from_str(text).expect("what is read is JSON");
    let channel = |method: &str| value[method]["channel"].as_str().map(str::to_owned);
    match command {
        Command::Publish { channel: named, payload: Payload::Json(json), .. } => {
            assert_eq!(named.map(Cow::into_owned), channel("publish"));
            let body: Value = serde_json::from_str(&json).expect("a body is JSON");
            assert!(body == value["publish"]["data"] || json.contains(|c: char| c.is_numeric()));
        }
        Command::Join { channel: named, presence, patches, since, .. } => {
            assert_eq!(Some(named.into_owned()), channel("subscribe"));
            let wanted = &value["subscribe"];
            assert_eq!(presence, wanted["join_leave"] == true);
            assert_eq!(patches, wanted["delta"] == "fossil");
            assert_eq!(since.is_some(), wanted["recover"] == true);
            let offset = since.map_or(0, |since| since.offset);
            assert!(offset == 0 || wanted["offset"].as_u64() == Some(offset));
        }
        Command::Connect(connect) => {
            let wanted = &value["connect"]["subs"];
            assert!(connect.channels.is_sorted_by(|a, b| a.0 < b.0), "each once");
            for (name, since) in connect.channels {
                assert_eq!(since.is_some(), wanted[&*name]["recover"] == true, "{name}");
                let offset = since.map_or(0, |since| since.offset);
                assert!(offset == 0 || wanted[&*name]["offset"].as_u64() == Some(offset));
            }
        }
        Command::Leave { channel: named, .. } => {
            assert_eq!(Some(named.into_owned()), channel("unsubscribe"));
        }
        Command::History { channel: named, wanted, .. } => {
            assert_eq!(named.map(Cow::into_owned), channel("history"));
            let limit = value["history"]["limit"].as_i64().unwrap_or_default();
            assert!(limit < 0 || usize::try_from(limit) == Ok(wanted.limit));
        }
        Command::Direct { .. } | Command::Who { .. } | Command::Heartbeat => {
            panic!("it has no such command")
        }
        _ => {}
    }
}

fn check_written(text: &str) {
    let client = ClientId { generation: 3, slot: Slot(2), shard: ShardId(1) };
    let json = serde_json::from_str::<Value>(text).ok();
    let bodies = [
        Some((Payload::Text(text.into()), Value::from(text))),
        json.map(|value| (Payload::Json(text.into()), value)),
    ];
    for (payload, expected) in bodies.into_iter().flatten() {
        for channel in ["", text] {
            let publication = Publication {
                channel: Arc::from(channel),
                offset: 7,
                time_ms: 1,
                ingress_ns: 0,
                details: None,
                from: Some(From { client, user: Some(Arc::from(text)) }),
                payload: payload.clone(),
            };
            let mut out = BytesMut::new();
            let shape = Dialect::Centrifugo.shape(false);
            let (mut ends, all) = (Vec::new(), [Arc::new(publication)]);
            let all = crate::model::message::Publications::all(&all);
            Dialect::write_publications(Form::first(shape, false), &mut out, &mut ends, all);
            let (frames, used) = read_frames(&out);
            assert_eq!((frames.len(), used), (1, out.len()), "one whole frame");
            let line = frames[0].text();
            assert!(!line.contains('\n'), "a frame's lines are messages: {line:?}");
            let value: Value = serde_json::from_str(line).expect("the server writes JSON");
            let push = &value["push"];
            if channel.is_empty() {
                assert_eq!(push["message"]["data"], expected);
            } else {
                assert_eq!(push["channel"], channel);
                assert_eq!(push["pub"]["data"], expected);
                assert_eq!(push["pub"]["info"]["user"], text);
            }
        }
    }
}
