//! The coordinator at work: gives each agent its part, passes on what all must know, and gathers
//! what they found.

use std::io;
use std::sync::atomic::AtomicBool;
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use hdrhistogram::Histogram;
use serde::de::DeserializeOwned;

use super::clock::{Alignment, Offset};
use super::enrol::{self, Member, named, unexpected};
use super::link::{LinkReader, LinkWriter};
use super::note_collector::NoteCollector;
use super::wire::{Done, LoadOrder, Order, Report};
use crate::coordination::{AcrossAgents, AgentShare, Note};
use crate::histogram;
use crate::live::Snapshot;
use crate::load::{self, AnyLoad, Control, Failed, LoadResult, Schedule, Setup, WorkerHandle};
use crate::run::Agent;

/// How often an agent hears of the coordinator, whatever happens.
const BEAT: Duration = Duration::from_secs(1);

/// The longest wait for a report.
const TURN: Duration = Duration::from_millis(10);

/// Reports that wait to be read; an agent that says more waits.
const REPORTS_MAX: usize = 1024;

/// The results of all agents.
struct Led<T> {
    found: Vec<T>,
    across_agents: AcrossAgents,
}

/// Has agents do a task, and gathers what they found.
pub(crate) fn lead<T: DeserializeOwned + Send>(
    setup: &Setup,
    schedule: &Schedule,
    stopped: &AtomicBool,
    load: &AnyLoad,
) -> Result<LoadResult<T>, Failed> {
    // To the main thread, which begins and ends the run and looks at the server, all agents are one
    // thread of this process.
    let alone = Setup { threads: 1, cores: Vec::new(), ..setup.clone() };
    let outline = load.outline();
    let control = Control { schedule, outline: &outline, stopped, coordinator: None };
    let mut gathered = load::run_threads(&alone, &control, async |handle| {
        let members = enrol::enrol(&setup.agents)?;
        coordinate::<T>(members, setup.threads, load, handle)
    })?;
    let Some(led) = gathered.found.pop() else { return Err(unexpected().into()) };
    Ok(LoadResult {
        found: led.found,
        across_agents: Some(led.across_agents),
        sampler: gathered.sampler,
        began_unix_ms: gathered.began_unix_ms,
        measured: gathered.measured,
    })
}

/// A whole run of agents that have been greeted.
fn coordinate<T: DeserializeOwned + Send>(
    members: Vec<Member>,
    threads: usize,
    load: &AnyLoad,
    handle: WorkerHandle<'_>,
) -> io::Result<Led<T>> {
    let shares = shares(&members, threads, load.run_mark());
    let (mut readers, mut writers, mut known) = (Vec::new(), Vec::new(), Vec::new());
    for member in members {
        readers.push(member.reader);
        writers.push(member.writer);
        known.push(member.known);
    }
    let (coordinator, readers) = std::thread::scope(|scope| {
        // Whatever fails from here on, hanging up ends the threads that listen.
        let mut coordinator = Coordinator::<T>::new(writers, threads, load.publishers(), handle)?;
        for (number, share) in shares.into_iter().enumerate() {
            let work = LoadOrder { load: load.clone(), share };
            coordinator.say(number, &Order::Load(Box::new(work))).map_err(|at| at.of(&known))?;
        }
        // Dropped before the threads are waited for: none of them waits for room then.
        let (told, reports) = bounded(REPORTS_MAX);
        let listeners = listen(scope, readers, told)?;
        coordinator.run(&reports).map_err(|at| at.of(&known))?;
        let readers: io::Result<Vec<LinkReader>> = listeners
            .into_iter()
            .map(|one| one.join().map_err(|_| io::Error::other("a thread panicked")))
            .collect();
        Ok::<_, io::Error>((coordinator, readers?))
    })?;
    coordinator.close(readers, known, threads)
}

/// Each agent's share. Those of one host share its cores.
fn shares(members: &[Member], threads: usize, run: u16) -> Vec<AgentShare> {
    let share = |(agent, member): (usize, &Member)| {
        let source = &member.known.welcome.source;
        let before = members[..agent].iter().filter(|one| one.known.welcome.source.is(source));
        AgentShare {
            agent,
            agents: members.len(),
            cores_taken: before.count() * threads,
            run: Some(run),
            offset_ns: member.known.offset.ns,
        }
    };
    members.iter().enumerate().map(share).collect()
}

/// A thread for each agent passes on what it says, until it is done; then its reader is given back.
fn listen<'s, T: DeserializeOwned + Send + 's>(
    scope: &'s Scope<'s, '_>,
    readers: Vec<LinkReader>,
    told: Sender<(usize, io::Result<Report<T>>)>,
) -> io::Result<Vec<ScopedJoinHandle<'s, LinkReader>>> {
    let listener = |(number, mut reader): (usize, LinkReader)| {
        let told = told.clone();
        Builder::new().name(format!("agent-{number}")).spawn_scoped(scope, move || {
            loop {
                let report = reader.hear();
                let is_last = matches!(report, Err(_) | Ok(Report::Done(_)));
                if told.send((number, report)).is_err() || is_last {
                    return reader;
                }
            }
        })
    };
    readers.into_iter().enumerate().map(listener).collect()
}

/// An error, and the agent that it concerns.
struct At(usize, io::Error);

impl At {
    fn of(&self, known: &[enrol::Known]) -> io::Error {
        known.get(self.0).map_or_else(unexpected, |known| named(&known.name, &self.1))
    }
}

/// The messages of one agent so far.
struct Said<T> {
    open: Option<usize>,
    arrived: u64,
    met: usize,
    found: Vec<T>,
    done: Option<Done>,
}

/// All agents at work.
struct Coordinator<'a, T> {
    writers: Vec<LinkWriter>,
    said: Vec<Said<T>>,
    /// Threads of each agent.
    threads: usize,
    publishers: usize,
    handle: WorkerHandle<'a>,
    /// Once all agents are ready.
    gather: Option<NoteCollector>,
    last: Histogram<u64>,
    /// How often all have been told that all have met.
    met: usize,
    /// The agents have been told to begin.
    has_begun: bool,
    /// The end as they have been told it.
    end_ns: u64,
    beaten: Instant,
}

impl<T> Drop for Coordinator<'_, T> {
    fn drop(&mut self) {
        self.writers.iter().for_each(LinkWriter::hang_up);
    }
}

impl<'a, T> Coordinator<'a, T> {
    fn new(
        writers: Vec<LinkWriter>,
        threads: usize,
        publishers: usize,
        handle: WorkerHandle<'a>,
    ) -> io::Result<Self> {
        let said = || Said { open: None, arrived: 0, met: 0, found: Vec::new(), done: None };
        Ok(Self {
            said: writers.iter().map(|_| said()).collect(),
            writers,
            threads,
            publishers,
            handle,
            gather: None,
            last: histogram::nanoseconds()?,
            met: 0,
            has_begun: false,
            end_ns: u64::MAX,
            beaten: Instant::now(),
        })
    }

    fn say(&mut self, number: usize, order: &Order) -> Result<(), At> {
        self.writers[number].say(order).map_err(|error| At(number, error))
    }

    fn say_to_all(&mut self, order: &Order) -> Result<(), At> {
        (0..self.writers.len()).try_for_each(|number| self.say(number, order))
    }

    /// From their first report to their last.
    fn run(&mut self, reports: &Receiver<(usize, io::Result<Report<T>>)>) -> Result<(), At> {
        while self.said.iter().any(|said| said.done.is_none()) {
            let first = match reports.recv_timeout(TURN) {
                Ok(report) => Some(report),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Err(At(0, unexpected())),
            };
            for (number, report) in first.into_iter().chain(reports.try_iter().take(REPORTS_MAX)) {
                let taken = report.and_then(|report| self.take(number, report));
                taken.map_err(|error| At(number, error))?;
            }
            self.tell_moments()?;
            self.tell_meeting()?;
            self.tell_complete()?;
            if self.beaten.elapsed() > BEAT {
                self.beaten = Instant::now();
                self.say_to_all(&Order::Beat)?;
            }
        }
        self.say_to_all(&Order::Enough)
    }

    fn take(&mut self, number: usize, report: Report<T>) -> io::Result<()> {
        let said = &mut self.said[number];
        match report {
            Report::Ready { open } if said.open.is_none() => {
                said.open = Some(open);
                if self.said.iter().all(|said| said.open.is_some()) {
                    let open = self.said.iter().filter_map(|said| said.open);
                    let parties = open.clone().filter(|open| *open > 0).count();
                    self.gather = Some(NoteCollector::new(parties, self.publishers));
                    self.handle.ready(open.sum());
                }
            }
            Report::Arrived { clients } => {
                said.arrived = clients;
                let all =
                    self.said.iter().fold(0_u64, |all, said| all.saturating_add(said.arrived));
                self.handle.arrived_elsewhere(all);
            }
            Report::Snapshot(snapshot) if snapshot.thread < self.threads => {
                let thread = number * self.threads + snapshot.thread;
                self.handle.show_other(Snapshot { thread, ..*snapshot });
            }
            Report::Met { rounds } => said.met = rounds,
            Report::Notes(notes) => self.gather_notes(&notes),
            Report::Found(found) if said.found.len() < self.threads => said.found.push(*found),
            Report::Done(done) if said.found.len() == self.threads => said.done = Some(done),
            Report::Failed { why } => return Err(io::Error::other(why)),
            _ => return Err(unexpected()),
        }
        Ok(())
    }

    fn gather_notes(&mut self, notes: &[Note]) {
        let Some(gather) = &mut self.gather else { return };
        for took_ns in notes.iter().filter_map(|note| gather.hear(*note)) {
            self.last.saturating_record(took_ns);
        }
    }

    /// When all end, where that is earlier than they know, and when all begin, once that is known.
    fn tell_moments(&mut self) -> Result<(), At> {
        let end_ns = self.handle.end_ns();
        if end_ns == 0 {
            // Before all are ready only a failure ends it: that of the main thread.
            return Err(At(0, io::Error::other("the run has failed")));
        }
        if end_ns < self.end_ns {
            self.end_ns = end_ns;
            self.say_to_all(&Order::End { at_ns: end_ns })?;
        }
        match self.handle.moments().filter(|_| !self.has_begun) {
            Some(moments) => {
                self.has_begun = true;
                self.say_to_all(&Order::Begin { at_ns: moments.begin_ns })
            }
            None => Ok(()),
        }
    }

    fn tell_meeting(&mut self) -> Result<(), At> {
        let rounds = self.said.iter().map(|said| said.met).min().unwrap_or(0);
        if rounds <= self.met {
            return Ok(());
        }
        self.met = rounds;
        self.say_to_all(&Order::Met { rounds })
    }

    /// Each publisher's process hears what of it has reached everyone.
    fn tell_complete(&mut self) -> Result<(), At> {
        let news = self.gather.as_mut().map(NoteCollector::news).unwrap_or_default();
        if news.is_empty() {
            return Ok(());
        }
        let agents = self.writers.len();
        let mut each: Vec<Vec<(u32, u32)>> = vec![Vec::new(); agents];
        for (publisher, complete) in news {
            let thread = publisher as usize % (agents * self.threads);
            each[thread / self.threads].push((publisher, complete));
        }
        for (number, news) in each.into_iter().enumerate().filter(|(_, news)| !news.is_empty()) {
            self.say(number, &Order::Complete(news))?;
        }
        Ok(())
    }

    /// The clocks once more, and all that was found.
    fn close(
        mut self,
        readers: Vec<LinkReader>,
        known: Vec<enrol::Known>,
        threads: usize,
    ) -> io::Result<Led<T>> {
        let offsets: io::Result<Vec<Offset>> = std::thread::scope(|scope| {
            let links = readers.into_iter().zip(&mut self.writers).zip(&known);
            let asked: Vec<_> = links
                .map(|((mut reader, writer), known)| {
                    scope.spawn(move || known.offset_now(&mut reader, writer))
                })
                .collect();
            asked
                .into_iter()
                .map(|one| one.join().map_err(|_| io::Error::other("a thread panicked"))?)
                .collect()
        });
        let (mut found, mut agents) = (Vec::new(), Vec::new());
        for ((said, known), after) in self.said.drain(..).zip(known).zip(offsets?) {
            let clock = Alignment::of(known.offset, after);
            let done = said.done.unwrap_or_default();
            agents.push(Agent {
                name: known.name,
                host: done.host,
                connected: said.open.unwrap_or(0) as u64,
                threads: u32::try_from(threads).unwrap_or(u32::MAX),
                descriptors: known.welcome.descriptors,
                clock_offset_ns: clock.offset_ns,
                clock_drift_ns: clock.drift_ns,
                clock_uncertainty_ns: clock.uncertainty_ns,
                notes_lost: done.notes_lost,
            });
            found.extend(said.found);
        }
        let last = self.last.clone();
        Ok(Led { found, across_agents: AcrossAgents { last, agents } })
    }
}
