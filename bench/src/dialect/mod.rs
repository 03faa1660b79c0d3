//! The protocols that clients speak by name: the first words, the form of a publication, and the
//! meaning of the server's messages.
//!
//! `centrifugo` is Centrifugo's protocol in JSON, `protobuf` the same in Protobuf, and `pusher`
//! Pusher's. `events` reads server-sent events, and `chunks` the chunks of HTTP in which they may
//! come. `track` follows a client's place in its channel, of `stentor` for the server's own
//! protocol.

mod said;
mod track;
mod stentor;
mod centrifugo;
mod protobuf;
mod pusher;
mod chunks;
mod events;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

pub(crate) use events::{Event, Events};
pub(crate) use protobuf::varint;
pub(crate) use said::{SUBSCRIBE, Said};
pub(crate) use track::{Position, Track};

use crate::frame;

/// The protocol of clients and server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Dialect {
    /// WebSocket frames that hold messages, and whatever other flags say.
    #[default]
    Plain,
    /// Centrifugo's client protocol in JSON.
    Centrifugo,
    /// Centrifugo's client protocol in Protobuf.
    CentrifugoProtobuf,
    /// Pusher's protocol; publishers connect beside the clients, in stentor.v1, or with
    /// --app-secret as clients that send events.
    Pusher,
    /// Server-sent events; publishers connect beside the clients, by WebSocket.
    Sse,
}

impl Dialect {
    /// Returns the name in flags and records.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Centrifugo => "centrifugo",
            Self::CentrifugoProtobuf => "centrifugo-protobuf",
            Self::Pusher => "pusher",
            Self::Sse => "sse",
        }
    }

    /// Returns the path that clients ask for where the address has none.
    pub(crate) fn path(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Centrifugo | Self::CentrifugoProtobuf => Some("/connection/websocket"),
            Self::Pusher => Some("/app/bench?protocol=7&client=bench&version=1"),
            Self::Sse => Some("/sse"),
        }
    }

    /// Returns the WebSocket subprotocol that clients ask for.
    pub(crate) fn subprotocol(self) -> Option<&'static str> {
        (self == Self::CentrifugoProtobuf).then_some("centrifuge-protobuf")
    }

    /// Returns `true` if clients connect and subscribe by commands.
    pub(crate) fn has_commands(self) -> bool {
        matches!(self, Self::Centrifugo | Self::CentrifugoProtobuf | Self::Pusher)
    }

    /// Returns `true` if clients only listen, and publishers connect beside them.
    pub(crate) fn only_listens(self) -> bool {
        matches!(self, Self::Sse | Self::Pusher)
    }

    /// Returns `true` if a client shows a token when it connects.
    pub(crate) fn has_tokens(self) -> bool {
        matches!(self, Self::Centrifugo | Self::CentrifugoProtobuf)
    }

    /// Returns the frame that connects a client and subscribes it to a channel, behind the place
    /// up to which it has heard it; nothing where there are no commands.
    pub(crate) fn greeting(self, channel: &str, token: &str, since: Option<&Position>) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Centrifugo => {
                let words = centrifugo::greeting(channel, token, since);
                frame::put_masked(&mut out, frame::TEXT, words.as_bytes());
            }
            Self::CentrifugoProtobuf => {
                let words = protobuf::greeting(channel, token, since);
                frame::put_masked(&mut out, frame::BINARY, &words);
            }
            Self::Pusher => {
                frame::put_masked(&mut out, frame::TEXT, pusher::greeting(channel).as_bytes());
            }
            Self::Plain | Self::Sse => {}
        }
        out
    }

    /// Returns the frame that subscribes a client of Pusher's protocol to a private channel, once
    /// the server has named the client.
    pub(crate) fn signed(channel: &str, app: (&str, &str), name: &str) -> Vec<u8> {
        let mut out = Vec::new();
        frame::put_masked(&mut out, frame::TEXT, pusher::signed(channel, app, name).as_bytes());
        out
    }

    /// Returns the form of an event that a client of Pusher's protocol sends to the others.
    pub(crate) fn client_event(channel: &str) -> String {
        let channel = serde_json::Value::from(channel);
        format!(r#"{{"event":"client-m","channel":{channel},"data":"$MSG"}}"#)
    }

    /// Returns the form of a publication to a channel in JSON, with the placeholders of
    /// `--message`.
    pub(crate) fn publication(self, channel: &str) -> String {
        let channel = serde_json::Value::from(channel);
        match self {
            Self::Sse | Self::Pusher => {
                format!(r#"{{"type":"publish","channel":{channel},"body":"$MSG"}}"#)
            }
            _ => format!(r#"{{"id":$ID,"publish":{{"channel":{channel},"data":"$MSG"}}}}"#),
        }
    }

    /// Calls `each` for the replies and pings in a message, which may hold several; pushes are left
    /// out.
    pub(crate) fn each_said(self, message: &[u8], each: impl FnMut(Said)) {
        match self {
            Self::Centrifugo => centrifugo::each_said(message, each),
            Self::CentrifugoProtobuf => protobuf::each_said(message, each),
            Self::Pusher => pusher::each_said(message, each),
            Self::Plain | Self::Sse => {}
        }
    }

    /// Returns `true` if a client that comes back can be told what it has missed; one of plain
    /// frames can if it speaks `subprotocol`.
    pub(crate) fn recovers(self, subprotocol: Option<&str>) -> bool {
        match self {
            Self::Plain => subprotocol == Some("stentor.v1"),
            Self::Centrifugo | Self::CentrifugoProtobuf => true,
            Self::Pusher | Self::Sse => false,
        }
    }

    /// Follows a client's place in its channel through a message.
    pub(crate) fn follow(self, message: &[u8], track: &mut Track) {
        match self {
            Self::Plain => stentor::follow(message, track),
            Self::Centrifugo => centrifugo::follow(message, track),
            Self::CentrifugoProtobuf => protobuf::follow(message, track),
            Self::Pusher | Self::Sse => {}
        }
    }

    /// Returns path and query of a client that has heard its channel up to a place.
    pub(crate) fn target_since(self, target: &str, since: &Position) -> String {
        if self == Self::Plain { stentor::target(target, since) } else { target.to_owned() }
    }

    /// Appends the frame that answers a ping.
    pub(crate) fn put_pong(self, out: &mut Vec<u8>) {
        match self {
            Self::Centrifugo => frame::put_masked(out, frame::TEXT, b"{}"),
            Self::CentrifugoProtobuf => frame::put_masked(out, frame::BINARY, &[0]),
            Self::Pusher => frame::put_masked(out, frame::TEXT, pusher::PONG),
            Self::Plain | Self::Sse => {}
        }
    }
}
