//! Looks on while the threads of a load work, and lets people see it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::outline::{Control, Schedule};
use super::sampler::Sampler;
use super::setup::Setup;
use super::worker_handle::{Moments, Shared};
use crate::host::now_ns;
use crate::live::{self, Head, Phase, Picture, Snapshot, View, Wish};
use crate::proc;

/// How often the main thread looks at what the others do.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// How long before the measured time the first sample is taken: a storm is over in milliseconds,
/// and a thread that wakes late has missed part of it.
const LEAD_NS: u64 = 2_000_000;

/// Snapshots of each thread that may wait to be looked at.
const SNAPSHOTS_MAX: usize = 16;

/// The exit code of someone who did not want to wait for the end of an interrupted run.
const INTERRUPTED: i32 = 130;

/// The main thread, which looks on while the workers run.
pub(super) struct Watch<'a> {
    schedule: &'a Schedule,
    shared: &'a Shared<'a>,
    stopped: &'a AtomicBool,
    began: Instant,
    view: View,
    picture: Picture,
    snapshots: Receiver<Snapshot>,
}

impl<'a> Watch<'a> {
    /// With where threads are to show themselves, if anyone looks.
    pub(super) fn new(
        setup: &Setup,
        control: &Control<'a>,
        shared: &'a Shared<'a>,
    ) -> (Self, Option<Sender<Snapshot>>) {
        let Control { schedule, outline, stopped, .. } = *control;
        let (show, snapshots) = bounded(outline.threads * SNAPSHOTS_MAX);
        let view = View::open(live::Flags { quiet: setup.quiet, no_tui: setup.no_tui });
        let show = (!view.is_silent()).then_some(show).or_else(|| shared.shown_to_coordinator());
        let (url, label) = (setup.url.to_string(), &setup.label);
        let head = Head {
            command: outline.command.to_owned(),
            target: if label.is_empty() { url } else { format!("{label}  {url}") },
            unit: outline.unit,
            asked: outline.asked as u64,
            hearers: outline.hearers as u64,
        };
        let mut picture = Picture::new(head, outline.threads);
        picture.server = setup.server_pid.map(|_| live::Server::default());
        let began = Instant::now();
        (Self { schedule, shared, stopped, began, view, picture, snapshots }, show)
    }

    /// While the clients come.
    pub(super) fn connecting(&mut self) {
        self.picture.passed_s = self.began.elapsed().as_secs_f64();
        self.look();
    }

    /// Looks on until all threads are through: samples once a second, says how it goes, and ends
    /// the run when someone wants it to end.
    pub(super) fn working<T>(
        &mut self,
        moments: Moments,
        threads: &[ScopedJoinHandle<'_, T>],
        sampler: &mut Sampler,
    ) -> io::Result<()> {
        let measure_ns = moments.measure_ns;
        let mut next_ns = measure_ns;
        let mut sampled_last = false;
        loop {
            let done = threads.iter().all(ScopedJoinHandle::is_finished);
            let now = now_ns();
            let end_ns = self.shared.end_ns();
            let lead_ns = if next_ns == measure_ns { LEAD_NS } else { 0 };
            let due = next_ns.min(end_ns.max(measure_ns)) - lead_ns;
            if !sampled_last && (now >= due || done) {
                sampled_last = next_ns > measure_ns && (due >= end_ns || done);
                sampler.sample(next_ns == measure_ns, sampled_last)?;
                self.picture.server = sampler.pid().map(|pid| live::Server {
                    cpu_share: sampler.seconds.last().copied().flatten(),
                    rss_bytes: proc::rss_bytes(pid).unwrap_or(0),
                });
                next_ns += 1_000_000_000;
                continue;
            }
            self.see(moments, now, end_ns);
            if done {
                break;
            }
            let left = if sampled_last { LOOK } else { Duration::from_nanos(due - now) };
            std::thread::park_timeout(left.min(LOOK));
        }
        self.picture.fold(true);
        self.look();
        sampler.finish()
    }

    /// Where the run stands.
    fn see(&mut self, moments: Moments, now: u64, end_ns: u64) {
        let seconds =
            |from: u64, to: u64| Duration::from_nanos(to.saturating_sub(from)).as_secs_f64();
        let Moments { begin_ns, measure_ns } = moments;
        let picture = &mut self.picture;
        picture.measured_s = seconds(measure_ns, now);
        (picture.phase, picture.passed_s, picture.of_s) = if now >= end_ns {
            (Phase::Ending, picture.measured_s, None)
        } else if now >= measure_ns {
            let of_s = self.schedule.time.map(|time| time.as_secs_f64());
            (Phase::Measuring, picture.measured_s, of_s)
        } else {
            let of_s = self.schedule.warm_up.as_secs_f64();
            (Phase::WarmUp, seconds(begin_ns, now), Some(of_s))
        };
        self.look();
    }

    fn look(&mut self) {
        for snapshot in self.snapshots.try_iter() {
            self.picture.take(snapshot);
        }
        self.picture.connected = self.shared.arrived();
        self.picture.fold(false);
        if self.view.show(&self.picture) == Wish::End && self.stopped.swap(true, Ordering::Relaxed)
        {
            // Asked for a second time.
            live::restore();
            std::process::exit(INTERRUPTED);
        }
        self.shared.end_early(self.stopped);
    }
}
