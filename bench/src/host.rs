//! Services of the host: descriptors, a core to run on, clocks, and waiting on epoll.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, getrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

/// How many descriptors this process may have once its limit is raised.
pub(crate) fn nofile_max() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX)
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

/// Runs the work of one generator thread on this thread, on an executor of its own.
pub(crate) fn on_core<T>(
    thread: usize,
    core: Option<usize>,
    work: impl Future<Output = T>,
) -> io::Result<T> {
    let executor = stentor_shards::rt::executor(&format!("generator-{thread}"), core)
        .map_err(io::Error::other)?;
    Ok(executor.run(work))
}

/// An alarm that an epoll set can watch.
pub(crate) fn alarm() -> io::Result<OwnedFd> {
    let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
    Ok(timerfd_create(TimerfdClockId::Monotonic, flags)?)
}

/// Sets an alarm, once; zero unsets it.
pub(crate) fn set_alarm(alarm: &OwnedFd, after: Duration) -> io::Result<()> {
    let it_value = Timespec::try_from(after).map_err(io::Error::other)?;
    let time = Itimerspec { it_interval: Timespec::default(), it_value };
    timerfd_settime(alarm, TimerfdTimerFlags::empty(), &time)?;
    Ok(())
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

/// Returns the CPU time of this thread in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    clock_ns(rustix::time::ClockId::ThreadCPUTime)
}

/// The time that an agent adds to its own clock. A process takes part in one run at a time.
static RUN_OFFSET_NS: AtomicI64 = AtomicI64::new(0);

/// From now on the run's clock is so far ahead of this host's.
pub(crate) fn set_run_offset(ns: i64) {
    RUN_OFFSET_NS.store(ns, Ordering::Relaxed);
}

/// The run's clock, in nanoseconds: the same for all threads and processes that take part. It is
/// this host's monotonic clock, and for an agent its coordinator's.
pub(crate) fn now_ns() -> u64 {
    // Relaxed: it is set before any thread of the run is started.
    own_ns().saturating_add_signed(RUN_OFFSET_NS.load(Ordering::Relaxed))
}

/// The monotonic clock of this host, in nanoseconds.
pub(crate) fn own_ns() -> u64 {
    clock_ns(rustix::time::ClockId::Monotonic)
}

fn clock_ns(clock: rustix::time::ClockId) -> u64 {
    let time = rustix::time::clock_gettime(clock);
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// Where the generator runs.
pub(crate) fn facts(load: f64, steal: f64) -> crate::run::Host {
    let names = rustix::system::uname();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let cpu = field(&read("/proc/cpuinfo"), "model name").unwrap_or_default();
    let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let kib: u64 = memory.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(0);
    crate::run::Host {
        name: names.nodename().to_string_lossy().into_owned(),
        kernel: names.release().to_string_lossy().into_owned(),
        cpu,
        cores: std::thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1)),
        memory_bytes: kib * 1024,
        load,
        steal,
    }
}
