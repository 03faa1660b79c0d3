//! The log: lines for people on a terminal, JSON elsewhere, on standard error. A reader that is
//! slow, full or gone costs lines, and nothing else.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, Settings};

/// The most lines that wait for their reader.
const LINES_MAX: usize = 256;

/// The longest time that the end of the process waits for lines to be read.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// The longest time that a line waits for room where the reader's pipe does not block.
const ROOM_TIMEOUT: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// `true` after a line of which only a part was written: the next one must not continue it.
/// Relaxed: the thread that writes sets it, and the last words of the process come after all else.
static TORN: AtomicBool = AtomicBool::new(false);

/// Lines that nobody could be given. Relaxed: a count, which orders nothing.
static LOST: AtomicU64 = AtomicU64::new(0);

/// The queue of the thread that writes. Without it lines are written where they arise.
static QUEUE: OnceLock<SyncSender<Entry>> = OnceLock::new();

enum Entry {
    Line(Vec<u8>),
    /// Everything before it has been written.
    Mark(SyncSender<()>),
}

/// Lines lost since the start.
pub(crate) fn lines_lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Installs the log. The level is for our own words: libraries speak from warnings up only, since
/// some of them write at lower levels what clients sent, as it came.
pub(crate) fn install(settings: &Settings) {
    let level = &settings.log_level;
    let filter = EnvFilter::new(format!("warn,stentor={level},stentor_shards={level}"));
    let human = match settings.log_format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    start_writing();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .log_internal_errors(false)
        .with_writer(|| Line);
    let installed = if human {
        builder.with_target(false).with_ansi(io::stderr().is_terminal()).try_init()
    } else {
        builder.json().try_init()
    };
    debug_assert!(installed.is_ok(), "the log is installed once");
}

/// Starts the thread that writes: a write to a pipe that nobody reads may take for ever.
fn start_writing() {
    // A file that may not grow further must be an error of the write, not the end of the process.
    let _ = signal_hook::flag::register(
        signal_hook::consts::signal::SIGXFSZ,
        std::sync::Arc::default(),
    );
    let (queue, lines) = sync_channel(LINES_MAX);
    let writer = thread::Builder::new().name("log".into()).spawn(move || write_all(&lines));
    if writer.is_ok() {
        let _ = QUEUE.set(queue);
    }
}

fn write_all(entries: &Receiver<Entry>) {
    let mut told = 0;
    for entry in entries {
        match entry {
            Entry::Mark(written) => {
                let _ = written.try_send(());
            }
            Entry::Line(line) if write(&io::stderr(), &line) => {
                let lost = lines_lost();
                if lost > told {
                    told = lost;
                    tracing::warn!(lost, "lines of this log were lost");
                }
            }
            Entry::Line(_) => lose(),
        }
    }
}

fn lose() {
    LOST.fetch_add(1, Ordering::Relaxed);
}

/// Writes one line; `false` where it could not be written whole. What was written of an earlier
/// line is ended first.
fn write(to: &impl AsFd, line: &[u8]) -> bool {
    if TORN.load(Ordering::Relaxed) {
        if write_all_of(to, b"\n") == 0 {
            return false;
        }
        TORN.store(false, Ordering::Relaxed);
    }
    let written = write_all_of(to, line);
    TORN.store(written > 0 && written < line.len(), Ordering::Relaxed);
    written == line.len()
}

/// Returns the number of bytes that could be written.
fn write_all_of(to: &impl AsFd, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::write(to, &bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => {
                let mut room = [PollFd::new(to, PollFlags::OUT)];
                if !matches!(poll(&mut room, Some(&ROOM_TIMEOUT)), Ok(1..)) {
                    break;
                }
            }
            Err(_) => break,
        }
    }
    written
}

/// Waits until everything logged so far is written, for a moment at most.
pub(crate) fn flush() {
    let Some(queue) = QUEUE.get() else { return };
    let until = Instant::now() + FLUSH_TIMEOUT;
    let (written, is_written) = sync_channel(1);
    let mut mark = Entry::Mark(written);
    while let Err(TrySendError::Full(back)) = queue.try_send(mark) {
        if Instant::now() >= until {
            return;
        }
        mark = back;
        thread::park_timeout(Duration::from_millis(5));
    }
    let _ = is_written.recv_timeout(until.saturating_duration_since(Instant::now()));
}

/// Writes the last words of the process, if their reader takes them: past the thread that writes,
/// which may wait for the reader for ever.
pub(crate) fn last_words(text: &str) {
    // Its descriptor alone: the thread that writes may hold the lock.
    let stderr = io::stderr();
    for line in text.lines() {
        let begin = if TORN.swap(false, Ordering::Relaxed) { "\n" } else { "" };
        let mut line = format!("{begin}stentor: {line}\n");
        // A pipe with room takes so much at once.
        line.truncate(line.floor_char_boundary(4096));
        let mut room = [PollFd::new(&stderr, PollFlags::OUT)];
        if matches!(poll(&mut room, Some(&ROOM_TIMEOUT)), Ok(1..)) {
            let _ = rustix::io::write(&stderr, line.as_bytes());
        }
    }
}

/// One line on its way to the queue. The log writes each whole line in one call.
struct Line;

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let taken = match QUEUE.get() {
            Some(queue) => queue.try_send(Entry::Line(line.to_vec())).is_ok(),
            None => write(&io::stderr(), line),
        };
        if !taken {
            lose();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a panic to the log, and ends the process at once if a shard's thread panicked: clients
/// must not meet a server of which a part is dead.
pub(crate) fn end_with_a_shard() {
    std::panic::set_hook(Box::new(move |panic| {
        let thread = thread::current();
        let name = thread.name().unwrap_or("unnamed").to_owned();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let payload = panic.payload();
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        tracing::error!(thread = name, place, panic = text.escape_debug().to_string(), "panicked");
        if name.starts_with("shard-") {
            flush();
            std::process::exit(crate::exit::INTERNAL.into());
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_line_that_is_torn_is_ended_before_the_next_one() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut long = vec![b'x'; 8 << 20];
        long.push(b'\n');
        assert!(!write(&ours, &long), "nobody reads");
        assert!(!write(&ours, b"lost\n"), "there is no room yet");
        let mut room = vec![0; 4 << 20];
        let torn = theirs.read(&mut room).unwrap();
        assert!(room[..torn].iter().all(|byte| *byte == b'x'));
        theirs.set_nonblocking(true).unwrap();
        while theirs.read(&mut room).is_ok_and(|count| count > 0) {}
        assert!(write(&ours, b"one\n") && write(&ours, b"two\n"));
        let count = theirs.read(&mut room).unwrap();
        assert_eq!(String::from_utf8_lossy(&room[..count]), "\none\ntwo\n");
    }
}
