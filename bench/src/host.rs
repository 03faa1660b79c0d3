//! What both sides ask of the host: descriptors, a core to run on, and waiting on epoll.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Raises the limit of open descriptors to the most this process may have.
pub(crate) fn raise_nofile() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

/// Keeps this thread on `core`, if one is named.
pub(crate) fn pin(core: Option<usize>) -> io::Result<()> {
    let Some(core) = core else { return Ok(()) };
    if core >= CpuSet::MAX_CPU {
        return Err(io::Error::other(format!("no core {core}")));
    }
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(|_| io::Error::other(format!("no core {core}")))
}

/// Waits for at most `longest`, or for ever, and leaves what became ready in `events`, no more than
/// it has room for.
pub(crate) fn wait(
    epoll: &OwnedFd,
    events: &mut Vec<epoll::Event>,
    longest: Option<Duration>,
) -> io::Result<()> {
    events.clear();
    let longest = longest.map(|longest| Timespec {
        tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(longest.subsec_nanos()),
    });
    match epoll::wait(epoll, rustix::buffer::spare_capacity(events), longest.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
