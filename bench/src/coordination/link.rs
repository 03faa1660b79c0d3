//! State that the threads of an agent share with its link to the coordinator: moments and counts,
//! without a lock.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::note::{Heard, Note};
use crate::live::Snapshot;

/// Notes that wait for the link; what finds no room is counted.
const NOTES_MAX: usize = 1 << 16;

/// Snapshots that wait for the link; what finds no room is not seen.
const SNAPSHOTS_MAX: usize = 256;

/// How often one who waits for a word looks for it.
const LOOK: Duration = Duration::from_millis(1);

/// The queues from the workers to the coordinator.
#[derive(Debug)]
pub(crate) struct LinkQueues {
    pub(crate) notes: Receiver<Note>,
    pub(crate) snapshots: Receiver<Snapshot>,
}

/// The rest of the run, as an agent's threads know it. Every field stands for itself, or says which
/// one is set before it.
#[derive(Debug)]
pub(crate) struct CoordinatorLink {
    notes: Sender<Note>,
    notes_lost: AtomicU64,
    /// Clients that came, and whether all have come that do.
    open: AtomicUsize,
    is_ready: AtomicBool,
    /// When all begin, on the run's clock; 0: not told yet.
    begin_ns: AtomicU64,
    /// When all end, where that is earlier than planned; 0: at once.
    end_ns: AtomicU64,
    /// Clients that have come so far.
    arrived: AtomicU64,
    /// Where threads show how it goes, if the coordinator wants to know.
    show: Option<Sender<Snapshot>>,
    /// How often all threads of this agent have met, and all of all agents.
    met_here: AtomicUsize,
    met: AtomicUsize,
    /// For each publisher.
    complete: Vec<AtomicU32>,
    /// This agent's threads are through.
    is_over: AtomicBool,
}

impl CoordinatorLink {
    /// For a run of so many publishers; what is to be read is for the link.
    pub(crate) fn new(publishers: usize, shows: bool) -> (Self, LinkQueues) {
        let (notes, read) = bounded(NOTES_MAX);
        let (show, snapshots) = bounded(SNAPSHOTS_MAX);
        let coordinator = Self {
            notes,
            notes_lost: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            is_ready: AtomicBool::new(false),
            begin_ns: AtomicU64::new(0),
            end_ns: AtomicU64::new(u64::MAX),
            arrived: AtomicU64::new(0),
            show: shows.then_some(show),
            met_here: AtomicUsize::new(0),
            met: AtomicUsize::new(0),
            complete: (0..publishers).map(|_| AtomicU32::new(0)).collect(),
            is_over: AtomicBool::new(false),
        };
        (coordinator, LinkQueues { notes: read, snapshots })
    }

    /// All clients of this process have heard a message.
    pub(crate) fn heard(&self, publisher: usize, heard: Heard) {
        let publisher = u32::try_from(publisher).unwrap_or(u32::MAX);
        let note = Note { publisher, number: heard.number, took_ns: heard.took_ns };
        if self.notes.try_send(note).is_err() {
            self.notes_lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many messages of a publisher have reached everyone.
    pub(crate) fn complete(&self, publisher: usize) -> u32 {
        self.complete[publisher].load(Ordering::Relaxed)
    }

    /// So many have, as the coordinator counts them.
    pub(crate) fn completed(&self, publisher: usize, count: u32) {
        if let Some(complete) = self.complete.get(publisher) {
            complete.fetch_max(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn notes_lost(&self) -> u64 {
        self.notes_lost.load(Ordering::Relaxed)
    }

    /// All clients of this process are there, so many of them. Gives the moment at which all begin,
    /// or none if `is_over` first.
    pub(crate) fn await_begin(
        &self,
        open: usize,
        is_over: impl Fn() -> bool,
    ) -> io::Result<Option<u64>> {
        self.open.store(open, Ordering::Relaxed);
        // Release: whoever sees that it is ready sees how many there are.
        self.is_ready.store(true, Ordering::Release);
        loop {
            if self.end_ns() == 0 {
                return Err(io::Error::other("the coordinator has gone"));
            }
            match self.begin_ns.load(Ordering::Relaxed) {
                0 if is_over() => return Ok(None),
                0 => std::thread::park_timeout(LOOK),
                begin_ns => return Ok(Some(begin_ns)),
            }
        }
    }

    pub(crate) fn ready(&self) -> Option<usize> {
        // Acquire: see `await_begin`.
        let is_ready = self.is_ready.load(Ordering::Acquire);
        is_ready.then(|| self.open.load(Ordering::Relaxed))
    }

    pub(crate) fn begin(&self, at_ns: u64) {
        self.begin_ns.store(at_ns, Ordering::Relaxed);
    }

    /// When all end, where that is earlier than planned.
    pub(crate) fn end_ns(&self) -> u64 {
        self.end_ns.load(Ordering::Relaxed)
    }

    /// Nothing is to be said from that moment on; 0: the coordinator has gone.
    pub(crate) fn end(&self, at_ns: u64) {
        self.end_ns.fetch_min(at_ns, Ordering::Relaxed);
    }

    /// So many clients have come by now.
    pub(crate) fn count(&self, arrived: u64) {
        self.arrived.store(arrived, Ordering::Relaxed);
    }

    pub(crate) fn arrived(&self) -> u64 {
        self.arrived.load(Ordering::Relaxed)
    }

    /// Where threads show how it goes.
    pub(crate) fn show(&self) -> Option<Sender<Snapshot>> {
        self.show.clone()
    }

    /// All threads of this process have met so often.
    pub(crate) fn meet(&self, rounds: usize) {
        self.met_here.fetch_max(rounds, Ordering::Relaxed);
    }

    pub(crate) fn met_here(&self) -> usize {
        self.met_here.load(Ordering::Relaxed)
    }

    /// All threads of all processes have met so often.
    pub(crate) fn all_met(&self, rounds: usize) {
        self.met.fetch_max(rounds, Ordering::Relaxed);
    }

    pub(crate) fn met(&self) -> usize {
        self.met.load(Ordering::Relaxed)
    }

    pub(crate) fn finish(&self) {
        // Release: the notes of the threads, which have been joined, come before it.
        self.is_over.store(true, Ordering::Release);
    }

    pub(crate) fn is_over(&self) -> bool {
        // Acquire: see `finish`.
        self.is_over.load(Ordering::Acquire)
    }
}
