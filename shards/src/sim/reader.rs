//! Frames as a client reads them, after the letter of RFC 6455, 5.2: nothing of the server's own
//! writing is used.

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
    let mut frames = Vec::new();
    let mut used = 0;
    while let Some((frame, len)) = read_frame(&bytes[used..]) {
        used += len;
        frames.push(frame);
    }
    let close = frames.iter().position(|frame| frame.opcode == 8);
    assert!(close.is_none_or(|at| at + 1 == frames.len()), "something follows a close frame");
    assert!(close.is_none() || used == bytes.len(), "something follows a close frame");
    (frames, used)
}

fn read_frame(bytes: &[u8]) -> Option<(Frame, usize)> {
    let [first, second, rest @ ..] = bytes else { return None };
    assert!(first & 0x80 != 0, "a server's frames are not fragmented");
    assert!(first & 0x70 == 0, "no extension was agreed on");
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
    let payload = rest.get(wide..end)?.to_vec();
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
