//! One thread of the generator: its clients, its publishers, and what it records.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::board::Board;
use super::ledger::{Ledger, Order, Receipt};
use super::message::Template;
use super::pace::Pace;
use super::record::{Interval, Intervals, nanoseconds};
use super::stamp::{Halves, Stamp, Stamper};
use crate::host::now_ns;
use crate::swarm::{Request, Swarm};

/// The longest wait in one turn.
const TURN: Duration = Duration::from_millis(20);

/// How many clients are heard before what is due is published: a quarter of a millisecond.
const CLIENTS_A_TURN: usize = 64;

/// How long a full window may stand still before its messages are taken for lost.
const LOST_NS: u64 = 1_000_000_000;

/// How long nothing may come before what is missing counts as lost.
const PATIENCE_NS: u64 = 3_000_000_000;

/// What all threads share: a board of messages, the moment at which all begin, and a flag.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) board: Board,
    /// On the monotonic clock; 0: not yet.
    pub(crate) begin_ns: AtomicU64,
    /// Someone has interrupted the run: it ends early, and what there is counts.
    pub(crate) stopped: Arc<AtomicBool>,
    /// What each thread has counted so far, for the progress line.
    pub(crate) live: Vec<Live>,
}

/// One thread's count, on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Live {
    pub(crate) receipts: AtomicU64,
}

/// What one thread is to do.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) thread: usize,
    pub(crate) core: Option<usize>,
    pub(crate) request: Request,
    pub(crate) clients: usize,
    /// Its clients that publish are the first ones; their numbers in the whole run.
    pub(crate) publishers: Vec<usize>,
    pub(crate) publishers_in_all: usize,
    /// Connects a second of this thread.
    pub(crate) ramp: Option<f64>,
    pub(crate) template: Template,
    pub(crate) bytes: usize,
    pub(crate) mode: Mode,
    pub(crate) warm_up: Duration,
    pub(crate) time: Duration,
    pub(crate) run: u16,
}

/// What decides when a message leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mode {
    /// So many messages of each publisher are under way.
    Closed { window: u32 },
    /// So many a second leave in all, whatever becomes of them.
    Open { rate: f64 },
}

/// What one thread found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) connected: usize,
    pub(crate) failures: BTreeMap<String, u64>,
    pub(crate) endings: BTreeMap<String, u64>,
    pub(crate) published: u64,
    pub(crate) receipts: u64,
    pub(crate) duplicated: u64,
    pub(crate) out_of_order: u64,
    pub(crate) orders: Vec<Order>,
    pub(crate) bytes_in: u64,
    pub(crate) handshake: Histogram<u64>,
    pub(crate) service: Histogram<u64>,
    pub(crate) last: Histogram<u64>,
    pub(crate) late: Histogram<u64>,
    pub(crate) intervals: Vec<Interval>,
}

/// A thread at work.
pub(crate) struct Worker {
    job: Job,
    shared: Arc<Shared>,
    swarm: Swarm,
    ledger: Ledger,
    stamper: Stamper,
    halves: Halves,
    /// How many messages each of its publishers has sent.
    sent: Vec<u32>,
    /// What of it a closed loop has given up waiting for.
    given_up: Vec<u32>,
    /// When each publisher's window last moved.
    moved_ns: Vec<u64>,
    pace: Option<Pace>,
    begin_ns: u64,
    measure_ns: u64,
    end_ns: u64,
    published: u64,
    receipts: u64,
    service: Histogram<u64>,
    last: Histogram<u64>,
    late: Histogram<u64>,
    intervals: Intervals,
    out: Vec<u8>,
    payload: Vec<u8>,
}

impl Worker {
    /// Connects the clients; `ready` is called when that is over, and the work begins when the
    /// shared moment is set.
    pub(crate) async fn run(
        job: Job,
        shared: Arc<Shared>,
        ready: impl FnOnce(usize),
    ) -> io::Result<Found> {
        let mut swarm = Swarm::empty()?;
        let mut handshake = nanoseconds()?;
        let arrived = swarm.arrive(&job.request, job.clients, job.ramp, |time| {
            handshake.saturating_record(super::nanoseconds(time));
        })?;
        swarm.take_at_once(CLIENTS_A_TURN);
        ready(arrived.open);
        let mut worker = Self {
            ledger: Ledger::new(job.clients, job.publishers_in_all),
            stamper: Stamper::new(job.run),
            halves: Halves::default(),
            sent: vec![0; job.publishers.len()],
            given_up: vec![0; job.publishers.len()],
            moved_ns: vec![0; job.publishers.len()],
            pace: None,
            begin_ns: 0,
            measure_ns: 0,
            end_ns: 0,
            published: 0,
            receipts: 0,
            service: nanoseconds()?,
            last: nanoseconds()?,
            late: nanoseconds()?,
            intervals: Intervals::new()?,
            out: Vec::new(),
            payload: Vec::new(),
            swarm,
            shared,
            job,
        };
        // Clients that never came are not waited for.
        for client in 0..worker.job.clients {
            if !worker.swarm.is_open(client) {
                worker.ledger.leave(client);
            }
        }
        worker.await_start().await?;
        if arrived.open > 0 {
            worker.work().await?;
        }
        let found = Found {
            connected: arrived.open,
            failures: arrived.failures,
            endings: std::mem::take(&mut worker.swarm.endings),
            published: worker.published,
            receipts: worker.receipts,
            duplicated: worker.ledger.duplicated,
            out_of_order: worker.ledger.out_of_order,
            orders: worker.ledger.orders().to_vec(),
            bytes_in: worker.swarm.bytes_in,
            handshake,
            service: worker.service,
            last: worker.last,
            late: worker.late,
            intervals: worker.intervals.finish(),
        };
        Ok(found)
    }

    async fn await_start(&mut self) -> io::Result<()> {
        while self.begin_ns == 0 && !self.shared.stopped.load(Ordering::Relaxed) {
            self.swarm.rest(TURN).await?;
            self.hear()?;
            self.begin_ns = self.shared.begin_ns.load(Ordering::Relaxed);
        }
        self.measure_ns = self.begin_ns + super::nanoseconds(self.job.warm_up);
        self.end_ns = self.measure_ns + super::nanoseconds(self.job.time);
        self.intervals.begin(self.measure_ns);
        if let Mode::Open { rate } = self.job.mode {
            self.pace = Some(Pace::new(
                self.begin_ns,
                rate,
                self.job.publishers.clone(),
                self.job.publishers_in_all,
            ));
        }
        Ok(())
    }

    async fn work(&mut self) -> io::Result<()> {
        let (mut heard, mut moved_ns) = (0, now_ns());
        let (mut begun, mut ended) = (false, false);
        loop {
            let now = now_ns();
            if !begun && now >= self.measure_ns {
                begun = true;
                self.intervals.begun();
            }
            if !ended && now >= self.end_ns {
                ended = true;
                self.intervals.end();
            }
            let stopped = self.shared.stopped.load(Ordering::Relaxed);
            let wait = if now < self.begin_ns {
                Duration::from_nanos(self.begin_ns - now)
            } else if now < self.end_ns && !stopped {
                self.publish(now)?
            } else {
                TURN
            };
            self.swarm.rest(wait).await?;
            self.hear()?;
            let live = &self.shared.live[self.job.thread];
            live.receipts.store(self.receipts, Ordering::Relaxed);
            let now = now_ns();
            if self.receipts + self.ledger.duplicated != heard {
                heard = self.receipts + self.ledger.duplicated;
                moved_ns = now;
            }
            if now >= self.end_ns || stopped {
                // Everything has come, or nothing comes any more.
                let quiet = now.saturating_sub(moved_ns.max(self.end_ns));
                if quiet > PATIENCE_NS || self.is_complete() || stopped {
                    if !ended {
                        self.intervals.end();
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Whether all that this thread's publishers said has reached everyone. A thread without
    /// publishers stays until those of others are through, or its patience ends.
    fn is_complete(&self) -> bool {
        let own = self
            .job
            .publishers
            .iter()
            .zip(&self.sent)
            .all(|(publisher, sent)| self.shared.board.complete(*publisher) >= *sent);
        own && !self.job.publishers.is_empty()
            && self.job.publishers.len() == self.job.publishers_in_all
    }

    /// Publishes what is due, and says how long there is nothing to publish.
    fn publish(&mut self, now: u64) -> io::Result<Duration> {
        match self.job.mode {
            Mode::Open { .. } => self.publish_due(now),
            Mode::Closed { window } => self.publish_into_window(now, window),
        }
    }

    fn publish_due(&mut self, mut now: u64) -> io::Result<Duration> {
        let Some(mut pace) = self.pace.take() else { return Ok(TURN) };
        let mut wait = TURN;
        while let Some((place, intended)) = pace.next_due() {
            if intended >= self.end_ns {
                break;
            }
            if intended > now {
                wait = Duration::from_nanos(intended - now).min(TURN);
                break;
            }
            pace.step();
            self.say(place, intended, now)?;
            now = now_ns();
        }
        self.pace = Some(pace);
        Ok(wait)
    }

    fn publish_into_window(&mut self, now: u64, window: u32) -> io::Result<Duration> {
        let threads = self.job.publishers.len() < self.job.publishers_in_all || self.job.thread > 0;
        for place in 0..self.job.publishers.len() {
            while self.swarm.is_open(place) {
                let complete = self.shared.board.complete(self.job.publishers[place]);
                let under_way = self.sent[place].saturating_sub(complete + self.given_up[place]);
                if under_way < window {
                    self.say(place, now, now)?;
                    self.moved_ns[place] = now;
                } else if now.saturating_sub(self.moved_ns[place]) > LOST_NS {
                    // What is lost holds up nobody for good: it is counted, and the loop goes on.
                    self.given_up[place] += under_way;
                } else {
                    break;
                }
            }
        }
        // Messages that end on other threads are looked for; no thread is woken for them.
        Ok(if threads { Duration::from_micros(200) } else { TURN })
    }

    /// One publication of one of this thread's publishers.
    fn say(&mut self, place: usize, intended_ns: u64, now: u64) -> io::Result<()> {
        if !self.swarm.is_open(place) {
            return Ok(());
        }
        let late_us = u32::try_from(now.saturating_sub(intended_ns) / 1000).unwrap_or(u32::MAX);
        let publisher = u16::try_from(self.job.publishers[place]).unwrap_or(u16::MAX);
        let stamp = Stamp { publisher, number: self.sent[place], intended_ns, late_us };
        self.payload.clear();
        self.stamper.put(&mut self.payload, &stamp);
        self.payload.resize(self.job.bytes, b'.');
        self.out.clear();
        self.job.template.put(&mut self.out, &self.payload, self.job.request.first + place);
        self.sent[place] += 1;
        if intended_ns >= self.measure_ns {
            self.published += 1;
            self.late.saturating_record(now.saturating_sub(intended_ns));
            self.intervals.published(intended_ns);
        }
        self.swarm.send(place, &self.out)
    }

    /// Takes what has come.
    fn hear(&mut self) -> io::Result<()> {
        let Self {
            swarm, stamper, halves, ledger, shared, service, last, intervals, receipts, ..
        } = self;
        let (measure_ns, end_ns) = (self.measure_ns, self.end_ns);
        let mut read_at = 0;
        let mut client_at = usize::MAX;
        swarm.take(|client, payload| {
            // One look at the clock for what one read of one client brought.
            if client != client_at || read_at == 0 {
                (client_at, read_at) = (client, now_ns());
            }
            halves.find(stamper, client, payload, |stamp| {
                let counts = (measure_ns..end_ns).contains(&stamp.intended_ns);
                let publisher = usize::from(stamp.publisher);
                let Receipt::Fresh { last: is_last } =
                    ledger.receive(client, publisher, stamp.number, counts)
                else {
                    return;
                };
                let is_last = is_last && shared.board.heard_by_thread(publisher, stamp.number);
                if !counts {
                    return;
                }
                *receipts += 1;
                let took = read_at.saturating_sub(stamp.intended_ns);
                intervals.received(read_at, took);
                service.saturating_record(read_at.saturating_sub(stamp.sent_ns()));
                if is_last {
                    last.saturating_record(took);
                }
            });
            None
        })?;
        for client in std::mem::take(&mut self.swarm.left) {
            self.ledger.leave(client);
        }
        Ok(())
    }
}
