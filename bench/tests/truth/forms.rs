//! Centrifugo's protocol as a server writes and reads it, in JSON and in Protobuf.

use serde_json::{Value, json};

/// The form of all messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Protobuf,
}

/// A message of the server.
pub(crate) enum Said<'a> {
    Done(u64, &'a str),
    Refused(u64, u64, &'a str),
    /// A publication, by the JSON of its data.
    Push(&'a str),
    Ping,
}

/// A command of a client: its number, its method, and its channel or data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) id: u64,
    pub(crate) method: &'static str,
    pub(crate) channel: String,
    pub(crate) data: String,
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let len = u8::try_from(bytes.len()).unwrap();
    assert!(len < 128);
    [&[len], bytes].concat()
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2][..], &sized(bytes)].concat()
}

impl Form {
    pub(crate) fn flag(self) -> &'static str {
        if self == Self::Json { "--dialect centrifugo" } else { "--dialect centrifugo-protobuf" }
    }

    pub(crate) fn first_byte(self) -> u8 {
        if self == Self::Json { 0x81 } else { 0x82 }
    }

    /// Returns a frame with these messages in it.
    pub(crate) fn frame(self, all: &[Said<'_>]) -> Vec<u8> {
        let payload = match self {
            Self::Json => all.iter().map(json_of).collect::<Vec<_>>().join("\n").into_bytes(),
            Self::Protobuf => all.iter().flat_map(|said| sized(&protobuf_of(said))).collect(),
        };
        let mut out = vec![self.first_byte()];
        match u8::try_from(payload.len()) {
            Ok(len) if len < 126 => out.push(len),
            _ => {
                out.push(126);
                out.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
            }
        }
        [out, payload].concat()
    }

    /// Reads the commands in the payload of a frame.
    pub(crate) fn commands(self, payload: &[u8]) -> Vec<Command> {
        match self {
            Self::Json => {
                let text = std::str::from_utf8(payload).unwrap();
                text.lines()
                    .map(|line| json_command(&serde_json::from_str(line).unwrap()))
                    .collect()
            }
            Self::Protobuf => {
                let mut rest = payload;
                let mut all = Vec::new();
                while let Some((len, after)) = rest.split_first() {
                    let (command, after) = after.split_at(usize::from(*len));
                    all.push(protobuf_command(command));
                    rest = after;
                }
                all
            }
        }
    }
}

fn json_of(said: &Said<'_>) -> String {
    match said {
        Said::Done(id, method) => json!({ "id": id, *method: {} }).to_string(),
        Said::Refused(id, code, message) => {
            json!({ "id": id, "error": { "code": code, "message": message } }).to_string()
        }
        Said::Push(data) => {
            format!(r#"{{"push":{{"channel":"bench","pub":{{"data":{data}}}}}}}"#)
        }
        Said::Ping => "{}".to_owned(),
    }
}

fn protobuf_of(said: &Said<'_>) -> Vec<u8> {
    let id = |id: &u64| vec![1 << 3, u8::try_from(*id % 128).unwrap()];
    match said {
        Said::Done(number, method) => {
            let field_of = match *method {
                "connect" => 5,
                "subscribe" => 6,
                _ => 8,
            };
            [id(number), field(field_of, b"")].concat()
        }
        Said::Refused(number, code, message) => {
            let error = [id(code), field(2, message.as_bytes())].concat();
            [id(number), field(2, &error)].concat()
        }
        Said::Push(data) => {
            let publication = field(4, data.as_bytes());
            field(4, &[field(2, b"bench"), field(4, &publication)].concat())
        }
        Said::Ping => Vec::new(),
    }
}

fn json_command(command: &Value) -> Command {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let method =
        ["connect", "subscribe", "publish"].into_iter().find(|name| command.get(name).is_some());
    let Some(method) = method else {
        assert_eq!(command, &json!({}), "a pong");
        return Command { id: 0, method: "pong", channel: String::new(), data: String::new() };
    };
    let request = &command[method];
    let data = request.get("data").map(Value::to_string).unwrap_or_default();
    Command {
        id: command["id"].as_u64().unwrap(),
        method,
        channel: text(&request["channel"]),
        data,
    }
}

/// Numbers of commands are told up to 16,383 here, and lengths up to 127.
fn protobuf_command(command: &[u8]) -> Command {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (channel, data) = (String::new(), String::new());
    let Some((key, rest)) = command.split_first() else {
        return Command { id: 0, method: "pong", channel, data };
    };
    assert_eq!(*key, 1 << 3);
    let (low, wide) = (u64::from(rest[0] & 0x7f), rest[0] >= 0x80);
    let (id, rest) =
        if wide { (low | u64::from(rest[1]) << 7, &rest[2..]) } else { (low, &rest[1..]) };
    let [key, len, request @ ..] = rest else { panic!("a command without a method") };
    assert_eq!(usize::from(*len), request.len());
    let request_field = |number: u8| {
        let mut rest = request;
        while let [key, len, after @ ..] = rest {
            let (value, after) = after.split_at(usize::from(*len));
            if *key == number << 3 | 2 {
                return text(value);
            }
            rest = after;
        }
        String::new()
    };
    let method = match key >> 3 {
        4 => return Command { id, method: "connect", channel, data },
        5 => "subscribe",
        7 => "publish",
        other => panic!("a command of field {other}"),
    };
    Command { id, method, channel: request_field(1), data: request_field(2) }
}
