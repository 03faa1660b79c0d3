//! A server that the tool starts itself, and ends again: its process group, and what it said last.

use std::io::{self, PipeReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::output::units::plain;
use crate::proc;

/// How long a server may take to listen.
const START_MAX: Duration = Duration::from_secs(10);

/// How long it may take to end when it is asked to; then it is killed.
const END_MAX: Duration = Duration::from_secs(5);

/// How much of what it says is kept: the end of it.
const SAID_BYTES_MAX: usize = 8 << 10;

/// How long one look at it may take, and how often it is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// A server's process and all that it has started; they end with this.
#[derive(Debug)]
pub(crate) struct Served {
    child: Child,
    /// Those of its host, at one of which it listens.
    addresses: Vec<SocketAddr>,
    said: Receiver<Vec<u8>>,
    stopped: bool,
}

impl Served {
    /// Starts a server and waits until it listens at one of `addresses`. The error is what went
    /// wrong, with the last that the server said.
    pub(crate) fn start(command: &mut Command, addresses: &[SocketAddr]) -> io::Result<Self> {
        if listens(addresses) {
            // Another server would be measured in the place of this one.
            let why = "somebody listens there already, and a server of the tool's own should";
            return Err(io::Error::other(format!("{}: {why}", named(addresses))));
        }
        let (reader, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer).process_group(0);
        let child = command.spawn();
        // The command holds the pipe's other ends as well, and this is over when all are closed.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let addresses = addresses.to_vec();
        let said = keep_end(reader)?;
        let mut served = Self { child: child?, addresses, said, stopped: false };
        let deadline = Instant::now() + START_MAX;
        loop {
            let listens = listens(&served.addresses);
            // One that goes to the background is not found again.
            let ended = served.child.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                return Err(served.failure(ended.map(|status| status.to_string())));
            }
            if listens {
                return Ok(served);
            }
            std::thread::park_timeout(LOOK);
        }
    }

    /// The process that serves: what was started, or what the shell that was started has started.
    pub(crate) fn pid(&self) -> u32 {
        proc::worker_of(self.child.id())
    }

    /// Ends it and waits until nobody listens any more.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.stop();
        let deadline = Instant::now() + END_MAX;
        while listens(&self.addresses) {
            if Instant::now() > deadline {
                let why = "somebody still listens there after the server was ended";
                return Err(io::Error::other(format!("{}: {why}", named(&self.addresses))));
            }
            std::thread::park_timeout(LOOK);
        }
        Ok(())
    }

    /// Why it does not listen.
    fn failure(&mut self, ended: Option<String>) -> io::Error {
        self.stop();
        let said = self.said.recv_timeout(END_MAX).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<String> = said.lines().map(plain).collect();
        let at = named(&self.addresses);
        let what = ended.map_or_else(
            || format!("does not listen at {at} after {START_MAX:?}"),
            |status| format!("ended before it listened at {at}: {status}"),
        );
        let said = if lines.is_empty() { String::new() } else { "; it said:\n".to_owned() };
        io::Error::other(format!("the server {what}{said}{}", lines.join("\n")))
    }

    /// Asks the whole group to end, and makes it.
    fn stop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let Some(group) = group.filter(|_| !std::mem::replace(&mut self.stopped, true)) else {
            return;
        };
        // It may have ended by itself, which the run has met.
        let _ = kill_process_group(group, Signal::TERM);
        let deadline = Instant::now() + END_MAX;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::park_timeout(LOOK);
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop();
    }
}

fn listens(addresses: &[SocketAddr]) -> bool {
    let answers = |address| TcpStream::connect_timeout(address, Duration::from_secs(1)).is_ok();
    addresses.iter().any(answers)
}

fn named(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" or ")
}

/// Reads until the end, which the last of the group makes, and keeps the last of it.
fn keep_end(mut reader: PipeReader) -> io::Result<Receiver<Vec<u8>>> {
    let (says, hears) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("said".to_owned()).spawn(move || {
        let (mut kept, mut buffer) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            kept.extend_from_slice(&buffer[..count]);
            let over = kept.len().saturating_sub(SAID_BYTES_MAX);
            kept.drain(..over);
        }
        // Nobody may want to know any more.
        let _ = says.send(kept);
    })?;
    Ok(hears)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn free_address() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_server_that_ends_is_quoted() {
        let script = "yes 0123456789 | head -c 100000; printf 'no \\033 port\\n' >&2; exit 7";
        let error = Served::start(&mut shell(script), &[free_address()]).unwrap_err().to_string();
        assert!(error.contains("ended before it listened") && error.contains('7'), "{error}");
        assert!(error.ends_with("no \u{fffd} port"), "{error}");
        assert!(error.len() < SAID_BYTES_MAX + 200, "{}", error.len());
    }

    #[test]
    fn another_server_is_not_taken_for_this_one() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let error =
            Served::start(&mut shell("sleep 60"), &[free_address(), other.local_addr().unwrap()]);
        assert!(error.unwrap_err().to_string().contains("somebody listens there already"));
    }

    /// A shell that waits for a server which does not care for TERM: both are gone in the end.
    #[test]
    fn the_whole_group_ends() {
        let address = free_address();
        let server = format!(
            "import signal, socket; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
             s = socket.create_server(('127.0.0.1', {}))\nwhile True: s.accept()",
            address.port()
        );
        let mut command = shell("python3 -c \"$1\"; true");
        let served =
            Served::start(command.args(["sh", &server]), &[free_address(), address]).unwrap();
        let (worker, shell) = (served.pid(), served.child.id());
        assert_ne!(worker, shell);
        let name = std::fs::read_to_string(format!("/proc/{worker}/comm")).unwrap();
        assert!(name.starts_with("python3"), "{name}");
        served.end().unwrap();
        for pid in [worker, shell] {
            // A process that has ended and is not waited for yet has no command line any more.
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            assert!(line.is_empty(), "{pid} lives");
        }
    }
}
