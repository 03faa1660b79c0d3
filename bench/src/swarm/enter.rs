//! One client's way in: connect, TLS, request, answer, and what the server wants to hear and say.

use std::io;

use memchr::memmem;
use rustix::net::RecvFlags;

use super::client::{Client, Step};
use super::request::Request;
use super::sender::FrameSender;

/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The accept value of the example key of RFC 6455, which every client sends.
const ACCEPT_VALUE: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// How much of a wrong one is shown.
const SHOWN_CHARS: usize = 64;

impl Client {
    /// Takes what has come, and goes on as far as that leads. Whether there was anything.
    pub(super) fn go_on(
        &mut self,
        request: &Request,
        index: usize,
        sender: &mut FrameSender,
        buffer: &mut [u8],
    ) -> io::Result<bool> {
        let number = request.first + index;
        if self.step == Step::Connect {
            return self.connected(request, index, sender).map(|()| true);
        }
        if self.step == Step::Open || !self.listen(index, sender, buffer)? {
            return Ok(false);
        }
        if self.step == Step::Tls && self.tls.as_ref().is_none_or(|tls| tls.is_through()) {
            sender.send(index, self, request.head(number).as_bytes())?;
            self.step = Step::Answer;
        }
        if self.step == Step::Answer
            && let Some(end) = accepted(&self.head)?
        {
            self.head.drain(..end);
            let greeting = request.greeting(number);
            if !greeting.is_empty() {
                sender.send(index, self, &greeting)?;
            }
            self.step = if request.ready.is_empty() { Step::Open } else { Step::Ready };
        }
        if self.step == Step::Ready && self.is_ready(&request.filled(&request.ready, number))? {
            self.step = Step::Open;
        }
        Ok(true)
    }

    /// The connect is over: begins to talk, unless there is nobody to talk to.
    fn connected(
        &mut self,
        request: &Request,
        index: usize,
        sender: &mut FrameSender,
    ) -> io::Result<()> {
        if let Some(error) = socket2::SockRef::from(&self.socket).take_error()? {
            return Err(error);
        }
        if let Some(tls) = &mut self.tls {
            sender.sealed.clear();
            tls.take(&mut [], &mut self.head, &mut sender.sealed)?;
            sender.put_sealed(index, self)?;
            self.step = Step::Tls;
        } else {
            sender.send(index, self, request.head(request.first + index).as_bytes())?;
            self.step = Step::Answer;
        }
        sender.watch(index, self)
    }

    /// Takes the next bytes, which `head` then ends in. Whether there were any.
    fn listen(
        &mut self,
        index: usize,
        sender: &mut FrameSender,
        buffer: &mut [u8],
    ) -> io::Result<bool> {
        let count = match rustix::net::recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((count, _)) if count > 0 => count,
            Err(rustix::io::Errno::AGAIN) => return Ok(false),
            Ok(_) => return Err(io::Error::other(self.step.cut_off())),
            Err(error) => return Err(error.into()),
        };
        let Some(tls) = &mut self.tls else {
            self.head.extend_from_slice(&buffer[..count]);
            return Ok(true);
        };
        sender.sealed.clear();
        let taken = tls.take(&mut buffer[..count], &mut self.head, &mut sender.sealed);
        if !sender.sealed.is_empty() {
            sender.put_sealed(index, self)?;
        }
        taken.map(|()| true)
    }

    /// Returns `true` if a message that has come has `ready` in it. Bytes behind it are not kept
    /// either.
    fn is_ready(&mut self, ready: &str) -> io::Result<bool> {
        let mut is_ready = false;
        let mut bytes = std::mem::take(&mut self.head);
        self.reader
            .feed(&mut bytes, |_, payload| {
                is_ready |= memmem::find(payload, ready.as_bytes()).is_some();
            })
            .map_err(|_| io::Error::other("the server sent a frame that is too long"))?;
        Ok(is_ready)
    }

    /// Returns `true` if the TLS handshake resumed a session.
    pub(super) fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_resumed())
    }
}

/// Where the answer's head ends, once it is whole and a 101 to our key.
fn accepted(head: &[u8]) -> io::Result<Option<usize>> {
    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
        let bound = head.len() <= HEAD_BYTES_MAX;
        return if bound { Ok(None) } else { Err(io::Error::other("the answer has no end")) };
    };
    let text = String::from_utf8_lossy(&head[..end]);
    if !text.starts_with("HTTP/1.1 101") {
        return Err(io::Error::other(text.lines().next().unwrap_or_default().to_owned()));
    }
    let found = header(&text, "sec-websocket-accept");
    if found == Some(ACCEPT_VALUE) {
        return Ok(Some(end + 4));
    }
    let found = found.map_or_else(
        || "the 101 has no Sec-WebSocket-Accept".to_owned(),
        |value| {
            // As much as tells what it is; whatever it is, it stays in its line.
            let shown: String = value.chars().take(SHOWN_CHARS).collect();
            format!("the 101 has Sec-WebSocket-Accept: {}", shown.escape_debug())
        },
    );
    Err(io::Error::other(format!("{found}, and {ACCEPT_VALUE} answers the key that was sent")))
}

/// The value of a header, by its name in small letters.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(found, _)| found.trim().eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_101_to_our_key_is_accepted() {
        let good = format!("HTTP/1.1 101 x\r\nSec-WebSocket-Accept: {ACCEPT_VALUE}\r\n\r\nrest");
        assert_eq!(accepted(good.as_bytes()).unwrap(), Some(good.len() - 4));
        assert_eq!(accepted(&good.as_bytes()[..good.len() - 5]).unwrap(), None);
        let small = format!("HTTP/1.1 101 x\r\nsec-websocket-accept:{ACCEPT_VALUE} \r\n\r\n");
        assert_eq!(accepted(small.as_bytes()).unwrap(), Some(small.len()));
        let refused = accepted(b"HTTP/1.1 503 no room\r\n\r\n").unwrap_err();
        assert_eq!(refused.to_string(), "HTTP/1.1 503 no room");
        assert!(accepted(&[b'a'; HEAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn a_wrong_accept_is_told_beside_the_right_one() {
        let long = "x".repeat(500);
        for (line, told) in [
            ("Sec-WebSocket-Accept: other", "the 101 has Sec-WebSocket-Accept: other, and "),
            (&format!("Sec-WebSocket-Accept: {ACCEPT_VALUE}x"), &format!(": {ACCEPT_VALUE}x, and")),
            ("Sec-WebSocket-Accept:", "Accept: , and "),
            ("X-Other: 1", "the 101 has no Sec-WebSocket-Accept, and "),
            (&format!("X-Other: {ACCEPT_VALUE}"), "the 101 has no Sec-WebSocket-Accept"),
            (&format!("Sec-WebSocket-Accept: \x1b{long}"), "\\u{1b}xxx"),
        ] {
            let head = format!("HTTP/1.1 101 x\r\n{line}\r\n\r\n");
            let why = accepted(head.as_bytes()).unwrap_err().to_string();
            assert!(why.contains(told) && why.len() < 200, "{line}: {why}");
            assert!(why.ends_with(&format!("{ACCEPT_VALUE} answers the key that was sent")));
        }
    }
}
