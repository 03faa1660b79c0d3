//! One run of an agent: the work, and a thread each for what is heard of the coordinator and for
//! what is said to it.

use std::io;
use std::sync::atomic::AtomicBool;
use std::thread::Builder;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::link::{Ear, Mouth};
use super::wire::{Done, Order, Report, Work};
use crate::coordination::{Note, Outside, Told};
use crate::host;
use crate::load::{Failed, Gathered, Task};

/// How long the coordinator may be silent during a run: it speaks once a second.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// How often the coordinator hears of this agent, whatever happens.
const COUNT: Duration = Duration::from_millis(500);

/// The longest wait before what there is to say is said.
const TURN: Duration = Duration::from_millis(20);

/// Notes in one line.
const NOTES_A_LINE: usize = 1024;

/// Glimpses that are told in one turn, so that notes do not wait for them.
const GLIMPSES_A_TURN: usize = 16;

/// Exit code of a process whose coordinator has gone.
const ABANDONED: i32 = 3;

/// Serves one coordinator; says what was done. A process that `ends_with` its coordinator ends at
/// once when that has gone, whatever its threads do.
pub(super) fn run(mut ear: Ear, mut mouth: Mouth, ends_with: bool) -> io::Result<String> {
    let ordered = await_work(&mut ear, &mut mouth).inspect_err(|error| {
        // It may be that the two are not of one version after all, or that it has gone.
        let _ = mouth.say(&Report::<()>::Failed { why: error.to_string() });
    });
    let Work { mut task, part } = ordered?;
    host::set_run_offset(part.offset_ns);
    let aim = task.aim_mut();
    // What there is to say is the coordinator's to say.
    let shows = !aim.quiet;
    (aim.part, aim.quiet) = (part, true);
    let link = Link { ear, mouth, ends_with, shows };
    let never = AtomicBool::new(false);
    let name = match task {
        Task::Talk(plan) => {
            let is_lazy = plan.talk.rate.is_some();
            let checked = plan.check();
            link.work((plan.publishers, is_lazy), |outside| {
                checked.map_err(io::Error::other)?;
                crate::load::talk::work(&plan, &never, Some(outside))
            })?;
            "messages"
        }
        Task::Connect(storm) => {
            link.work((0, true), |outside| storm.work(&never, Some(outside)))?;
            "connect"
        }
        Task::Idle(idle) => {
            link.work((0, true), |outside| idle.work(&never, Some(outside)))?;
            "idle"
        }
    };
    Ok(format!("{name}, agent {} of {}: done", part.agent + 1, part.agents))
}

/// Says what time it is as often as that is asked, until there is something to do.
fn await_work(ear: &mut Ear, mouth: &mut Mouth) -> io::Result<Work> {
    loop {
        match ear.hear()? {
            Order::Time => mouth.say(&Report::<()>::Time { at_ns: host::own_ns() })?,
            Order::Work(work) => return Ok(*work),
            _ => return Err(wrong()),
        }
    }
}

/// Both halves of the connection, when the work begins.
struct Link {
    ear: Ear,
    mouth: Mouth,
    ends_with: bool,
    /// Someone looks on at the coordinator's.
    shows: bool,
}

impl Link {
    /// Does the work, with so many publishers in all, and says what it found. Lazy: nobody waits
    /// for its notes.
    fn work<T: Serialize>(
        self,
        (publishers, is_lazy): (usize, bool),
        work: impl FnOnce(&Outside) -> Result<Gathered<T>, Failed>,
    ) -> io::Result<()> {
        let Self { mut ear, mouth, ends_with, shows } = self;
        ear.silence_max = SILENCE_MAX;
        let (outside, told) = Outside::new(publishers, shows);
        let outside = &outside;
        let (mut ear, mut mouth) = std::thread::scope(|scope| {
            let hearing =
                Builder::new().name("orders".to_owned()).spawn_scoped(scope, move || {
                    let heard = obey(&mut ear, outside);
                    if heard.is_err() {
                        outside.end(0);
                        if ends_with {
                            std::process::exit(ABANDONED);
                        }
                    }
                    heard.map(|()| ear)
                })?;
            let saying =
                Builder::new().name("reports".to_owned()).spawn_scoped(scope, move || {
                    let mut mouth = mouth;
                    let said = report(&mut mouth, outside, (&told, is_lazy));
                    said.inspect_err(|_| outside.end(0)).map(|()| mouth)
                })?;
            let worked = work(outside);
            outside.finish();
            let joined = |_| io::Error::other("a thread of the link panicked");
            let mut mouth = saying.join().map_err(joined)??;
            let found = conclude(&mut mouth, worked, outside);
            if found.is_err() {
                mouth.hang_up();
            }
            let ear = hearing.join().map_err(joined)?;
            found.and(ear).map(|ear| (ear, mouth))
        })?;
        // What it asks now is the time, until it has enough.
        loop {
            match ear.hear() {
                Ok(Order::Time) => mouth.say(&Report::<()>::Time { at_ns: host::own_ns() })?,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Takes orders until there are no more.
fn obey(ear: &mut Ear, outside: &Outside) -> io::Result<()> {
    loop {
        match ear.hear()? {
            Order::Begin { at_ns } => outside.begin(at_ns),
            Order::Met { rounds } => outside.all_met(rounds),
            Order::End { at_ns } => outside.end(at_ns),
            Order::Complete(news) => {
                for (publisher, count) in news {
                    outside.completed(publisher as usize, count);
                }
            }
            Order::Beat => {}
            Order::Enough => return Ok(()),
            Order::Hello(_) | Order::Time | Order::Work(_) => return Err(wrong()),
        }
    }
}

/// Says what there is to say until the threads are through.
fn report(mouth: &mut Mouth, outside: &Outside, (told, is_lazy): (&Told, bool)) -> io::Result<()> {
    type Said = Report<()>;
    let (notes, glimpses) = (&told.notes, &told.glimpses);
    let (mut is_ready, mut met) = (false, 0);
    let mut counted = Instant::now();
    loop {
        // In this order: what was noted before it was over is seen.
        let is_over = outside.is_over();
        let mut some: Vec<Note> = Vec::new();
        if is_lazy && notes.is_empty() && !is_over {
            // Nobody wakes this thread, and no other thread pays for waking it.
            std::thread::park_timeout(TURN);
        } else if !is_over {
            some.extend(notes.recv_timeout(TURN));
        }
        some.extend(notes.try_iter().take(NOTES_A_LINE));
        if !some.is_empty() {
            mouth.say(&Said::Notes(some))?;
        } else if is_over {
            return Ok(());
        }
        if let Some(open) = outside.ready().filter(|_| !is_ready) {
            is_ready = true;
            mouth.say(&Said::Ready { open })?;
        }
        if outside.met_here() > met {
            met = outside.met_here();
            mouth.say(&Said::Met { rounds: met })?;
        }
        if counted.elapsed() > COUNT {
            counted = Instant::now();
            mouth.say(&Said::Arrived { clients: outside.arrived() })?;
        }
        for glimpse in glimpses.try_iter().take(GLIMPSES_A_TURN) {
            mouth.say(&Said::Glimpse(Box::new(glimpse)))?;
        }
    }
}

/// Says what was found, or why nothing was.
fn conclude<T: Serialize>(
    mouth: &mut Mouth,
    worked: Result<Gathered<T>, Failed>,
    outside: &Outside,
) -> io::Result<()> {
    let gathered = match worked {
        Ok(gathered) => gathered,
        Err(failed) => {
            let why = match failed {
                Failed::Unreachable(why) => why,
                Failed::Io(error) => error.to_string(),
            };
            // Where the coordinator has gone nobody hears it.
            let _ = mouth.say(&Report::<()>::Failed { why: why.clone() });
            return Err(io::Error::other(why));
        }
    };
    for found in gathered.found {
        mouth.say(&Report::Found(Box::new(found)))?;
    }
    let sampler = gathered.sampler;
    let host = host::facts(sampler.load, sampler.steal_share);
    mouth.say(&Report::<()>::Done(Done { host, notes_lost: outside.notes_lost() }))
}

fn wrong() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it ordered something else than was its turn")
}
