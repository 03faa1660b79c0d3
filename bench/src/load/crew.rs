//! The generator's threads: they get ready, begin at one moment, are looked at, and end together.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, ScopedJoinHandle, Thread};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::aim::Aim;
use super::sampler::Sampler;
use super::{Failed, nanoseconds};
use crate::agents::{Joint, Outside};
use crate::host::{self, now_ns};

/// Between the moment at which all are told to begin, or to end, and the moment that they are told:
/// longer than any turn.
const NOTICE: Duration = Duration::from_millis(50);

/// The same where other processes have to be told.
const NOTICE_OF_AGENTS: Duration = Duration::from_millis(500);

/// How often the main thread looks at what the others do.
const LOOK: Duration = Duration::from_millis(100);

/// How often a thread that waits for the others looks at them.
const MEETING: Duration = Duration::from_micros(100);

/// How long a load works.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Before measuring.
    pub(crate) warm_up: Duration,
    /// While measuring; `None`: until all threads are through.
    pub(crate) time: Option<Duration>,
}

/// When a load works, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    pub(crate) begin_ns: u64,
    /// The warm-up is over.
    pub(crate) measure_ns: u64,
}

/// What the threads found, and what was seen of the server meanwhile.
pub(crate) struct Gathered<T> {
    pub(crate) found: Vec<T>,
    pub(crate) sampler: Sampler,
    /// When measuring began, in milliseconds since 1970.
    pub(crate) began_unix_ms: u64,
    /// How long was measured, which is less than what was asked for where someone interrupted it.
    pub(crate) measured: Duration,
    /// What several processes know only together.
    pub(crate) joint: Option<Joint>,
}

/// What all threads share.
#[derive(Debug)]
struct Shared<'a> {
    warm_up_ns: u64,
    notice_ns: u64,
    /// When all begin; 0: not known yet.
    begin_ns: AtomicU64,
    /// When nothing is said any more. It comes nearer when someone interrupts the run, and is 0
    /// when a thread has failed.
    end_ns: AtomicU64,
    /// How often a thread has come to where all meet.
    met: AtomicUsize,
    counts: Vec<Count>,
    main: Thread,
    /// The coordinator, where this process is an agent.
    outside: Option<&'a Outside>,
}

/// One thread's counts for the progress line, on a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Count {
    receipts: AtomicU64,
}

/// A thread's place among the others.
pub(crate) struct Post<'a> {
    pub(crate) thread: usize,
    shared: &'a Shared<'a>,
    ready: Option<Sender<usize>>,
}

/// Ends the run of all unless the thread that holds it comes to its own end.
struct Fuse<'a> {
    shared: &'a Shared<'a>,
    burns: bool,
}

impl Drop for Fuse<'_> {
    fn drop(&mut self) {
        if self.burns {
            self.shared.end_ns.store(0, Ordering::Release);
        }
        self.shared.main.unpark();
    }
}

impl Post<'_> {
    /// This thread's clients are there, so many of them; nobody begins before all are ready.
    pub(crate) fn ready(&mut self, open: usize) {
        if let Some(ready) = self.ready.take() {
            // The main thread has gone only when the run has failed.
            let _ = ready.send(open);
        }
    }

    /// When all begin, once that is known.
    pub(crate) fn moments(&self) -> Option<Moments> {
        // Acquire: the end was set before the beginning was told.
        let begin_ns = self.shared.begin_ns.load(Ordering::Acquire);
        let told = begin_ns > 0 || self.end_ns() == 0;
        told.then(|| Moments { begin_ns, measure_ns: begin_ns + self.shared.warm_up_ns })
    }

    /// From when on nothing is to be said any more.
    pub(crate) fn end_ns(&self) -> u64 {
        // Relaxed: a moment, told well before it comes.
        self.shared.end_ns.load(Ordering::Relaxed)
    }

    /// Tells how many receipts there were so far.
    pub(crate) fn count(&self, receipts: u64) {
        self.shared.counts[self.thread].receipts.store(receipts, Ordering::Relaxed);
    }

    /// Waits until all threads, of all processes, have come here for the `round`th time, or the run
    /// is over.
    pub(crate) fn meet(&self, round: usize) {
        let Shared { met, counts, outside, .. } = self.shared;
        let all = round * counts.len();
        // Relaxed: a count, which orders nothing.
        if met.fetch_add(1, Ordering::Relaxed) + 1 == all {
            outside.inspect(|outside| outside.meet(round));
        }
        let is_met = || {
            met.load(Ordering::Relaxed) >= all
                && outside.is_none_or(|outside| outside.met() >= round)
        };
        while !is_met() && now_ns() < self.end_ns() {
            std::thread::park_timeout(MEETING);
        }
    }
}

impl<'a> Shared<'a> {
    fn new(aim: &Aim, times: &Times, outside: Option<&'a Outside>) -> Self {
        let notice = if aim.agents.count() > 0 { NOTICE_OF_AGENTS } else { NOTICE };
        Self {
            warm_up_ns: nanoseconds(times.warm_up),
            notice_ns: nanoseconds(notice),
            begin_ns: AtomicU64::new(0),
            end_ns: AtomicU64::new(u64::MAX),
            met: AtomicUsize::new(0),
            counts: (0..aim.threads).map(|_| Count::default()).collect(),
            main: std::thread::current(),
            outside,
        }
    }

    /// Tells all threads when to begin and to end, once all of all processes are there.
    fn begin(&self, times: &Times, connected: usize) -> io::Result<Moments> {
        let soon_ns = now_ns() + self.notice_ns;
        let begin_ns = match self.outside {
            None => soon_ns,
            // Where a thread has failed there is nothing to wait for.
            Some(outside) => {
                let is_over = || self.end_ns.load(Ordering::Relaxed) == 0;
                outside.await_begin(connected, is_over)?.unwrap_or(soon_ns)
            }
        };
        let measure_ns = begin_ns + self.warm_up_ns;
        if let Some(time) = times.time {
            // A thread that has failed meanwhile has set it to less.
            self.end_ns.fetch_min(measure_ns + nanoseconds(time), Ordering::Relaxed);
        }
        // Release: whoever sees the beginning sees the end.
        self.begin_ns.store(begin_ns, Ordering::Release);
        Ok(Moments { begin_ns, measure_ns })
    }

    /// Ends the run early, if someone wants that.
    fn end_early(&self, stopped: &AtomicBool) {
        if stopped.load(Ordering::Relaxed) {
            self.end_ns.fetch_min(now_ns() + self.notice_ns, Ordering::Relaxed);
        }
        if let Some(outside) = self.outside {
            self.end_ns.fetch_min(outside.end_ns(), Ordering::Relaxed);
            outside.count(self.receipts());
        }
    }

    fn receipts(&self) -> u64 {
        self.counts.iter().map(|count| count.receipts.load(Ordering::Relaxed)).sum()
    }
}

/// Has every thread of a load do `work` on an executor and a core of its own, and looks on.
pub(crate) fn run<T: Send>(
    aim: &Aim,
    times: &Times,
    (stopped, outside): (&AtomicBool, Option<&Outside>),
    work: impl AsyncFn(Post<'_>) -> io::Result<T> + Sync,
) -> Result<Gathered<T>, Failed> {
    let shared = Shared::new(aim, times, outside);
    let mut sampler = Sampler::new(aim.server_pid)?;
    let (ready, readies) = channel();
    let gathered = std::thread::scope(|scope| -> io::Result<_> {
        // Whatever fails here must not leave threads behind that wait for a beginning.
        let mut fuse = Fuse { shared: &shared, burns: true };
        let mut threads = Vec::with_capacity(aim.threads);
        for thread in 0..aim.threads {
            let (shared, work, core) = (&shared, &work, aim.core(thread));
            let post = Post { thread, shared, ready: Some(ready.clone()) };
            let builder = Builder::new().name(format!("generator-{thread}"));
            threads.push(builder.spawn_scoped(scope, move || {
                let mut fuse = Fuse { shared, burns: true };
                let found = host::on_core(thread, core, work(post)).flatten();
                fuse.burns = found.is_err();
                found
            })?);
        }
        drop(ready);
        let connected: usize = readies.iter().sum();
        sampler.connected()?;
        let moments = shared.begin(times, connected)?;
        let began_unix_ms = unix_ms() + (moments.measure_ns.saturating_sub(now_ns())) / 1_000_000;
        if !aim.quiet && connected > 0 {
            say(&format!("{connected} clients connected"), false)?;
        }
        watch(aim, &shared, stopped, &threads, (&mut sampler, moments.measure_ns))?;
        fuse.burns = false;
        let mut found = Vec::with_capacity(threads.len());
        for thread in threads {
            let outcome = thread.join();
            found.push(outcome.map_err(|_| io::Error::other("a generator thread panicked"))??);
        }
        let end_ns = shared.end_ns.load(Ordering::Relaxed).min(now_ns());
        let measured = Duration::from_nanos(end_ns.saturating_sub(moments.measure_ns));
        Ok((found, began_unix_ms, measured))
    });
    let (found, began_unix_ms, measured) = gathered?;
    Ok(Gathered { found, sampler, began_unix_ms, measured, joint: None })
}

/// Looks on while the threads work: samples once a second, says how it goes, and ends the run when
/// someone wants it to end.
fn watch<T>(
    aim: &Aim,
    shared: &Shared<'_>,
    stopped: &AtomicBool,
    threads: &[ScopedJoinHandle<'_, T>],
    (sampler, measure_ns): (&mut Sampler, u64),
) -> io::Result<()> {
    let mut next_ns = measure_ns;
    let mut heard = 0;
    let mut sampled_last = false;
    let live = io::stderr().is_terminal();
    let mut line = false;
    loop {
        let done = threads.iter().all(ScopedJoinHandle::is_finished);
        let now = now_ns();
        shared.end_early(stopped);
        let end_ns = shared.end_ns.load(Ordering::Relaxed);
        let due = next_ns.min(end_ns.max(measure_ns));
        if !sampled_last && (now >= due || done) {
            sampled_last = next_ns > measure_ns && (due >= end_ns || done);
            sampler.sample(next_ns == measure_ns, sampled_last)?;
            let receipts = shared.receipts();
            if !aim.quiet && due > measure_ns && !done {
                let second = (due - measure_ns) / 1_000_000_000;
                say(&format!("{second:>4} s   {} deliveries/s", receipts - heard), live)?;
                line = true;
            }
            heard = receipts;
            next_ns += 1_000_000_000;
        } else if done {
            break;
        } else {
            // A storm begins with its hardest moment: it is looked at when it begins.
            let left = if sampled_last { LOOK } else { Duration::from_nanos(due - now) };
            std::thread::park_timeout(left.min(LOOK));
        }
    }
    sampler.finish()?;
    if live && line {
        say("", false)?;
    }
    Ok(())
}

/// A line of progress; on a terminal it takes the last one's place.
pub(crate) fn say(text: &str, over: bool) -> io::Result<()> {
    let mut out = io::stderr();
    if over {
        write!(out, "\r\x1b[K{text}")?;
    } else {
        writeln!(out, "{text}")?;
    }
    out.flush()
}

fn unix_ms() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        aim: Aim,
    }

    const HOUR: Times = Times { warm_up: Duration::ZERO, time: Some(Duration::from_hours(1)) };

    fn aim() -> Aim {
        Line::parse_from(["x", "127.0.0.1:9", "--threads", "3", "--quiet"]).aim
    }

    /// Works until the end, however early that comes.
    fn work(mut post: Post<'_>) -> Moments {
        post.ready(0);
        let moments = loop {
            match post.moments() {
                Some(moments) => break moments,
                None => std::thread::park_timeout(MEETING),
            }
        };
        while now_ns() < post.end_ns() {
            std::thread::park_timeout(MEETING);
        }
        moments
    }

    #[test]
    fn all_begin_at_one_moment_and_end_when_told() {
        let stopped = AtomicBool::new(false);
        let gathered = run(&aim(), &HOUR, (&stopped, None), async |post| {
            let thread = post.thread;
            post.meet(1);
            stopped.store(true, Ordering::Relaxed);
            Ok((thread, work(post).begin_ns))
        });
        let Gathered { found, measured, .. } = gathered.unwrap_or_else(|_| panic!("it ran"));
        let begin_ns = found[0].1;
        assert_eq!(found, [(0, begin_ns), (1, begin_ns), (2, begin_ns)]);
        assert!(measured < Duration::from_mins(1), "{measured:?}");
    }

    #[test]
    fn one_that_fails_or_panics_ends_the_run_of_all() {
        for how in ["fails", "fails late", "panics"] {
            let running = AtomicBool::new(false);
            let gathered = run(&aim(), &HOUR, (&running, None), async |mut post| {
                if post.thread == 1 {
                    if how == "fails late" {
                        post.ready(0);
                    }
                    assert!(how != "panics", "as it should");
                    return Err(io::Error::other("a fault"));
                }
                work(post);
                Ok(())
            });
            let Err(Failed::Io(error)) = gathered else { panic!("{how}: it went well") };
            let right = if how == "panics" { "panicked" } else { "a fault" };
            assert!(error.to_string().contains(right), "{how}: {error}");
        }
    }
}
