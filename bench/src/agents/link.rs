//! Lines of JSON between two processes: each bounded, none waited for longer than was said.

use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use socket2::Socket;

/// How long the other side may leave unread what it is told.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// How much is read at once.
const READ_BYTES: usize = 64 << 10;

/// The half that hears.
#[derive(Debug)]
pub(crate) struct LinkReader {
    socket: Socket,
    buffer: Vec<u8>,
    /// The bytes of the buffer that are known to hold no line's end.
    looked: usize,
    /// The longest line that is taken.
    pub(crate) line_bytes_max: usize,
    /// How long nothing may come.
    pub(crate) silence_max: Duration,
    /// When patience ends, whatever comes.
    pub(crate) deadline: Option<Instant>,
}

/// The half that speaks.
#[derive(Debug)]
pub(crate) struct LinkWriter {
    socket: Socket,
    line: Vec<u8>,
}

/// Both halves of a connection.
pub(crate) fn halves(socket: Socket) -> io::Result<(LinkReader, LinkWriter)> {
    socket.set_nonblocking(false)?;
    socket.set_write_timeout(Some(WRITE_MAX))?;
    let writer = LinkWriter { socket: socket.try_clone()?, line: Vec::new() };
    let reader = LinkReader {
        socket,
        buffer: Vec::new(),
        looked: 0,
        line_bytes_max: 4 << 10,
        silence_max: Duration::from_secs(5),
        deadline: None,
    };
    Ok((reader, writer))
}

impl LinkReader {
    /// The next line, as what it says.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self) -> io::Result<T> {
        let end = loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[self.looked..]) {
                break self.looked + end;
            }
            self.looked = self.buffer.len();
            if self.looked > self.line_bytes_max {
                let most = self.line_bytes_max;
                return Err(wrong(format!("it sent a line of more than {most} bytes")));
            }
            self.read()?;
        };
        let said = serde_json::from_slice(&self.buffer[..end])
            .map_err(|error| wrong(format!("it said what is not understood: {error}")));
        self.buffer.drain(..=end);
        self.looked = 0;
        said
    }

    fn read(&mut self) -> io::Result<()> {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let patience = left.map_or(self.silence_max, |left| left.min(self.silence_max));
        if patience.is_zero() {
            return Err(silent());
        }
        self.socket.set_read_timeout(Some(patience))?;
        let before = self.buffer.len();
        self.buffer.resize(before + READ_BYTES, 0);
        let read = self.socket.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => Err(gone()),
            // It went before it had read all.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(gone()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(silent()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

impl LinkWriter {
    /// Says one line.
    pub(crate) fn say(&mut self, what: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, what)?;
        self.line.push(b'\n');
        self.socket.write_all(&self.line).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => {
                io::Error::new(io::ErrorKind::TimedOut, "it reads nothing")
            }
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => gone(),
            _ => error,
        })
    }

    /// Ends the connection, for who waits on its other half too.
    pub(crate) fn hang_up(&self) {
        // It has ended already where this fails.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

fn wrong(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "it has gone")
}

fn silent() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "it has said nothing for too long")
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> ((LinkReader, LinkWriter), UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        (halves(Socket::from(OwnedFd::from(here))).unwrap(), there)
    }

    #[test]
    fn lines_come_one_by_one_however_they_are_cut() {
        let ((mut reader, mut writer), mut there) = pair();
        for part in ["[1,2]\n[", "3]", "\n[4]\n"] {
            there.write_all(part.as_bytes()).unwrap();
        }
        let heard: Vec<Vec<u32>> = (0..3).map(|_| reader.hear().unwrap()).collect();
        assert_eq!(heard, [vec![1, 2], vec![3], vec![4]]);
        writer.say(&("a", 1)).unwrap();
        let mut line = [0; 8];
        there.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"[\"a\",1]\n");
        drop(there);
        assert_eq!(reader.hear::<u32>().unwrap_err().to_string(), "it has gone");
        assert_eq!(writer.say(&1).unwrap_err().to_string(), "it has gone");
        // Unread lines make it a reset.
        let ((mut reader, mut writer), there) = pair();
        writer.say(&1).unwrap();
        drop(there);
        assert_eq!(reader.hear::<u32>().unwrap_err().to_string(), "it has gone");
    }

    #[test]
    fn what_is_too_long_or_no_json_is_not_taken() {
        let ((mut reader, _mouth), mut there) = pair();
        reader.line_bytes_max = 100;
        there.write_all(b"GET / HTTP/1.1\r\n").unwrap();
        assert!(reader.hear::<u32>().unwrap_err().to_string().contains("not understood"));
        there.write_all(&[b'['; 101]).unwrap();
        assert_eq!(
            reader.hear::<u32>().unwrap_err().to_string(),
            "it sent a line of more than 100 bytes"
        );
    }

    #[test]
    fn nobody_is_waited_for_longer_than_was_said() {
        let ((mut reader, writer), mut there) = pair();
        let began = Instant::now();
        reader.silence_max = Duration::from_millis(50);
        there.write_all(b"[1").unwrap();
        assert_eq!(reader.hear::<u32>().unwrap_err().kind(), io::ErrorKind::TimedOut);
        // A deadline holds against who goes on byte by byte.
        (reader.silence_max, reader.deadline) = (Duration::from_mins(1), Some(Instant::now()));
        there.write_all(b"1").unwrap();
        assert_eq!(reader.hear::<u32>().unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < Duration::from_secs(30));
        writer.hang_up();
        assert_eq!(there.read(&mut [0]).unwrap(), 0);
    }
}
