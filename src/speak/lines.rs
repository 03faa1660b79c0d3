//! The lines of standard input, as they come and in bounded memory.

use std::os::fd::BorrowedFd;

/// The number of bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// One line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    Text(String),
    /// Invalid UTF-8.
    Invalid,
    /// A line longer than this many bytes, which are forgotten.
    TooLong,
}

/// Input that has been read and not been taken.
#[derive(Debug)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// Where the first line that was not taken begins, and up to where no line ends.
    start: usize,
    searched: usize,
    line_bytes_max: usize,
    /// In the middle of a line that is too long.
    skips: bool,
    ended: bool,
}

impl Lines {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            searched: 0,
            line_bytes_max,
            skips: false,
            ended: false,
        }
    }

    /// Reads once from `input`, which must be ready.
    pub(super) fn fill(&mut self, input: BorrowedFd<'_>) -> Result<(), String> {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let before = self.bytes.len();
        self.bytes.resize(before + CHUNK, 0);
        let read = rustix::io::read(input, &mut self.bytes[before..]);
        self.bytes.truncate(before + read.unwrap_or(0));
        match read {
            Ok(0) => self.ended = true,
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(format!("standard input: {error}")),
        }
        Ok(())
    }

    /// The next whole line; at the end of the input also one that has no end.
    pub(super) fn next(&mut self) -> Option<Line> {
        let end = self.bytes[self.searched..].iter().position(|byte| *byte == b'\n');
        let Some(end) = end.map(|end| self.searched + end) else {
            return self.without_end();
        };
        let line = &self.bytes[self.start..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let found = self.read(line);
        (self.start, self.searched, self.skips) = (end + 1, end + 1, false);
        Some(found)
    }

    fn without_end(&mut self) -> Option<Line> {
        self.searched = self.bytes.len();
        let line = &self.bytes[self.start..];
        if self.ended {
            let found = (!line.is_empty() || self.skips).then(|| self.read(line));
            (self.start, self.skips) = (self.bytes.len(), false);
            return found;
        }
        // The carriage return before a line's end is not counted.
        if self.skips || line.len() > self.line_bytes_max + 1 {
            (self.start, self.skips) = (self.bytes.len(), true);
        }
        None
    }

    fn read(&self, line: &[u8]) -> Line {
        if self.skips || line.len() > self.line_bytes_max {
            return Line::TooLong;
        }
        String::from_utf8(line.to_vec()).map_or(Line::Invalid, Line::Text)
    }

    /// Returns `true` if nothing more can come.
    pub(super) fn has_ended(&self) -> bool {
        self.ended && self.start == self.bytes.len()
    }

    /// Returns `true` if the input has been read to its end.
    pub(super) fn is_read(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    /// All lines of an input that comes in pieces.
    fn lines(pieces: &[&[u8]], line_bytes_max: usize) -> Vec<Line> {
        let (reader, writer) = std::io::pipe().unwrap();
        let (mut writer, mut lines) = (Some(writer), Lines::new(line_bytes_max));
        let mut found = Vec::new();
        for piece in pieces {
            writer.as_mut().unwrap().write_all(piece).unwrap();
            lines.fill(reader.as_fd()).unwrap();
            found.extend(std::iter::from_fn(|| lines.next()));
            assert!(lines.bytes.len() <= CHUNK + line_bytes_max + 2);
        }
        drop(writer.take());
        lines.fill(reader.as_fd()).unwrap();
        found.extend(std::iter::from_fn(|| lines.next()));
        assert!(lines.has_ended() && lines.is_read());
        found
    }

    fn text(text: &str) -> Line {
        Line::Text(text.into())
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let whole = lines(&[b"a\r\n\nping\nlast"], 10);
        assert_eq!(whole, [text("a"), text(""), text("ping"), text("last")]);
        let pieces: Vec<&[u8]> = b"a\r\n\nping\nlast".chunks(1).collect();
        assert_eq!(lines(&pieces, 10), whole);
        assert_eq!(lines(&[], 10), []);
    }

    #[test]
    fn a_line_that_is_too_long_costs_itself() {
        let mut input = b"one\n".to_vec();
        input.extend(vec![b'x'; 200_000]);
        input.extend(b"\ntwo\n\xff\nthree");
        let pieces: Vec<&[u8]> = input.chunks(50_000).collect();
        let found = lines(&pieces, 100);
        assert_eq!(found, [text("one"), Line::TooLong, text("two"), Line::Invalid, text("three")]);
        assert_eq!(
            lines(&[b"12345\r\n", b"123456\r\n", b"123456"], 5)[..],
            [text("12345"), Line::TooLong, Line::TooLong]
        );
    }
}
