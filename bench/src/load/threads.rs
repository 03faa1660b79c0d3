//! The generator's threads: they get ready, begin at one moment, are looked at, and end together.

use std::io;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::Builder;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::failed::Failed;
use super::outline::Control;
use super::sampler::Sampler;
use super::setup::Setup;
use super::watch::{LOOK, Watch};
use super::worker_handle::{FailureGuard, Shared, WorkerHandle};
use crate::coordination::AcrossAgents;
use crate::host::{self, now_ns};

/// The results of all workers, and the samples of the server.
pub(crate) struct LoadResult<T> {
    pub(crate) found: Vec<T>,
    pub(crate) sampler: Sampler,
    /// When measuring began, in milliseconds since 1970.
    pub(crate) began_unix_ms: u64,
    /// How long was measured, which is less than what was asked for where someone interrupted it.
    pub(crate) measured: Duration,
    /// Results that only all agents together can tell.
    pub(crate) across_agents: Option<AcrossAgents>,
}

/// Has every thread of a load do `work` on an executor and a core of its own, and looks on.
pub(crate) fn run<T: Send>(
    setup: &Setup,
    control: &Control<'_>,
    work: impl AsyncFn(WorkerHandle<'_>) -> io::Result<T> + Sync,
) -> Result<LoadResult<T>, Failed> {
    let shared = Shared::new(setup, control.schedule, control.coordinator);
    let mut sampler = Sampler::new(setup.server_pid, setup.server_origin)?;
    let (mut watch, show) = Watch::new(setup, control, &shared);
    let (ready, readies) = channel();
    let gathered = std::thread::scope(|scope| -> io::Result<_> {
        // Whatever fails here must not leave threads behind that wait for a beginning.
        let mut guard = FailureGuard { shared: &shared, burns: true };
        let mut threads = Vec::with_capacity(setup.threads);
        for thread in 0..setup.threads {
            let (shared, work, core) = (&shared, &work, setup.core(thread));
            let handle = WorkerHandle::new(thread, shared, ready.clone(), show.clone());
            let builder = Builder::new().name(format!("generator-{thread}"));
            threads.push(builder.spawn_scoped(scope, move || {
                let mut guard = FailureGuard { shared, burns: true };
                let found = host::on_core(thread, core, work(handle)).flatten();
                guard.burns = found.is_err();
                found
            })?);
        }
        drop(ready);
        let mut connected = 0;
        loop {
            match readies.recv_timeout(LOOK) {
                Ok(open) => connected += open,
                Err(RecvTimeoutError::Timeout) => watch.connecting(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        sampler.connected()?;
        let moments = shared.begin(control.schedule, connected)?;
        let began_unix_ms = unix_ms() + moments.measure_ns.saturating_sub(now_ns()) / 1_000_000;
        watch.working(moments, &threads, &mut sampler)?;
        guard.burns = false;
        let mut found = Vec::with_capacity(threads.len());
        for thread in threads {
            let outcome = thread.join();
            found.push(outcome.map_err(|_| io::Error::other("a generator thread panicked"))??);
        }
        let end_ns = shared.end_ns().min(now_ns());
        let measured = Duration::from_nanos(end_ns.saturating_sub(moments.measure_ns));
        Ok((found, began_unix_ms, measured))
    });
    let (found, began_unix_ms, measured) = gathered?;
    Ok(LoadResult { found, sampler, began_unix_ms, measured, across_agents: None })
}

fn unix_ms() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use clap::Parser;

    use super::*;
    use crate::load::outline::{Outline, Schedule};
    use crate::load::worker_handle::{MEETING, Moments};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        setup: Setup,
    }

    const HOUR: Schedule =
        Schedule { warm_up: Duration::ZERO, time: Some(Duration::from_hours(1)) };

    const OUTLINE: Outline =
        Outline { command: "test", unit: "tests", asked: 0, hearers: 0, threads: 3 };

    fn control(stopped: &AtomicBool) -> Control<'_> {
        Control { schedule: &HOUR, outline: &OUTLINE, stopped, coordinator: None }
    }

    fn setup() -> Setup {
        Line::parse_from(["x", "127.0.0.1:9", "--threads", "3", "--quiet"]).setup
    }

    /// Works until the end, however early that comes.
    fn work(mut handle: WorkerHandle<'_>) -> Moments {
        handle.ready(0);
        let moments = loop {
            match handle.moments() {
                Some(moments) => break moments,
                None => std::thread::park_timeout(MEETING),
            }
        };
        while handle.goes_on() {
            std::thread::park_timeout(MEETING);
        }
        moments
    }

    #[test]
    fn all_begin_at_one_moment_and_end_when_told() {
        let stopped = AtomicBool::new(false);
        let gathered = run(&setup(), &control(&stopped), async |handle| {
            let thread = handle.thread;
            handle.meet(1);
            stopped.store(true, Ordering::Relaxed);
            Ok((thread, work(handle).begin_ns))
        });
        let LoadResult { found, measured, .. } = gathered.unwrap_or_else(|_| panic!("it ran"));
        let begin_ns = found[0].1;
        assert_eq!(found, [(0, begin_ns), (1, begin_ns), (2, begin_ns)]);
        assert!(measured < Duration::from_mins(1), "{measured:?}");
    }

    #[test]
    fn one_that_fails_or_panics_ends_the_run_of_all() {
        for how in ["fails", "fails late", "panics"] {
            let running = AtomicBool::new(false);
            let gathered = run(&setup(), &control(&running), async |mut handle| {
                if handle.thread == 1 {
                    if how == "fails late" {
                        handle.ready(0);
                    }
                    assert!(how != "panics", "as it should");
                    return Err(io::Error::other("a fault"));
                }
                work(handle);
                Ok(())
            });
            let Err(Failed::Io(error)) = gathered else { panic!("{how}: it went well") };
            let right = if how == "panics" { "panicked" } else { "a fault" };
            assert!(error.to_string().contains(right), "{how}: {error}");
        }
    }
}
