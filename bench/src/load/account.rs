//! Accounts of receipts: the clients that wait for a message, and the moment at which all have it.

use std::time::Duration;

use super::board::Board;
use super::ledger::{Ledger, Order, Receipt};
use super::place::Tally;
use super::stamp::Stamp;
use super::worker_task::{Room, WorkerTask};
use crate::coordination::Heard;

/// The longest wait of a thread while messages are on their way that end on other threads: no
/// thread is woken for them.
const OTHERS: Duration = Duration::from_micros(200);

/// One thread's account of what its clients hear. A place is that of a publisher among the
/// thread's own.
pub(super) trait Account {
    /// A client heard a message, so long after its intended moment; none if it does not belong to
    /// the measured time.
    fn hear(&mut self, client: usize, stamp: &Stamp, took_ns: Option<u64>) -> Receipt;

    /// A client listens no more, unless it comes back and hears something again.
    fn leave(&mut self, client: usize);

    /// How many messages of the publisher at a place have reached all who wait for them.
    fn complete(&self, place: usize) -> u32;

    /// Appends the places whose windows may have moved since the last call.
    fn moved(&mut self, places: &mut Vec<usize>);

    /// Returns `true` if all of `sent` messages at each place have come, as far as is known here.
    fn is_through(&self, sent: &[u32]) -> bool;

    /// The longest wait for a window to move, where it is not what this thread hears that moves it.
    fn patience(&self) -> Option<Duration>;

    /// The run is over: whoever is away is not to hear the rest.
    fn settle(&mut self);

    /// Returns the counts of receipts that should not have come, or did not come, so far.
    fn tally(&self) -> Tally;

    /// The orders in which the clients heard what all of them hear.
    fn orders(&self) -> &[Order];

    /// Clients that heard two publishers in another order than others did, where that is known
    /// here already.
    fn disordered(&self) -> u64 {
        0
    }

    /// Returns the account of each channel, given the messages of each publisher in the measured
    /// time.
    fn rooms(&self, _published: &[u64]) -> Vec<Room> {
        Vec::new()
    }
}

/// One thread's publishers, whose messages have listeners on other threads too.
pub(super) struct Shared<'a> {
    pub(super) board: &'a Board<'a>,
    /// The numbers of this thread's publishers in the whole run.
    pub(super) publishers: Vec<usize>,
    pub(super) publishers_in_all: usize,
    /// No other thread has a listener.
    pub(super) alone: bool,
}

impl Shared<'_> {
    pub(super) fn complete(&self, place: usize) -> u32 {
        self.board.complete(self.publishers[place])
    }

    pub(super) fn moved(&self, places: &mut Vec<usize>) {
        // Other threads move them too, so all are looked at.
        places.extend(0..self.publishers.len());
    }

    /// A thread without publishers stays until those of others are through, or its patience ends.
    pub(super) fn is_through(&self, sent: &[u32]) -> bool {
        let all_here = self.publishers.len() == self.publishers_in_all;
        let mut places = sent.iter().enumerate();
        all_here && places.all(|(place, sent)| self.complete(place) >= *sent)
    }

    /// A thread without a window waits for none to move.
    pub(super) fn patience(&self) -> Option<Duration> {
        (!self.alone && !self.publishers.is_empty()).then_some(OTHERS)
    }
}

/// A fan-out: every client waits for every message.
pub(super) struct Fan<'a> {
    ledger: Ledger,
    shared: Shared<'a>,
    strays: u64,
}

impl<'a> Fan<'a> {
    pub(super) fn new(task: &WorkerTask, board: &'a Board<'a>) -> Self {
        let WorkerTask { clients, publishers_in_all, .. } = *task;
        Self {
            ledger: Ledger::new(clients, publishers_in_all),
            shared: Shared {
                board,
                publishers: task.publishers.clone(),
                publishers_in_all,
                alone: board.is_of_one_thread(),
            },
            strays: 0,
        }
    }
}

impl Account for Fan<'_> {
    fn hear(&mut self, client: usize, stamp: &Stamp, took_ns: Option<u64>) -> Receipt {
        let counts = took_ns.is_some();
        let publisher = stamp.publisher as usize;
        if publisher >= self.shared.publishers_in_all {
            self.strays += u64::from(counts);
            return Receipt::Stray;
        }
        match self.ledger.receive(client, publisher, stamp.number, counts) {
            Receipt::Fresh { last: true } => {
                let heard = Heard { number: stamp.number, took_ns };
                Receipt::Fresh { last: self.shared.board.heard_by_thread(publisher, heard) }
            }
            receipt => receipt,
        }
    }

    fn leave(&mut self, client: usize) {
        self.ledger.leave(client);
    }

    fn complete(&self, place: usize) -> u32 {
        self.shared.complete(place)
    }

    fn moved(&mut self, places: &mut Vec<usize>) {
        self.shared.moved(places);
    }

    fn is_through(&self, sent: &[u32]) -> bool {
        self.shared.is_through(sent)
    }

    fn patience(&self) -> Option<Duration> {
        self.shared.patience()
    }

    fn settle(&mut self) {
        self.ledger.settle();
    }

    fn tally(&self) -> Tally {
        Tally { strays: self.strays, ..self.ledger.tally }
    }

    fn orders(&self) -> &[Order] {
        self.ledger.orders()
    }
}
