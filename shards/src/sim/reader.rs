//! Frames as a client reads them, after the letter of RFC 6455, 5.2: nothing of the server's own
//! writing is used.

use flate2::{Decompress, FlushDecompress};

/// One whole frame to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.payload).expect("a server's texts are UTF-8")
    }

    /// The code of a close frame, if it has one.
    pub(crate) fn code(&self) -> Option<u16> {
        let code = self.payload.get(..2)?;
        Some(u16::from_be_bytes([code[0], code[1]]))
    }
}

/// Returns the complete frames at the beginning of `bytes` and their size in bytes. Panics on
/// frames that no server may send.
pub(crate) fn read_frames(bytes: &[u8]) -> (Vec<Frame>, usize) {
    read_with(bytes, None)
}

/// The same for a client that reads compressed messages by the given inflater.
pub(crate) fn read_deflated(bytes: &[u8], inflater: Inflater) -> (Vec<Frame>, usize) {
    read_with(bytes, Some(inflater))
}

/// A client's end of permessage-deflate, after the letter of RFC 7692, 7.2.2.
pub(crate) struct Inflater {
    inner: Decompress,
    /// Each message is compressed by itself.
    each_alone: bool,
    /// The longest message that its window holds.
    bytes_max: usize,
}

impl Inflater {
    /// The end on which the head of an answer has agreed; `None`, if there is none.
    pub(crate) fn agreed(head: &[u8]) -> Option<Self> {
        let head = std::str::from_utf8(head).expect("a head is text");
        let answer = head
            .lines()
            .find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: permessage-deflate"))?;
        assert!(answer.contains("; client_no_context_takeover"), "{answer}");
        let bits = answer.split_once("server_max_window_bits=").map_or("15", |(_, bits)| bits);
        let bytes_max = match bits.parse().expect("a number") {
            15 => usize::MAX,
            bits => 1_usize << bits,
        };
        let each_alone = answer.contains("; server_no_context_takeover");
        Some(Self { inner: Decompress::new(false), each_alone, bytes_max })
    }

    fn inflate(&mut self, payload: &[u8]) -> Vec<u8> {
        if self.each_alone {
            self.inner.reset(false);
        }
        let input = [payload, &[0, 0, 0xff, 0xff]].concat();
        let (mut out, begin) = (Vec::with_capacity(1 << 17), self.inner.total_in());
        self.inner
            .decompress_vec(&input, &mut out, FlushDecompress::Sync)
            .expect("what a server compresses can be read");
        let taken = self.inner.total_in() - begin;
        assert_eq!(taken, input.len() as u64, "a message is read to its end");
        assert!(out.len() <= self.bytes_max, "a longer message than the window");
        out
    }
}

/// The body of a response in the coding gzip that is not at its end, after the letter of RFC 1952.
pub(crate) fn unzipped(body: &[u8]) -> Vec<u8> {
    let Some(blocks) = body.strip_prefix(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]) else {
        assert!(body.len() < 10, "no gzip");
        return Vec::new();
    };
    let mut out = Vec::with_capacity(blocks.len() * 50 + 1024);
    Decompress::new(false).decompress_vec(blocks, &mut out, FlushDecompress::Sync).expect("gzip");
    assert!(out.len() < out.capacity(), "all of it");
    out
}

/// Returns `true` if a head announces that coding.
pub(crate) fn is_zipped(head: &[u8]) -> bool {
    head.windows(24).any(|part| part == b"\r\nContent-Encoding: gzip")
}

fn read_with(bytes: &[u8], mut inflater: Option<Inflater>) -> (Vec<Frame>, usize) {
    let mut frames = Vec::new();
    let mut used = 0;
    while let Some((frame, len)) = read_frame(&bytes[used..], inflater.as_mut()) {
        used += len;
        frames.push(frame);
    }
    let close = frames.iter().position(|frame| frame.opcode == 8);
    assert!(close.is_none_or(|at| at + 1 == frames.len()), "something follows a close frame");
    assert!(close.is_none() || used == bytes.len(), "something follows a close frame");
    (frames, used)
}

fn read_frame(bytes: &[u8], inflater: Option<&mut Inflater>) -> Option<(Frame, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert!(first & 0x80 != 0, "a server's frames are not fragmented");
    let is_compressed = first & 0x70 == 0x40 && inflater.is_some();
    assert!(is_compressed || first & 0x70 == 0, "no such extension was agreed on");
    assert!(second & 0x80 == 0, "a server's frames are not masked");
    let opcode = first & 0x0f;
    assert!(matches!(opcode, 1 | 2 | 8 | 9 | 10), "opcode {opcode}");
    let (len, wide) = match second {
        126 => {
            let len = u64::from(u16::from_be_bytes(rest.get(..2)?.try_into().ok()?));
            assert!(len >= 126, "{len} fits one byte");
            (len, 2)
        }
        127 => {
            let len = u64::from_be_bytes(rest.get(..8)?.try_into().ok()?);
            assert!(len > 0xffff, "{len} fits two bytes");
            (len, 8)
        }
        len => (u64::from(*len), 0),
    };
    assert!(opcode < 8 || len <= 125, "a control frame of {len} bytes");
    let end = wide + usize::try_from(len).ok()?;
    let mut payload = rest.get(wide..end)?.to_vec();
    if let Some(inflater) = inflater.filter(|_| is_compressed) {
        assert!(opcode < 8, "control frames are not compressed");
        payload = inflater.inflate(&payload);
    }
    let frame = Frame { opcode, payload };
    if opcode == 1 {
        frame.text();
    }
    if opcode == 8 {
        assert!(frame.payload.len() != 1, "half a close code");
        assert!(std::str::from_utf8(frame.payload.get(2..).unwrap_or_default()).is_ok());
    }
    Some((frame, 2 + end))
}

/// Returns the complete events at the beginning of `bytes`, each with its id, as the frames that
/// would say the same: after the letter of the HTML standard, 9.2.6.
pub(crate) fn read_events(bytes: &[u8]) -> Vec<(Option<String>, Frame)> {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let mut events = Vec::new();
    let mut parts: Vec<&str> = text.split("\n\n").collect();
    // Behind the last empty line an event is not complete.
    parts.pop();
    for part in parts {
        let (mut id, mut kind, mut data): (_, _, Vec<&str>) = (None, "", Vec::new());
        for line in part.lines().filter(|line| !line.is_empty()) {
            match line.split_once(": ") {
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("event", value)) => kind = value,
                Some(("data", value)) => data.push(value),
                None if line == ":" => kind = "heartbeat",
                other => panic!("no field: {other:?} in {line:?}"),
            }
        }
        let payload = data.join("\n").into_bytes();
        match kind {
            "heartbeat" => events.push((None, Frame { opcode: 9, payload })),
            "close" => events.push((None, Frame { opcode: 8, payload })),
            "" if !data.is_empty() => events.push((id, Frame { opcode: 1, payload })),
            _ => {}
        }
    }
    let close = events.iter().position(|(_, frame)| frame.opcode == 8);
    assert!(close.is_none_or(|at| at + 1 == events.len()), "something follows the last word");
    events
}

/// Returns the lines in the whole chunks at the beginning of `bytes`, and `true` if the last chunk
/// was one of them. Each chunk is one line here.
pub(crate) fn read_chunks(bytes: &[u8]) -> (Vec<String>, bool) {
    let (chunks, is_over) = read_binary_chunks(bytes);
    let lines = chunks.into_iter().map(|chunk| {
        let line = chunk.strip_suffix(b"\n").expect("a message ends with a line break");
        String::from_utf8(line.to_vec()).expect("a server's texts are UTF-8")
    });
    (lines.collect(), is_over)
}

/// Returns the whole chunks at the beginning of `bytes`, and `true` if the last chunk was one of
/// them: after the letter of RFC 9112, 7.1.
pub(crate) fn read_binary_chunks(mut bytes: &[u8]) -> (Vec<&[u8]>, bool) {
    let mut chunks = Vec::new();
    while let Some(at) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..at]).expect("a size is text");
        let size = usize::from_str_radix(size, 16).expect("a size in hexadecimal");
        let Some(chunk) = bytes.get(at + 2..at + 2 + size + 2) else { break };
        bytes = &bytes[at + 2 + size + 2..];
        let chunk = chunk.strip_suffix(b"\r\n").expect("a chunk ends with a line break");
        if chunk.is_empty() {
            assert!(bytes.is_empty(), "something follows the last chunk");
            return (chunks, true);
        }
        chunks.push(chunk);
    }
    (chunks, false)
}

/// Splits the bytes that a client got into the answer to its handshake and the rest; the head is
/// empty as long as it is not complete.
pub(crate) fn split_head(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    bytes.split_at(end)
}
