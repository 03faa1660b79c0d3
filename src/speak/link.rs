//! A connection of `pub` or `sub`: connect, upgrade, read and send without waiting.

use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::http::HeaderValue;
use async_tungstenite::tungstenite::{self, HandshakeError, Message, WebSocket};
use rustix::net::sockopt;
use stentor_units::Url;

use super::wire::Wire;
use super::{Bearer, End};
use crate::tls::Trust;

/// The longest time that a server may take to answer the upgrade, and to say that it is ready.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);

/// How much may wait for room in the socket beside what is put there. A server that pings without
/// end and reads no pong gets fewer pongs.
const PONG_BYTES_MAX: usize = 256 << 10;

/// The longest beginning of a frame.
const FRAME_BYTES_MAX: usize = 14;

/// When the kernel looks whether a silent peer is still there, and when it takes it for gone.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(10);
const KEEPALIVE_TRIES: u32 = 3;

/// An open connection.
pub(super) struct Link {
    socket: WebSocket<Wire>,
    /// `true` if bytes wait for room in the socket.
    unsent: bool,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) struct Unopened {
    pub(super) why: String,
    /// Of a server that refused.
    status: Option<u16>,
}

impl Unopened {
    fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), status: None }
    }

    /// Returns `true` if trying again is of no use. A user who is taken (409) may be this client
    /// itself, whose end the server has not seen yet.
    pub(super) fn is_final(&self) -> bool {
        self.status.is_some_and(|status| {
            (400..500).contains(&status) && !matches!(status, 408 | 409 | 425 | 429)
        })
    }
}

impl Link {
    /// Opens a connection within stentor.v1. The query follows that of the URL, and the token is in
    /// a header.
    pub(super) fn open(
        (url, trust): (&Url, &Trust),
        query: &str,
        bearer: &Bearer,
    ) -> Result<Self, Unopened> {
        let token = bearer.token().map_err(Unopened::new)?;
        let stream = url.connect().map_err(Unopened::new)?;
        let join = if url.target.contains('?') || query.is_empty() { "" } else { "?" };
        let join = if url.target.contains('?') && !query.is_empty() { "&" } else { join };
        let whole = format!("ws://{}{}{join}{query}", url.authority(), url.target);
        let mut request =
            whole.into_client_request().map_err(|error| Unopened::new(explain(&error)))?;
        if let Some(token) = token {
            let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
            let bearer = bearer.map_err(|_| Unopened::new("the token is not one of a header"))?;
            request.headers_mut().insert("Authorization", bearer);
        }
        let protocol = HeaderValue::from_static("stentor.v1");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let prepared = prepare(&stream).and_then(|()| {
            stream.set_read_timeout(Some(HANDSHAKE_MAX))?;
            stream.set_write_timeout(Some(HANDSHAKE_MAX))
        });
        prepared.map_err(|error| Unopened::new(error.to_string()))?;
        let wire = Wire::new(stream, url, trust).map_err(Unopened::new)?;
        match tungstenite::client(request, wire) {
            Ok((mut socket, _)) => {
                socket.set_config(|config| config.max_write_buffer_size = PONG_BYTES_MAX);
                Ok(Self { socket, unsent: false })
            }
            Err(HandshakeError::Failure(error)) => {
                let status = match &error {
                    tungstenite::Error::Http(response) => Some(response.status().as_u16()),
                    _ => None,
                };
                Err(Unopened { why: format!("{url}: {}", explain(&error)), status })
            }
            Err(HandshakeError::Interrupted(_)) => {
                Err(Unopened::new(format!("{url}: no answer to the upgrade in {HANDSHAKE_MAX:?}")))
            }
        }
    }

    /// The next text, for which it waits; used before [`Link::stop_waiting`].
    pub(super) fn first_text(&mut self) -> Result<String, End> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => return Ok(text.to_string()),
                Ok(Message::Close(frame)) => return Err(end_of(frame)),
                Ok(_) => {}
                Err(error) => return Err(End::Lost(explain(&error))),
            }
        }
    }

    /// From here on nothing waits.
    pub(super) fn stop_waiting(&self) -> Result<(), End> {
        let set = self.socket.get_ref().socket().set_nonblocking(true);
        set.map_err(|error| End::Lost(error.to_string()))
    }

    /// The next message that is here.
    pub(super) fn next(&mut self) -> Result<Option<Message>, End> {
        loop {
            match self.socket.read() {
                Ok(Message::Close(frame)) => return Err(end_of(frame)),
                Ok(message @ (Message::Text(_) | Message::Binary(_))) => return Ok(Some(message)),
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if would_block(&error) => return Ok(None),
                Err(error) => return Err(End::Lost(explain(&error))),
            }
        }
    }

    /// Puts a text behind what waits to be sent, and sends if that has become much.
    pub(super) fn put(&mut self, text: String) -> Result<(), End> {
        let room = PONG_BYTES_MAX + FRAME_BYTES_MAX + text.len();
        if self.socket.get_config().max_write_buffer_size < room {
            self.socket.set_config(|config| config.max_write_buffer_size = room);
        }
        let written = self.socket.write(Message::text(text));
        self.sent(written)
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) -> Result<(), End> {
        let flushed = self.socket.flush();
        self.sent(flushed)
    }

    fn sent(&mut self, result: tungstenite::Result<()>) -> Result<(), End> {
        match result {
            Ok(()) => self.unsent = false,
            // Bytes that could not be sent are kept.
            Err(tungstenite::Error::Io(error)) if would_block(&error) => self.unsent = true,
            // A close frame may have come before the connection broke, and says more.
            Err(error) => return Err(self.last_word().unwrap_or(End::Lost(explain(&error)))),
        }
        Ok(())
    }

    fn last_word(&mut self) -> Option<End> {
        loop {
            match self.next() {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(end) => return matches!(end, End::Closed { .. }).then_some(end),
            }
        }
    }

    /// Returns `true` if bytes wait for room in the socket.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent
    }

    /// Says goodbye, and waits for the server's own for so long.
    pub(super) fn leave(mut self, most: Duration) {
        let stream = self.socket.get_ref().socket();
        // The answer is a courtesy: everything that matters has been answered before.
        let _ = stream.set_nonblocking(false);
        let _ = stream.set_read_timeout(Some(most));
        let _ = self.socket.close(None);
        while self.socket.read().is_ok() {}
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().socket().as_fd()
    }
}

/// The query by which a channel and a user are named.
pub(super) fn query(channel: Option<&str>, user: Option<&str>) -> String {
    let channel = channel.map(|channel| format!("channel={}", escape(channel)));
    let user = user.map(|user| format!("user={}", escape(user)));
    channel.into_iter().chain(user).collect::<Vec<_>>().join("&")
}

fn escape(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A host that has gone is noticed by the kernel: nothing else would end a silent connection.
fn prepare(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_AGAIN)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_TRIES)?;
    Ok(())
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}

fn end_of(frame: Option<tungstenite::protocol::CloseFrame>) -> End {
    let (code, reason) =
        frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
    End::Closed { code, reason }
}

/// One line, with the server's own reason where it gave one.
fn explain(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let reason = String::from_utf8_lossy(body).trim().escape_debug().to_string();
            format!("{} {reason}", response.status())
        }
        tungstenite::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_into_the_url() {
        assert_eq!(query(Some("a b&c"), Some("ä")), "channel=a%20b%26c&user=%C3%A4");
        assert_eq!((query(None, Some("u")), query(None, None)), ("user=u".into(), String::new()));
    }

    #[test]
    fn refusals_that_stay_are_final() {
        let of = |status| Unopened { why: String::new(), status: Some(status) }.is_final();
        assert!(of(400) && of(401) && of(403) && of(404));
        assert!(!of(408) && !of(409) && !of(429) && !of(503) && !of(500));
        assert!(!Unopened::new("refused").is_final());
    }
}
