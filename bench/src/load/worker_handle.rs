//! State that workers share while they run: moments, counts, and the point where they meet.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::thread::Thread;
use std::time::Duration;

use super::outline::Schedule;
use super::setup::Setup;
use crate::coordination::CoordinatorLink;
use crate::histogram::ns_of;
use crate::host::now_ns;
use crate::live::{Snapshot, Sums};
use crate::seconds::Intervals;

/// Between the moment at which all are told to begin, or to end, and the moment that they are told:
/// longer than any turn.
const NOTICE: Duration = Duration::from_millis(50);

/// The same where other processes have to be told.
const NOTICE_OF_AGENTS: Duration = Duration::from_millis(500);

/// How often a thread that waits for the others looks at them.
pub(super) const MEETING: Duration = Duration::from_micros(100);

/// How often a thread shows how it goes; to a coordinator half as often.
const SHOW_NS: u64 = 250_000_000;

/// Names the seconds after which a debug build's threads panic.
const BREAK: &str = "STENTOR_BENCH_BREAK";

/// When a load works, on the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    pub(crate) begin_ns: u64,
    /// The warm-up is over.
    pub(crate) measure_ns: u64,
}

/// The state that all workers share.
#[derive(Debug)]
pub(super) struct Shared<'a> {
    warm_up_ns: u64,
    notice_ns: u64,
    /// When all begin; 0: not known yet.
    begin_ns: AtomicU64,
    /// When nothing is said any more. It comes nearer when someone interrupts the run, and is 0
    /// when a thread has failed.
    end_ns: AtomicU64,
    /// How often a thread has come to where all meet.
    met: AtomicUsize,
    arrivals: Vec<Arrivals>,
    main: Thread,
    /// The coordinator, where this process is an agent.
    coordinator: Option<&'a CoordinatorLink>,
    /// Seconds after which threads are to panic, for tests of what is left then.
    break_s: Option<u64>,
}

/// How many clients of one thread have come, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Arrivals(AtomicU64);

/// A thread's place among the others.
pub(crate) struct WorkerHandle<'a> {
    pub(crate) thread: usize,
    shared: &'a Shared<'a>,
    ready: Option<Sender<usize>>,
    show: Option<crossbeam_channel::Sender<Snapshot>>,
    /// When it is to be shown next how it goes.
    show_ns: u64,
    /// The first second that others may not have seen to its end.
    shown: usize,
}

/// Ends the run of all unless the thread that holds it comes to its own end.
pub(super) struct FailureGuard<'a> {
    pub(super) shared: &'a Shared<'a>,
    pub(super) burns: bool,
}

impl Drop for FailureGuard<'_> {
    fn drop(&mut self) {
        if self.burns {
            self.shared.end_ns.store(0, Ordering::Release);
        }
        self.shared.main.unpark();
    }
}

impl<'a> WorkerHandle<'a> {
    /// Tells `ready` how many clients are there, and shows `show` how it goes, if anyone looks.
    pub(super) fn new(
        thread: usize,
        shared: &'a Shared<'a>,
        ready: Sender<usize>,
        show: Option<crossbeam_channel::Sender<Snapshot>>,
    ) -> Self {
        Self { thread, shared, ready: Some(ready), show, show_ns: 0, shown: 0 }
    }

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
        self.shared.end_ns()
    }

    /// Nobody has ended the run.
    pub(crate) fn goes_on(&self) -> bool {
        now_ns() < self.end_ns()
    }

    /// One more client is there.
    pub(crate) fn arrived(&self) {
        // Relaxed: a count that is only shown, and only this thread changes it.
        self.shared.arrivals[self.thread].0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many clients are there by now, of the processes that this thread speaks for.
    pub(crate) fn arrived_elsewhere(&self, clients: u64) {
        self.shared.arrivals[self.thread].0.store(clients, Ordering::Relaxed);
    }

    /// Shows how it goes, when that is due and someone looks. Whoever looks too slowly misses some
    /// of it: nothing waits here.
    pub(crate) fn show(&mut self, now: u64, intervals: &Intervals, sums: impl FnOnce() -> Sums) {
        if now < self.show_ns {
            return;
        }
        debug_assert!(!self.shared.breaks(now), "a thread that was told to panic");
        self.show_ns = now + if self.shared.coordinator.is_some() { 2 * SHOW_NS } else { SHOW_NS };
        let Some(show) = &self.show else { return };
        let sums = sums();
        for second in intervals.since(self.shown) {
            let _ = show.try_send(Snapshot { thread: self.thread, second, sums: sums.clone() });
        }
        self.shown = intervals.count().saturating_sub(1);
    }

    /// Shows how it goes with a thread of another process.
    pub(crate) fn show_other(&self, snapshot: Snapshot) {
        if let Some(show) = &self.show {
            // As above.
            let _ = show.try_send(snapshot);
        }
    }

    /// Waits until all threads, of all processes, have come here for the `round`th time, or the run
    /// is over.
    pub(crate) fn meet(&self, round: usize) {
        let Shared { met, arrivals, coordinator, .. } = self.shared;
        let all = round * arrivals.len();
        // Relaxed: a count, which orders nothing.
        if met.fetch_add(1, Ordering::Relaxed) + 1 == all {
            coordinator.inspect(|coordinator| coordinator.meet(round));
        }
        let is_met = || {
            met.load(Ordering::Relaxed) >= all
                && coordinator.is_none_or(|coordinator| coordinator.met() >= round)
        };
        while !is_met() && self.goes_on() {
            std::thread::park_timeout(MEETING);
        }
    }
}

impl<'a> Shared<'a> {
    pub(super) fn new(
        setup: &Setup,
        schedule: &Schedule,
        coordinator: Option<&'a CoordinatorLink>,
    ) -> Self {
        let notice = if setup.agents.count() > 0 { NOTICE_OF_AGENTS } else { NOTICE };
        Self {
            warm_up_ns: ns_of(schedule.warm_up),
            notice_ns: ns_of(notice),
            begin_ns: AtomicU64::new(0),
            end_ns: AtomicU64::new(u64::MAX),
            met: AtomicUsize::new(0),
            arrivals: (0..setup.threads).map(|_| Arrivals::default()).collect(),
            main: std::thread::current(),
            coordinator,
            break_s: std::env::var(BREAK).ok().and_then(|seconds| seconds.parse().ok()),
        }
    }

    /// Returns `true` if a thread is to panic; asked in debug builds only.
    fn breaks(&self, now: u64) -> bool {
        let begin_ns = self.begin_ns.load(Ordering::Relaxed);
        self.break_s.is_some_and(|seconds| now > begin_ns + seconds * 1_000_000_000)
    }

    /// Tells all threads when to begin and to end, once all of all processes are there.
    pub(super) fn begin(&self, schedule: &Schedule, connected: usize) -> io::Result<Moments> {
        let soon_ns = now_ns() + self.notice_ns;
        let begin_ns = match self.coordinator {
            None => soon_ns,
            // Where a thread has failed there is nothing to wait for.
            Some(coordinator) => {
                coordinator.await_begin(connected, || self.end_ns() == 0)?.unwrap_or(soon_ns)
            }
        };
        let measure_ns = begin_ns + self.warm_up_ns;
        if let Some(time) = schedule.time {
            // A thread that has failed meanwhile has set it to less.
            self.end_ns.fetch_min(measure_ns + ns_of(time), Ordering::Relaxed);
        }
        // Release: whoever sees the beginning sees the end.
        self.begin_ns.store(begin_ns, Ordering::Release);
        Ok(Moments { begin_ns, measure_ns })
    }

    /// Ends the run early, if someone wants that.
    pub(super) fn end_early(&self, stopped: &AtomicBool) {
        if stopped.load(Ordering::Relaxed) {
            self.end_ns.fetch_min(now_ns() + self.notice_ns, Ordering::Relaxed);
        }
        if let Some(coordinator) = self.coordinator {
            self.end_ns.fetch_min(coordinator.end_ns(), Ordering::Relaxed);
            coordinator.count(self.arrived());
        }
    }

    /// From when on nothing is to be said any more.
    pub(super) fn end_ns(&self) -> u64 {
        // Relaxed: a moment, told well before it comes.
        self.end_ns.load(Ordering::Relaxed)
    }

    /// How many clients have come.
    pub(super) fn arrived(&self) -> u64 {
        self.arrivals.iter().map(|arrivals| arrivals.0.load(Ordering::Relaxed)).sum()
    }

    /// Where threads are to show themselves instead, if others look.
    pub(super) fn shown_to_coordinator(&self) -> Option<crossbeam_channel::Sender<Snapshot>> {
        self.coordinator.and_then(CoordinatorLink::show)
    }
}
