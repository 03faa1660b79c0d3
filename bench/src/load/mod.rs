//! A load: who says how much to how many, and what comes of it.

mod aim;
mod board;
mod judge;
mod ledger;
mod limit;
pub(crate) mod limits;
mod message;
mod pace;
mod plan;
mod record;
mod quiet;
mod sampler;
mod stamp;
mod worker;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) use aim::Aim;
pub(crate) use judge::{LATE, SAMPLES_MIN, lateness};
pub(crate) use limit::Limit;
pub(crate) use limits::Limits;
pub(crate) use plan::Plan;
pub(crate) use quiet::{Idle, Storm};

use crate::host::{self, now_ns};
use crate::run::Run;
use board::Board;
use sampler::Sampler;
use worker::{Found, Live, Shared, Worker};

/// Between the moment at which all are told to begin and the beginning: longer than any turn.
const RUN_UP: Duration = Duration::from_millis(50);

/// How often the main thread looks at what the others do.
const LOOK: Duration = Duration::from_millis(100);

/// Why there is no run.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The server cannot be reached.
    Unreachable(String),
    /// Anything else.
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A load that can be run again and again, against one server or another.
pub(crate) trait Measure: Clone {
    fn aim(&self) -> &Aim;
    fn aim_mut(&mut self) -> &mut Aim;
    /// Runs it, from the first connect to the last receipt.
    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed>;
}

impl Measure for Plan {
    fn aim(&self) -> &Aim {
        &self.aim
    }

    fn aim_mut(&mut self) -> &mut Aim {
        &mut self.aim
    }

    fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
        run(self, stopped)
    }
}

fn run(plan: &Plan, stopped: &Arc<AtomicBool>) -> Result<Run, Failed> {
    let jobs = plan.jobs().map_err(Failed::Unreachable)?;
    let shared = Arc::new(Shared {
        board: Board::new(jobs.len(), plan.publishers),
        begin_ns: AtomicU64::new(0),
        stopped: Arc::clone(stopped),
        live: jobs.iter().map(|_| Live::default()).collect(),
    });
    let mut sampler = Sampler::new(plan.aim.server_pid)?;
    let (ready, readies) = mpsc::channel();
    let threads: Vec<_> = jobs
        .iter()
        .map(|job| {
            let (job, shared, ready) = (job.clone(), Arc::clone(&shared), ready.clone());
            std::thread::Builder::new().name(format!("generator-{}", job.thread)).spawn(move || {
                let ready = move |open| {
                    // The main thread has gone only when another thread failed.
                    let _ = ready.send(open);
                };
                let (thread, core) = (job.thread, job.core);
                host::on_core(thread, core, Worker::run(job, shared, ready))?
            })
        })
        .collect::<io::Result<_>>()?;
    drop(ready);
    let connected: usize = readies.iter().sum();
    sampler.connected()?;

    let begin_ns = now_ns() + nanoseconds(RUN_UP);
    shared.begin_ns.store(begin_ns, Ordering::Relaxed);
    let measure_ns = begin_ns + nanoseconds(plan.warm_up);
    let began_unix_ms = unix_ms() + u64::try_from((RUN_UP + plan.warm_up).as_millis()).unwrap_or(0);
    watch(plan, &shared, &mut sampler, &threads, connected, measure_ns)?;

    let mut found = Vec::with_capacity(threads.len());
    for thread in threads {
        let outcome = thread.join().map_err(|_| io::Error::other("a generator thread panicked"))?;
        found.push(outcome?);
    }
    if found.iter().all(|found| found.connected == 0) {
        return Err(Failed::Unreachable(cause_of(&found)));
    }
    judge::run_of(plan, found, &sampler, began_unix_ms).map_err(Failed::Io)
}

fn cause_of(found: &[Found]) -> String {
    let causes = found.iter().flat_map(|found| found.failures.keys());
    causes.max().map_or_else(|| "no client connected".to_owned(), Clone::clone)
}

/// Looks on while the others work: samples once a second, and says how it goes.
#[expect(clippy::too_many_arguments, reason = "what the loop of a run looks at")]
fn watch<T>(
    plan: &Plan,
    shared: &Shared,
    sampler: &mut Sampler,
    threads: &[std::thread::JoinHandle<T>],
    connected: usize,
    measure_ns: u64,
) -> io::Result<()> {
    let end_ns = measure_ns + nanoseconds(plan.time);
    let mut next_ns = measure_ns;
    let mut heard = 0;
    let live = io::stderr().is_terminal();
    if !plan.aim.quiet {
        say(&format!("{connected} clients connected"), false)?;
    }
    while !threads.iter().all(std::thread::JoinHandle::is_finished) {
        std::thread::park_timeout(LOOK);
        let now = now_ns();
        if now < next_ns || next_ns > end_ns {
            continue;
        }
        sampler.sample(next_ns == measure_ns, next_ns >= end_ns)?;
        let receipts = shared.live.iter().map(|live| live.receipts.load(Ordering::Relaxed)).sum();
        let second = (next_ns - measure_ns) / 1_000_000_000;
        if !plan.aim.quiet && second > 0 {
            let of = plan.time.as_secs_f64();
            say(&format!("{second:>4} of {of} s   {} deliveries/s", receipts - heard), live)?;
        }
        heard = receipts;
        let step = next_ns + 1_000_000_000;
        next_ns = if next_ns < end_ns { step.min(end_ns) } else { step };
    }
    sampler.finish()?;
    if live && !plan.aim.quiet {
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

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

fn unix_ms() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(0)
}
