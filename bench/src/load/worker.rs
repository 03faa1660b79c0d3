//! One thread of the generator: its clients, its publishers, and what it records.

use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::account::Account;
use super::job::{Found, Job, Mode};
use super::ledger::Receipt;
use super::pace::Pace;
use super::place::Tally;
use super::post::{Moments, Post};
use super::stamp::{Halves, Stamp, Stamper};
use crate::histogram::{nanoseconds, ns_of};
use crate::host::now_ns;
use crate::live::Sums;
use crate::seconds::Intervals;
use crate::swarm::{Arrived, Swarm};

/// The longest wait in one turn.
const TURN: Duration = Duration::from_millis(20);

/// How long a full window may stand still before its messages are taken for lost.
const LOST_NS: u64 = 1_000_000_000;

/// How often all windows are looked at, whether anything came or not.
const WINDOWS_NS: u64 = 100_000_000;

/// How long nothing may come before what is missing counts as lost.
const PATIENCE_NS: u64 = 3_000_000_000;

/// A thread at work.
pub(super) struct Worker<'a, A> {
    job: Job,
    post: Post<'a>,
    swarm: Swarm,
    account: A,
    stamper: Stamper,
    halves: Halves,
    /// How many messages each of its publishers has sent.
    sent: Vec<u32>,
    /// What of it a closed loop has given up waiting for.
    given_up: Vec<u32>,
    /// When each publisher's window last moved.
    moved_ns: Vec<u64>,
    pace: Option<Pace>,
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
    unsaid: u64,
    receipts: u64,
    service: Histogram<u64>,
    last: Histogram<u64>,
    late: Histogram<u64>,
    intervals: Intervals,
    out: Vec<u8>,
    payload: Vec<u8>,
}

impl<'a, A: Account> Worker<'a, A> {
    /// Connects the clients, and works from the moment at which all begin.
    pub(super) async fn run(job: Job, account: A, mut post: Post<'a>) -> io::Result<Found> {
        let mut swarm = Swarm::empty()?;
        let mut handshake = nanoseconds()?;
        let arrived = swarm.arrive(&job.request, job.clients, job.ramp, |time| {
            if let Some(time) = time {
                handshake.saturating_record(ns_of(time));
                post.arrived();
            }
            post.goes_on()
        })?;
        swarm.take_at_once(job.at_once);
        if let Some(backoff) = job.backoff {
            swarm.come_back(&job.request, backoff, job.seed)?;
        }
        post.ready(arrived.open);
        let mut worker = Self {
            stamper: Stamper::new(job.run),
            halves: Halves::default(),
            sent: vec![0; job.publishers.len()],
            given_up: vec![0; job.publishers.len()],
            moved_ns: vec![0; job.publishers.len()],
            pace: None,
            moments: Moments { begin_ns: 0, measure_ns: 0 },
            end_ns: 0,
            windows_ns: 0,
            places: Vec::new(),
            heard: 0,
            published: 0,
            unsaid: 0,
            receipts: 0,
            service: nanoseconds()?,
            last: nanoseconds()?,
            late: nanoseconds()?,
            intervals: Intervals::new()?,
            out: Vec::new(),
            payload: Vec::new(),
            swarm,
            account,
            post,
            job,
        };
        // Clients that never came are not waited for.
        for client in 0..worker.job.clients {
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

    /// What it found, when all is over.
    fn found(mut self, arrived: Arrived, handshake: Histogram<u64>) -> Found {
        let absences = self.swarm.absences();
        if absences.is_some() {
            self.account.settle();
        }
        Found {
            connected: arrived.open,
            failures: arrived.failures,
            endings: std::mem::take(&mut self.swarm.endings),
            published: self.published,
            unsaid: self.unsaid,
            absences,
            receipts: self.receipts,
            tally: self.account.tally(),
            orders: self.account.orders().to_vec(),
            bytes_in: self.swarm.bytes_in,
            handshake,
            service: self.service,
            last: self.last,
            late: self.late,
            intervals: self.intervals.finish(),
        }
    }

    async fn await_start(&mut self) -> io::Result<()> {
        self.moments = loop {
            if let Some(moments) = self.post.moments() {
                break moments;
            }
            self.swarm.rest(TURN).await?;
            self.hear()?;
        };
        self.intervals.begin(self.moments.measure_ns);
        if let Mode::Open { rate } = self.job.mode {
            self.pace = Some(Pace::new(
                self.moments.begin_ns,
                rate,
                self.job.publishers.clone(),
                self.job.publishers_in_all,
            ));
        }
        Ok(())
    }

    async fn work(&mut self) -> io::Result<()> {
        let Moments { begin_ns, measure_ns } = self.moments;
        let (mut heard, mut moved_ns) = (0, now_ns());
        let (mut begun, mut ended) = (false, false);
        loop {
            self.end_ns = self.post.end_ns();
            let now = now_ns();
            if !begun && now >= measure_ns {
                begun = true;
                self.intervals.begun();
            }
            if !ended && now >= self.end_ns {
                ended = true;
                self.intervals.end();
            } else if begun && !ended {
                self.intervals.tick(now);
            }
            let wait = if now < begin_ns {
                Duration::from_nanos(begin_ns - now)
            } else if now < self.end_ns || self.pace.is_some() {
                // What was due before the end leaves, however late the thread is.
                self.publish(now)?
            } else {
                TURN
            };
            self.swarm.rest(wait).await?;
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
        let Self { post, intervals, account, swarm, late, published, receipts, .. } = self;
        post.show(now, intervals, || {
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

    /// Publishes what is due, and says how long there is nothing to publish.
    fn publish(&mut self, now: u64) -> io::Result<Duration> {
        match self.job.mode {
            Mode::Open { .. } => self.publish_due(now),
            Mode::Closed { window } => self.publish_into_windows(now, window),
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

    fn publish_into_windows(&mut self, now: u64, window: u32) -> io::Result<Duration> {
        let mut places = std::mem::take(&mut self.places);
        self.account.moved(&mut places);
        if now.saturating_sub(self.windows_ns) > WINDOWS_NS {
            self.windows_ns = now;
            places.clear();
            places.extend(0..self.sent.len());
        }
        for place in places.drain(..) {
            while self.swarm.is_open(place) {
                let complete = self.account.complete(place);
                let under_way = self.sent[place].saturating_sub(complete + self.given_up[place]);
                if under_way < window {
                    let now = now_ns();
                    if now >= self.end_ns {
                        // Said then it would be counted, and its receipts would not.
                        break;
                    }
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
        self.places = places;
        Ok(self.account.patience().unwrap_or(TURN))
    }

    /// One publication of one of this thread's publishers.
    fn say(&mut self, place: usize, intended_ns: u64, now: u64) -> io::Result<()> {
        if !self.swarm.is_open(place) {
            self.unsaid += u64::from(intended_ns >= self.moments.measure_ns);
            return Ok(());
        }
        let late_us = u32::try_from(now.saturating_sub(intended_ns) / 1000).unwrap_or(u32::MAX);
        let publisher = u32::try_from(self.job.publishers[place]).unwrap_or(u32::MAX);
        let stamp = Stamp { publisher, number: self.sent[place], intended_ns, late_us };
        self.payload.clear();
        self.stamper.put(&mut self.payload, &stamp);
        self.payload.resize(self.job.bytes, b'.');
        self.out.clear();
        self.job.template.put(&mut self.out, &self.payload, self.job.request.first + place);
        self.sent[place] += 1;
        if intended_ns >= self.moments.measure_ns {
            self.published += 1;
            self.late.saturating_record(now.saturating_sub(intended_ns));
            self.intervals.published(intended_ns);
        }
        self.swarm.send(place, &self.out)
    }

    /// Takes what has come.
    fn hear(&mut self) -> io::Result<()> {
        let Self {
            swarm, stamper, halves, account, service, last, intervals, receipts, heard, ..
        } = self;
        let (measure_ns, end_ns) = (self.moments.measure_ns, self.end_ns);
        let mut read_at = 0;
        let mut client_at = usize::MAX;
        swarm.take(|client, payload| {
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
            self.account.leave(client);
            self.halves.leave(client);
        }
        Ok(())
    }
}
