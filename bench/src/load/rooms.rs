//! Many channels: every client waits for what is said in its own, and for nothing else.

use std::time::Duration;

use super::account::Account;
use super::ledger::{Ledger, Order, Receipt, disordered};
use super::place::Tally;
use super::stamp::Stamp;
use super::worker_task::{Room, WorkerTask};
use crate::run::Channels;

/// The channels of one thread, whose clients it has all.
///
/// Clients take the thread's channels in turn, and so do publishers: the first clients are the
/// first publishers of each channel.
pub(super) struct Rooms {
    ledgers: Vec<Ledger>,
    /// The number of the first of them among all channels of the run.
    first: usize,
    in_all: usize,
    /// Publishers of each channel.
    each: usize,
    /// How many messages of each of the thread's publishers have reached all who wait for them.
    complete: Vec<u32>,
    /// Places whose windows have moved since that was last asked, and whether each is among them.
    moved: Vec<usize>,
    is_moved: Vec<bool>,
    /// Receipts of the measured time's messages in each channel.
    receipts: Vec<u64>,
    strays: u64,
}

impl Rooms {
    /// For so many channels of the run in all.
    pub(super) fn new(task: &WorkerTask, in_all: usize) -> Self {
        let channels = task.request.channels.clone().unwrap_or(0..1);
        let (first, count) = (channels.start, channels.len());
        let each = task.publishers.len() / count;
        Self {
            ledgers: (0..count).map(|_| Ledger::new(task.clients / count, each)).collect(),
            first,
            in_all,
            each,
            complete: vec![0; task.publishers.len()],
            moved: Vec::with_capacity(task.publishers.len()),
            is_moved: vec![false; task.publishers.len()],
            receipts: vec![0; count],
            strays: 0,
        }
    }
}

impl Account for Rooms {
    fn hear(&mut self, client: usize, stamp: &Stamp, took_ns: Option<u64>) -> Receipt {
        let counts = took_ns.is_some();
        let count = self.ledgers.len();
        let (room, member) = (client % count, client / count);
        let publisher = stamp.publisher as usize;
        let (channel, publisher) = (publisher % self.in_all, publisher / self.in_all);
        if channel != self.first + room || publisher >= self.each {
            self.strays += u64::from(counts);
            return Receipt::Stray;
        }
        let receipt = self.ledgers[room].receive(member, publisher, stamp.number, counts);
        if let Receipt::Fresh { last } = receipt {
            self.receipts[room] += u64::from(counts);
            let place = publisher * count + room;
            if last {
                self.complete[place] += 1;
                if !std::mem::replace(&mut self.is_moved[place], true) {
                    self.moved.push(place);
                }
            }
        }
        receipt
    }

    fn leave(&mut self, client: usize) {
        let count = self.ledgers.len();
        self.ledgers[client % count].leave(client / count);
    }

    fn complete(&self, place: usize) -> u32 {
        self.complete[place]
    }

    fn moved(&mut self, places: &mut Vec<usize>) {
        for place in self.moved.drain(..) {
            self.is_moved[place] = false;
            places.push(place);
        }
    }

    fn is_through(&self, sent: &[u32]) -> bool {
        self.complete.iter().zip(sent).all(|(complete, sent)| complete >= sent)
    }

    fn patience(&self) -> Option<Duration> {
        None
    }

    fn settle(&mut self) {
        self.ledgers.iter_mut().for_each(Ledger::settle);
    }

    fn tally(&self) -> Tally {
        let mut all = Tally { strays: self.strays, ..Tally::default() };
        self.ledgers.iter().for_each(|ledger| all.add(&ledger.tally));
        all
    }

    fn orders(&self) -> &[Order] {
        // Those of different channels are not to be compared.
        &[]
    }

    fn disordered(&self) -> u64 {
        self.ledgers.iter().map(|ledger| disordered(ledger.orders())).sum()
    }

    fn rooms(&self, published: &[u64]) -> Vec<Room> {
        let count = self.ledgers.len();
        let said = |room| published.iter().skip(room).step_by(count).sum();
        let rooms = self.receipts.iter().enumerate();
        rooms.map(|(room, receipts)| Room { published: said(room), receipts: *receipts }).collect()
    }
}

/// The account of all channels, with so many clients each.
pub(super) fn channels(rooms: &[Room], members: u64) -> Option<Channels> {
    let receipts = || rooms.iter().map(|room| room.receipts);
    Some(Channels {
        count: rooms.len() as u64,
        members,
        receipts_least: receipts().min()?,
        receipts_most: receipts().max()?,
        short: rooms.iter().filter(|room| room.receipts < room.published * members).count() as u64,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Channels 2 and 3 of four, with three clients and two publishers each.
    fn rooms() -> Rooms {
        Rooms {
            ledgers: (0..2).map(|_| Ledger::new(3, 2)).collect(),
            first: 2,
            in_all: 4,
            each: 2,
            complete: vec![0; 4],
            moved: Vec::new(),
            is_moved: vec![false; 4],
            receipts: vec![0; 2],
            strays: 0,
        }
    }

    fn stamp(publisher: u32, number: u32) -> Stamp {
        Stamp { publisher, number, intended_ns: 0, late_us: 0 }
    }

    #[test]
    fn a_message_is_for_its_own_channel() {
        let mut rooms = rooms();
        let fresh = |last| Receipt::Fresh { last };
        // The second publisher of channel 3 is number 7, at the last place.
        for (client, last) in [(1, false), (3, false), (5, true)] {
            assert_eq!(rooms.hear(client, &stamp(7, 0), Some(9)), fresh(last));
        }
        assert_eq!(rooms.hear(0, &stamp(7, 0), Some(9)), Receipt::Stray, "of another channel");
        assert_eq!(rooms.hear(0, &stamp(1, 0), None), Receipt::Stray, "before it counts");
        assert_eq!(rooms.hear(0, &stamp(10, 0), Some(9)), Receipt::Stray, "no such publisher");
        assert_eq!(rooms.hear(1, &stamp(7, 0), Some(9)), Receipt::Again);
        assert_eq!(rooms.complete, [0, 0, 0, 1]);
        let mut places = Vec::new();
        rooms.moved(&mut places);
        rooms.moved(&mut places);
        assert_eq!(places, [3]);
        assert!(rooms.is_through(&[0, 0, 0, 1]) && !rooms.is_through(&[1, 0, 0, 1]));
        let Tally { strays, duplicated, .. } = rooms.tally();
        assert_eq!((strays, duplicated), (2, 1));
        let account = rooms.rooms(&[4, 5, 6, 7]);
        assert_eq!(account[0], Room { published: 10, receipts: 0 });
        assert_eq!(account[1], Room { published: 12, receipts: 3 });
    }

    #[test]
    fn orders_are_compared_within_a_channel() {
        let mut rooms = rooms();
        for client in [0, 2, 4] {
            // In channel 2 one client hears the two publishers the other way round.
            let order = if client == 4 { [6, 2] } else { [2, 6] };
            for publisher in order {
                rooms.hear(client, &stamp(publisher, 0), Some(9));
            }
        }
        rooms.hear(1, &stamp(3, 0), Some(9));
        assert_eq!(rooms.disordered(), 1);
    }

    #[test]
    fn a_channel_that_lost_something_is_counted() {
        let rooms = [(5, 15), (5, 14), (0, 0)];
        let rooms = rooms.map(|(published, receipts)| Room { published, receipts });
        let all = channels(&rooms, 3).unwrap();
        assert_eq!((all.count, all.receipts_least, all.receipts_most, all.short), (3, 0, 15, 1));
        assert_eq!(channels(&[], 3), None);
    }
}
