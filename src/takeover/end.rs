//! Ends a process that has the address and does not answer, where the setting asks for that.

use std::io;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::meet::Peer;

/// The longest time that the kernel may take to end it.
const END_TIMEOUT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

const NONE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// Kills the process on the other side of `stream`, which has not answered, and waits for its end.
/// A process that answers or goes meanwhile is left alone: the caller asks again.
///
/// # Errors
/// The process has no number here, or has not ended in time.
pub(super) fn end(stream: &UnixStream, who: Peer) -> io::Result<()> {
    let Some(pid) = who.pid.and_then(Pid::from_raw) else {
        return Err(io::Error::other(format!(
            "{who} does not answer, and cannot be ended from here"
        )));
    };
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        opened => opened?,
    };
    // The other end of the connection closes with the process, so while it is open the number is
    // still that process's, and the descriptor names no later one.
    let mut answers = [PollFd::new(stream, PollFlags::IN)];
    if retry_on_intr(|| poll(&mut answers, Some(&NONE)))? > 0 {
        return Ok(());
    }
    match pidfd_send_signal(&process, Signal::KILL) {
        Err(Errno::SRCH) => return Ok(()),
        sent => sent?,
    }
    let mut ends = [PollFd::new(&process, PollFlags::IN)];
    match retry_on_intr(|| poll(&mut ends, Some(&END_TIMEOUT)))? {
        0 => Err(io::Error::other(format!("{who} does not end"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_that_has_answered_is_left_alone() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let who = Peer { is_trusted: true, pid: i32::try_from(child.id()).ok() };
        let (ours, theirs) = UnixStream::pair().unwrap();
        io::Write::write_all(&mut &theirs, b"N").unwrap();
        end(&ours, who).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "an answer has come");
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        end(&ours, who).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "the process of this number is another one");
        let (ours, _theirs) = UnixStream::pair().unwrap();
        end(&ours, who).unwrap();
        assert!(!child.wait().unwrap().success());
        let nobody = Peer { is_trusted: true, pid: None };
        assert!(end(&ours, nobody).unwrap_err().to_string().contains("cannot be ended from here"));
    }
}
