//! One client's way in: connect, TLS, request, answer, and what the server wants to hear and say.

use std::io;

use memchr::memmem;
use rustix::net::RecvFlags;

use super::client::{Client, Inbound, Step};
use super::request::Request;
use super::sender::FrameSender;
use crate::dialect::{Dialect, Events, SUBSCRIBE, Said};
use crate::frame;

/// Most bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The accept value of the example key of RFC 6455, which every client sends.
const ACCEPT_VALUE: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The content type of server-sent events.
const EVENTS: &str = "text/event-stream";

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
        let number = request.number(index);
        if self.step == Step::Connect {
            return self.connected(request, index, sender).map(|()| true);
        }
        if self.step == Step::Open || !self.listen(index, sender, buffer)? {
            return Ok(false);
        }
        if self.step == Step::Tls && self.tls.as_ref().is_none_or(|tls| tls.is_through()) {
            let head = request.head(number, self.since());
            sender.send(index, self, head.as_bytes())?;
            self.step = Step::Answer;
        }
        if self.step == Step::Answer
            && let Some(end) = self.answered(request.dialect)?
        {
            self.head.drain(..end);
            let greeting = request.greeting(number, self.since());
            if !greeting.is_empty() {
                sender.send(index, self, &greeting)?;
            }
            let waits = request.dialect.has_commands() || !request.ready.is_empty();
            self.step = if waits { Step::Ready } else { Step::Open };
        }
        if self.step == Step::Ready {
            let (is_ready, reply) = self.is_ready(request, number)?;
            if let Some(reply) = reply {
                sender.send(index, self, &reply)?;
            }
            if is_ready {
                self.step = Step::Open;
            }
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
            let head = request.head(request.number(index), self.since());
            sender.send(index, self, head.as_bytes())?;
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

    /// Returns the end of the answer's head, once it is whole, and prepares for what follows.
    fn answered(&mut self, dialect: Dialect) -> io::Result<Option<usize>> {
        if dialect != Dialect::Sse {
            let end = accepted(&self.head)?;
            if let (Some(_), Inbound::Frames(reader)) = (end, &mut self.inbound)
                && compresses(&self.head)
            {
                reader.inflate();
            }
            return Ok(end);
        }
        let Some((end, is_chunked)) = streams(&self.head)? else { return Ok(None) };
        self.inbound = Inbound::Events(Box::new(Events::new(is_chunked)));
        Ok(Some(end))
    }

    /// Returns `true` if a message has come by which the server says that it is ready, and the
    /// frame that it waits for before that. Frames are kept, that one too, where the client's place
    /// in its channel is followed.
    fn is_ready(
        &mut self,
        request: &Request,
        number: usize,
    ) -> io::Result<(bool, Option<Vec<u8>>)> {
        let Inbound::Frames(reader) = &mut self.inbound else { return Ok((true, None)) };
        let (ready, dialect) = (request.filled(&request.ready, number), request.dialect);
        let (mut is_ready, mut refused, mut reply) = (false, None, None);
        let mut bytes = std::mem::take(&mut self.head);
        let mut early = self.track.is_some().then_some(&mut self.early);
        let read = reader.feed(&mut bytes, |opcode, payload| {
            if let Some(early) = &mut early {
                frame::put_unmasked(early, opcode, payload);
            }
            if opcode == frame::CLOSE {
                refused.get_or_insert_with(|| closing(payload));
            } else if dialect.has_commands() {
                dialect.each_said(payload, |said| match said {
                    Said::Done(SUBSCRIBE) => is_ready = true,
                    Said::Refused(_, why) => _ = refused.get_or_insert(why),
                    Said::Named(name) => reply = request.signed(number, &name),
                    Said::Done(_) | Said::Ping => {}
                });
            } else {
                is_ready |= memmem::find(payload, ready.as_bytes()).is_some();
            }
        });
        read.map_err(|_| io::Error::other("the server sent a frame that is too long"))?;
        match refused {
            Some(why) if !is_ready => Err(io::Error::other(why)),
            _ => Ok((is_ready, reply)),
        }
    }

    /// Returns `true` if the TLS handshake resumed a session.
    pub(super) fn is_resumed(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_resumed())
    }
}

/// Returns the reason in a close frame that came before the client was ready.
fn closing(payload: &[u8]) -> String {
    let cause = Step::Ready.cut_off();
    let Some((code, reason)) = payload.split_first_chunk() else { return cause.to_owned() };
    let reason = String::from_utf8_lossy(reason);
    format!("{cause}: {} {}", u16::from_be_bytes(*code), reason.escape_debug())
}

/// Returns the end of an answer's head with its text, once it is whole.
fn whole_head(head: &[u8]) -> io::Result<Option<(usize, String)>> {
    let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") else {
        let bound = head.len() <= HEAD_BYTES_MAX;
        return if bound { Ok(None) } else { Err(io::Error::other("the answer has no end")) };
    };
    Ok(Some((end + 4, String::from_utf8_lossy(&head[..end]).into_owned())))
}

/// The first line of an answer that is another than was hoped for.
fn other_status(text: &str) -> io::Error {
    io::Error::other(text.lines().next().unwrap_or_default().escape_debug().to_string())
}

/// Returns the end of the head of a stream of events, once it is whole, and `true` if the stream
/// comes in chunks.
fn streams(head: &[u8]) -> io::Result<Option<(usize, bool)>> {
    let Some((end, text)) = whole_head(head)? else { return Ok(None) };
    if !(text.starts_with("HTTP/1.1 200") || text.starts_with("HTTP/1.0 200")) {
        return Err(other_status(&text));
    }
    let kind = header(&text, "content-type").unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with(EVENTS) {
        let shown: String = kind.chars().take(SHOWN_CHARS).collect();
        let why = format!("the 200 is no stream of events but {shown:?}");
        return Err(io::Error::other(why));
    }
    let coding = header(&text, "transfer-encoding").unwrap_or_default();
    Ok(Some((end, coding.eq_ignore_ascii_case("chunked"))))
}

/// Where the answer's head ends, once it is whole and a 101 to our key.
fn accepted(head: &[u8]) -> io::Result<Option<usize>> {
    let Some((end, text)) = whole_head(head)? else { return Ok(None) };
    if !text.starts_with("HTTP/1.1 101") {
        return Err(other_status(&text));
    }
    let found = header(&text, "sec-websocket-accept");
    if found == Some(ACCEPT_VALUE) {
        return Ok(Some(end));
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

/// Returns `true` if an answer agrees to compressed messages.
fn compresses(head: &[u8]) -> bool {
    let text = whole_head(head).ok().flatten().map(|(_, text)| text).unwrap_or_default();
    header(&text, "sec-websocket-extensions")
        .is_some_and(|agreed| agreed.trim_start().starts_with("permessage-deflate"))
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
    fn only_a_stream_of_events_is_listened_to() {
        let good = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; a=b\r\n\r\nrest";
        assert_eq!(streams(good).unwrap(), Some((good.len() - 4, false)));
        assert_eq!(streams(&good[..good.len() - 6]).unwrap(), None);
        let chunks = b"HTTP/1.1 200 OK\r\ncontent-type: Text/Event-Stream\r\n\
            transfer-encoding: Chunked\r\n\r\n";
        assert_eq!(streams(chunks).unwrap(), Some((chunks.len(), true)));
        for (head, told) in [
            ("HTTP/1.1 404 Not Found", "HTTP/1.1 404 Not Found"),
            ("HTTP/1.1 200 OK\r\nContent-Type: text/html", "but \"text/html\""),
        ] {
            let why = streams(format!("{head}\r\n\r\n").as_bytes()).unwrap_err().to_string();
            assert!(why.contains(told), "{why}");
        }
    }

    #[test]
    fn a_close_before_it_is_ready_tells_its_code() {
        assert_eq!(closing(b""), "closed before it was ready");
        assert_eq!(closing(b"\x0d\xaccode\n"), "closed before it was ready: 3500 code\\n");
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
