//! One run of an agent: the work, and a thread each for what is heard of the coordinator and for
//! what is said to it.

use std::io;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::link::{LinkReader, LinkWriter};
use super::wire::{Done, LoadOrder, Order, Report};
use crate::coordination::{CoordinatorLink, LinkQueues, Note};
use crate::host;
use crate::load::{AnyLoad, Failed, LoadResult};

/// How long the coordinator may be silent during a run: it speaks once a second.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How often the coordinator hears of this agent, whatever happens.
const COUNT: Duration = Duration::from_millis(500);

/// The longest wait before what there is to say is said.
const TURN: Duration = Duration::from_millis(20);

/// Notes in one line.
const NOTES_A_LINE: usize = 1024;

/// Snapshots that are told in one turn, so that notes do not wait for them.
const SNAPSHOTS_A_TURN: usize = 16;

/// Exit code of a process whose coordinator has gone.
const ABANDONED: i32 = 3;

/// Serves one coordinator; says what was done. A process that `ends_with` its coordinator ends at
/// once when that has gone, whatever its threads do.
pub(super) fn run(
    mut reader: LinkReader,
    mut writer: LinkWriter,
    ends_with: bool,
) -> io::Result<String> {
    let ordered = await_work(&mut reader, &mut writer).inspect_err(|error| {
        // It may be that the two are not of one version after all, or that it has gone.
        let _ = writer.say(&Report::<()>::Failed { why: error.to_string() });
    });
    let LoadOrder { mut load, share } = ordered?;
    host::set_run_offset(share.offset_ns);
    let setup = load.setup_mut();
    // The coordinator alone says what there is to say.
    let shows = !setup.quiet;
    (setup.agent_share, setup.quiet) = (share, true);
    let link = Link { reader, writer, ends_with, shows };
    let never = AtomicBool::new(false);
    let name = match load {
        AnyLoad::Traffic(plan) => {
            let notes = Notes { publishers: plan.publishers, is_lazy: plan.traffic.rate.is_some() };
            let checked = plan.check();
            link.work(notes, |coordinator| {
                checked.map_err(io::Error::other)?;
                crate::load::messages::work(&plan, &never, Some(coordinator))
            })?;
            "messages"
        }
        AnyLoad::Connect(storm) => {
            link.work(Notes::NONE, |coordinator| storm.work(&never, Some(coordinator)))?;
            "connect"
        }
        AnyLoad::Idle(idle) => {
            link.work(Notes::NONE, |coordinator| idle.work(&never, Some(coordinator)))?;
            "idle"
        }
    };
    Ok(format!("{name}, agent {} of {}: done", share.agent + 1, share.agents))
}

/// Says what time it is as often as that is asked, until there is something to do.
fn await_work(reader: &mut LinkReader, writer: &mut LinkWriter) -> io::Result<LoadOrder> {
    loop {
        match reader.hear()? {
            Order::Time => writer.say(&Report::<()>::Time { at_ns: host::own_ns() })?,
            Order::Load(work) => return Ok(*work),
            _ => return Err(wrong()),
        }
    }
}

/// The notes that an agent makes of messages which its clients have heard.
#[derive(Debug, Clone, Copy)]
struct Notes {
    /// Publishers of the whole run.
    publishers: usize,
    /// Nobody waits for the notes.
    is_lazy: bool,
}

impl Notes {
    /// Of a load without messages.
    const NONE: Self = Self { publishers: 0, is_lazy: true };
}

/// Both halves of the connection, when the work begins.
struct Link {
    reader: LinkReader,
    writer: LinkWriter,
    ends_with: bool,
    /// Someone looks on at the coordinator's.
    shows: bool,
}

impl Link {
    /// Does the work, and says what it found.
    fn work<T: Serialize>(
        self,
        notes: Notes,
        work: impl FnOnce(&CoordinatorLink) -> Result<LoadResult<T>, Failed>,
    ) -> io::Result<()> {
        let Self { mut reader, writer, ends_with, shows } = self;
        reader.silence_max = SILENCE_MAX;
        let (coordinator, told) = CoordinatorLink::new(notes.publishers, shows);
        let coordinator = &coordinator;
        let (mut reader, mut writer) = std::thread::scope(|scope| {
            let hearing =
                Builder::new().name("orders".to_owned()).spawn_scoped(scope, move || {
                    let heard = obey(&mut reader, coordinator);
                    if heard.is_err() {
                        coordinator.end(0);
                        if ends_with {
                            std::process::exit(ABANDONED);
                        }
                    }
                    heard.map(|()| reader)
                })?;
            let saying =
                Builder::new().name("reports".to_owned()).spawn_scoped(scope, move || {
                    let mut writer = writer;
                    let said = report(&mut writer, coordinator, &told, notes.is_lazy);
                    said.inspect_err(|_| coordinator.end(0)).map(|()| writer)
                })?;
            let worked = work(coordinator);
            coordinator.finish();
            let joined = |_| io::Error::other("a thread of the link panicked");
            let mut writer = saying.join().map_err(joined)??;
            let found = conclude(&mut writer, worked, coordinator);
            if found.is_err() {
                writer.hang_up();
            }
            let reader = hearing.join().map_err(joined)?;
            found.and(reader).map(|reader| (reader, writer))
        })?;
        // Now the coordinator asks for the time, until it has enough samples.
        loop {
            match reader.hear() {
                Ok(Order::Time) => writer.say(&Report::<()>::Time { at_ns: host::own_ns() })?,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Takes orders until there are no more.
fn obey(reader: &mut LinkReader, coordinator: &CoordinatorLink) -> io::Result<()> {
    loop {
        match reader.hear()? {
            Order::Begin { at_ns } => coordinator.begin(at_ns),
            Order::Met { rounds } => coordinator.all_met(rounds),
            Order::End { at_ns } => coordinator.end(at_ns),
            Order::Complete(news) => {
                for (publisher, count) in news {
                    coordinator.completed(publisher as usize, count);
                }
            }
            Order::Beat => {}
            Order::Enough => return Ok(()),
            Order::Hello(_) | Order::Time | Order::Load(_) => return Err(wrong()),
        }
    }
}

/// Says what there is to say until the threads are through.
fn report(
    writer: &mut LinkWriter,
    coordinator: &CoordinatorLink,
    told: &LinkQueues,
    is_lazy: bool,
) -> io::Result<()> {
    type Said = Report<()>;
    let (notes, snapshots) = (&told.notes, &told.snapshots);
    let (mut is_ready, mut met) = (false, 0);
    let mut counted = Instant::now();
    loop {
        // In this order: what was noted before it was over is seen.
        let is_over = coordinator.is_over();
        let mut some: Vec<Note> = Vec::new();
        if is_lazy && notes.is_empty() && !is_over {
            // Nobody wakes this thread, and no other thread pays for waking it.
            std::thread::park_timeout(TURN);
        } else if !is_over {
            some.extend(notes.recv_timeout(TURN));
        }
        some.extend(notes.try_iter().take(NOTES_A_LINE));
        if !some.is_empty() {
            writer.say(&Said::Notes(some))?;
        } else if is_over {
            return Ok(());
        }
        if let Some(open) = coordinator.ready().filter(|_| !is_ready) {
            is_ready = true;
            writer.say(&Said::Ready { open })?;
        }
        if coordinator.met_here() > met {
            met = coordinator.met_here();
            writer.say(&Said::Met { rounds: met })?;
        }
        if counted.elapsed() > COUNT {
            counted = Instant::now();
            writer.say(&Said::Arrived { clients: coordinator.arrived() })?;
        }
        for snapshot in snapshots.try_iter().take(SNAPSHOTS_A_TURN) {
            writer.say(&Said::Snapshot(Box::new(snapshot)))?;
        }
    }
}

/// Says what was found, or why nothing was.
fn conclude<T: Serialize>(
    writer: &mut LinkWriter,
    worked: Result<LoadResult<T>, Failed>,
    coordinator: &CoordinatorLink,
) -> io::Result<()> {
    let gathered = match worked {
        Ok(gathered) => gathered,
        Err(failed) => {
            let why = match failed {
                Failed::Unreachable(why) => why,
                Failed::Io(error) => error.to_string(),
            };
            // Where the coordinator has gone nobody hears it.
            let _ = writer.say(&Report::<()>::Failed { why: why.clone() });
            return Err(io::Error::other(why));
        }
    };
    for found in gathered.found {
        writer.say(&Report::Found(Box::new(found)))?;
    }
    let sampler = gathered.sampler;
    let host = host::facts(sampler.load, sampler.steal_share);
    writer.say(&Report::<()>::Done(Done { host, notes_lost: coordinator.notes_lost() }))
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it ordered something else than was its turn")
}
