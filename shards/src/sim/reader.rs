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

/// Splits the bytes that a client got into the answer to its handshake and the rest; the head is
/// empty as long as it is not complete.
pub(crate) fn split_head(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    bytes.split_at(end)
}
