//! Direct messages: each goes to one client, in turn, and no other one may hear it.

use std::time::Duration;

use super::account::{Account, Shared};
use super::board::Board;
use super::ledger::{Order, Receipt};
use super::place::{Arrival, Place, Tally};
use super::stamp::Stamp;
use super::worker_task::WorkerTask;
use crate::coordination::Heard;

/// The client for which a publisher's message of a number is, among so many.
pub(super) fn addressee(publisher: usize, number: u32, clients: usize) -> usize {
    (publisher + 1 + number as usize) % clients.max(1)
}

/// One thread's account of what was meant for its clients.
pub(super) struct Direct<'a> {
    shared: Shared<'a>,
    /// The number of its first client in the whole run.
    first: usize,
    clients_in_all: usize,
    /// The place of each client in each publisher's row, of the messages for that client.
    places: Vec<Place>,
    tally: Tally,
}

impl<'a> Direct<'a> {
    /// For so many clients in all.
    pub(super) fn new(
        task: &WorkerTask,
        clients_in_all: usize,
        board: &'a Board<'a>,
        alone: bool,
    ) -> Self {
        Self {
            shared: Shared {
                board,
                publishers: task.publishers.clone(),
                publishers_in_all: task.publishers_in_all,
                alone,
            },
            first: task.request.first,
            clients_in_all,
            places: vec![Place::default(); task.clients * task.publishers_in_all],
            tally: Tally::default(),
        }
    }
}

impl Account for Direct<'_> {
    fn hear(&mut self, client: usize, stamp: &Stamp, took_ns: Option<u64>) -> Receipt {
        let counts = took_ns.is_some();
        let (publisher, number) = (stamp.publisher as usize, stamp.number);
        let own = self.first + client;
        if publisher >= self.shared.publishers_in_all
            || addressee(publisher, number, self.clients_in_all) != own
        {
            self.tally.strays += u64::from(counts);
            return Receipt::Stray;
        }
        // Every client is the one in turn once in so many.
        let turn = number / u32::try_from(self.clients_in_all).unwrap_or(u32::MAX);
        let arrival = self.places[client * self.shared.publishers_in_all + publisher].take(turn);
        self.tally.count(arrival, counts);
        if arrival == Arrival::Again {
            return Receipt::Again;
        }
        self.shared.board.heard_by_thread(publisher, Heard { number, took_ns });
        Receipt::Fresh { last: false }
    }

    fn leave(&mut self, client: usize) {
        let in_all = self.shared.publishers_in_all;
        let own = &mut self.places[client * in_all..][..in_all];
        own.iter_mut().for_each(Place::leave);
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
        // Clients do not come back in such a load.
    }

    fn tally(&self) -> Tally {
        self.tally
    }

    fn orders(&self) -> &[Order] {
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_spoken_to_in_turn() {
        let of = |publisher| [0, 1, 2, 3, 4].map(|number| addressee(publisher, number, 3));
        assert_eq!(of(0), [1, 2, 0, 1, 2]);
        assert_eq!(of(2), [0, 1, 2, 0, 1]);
    }

    #[test]
    fn only_the_addressee_may_hear_a_message() {
        let board = Board::new(1, 2, None);
        let mut direct = Direct {
            shared: Shared {
                board: &board,
                publishers: vec![0, 1],
                publishers_in_all: 2,
                alone: true,
            },
            first: 3,
            clients_in_all: 5,
            places: vec![Place::default(); 2 * 2],
            tally: Tally::default(),
        };
        let stamp = |publisher, number| Stamp { publisher, number, intended_ns: 0, late_us: 0 };
        let mut hear = |client, publisher, number, counts: Option<u64>| {
            direct.hear(client, &stamp(publisher, number), counts)
        };
        let fresh = Receipt::Fresh { last: false };
        // Client 3 is the third that publisher 0 speaks to, and once more after all five.
        assert_eq!(hear(0, 0, 2, Some(9)), fresh);
        assert_eq!(hear(1, 0, 2, Some(9)), Receipt::Stray);
        assert_eq!(hear(0, 0, 2, Some(9)), Receipt::Again);
        assert_eq!(hear(0, 0, 12, Some(9)), fresh);
        assert_eq!(hear(0, 0, 7, Some(9)), fresh, "late");
        assert_eq!(hear(1, 1, 2, Some(9)), fresh);
        assert_eq!(hear(1, 2, 2, Some(9)), Receipt::Stray, "no such publisher");
        let Tally { strays, duplicated, out_of_order, missing, .. } = direct.tally();
        assert_eq!((strays, duplicated, out_of_order, missing), (2, 1, 1, 0));
        assert!(direct.is_through(&[3, 1]) && !direct.is_through(&[4, 1]));
    }
}
