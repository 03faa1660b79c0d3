//! Raw WebSocket frames: what a client writes, and a parser that follows a server's frames through
//! any split.

/// The mask of every client frame. A fixed one: servers must unmask it all the same.
const MASK: [u8; 4] = [0x21, 0x43, 0x65, 0x87];

/// Text frames carry the messages; pings want an answer.
pub(crate) const TEXT: u8 = 1;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

fn put_len(out: &mut Vec<u8>, first: u8, len: usize, masked: u8) {
    out.push(first);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len @ 0..126), _) => out.push(masked | len),
        (_, Ok(len)) => {
            out.push(masked | 0x7e);
            out.extend(len.to_be_bytes());
        }
        _ => {
            out.push(masked | 0x7f);
            out.extend((len as u64).to_be_bytes());
        }
    }
}

/// Writes a whole, masked frame, as clients must.
pub(crate) fn put_masked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_len(out, 0x80 | opcode, payload.len(), 0x80);
    out.extend(MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// Writes a whole, unmasked frame, as servers must.
pub(crate) fn put_unmasked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    put_len(out, 0x80 | opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Follows one connection's frames, masked or not. It keeps the beginning of each payload and
/// forgets the rest.
#[derive(Debug, Clone)]
pub(crate) struct Parser {
    header: [u8; 14],
    header_len: u8,
    opcode: u8,
    masked: bool,
    left: u64,
    begun: bool,
    kept: [u8; KEPT],
    kept_len: u8,
    mask: [u8; 4],
}

/// How much of a payload the parser keeps: stamps stand at the beginning.
pub(crate) const KEPT: usize = 80;

impl Parser {
    pub(crate) fn new() -> Self {
        Self {
            header: [0; 14],
            header_len: 0,
            opcode: 0,
            masked: false,
            left: 0,
            begun: false,
            kept: [0; KEPT],
            kept_len: 0,
            mask: [0; 4],
        }
    }

    /// Takes bytes and calls `each` with opcode and kept beginning of every frame that ends in
    /// them.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(u8, &[u8])) {
        while !bytes.is_empty() || (self.begun && self.left == 0) {
            if !self.begun {
                self.header[usize::from(self.header_len)] = bytes[0];
                self.header_len += 1;
                bytes = &bytes[1..];
                self.read_header();
                continue;
            }
            let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            let keep = take.min(KEPT - usize::from(self.kept_len));
            let at = usize::from(self.kept_len);
            self.kept[at..at + keep].copy_from_slice(&bytes[..keep]);
            #[expect(clippy::cast_possible_truncation, reason = "at most KEPT")]
            {
                self.kept_len += keep as u8;
            }
            self.left -= take as u64;
            bytes = &bytes[take..];
            if self.left == 0 {
                let len = usize::from(self.kept_len);
                if self.masked {
                    for (byte, mask) in self.kept[..len].iter_mut().zip(self.mask.iter().cycle()) {
                        *byte ^= mask;
                    }
                }
                each(self.opcode, &self.kept[..len]);
                self.begun = false;
                self.kept_len = 0;
            }
        }
    }

    fn read_header(&mut self) {
        let have = usize::from(self.header_len);
        if have < 2 {
            return;
        }
        self.masked = self.header[1] & 0x80 != 0;
        let wide = match self.header[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let whole = 2 + wide + if self.masked { 4 } else { 0 };
        if have < whole {
            return;
        }
        self.left = match wide {
            0 => u64::from(self.header[1] & 0x7f),
            _ => self.header[2..2 + wide].iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
        };
        if self.masked {
            self.mask.copy_from_slice(&self.header[2 + wide..whole]);
        }
        self.opcode = self.header[0] & 0x0f;
        self.begun = true;
        self.header_len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_read_back_through_every_split() {
        let mut bytes = Vec::new();
        for len in [0, 5, 125, 126, 70_000] {
            put_masked(&mut bytes, TEXT, &vec![b'a'; len]);
            put_unmasked(&mut bytes, PING, &vec![b'b'; len]);
        }
        for split in [1, 2, 3, 7, 1000, bytes.len()] {
            let mut parser = Parser::new();
            let mut seen = Vec::new();
            for piece in bytes.chunks(split) {
                parser.feed(piece, |opcode, kept| seen.push((opcode, kept.to_vec())));
            }
            let expected: Vec<(u8, Vec<u8>)> = [0, 5, 125, 126, 70_000]
                .into_iter()
                .flat_map(|len: usize| {
                    [(TEXT, vec![b'a'; len.min(KEPT)]), (PING, vec![b'b'; len.min(KEPT)])]
                })
                .collect();
            assert_eq!(seen, expected, "in pieces of {split}");
        }
    }
}
