//! The publishing half of a worker: its messages, and the moments at which they leave.

use std::io;
use std::time::Duration;

use super::{TURN, Worker};
use crate::host::now_ns;
use crate::load::account::Account;
use crate::load::direct::addressee;
use crate::load::message::Parties;
use crate::load::stamp::Stamp;
use crate::load::worker_task::Mode;

/// How long a full window may stand still before its messages are taken for lost.
const LOST_NS: u64 = 1_000_000_000;

/// How often all windows are looked at, whether anything came or not.
const WINDOWS_NS: u64 = 100_000_000;

impl<A: Account> Worker<'_, A> {
    /// Publishes what is due, and says how long there is nothing to publish.
    pub(super) fn publish(&mut self, now: u64) -> io::Result<Duration> {
        match self.task.mode {
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
                let left = intended - now;
                // None at all: it looks again and again until the moment has come.
                wait = Duration::from_nanos(left.saturating_sub(self.early_ns)).min(TURN);
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
            while self.swarm.is_open(self.speaker(place)) {
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
                    // A loss holds up nobody for good: it is counted, and the loop goes on.
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
        if !self.swarm.is_open(self.speaker(place)) {
            self.unsaid += u64::from(intended_ns >= self.moments.measure_ns);
            return Ok(());
        }
        let late_us = u32::try_from(now.saturating_sub(intended_ns) / 1000).unwrap_or(u32::MAX);
        let publisher = u32::try_from(self.task.publishers[place]).unwrap_or(u32::MAX);
        let stamp = Stamp { publisher, number: self.sent[place], intended_ns, late_us };
        self.payload.clear();
        self.stamper.put(&mut self.payload, &stamp);
        self.payload.resize(self.task.sizes.next(&mut self.random), b'.');
        self.out.clear();
        let parties = self.parties(place, &stamp);
        self.task.template.put(&mut self.out, &self.payload, parties);
        self.sent[place] += 1;
        if intended_ns >= self.moments.measure_ns {
            self.published += 1;
            self.published_of[place] += 1;
            self.late.saturating_record(now.saturating_sub(intended_ns));
            self.intervals.published(intended_ns);
        }
        self.swarm.send(self.speaker(place), &self.out)
    }

    /// Returns the place of a publisher's connection among those of this thread.
    fn speaker(&self, place: usize) -> usize {
        if self.task.speakers.is_some() { self.task.clients + place } else { place }
    }

    fn parties(&self, place: usize, stamp: &Stamp) -> Parties {
        let client = self.task.request.first + place;
        let (publisher, channel) =
            (self.task.publishers[place], self.task.request.channel_of(client));
        let addressee =
            self.task.addressees.map(|clients| addressee(publisher, stamp.number, clients));
        Parties {
            client,
            channel: channel.unwrap_or_default(),
            addressee: addressee.unwrap_or_default(),
            number: stamp.number,
        }
    }
}
