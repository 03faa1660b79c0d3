//! The upgrade request of a client, and the frames that follow it.

use std::borrow::Cow;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

use super::answer::Answer;
use crate::dialect::{Dialect, Position};
use crate::frame;
use crate::tls::Secure;

/// The placeholder of a client's number in requests and messages.
const NUMBER: &str = "$N";

/// The placeholder of the number of the client's channel.
pub(crate) const CHANNEL: &str = "$C";

/// The request of a client, and the frames that follow it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) server: SocketAddr,
    /// Needed where the server is reached within TLS.
    pub(crate) tls: Option<Secure>,
    /// The value of the Host header.
    pub(crate) host: String,
    /// Path with query; `$N` is the client's number here and in what follows.
    pub(crate) target: String,
    /// Further header lines, each with its line end.
    pub(crate) headers: String,
    pub(crate) dialect: Dialect,
    /// Clients that come back ask for what they have missed.
    pub(crate) recovers: bool,
    /// Of the subscription that the dialect asks for by itself, and of its connect.
    pub(crate) channel: String,
    pub(crate) token: String,
    /// Key and secret with which a client signs its subscription, once it knows its name.
    pub(crate) app: Option<(String, String)>,
    /// Messages to be sent as soon as the client has its 101.
    pub(crate) hello: Vec<String>,
    /// Of the frames that carry them.
    pub(crate) opcode: u8,
    /// Text of the message after which the client counts as open; empty: the 101 suffices.
    pub(crate) ready: String,
    /// Messages that clients reply to by themselves, as they do to pings.
    pub(crate) answers: Vec<Answer>,
    /// The number of the first client among all of a run, for the address it comes from.
    pub(crate) first: usize,
    /// The place of that client among those of its thread.
    pub(crate) base: usize,
    /// The channels of these clients, which take them in turn.
    pub(crate) channels: Option<Range<usize>>,
    /// Addresses to connect from, in turn; none: the kernel's choice, and several on loopback.
    pub(crate) sources: Vec<Ipv4Addr>,
}

impl Request {
    /// The plainest one.
    pub(crate) fn plain(server: SocketAddr, target: &str) -> Self {
        Self {
            server,
            tls: None,
            host: server.to_string(),
            target: target.to_owned(),
            headers: String::new(),
            dialect: Dialect::default(),
            recovers: false,
            channel: String::new(),
            token: String::new(),
            app: None,
            hello: Vec::new(),
            opcode: frame::TEXT,
            ready: String::new(),
            answers: Vec::new(),
            first: 0,
            base: 0,
            channels: None,
            sources: Vec::new(),
        }
    }

    /// The same for clients that come back, if they do: nobody else's place is followed.
    #[must_use]
    pub(crate) fn recovering_if(self, comes_back: bool) -> Self {
        Self { recovers: self.recovers && comes_back, ..self }
    }

    /// Returns the number of the client at a place of its thread.
    pub(super) fn number(&self, index: usize) -> usize {
        self.first + (index - self.base)
    }

    /// Returns the head of the request of a client that has heard its channel up to a place.
    pub(super) fn head(&self, number: usize, since: Option<&Position>) -> String {
        if self.dialect == Dialect::Sse {
            return format!(
                "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{}\r\n",
                self.filled(&self.target, number),
                self.host,
                self.filled(&self.headers, number)
            );
        }
        let mut target = self.filled(&self.target, number);
        if let Some(since) = since {
            target = self.dialect.target_since(&target, since).into();
        }
        format!(
            "GET {target} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{}\r\n",
            self.host,
            self.filled(&self.headers, number)
        )
    }

    /// The number of a client's channel, where there are any.
    pub(crate) fn channel_of(&self, number: usize) -> Option<usize> {
        let channels = self.channels.as_ref()?;
        Some(channels.start + number.saturating_sub(self.first) % channels.len().max(1))
    }

    /// A text with the client's number, and that of its channel, in their places.
    pub(super) fn filled<'a>(&self, text: &'a str, number: usize) -> Cow<'a, str> {
        let mut filled = Cow::Borrowed(text);
        if let Some(channel) = self.channel_of(number).filter(|_| text.contains(CHANNEL)) {
            filled = filled.replace(CHANNEL, &channel.to_string()).into();
        }
        if filled.contains(NUMBER) {
            filled = filled.replace(NUMBER, &number.to_string()).into();
        }
        filled
    }

    /// Returns the frame with which it subscribes once the server has named it, if it signs.
    pub(super) fn signed(&self, number: usize, name: &str) -> Option<Vec<u8>> {
        let (key, secret) = self.app.as_ref()?;
        let channel = self.filled(&self.channel, number);
        Some(Dialect::signed(&channel, (key, secret), name))
    }

    /// The frames that it sends when it has its 101.
    pub(super) fn greeting(&self, number: usize, since: Option<&Position>) -> Vec<u8> {
        let filled = |text| self.filled(text, number);
        let mut out = Vec::new();
        if self.app.is_none() {
            let (channel, token) = (filled(&self.channel), filled(&self.token));
            out = self.dialect.greeting(&channel, &token, since);
        }
        for text in &self.hello {
            frame::put_masked(&mut out, self.opcode, self.filled(text, number).as_bytes());
        }
        out
    }
}
