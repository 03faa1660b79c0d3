//! One thread of the generator: its clients, its publishers, and what it records.

mod speak;

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::account::Account;
use super::ledger::Receipt;
use super::pace::Pace;
use super::place::Tally;
use super::stamp::{Halves, Stamper};
use super::worker_handle::{Moments, WorkerHandle};
use super::worker_task::{Found, Mode, WorkerTask};
use crate::histogram::{nanoseconds, ns_of};
use crate::host::now_ns;
use crate::live::Sums;
use crate::random::Random;
use crate::seconds::Intervals;
use crate::swarm::{Arrived, Swarm};

/// The longest wait in one turn.
const TURN: Duration = Duration::from_millis(20);

/// How long before a message is due its thread is awake and looks at its clients instead of
/// sleeping: about what it takes to be woken.
const EARLY_NS: u64 = 100_000;

/// The most of the time between two messages of a thread that it looks so: one part in as many.
const EARLY_PARTS: u64 = 20;

/// How long nothing may come before what is missing counts as lost.
const PATIENCE_NS: u64 = 3_000_000_000;

/// A thread at work.
pub(super) struct Worker<'a, A> {
    task: WorkerTask,
    handle: WorkerHandle<'a>,
    swarm: Swarm,
    account: A,
    stamper: Stamper,
    halves: Halves,
    /// How many messages each of its publishers has sent.
    sent: Vec<u32>,
    /// Messages of each publisher that a closed loop no longer waits for.
    given_up: Vec<u32>,
    /// When each publisher's window last moved.
    moved_ns: Vec<u64>,
    pace: Option<Pace>,
    /// How long before a message is due the thread is awake.
    early_ns: u64,
    moments: Moments,
    /// From when on nothing is said any more.
    end_ns: u64,
    /// When all windows were last looked at.
    windows_ns: u64,
    /// Places whose windows may have moved.
    places: Vec<usize>,
    /// Stamps that came, whatever they were.
    heard: u64,
    published: u64,
    /// The same of each of its publishers.
    published_of: Vec<u64>,
    random: Random,
    unsaid: u64,
    receipts: u64,
    /// Receipts that came within the measured time, whenever their messages had left.
    receipts_in_time: u64,
    /// Bytes that had come when the measured time began.
    bytes_before: u64,
    /// Bytes that came within the measured time.
    bytes_in_time: u64,
    service: Histogram<u64>,
    last: Histogram<u64>,
    late: Histogram<u64>,
    intervals: Intervals,
    out: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a, A: Account> Worker<'a, A> {
    /// Connects the clients, and works from the moment at which all begin.
    pub(super) async fn run(
        task: WorkerTask,
        account: A,
        mut handle: WorkerHandle<'a>,
    ) -> io::Result<Found> {
        let mut swarm = Swarm::empty()?;
        let mut handshake = nanoseconds()?;
        let mut arrived = swarm.arrive(&task.request, task.clients, task.ramp, |time| {
            if let Some(time) = time {
                handshake.saturating_record(ns_of(time));
                handle.arrived();
            }
            handle.goes_on()
        })?;
        if let Some(speakers) = &task.speakers {
            let count = task.publishers.len();
            let came = swarm.arrive(speakers, count, None, |_| handle.goes_on())?;
            arrived.add_publishers(came);
        }
        swarm.take_at_once(task.at_once);
        if let Some(backoff) = task.backoff {
            let requests = std::iter::once(&task.request).chain(&task.speakers);
            swarm.come_back(requests.cloned().collect(), backoff, task.seed)?;
        }
        handle.ready(arrived.open);
        let mut worker = Self {
            stamper: Stamper::new(task.run),
            halves: Halves::default(),
            sent: vec![0; task.publishers.len()],
            given_up: vec![0; task.publishers.len()],
            moved_ns: vec![0; task.publishers.len()],
            pace: None,
            early_ns: 0,
            moments: Moments { begin_ns: 0, measure_ns: 0 },
            end_ns: 0,
            windows_ns: 0,
            places: Vec::new(),
            heard: 0,
            published: 0,
            published_of: vec![0; task.publishers.len()],
            random: Random(task.seed ^ (task.request.first as u64) << 32),
            unsaid: 0,
            receipts: 0,
            receipts_in_time: 0,
            bytes_before: 0,
            bytes_in_time: 0,
            service: nanoseconds()?,
            last: nanoseconds()?,
            late: nanoseconds()?,
            intervals: Intervals::new()?,
            out: Vec::new(),
            payload: Vec::new(),
            swarm,
            account,
            handle,
            task,
        };
        // Clients that never came are not waited for.
        for client in 0..worker.task.clients {
            if !worker.swarm.is_open(client) {
                worker.account.leave(client);
            }
        }
        worker.await_start().await?;
        if arrived.open > 0 {
            worker.work().await?;
        }
        Ok(worker.found(arrived, handshake))
    }

    /// Returns the worker's result, when all is over.
    fn found(mut self, arrived: Arrived, handshake: Histogram<u64>) -> Found {
        let absences = self.swarm.absences();
        if absences.is_some() {
            self.account.settle();
        }
        Found {
            connected: arrived.open,
            failures: arrived.failures,
            endings: std::mem::take(&mut self.swarm.endings),
            refused: std::mem::take(&mut self.swarm.refused),
            published: self.published,
            unsaid: self.unsaid,
            absences,
            receipts: self.receipts,
            receipts_in_time: self.receipts_in_time,
            tally: self.account.tally(),
            orders: self.account.orders().to_vec(),
            disordered: self.account.disordered(),
            rooms: self.account.rooms(&self.published_of),
            bytes_in: self.bytes_in_time,
            handshake,
            service: self.service,
            last: self.last,
            late: self.late,
            intervals: self.intervals.finish(),
        }
    }

    async fn await_start(&mut self) -> io::Result<()> {
        self.moments = loop {
            if let Some(moments) = self.handle.moments() {
                break moments;
            }
            self.swarm.rest(TURN).await?;
            self.hear()?;
        };
        self.intervals.begin(self.moments.measure_ns);
        if let Mode::Open { rate } = self.task.mode {
            let pace = Pace::new(
                self.moments.begin_ns,
                rate,
                self.task.publishers.clone(),
                self.task.publishers_in_all,
            );
            self.early_ns = EARLY_NS.min(pace.usual_gap_ns() / EARLY_PARTS);
            self.pace = Some(pace);
        }
        Ok(())
    }

    async fn work(&mut self) -> io::Result<()> {
        let Moments { begin_ns, measure_ns } = self.moments;
        let (mut heard, mut moved_ns) = (0, now_ns());
        let (mut begun, mut ended) = (false, false);
        loop {
            self.end_ns = self.handle.end_ns();
            let now = now_ns();
            if !begun && now >= measure_ns {
                begun = true;
                self.intervals.begun();
                self.bytes_before = self.swarm.bytes_in;
            }
            if !ended && now >= self.end_ns {
                ended = true;
                if begun {
                    self.intervals.end();
                    self.bytes_in_time = self.swarm.bytes_in - self.bytes_before;
                }
            } else if begun && !ended {
                self.intervals.tick(now);
            }
            let wait = if now < begin_ns {
                Duration::from_nanos(begin_ns - now)
            } else if now < self.end_ns || self.pace.is_some() {
                // A message that was due before the end is sent, however late the thread is.
                self.publish(now)?
            } else {
                TURN
            };
            // No turn sleeps over the beginning or the end of the measured time.
            let border_ns = if begun { self.end_ns } else { measure_ns };
            let left = border_ns.checked_sub(now).filter(|left| *left > 0);
            self.swarm.rest(left.map_or(wait, |left| wait.min(Duration::from_nanos(left)))).await?;
            if wait.is_zero() && self.swarm.is_quiet() {
                self.intervals.waited(now_ns().saturating_sub(now));
            }
            self.hear()?;
            let now = now_ns();
            if begun {
                self.show(now);
            }
            if self.heard != heard {
                (heard, moved_ns) = (self.heard, now);
            }
            if ended {
                // Everything has come, or nothing comes any more.
                let quiet = now.saturating_sub(moved_ns.max(self.end_ns));
                if quiet > PATIENCE_NS || self.account.is_through(&self.sent) {
                    return Ok(());
                }
            }
        }
    }

    /// Lets people see how it goes.
    fn show(&mut self, now: u64) {
        let Self { handle, intervals, account, swarm, late, published, receipts, .. } = self;
        handle.show(now, intervals, || {
            let Tally { missing, duplicated, out_of_order, strays, .. } = account.tally();
            Sums {
                published: *published,
                receipts: *receipts,
                missing,
                duplicated,
                out_of_order,
                strays,
                late_ns: late.value_at_quantile(0.99),
                endings: swarm.endings.clone(),
                away: swarm.away(),
            }
        });
    }

    /// Takes what has come.
    fn hear(&mut self) -> io::Result<()> {
        let Self {
            swarm,
            stamper,
            halves,
            account,
            service,
            last,
            intervals,
            receipts,
            receipts_in_time,
            heard,
            ..
        } = self;
        let (measure_ns, end_ns) = (self.moments.measure_ns, self.end_ns);
        let mut read_at = 0;
        let mut client_at = usize::MAX;
        let clients = self.task.clients;
        swarm.take(|client, payload| {
            if client >= clients {
                // A publisher that listens at another connection.
                return;
            }
            // One look at the clock for what one read of one client brought.
            if client != client_at || read_at == 0 {
                (client_at, read_at) = (client, now_ns());
            }
            halves.find(stamper, client, payload, |stamp| {
                let counts = (measure_ns..end_ns).contains(&stamp.intended_ns);
                *heard += 1;
                let took = read_at.saturating_sub(stamp.intended_ns);
                let receipt = account.hear(client, &stamp, counts.then_some(took));
                let Receipt::Fresh { last: is_last } = receipt else { return };
                *receipts_in_time += u64::from((measure_ns..end_ns).contains(&read_at));
                if !counts {
                    return;
                }
                *receipts += 1;
                intervals.received(read_at, took);
                service.saturating_record(read_at.saturating_sub(stamp.sent_ns()));
                if is_last {
                    last.saturating_record(took);
                }
            });
        })?;
        for client in std::mem::take(&mut self.swarm.left) {
            if client >= clients {
                continue;
            }
            self.account.leave(client);
            self.halves.leave(client);
        }
        Ok(())
    }
}
