//! A synchronous WebSocket client for tests: tungstenite over a plain socket, and raw bytes where
//! that is the point.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::http::HeaderName;
use async_tungstenite::tungstenite::protocol::frame::CloseFrame;
use async_tungstenite::tungstenite::{self, Error, Message, WebSocket};
use serde_json::Value;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The header of a JSON client.
const JSON: (&str, &str) = ("Sec-WebSocket-Protocol", "stentor.v1");

pub(crate) struct Client {
    socket: WebSocket<TcpStream>,
}

impl Client {
    /// A plain client; the target begins with `/ws`.
    pub(crate) fn plain(to: SocketAddr, target: &str) -> Self {
        Self::try_plain(to, target).unwrap()
    }

    pub(crate) fn try_plain(to: SocketAddr, target: &str) -> Result<Self, (u16, String)> {
        Self::connect(to, target, &[])
    }

    /// A plain client with headers of its own.
    #[allow(dead_code, reason = "only the tests of hooks have any")]
    pub(crate) fn try_plain_with(
        to: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, (u16, String)> {
        Self::connect(to, target, headers)
    }

    /// A JSON client with headers of its own, and its welcome.
    #[allow(dead_code, reason = "only the tests of hooks have any")]
    pub(crate) fn try_json(
        to: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<(Self, Value), (u16, String)> {
        let headers = [headers, &[JSON]].concat();
        let mut client = Self::connect(to, target, &headers)?;
        let welcome = client.next_json();
        Ok((client, welcome))
    }

    /// A client of Pusher's protocol, before its first message.
    pub(crate) fn pusher(to: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Self {
        Self::connect(to, target, headers).unwrap()
    }

    /// A JSON client and its welcome.
    pub(crate) fn json(to: SocketAddr, target: &str) -> (Self, Value) {
        let mut client = Self::connect(to, target, &[JSON]).unwrap();
        let welcome = client.next_json();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        (client, welcome)
    }

    fn connect(
        to: SocketAddr,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, (u16, String)> {
        let mut request = format!("ws://{to}{target}").into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        let stream = TcpStream::connect(to).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        match tungstenite::client(request, stream) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(tungstenite::HandshakeError::Failure(Error::Http(response))) => {
                let body = response.body().clone().unwrap_or_default();
                Err((response.status().as_u16(), String::from_utf8_lossy(&body).trim().to_owned()))
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        self.socket.get_mut()
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap();
    }

    pub(crate) fn try_send(&mut self, text: &str) -> Result<(), Error> {
        self.socket.send(Message::text(text))
    }

    pub(crate) fn send_binary(&mut self, bytes: &[u8]) {
        self.socket.send(Message::binary(bytes.to_vec())).unwrap();
    }

    /// The next message of any kind.
    pub(crate) fn next(&mut self) -> Message {
        self.socket.read().unwrap()
    }

    /// The next message, or why there is none.
    pub(crate) fn try_next(&mut self) -> Result<Message, Error> {
        self.socket.read()
    }

    /// The next text; pings are answered on the way.
    pub(crate) fn next_text(&mut self) -> String {
        loop {
            match self.next() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) => {}
                other => panic!("{other:?} instead of a text"),
            }
        }
    }

    pub(crate) fn next_json(&mut self) -> Value {
        let text = self.next_text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Reads until the server closes; gives its frame, and how many texts came before.
    pub(crate) fn closed(&mut self) -> (Option<CloseFrame>, usize) {
        let mut texts = 0;
        let mut frame = None;
        loop {
            match self.socket.read() {
                Ok(Message::Close(close)) => frame = close,
                Ok(Message::Text(_) | Message::Binary(_)) => texts += 1,
                Ok(_) => {}
                Err(Error::Io(error))
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    panic!("the server does not close")
                }
                Err(_) => return (frame, texts),
            }
        }
    }

    pub(crate) fn close_code(&mut self) -> Option<u16> {
        self.closed().0.map(|frame| frame.code.into())
    }

    /// Nothing comes: a message to itself is the next one.
    pub(crate) fn hears_nothing_before(&mut self, own: &str) {
        self.send(own);
        assert_eq!(self.next_text(), own);
    }

    pub(crate) fn goodbye(mut self) -> Option<u16> {
        self.socket.close(None).unwrap();
        self.close_code()
    }
}

/// Sends raw bytes and reads what comes until the server ends the connection.
pub(crate) fn raw(to: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
