//! `stentor pub` and `stentor sub`: a small client of the two endpoints.

use std::io::{self, BufRead, Write};
use std::net::TcpStream;

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::http::HeaderValue;
use async_tungstenite::tungstenite::{self, Message, WebSocket};

type Socket = WebSocket<TcpStream>;

/// Publishes `text`, or each line of standard input where it is `-`.
///
/// # Errors
/// Why the server cannot be reached, or what it refused.
pub(crate) fn publish(
    url: &str,
    channel: &str,
    user: Option<&str>,
    text: &str,
) -> Result<(), String> {
    let mut socket = connect(&endpoint(url, channel, user, "&echo=false"), false)?;
    let send = |socket: &mut Socket, line: &str| {
        socket.send(Message::text(line)).map_err(|error| explain(&error))
    };
    if text == "-" {
        for line in io::stdin().lock().lines() {
            let line = line.map_err(|error| format!("standard input: {error}"))?;
            send(&mut socket, &line)?;
        }
    } else {
        send(&mut socket, text)?;
    }
    socket.close(None).map_err(|error| explain(&error))?;
    // The server has taken everything once it has answered the goodbye.
    loop {
        match socket.read() {
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed | tungstenite::Error::AlreadyClosed) => {
                return Ok(());
            }
            Err(error) => return Err(explain(&error)),
        }
    }
}

/// Prints what is published, until `count` messages have come or the server ends it.
///
/// # Errors
/// Why the server cannot be reached, or how it ended this.
pub(crate) fn subscribe(
    url: &str,
    channel: &str,
    user: Option<&str>,
    json: bool,
    count: Option<u64>,
) -> Result<(), String> {
    let mut socket = connect(&endpoint(url, channel, user, ""), json)?;
    let mut out = io::stdout().lock();
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let written = match socket.read().map_err(|error| explain(&error))? {
            Message::Text(text) if json && !is_message(&text) => continue,
            Message::Text(text) => writeln!(out, "{text}"),
            Message::Binary(bytes) => out.write_all(&bytes).and_then(|()| writeln!(out)),
            Message::Close(frame) => {
                let end = frame.map(|frame| format!("{} {}", frame.code, frame.reason));
                return Err(format!("closed by the server: {}", end.unwrap_or_default()));
            }
            _ => continue,
        };
        if written.and_then(|()| out.flush()).is_err() {
            // Who read this has gone.
            return Ok(());
        }
        left -= 1;
    }
    let _ = socket.close(None);
    let _ = socket.flush();
    Ok(())
}

fn is_message(text: &str) -> bool {
    text.starts_with("{\"type\":\"message\"")
}

fn endpoint(url: &str, channel: &str, user: Option<&str>, more: &str) -> String {
    let join = if url.contains('?') { '&' } else { '?' };
    let user = user.map(|user| format!("&user={}", escape(user))).unwrap_or_default();
    format!("{url}{join}channel={}{user}{more}", escape(channel))
}

fn escape(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn connect(url: &str, json: bool) -> Result<Socket, String> {
    let mut request = url.into_client_request().map_err(|error| explain(&error))?;
    if json {
        let protocol = HeaderValue::from_static("stentor.v1");
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
    }
    let uri = request.uri();
    if uri.scheme_str() != Some("ws") {
        return Err(format!("{url}: only ws:// is spoken here"));
    }
    let host = uri.host().unwrap_or("127.0.0.1").trim_matches(['[', ']']).to_owned();
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host.as_str(), port))
        .map_err(|error| format!("{host}:{port}: {error}"))?;
    let _ = stream.set_nodelay(true);
    let (socket, _) = tungstenite::client(request, stream).map_err(|error| match error {
        tungstenite::HandshakeError::Failure(error) => explain(&error),
        tungstenite::HandshakeError::Interrupted(_) => "the handshake was interrupted".into(),
    })?;
    Ok(socket)
}

/// One line, with the server's own reason where it gave one.
fn explain(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Http(response) => {
            let body = response.body().as_deref().unwrap_or_default();
            let reason = String::from_utf8_lossy(body).trim().escape_debug().to_string();
            format!("{} {reason}", response.status())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_into_the_url() {
        assert_eq!(
            endpoint("ws://h/ws", "a b&c", Some("ä"), "&echo=false"),
            "ws://h/ws?channel=a%20b%26c&user=%C3%A4&echo=false"
        );
        assert_eq!(endpoint("ws://h/ws?x=1", "c", None, ""), "ws://h/ws?x=1&channel=c");
    }
}
