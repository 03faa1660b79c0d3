//! A ledger of what each client has heard of each publisher: losses, repetitions and disorder,
//! without a socket.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::place::{Arrival, Place, Tally};

/// The most messages of one publisher whose last receipt is awaited.
const AWAITED_MAX: usize = 1 << 16;

/// The kind of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// The first of this message at this client. `last`: no other client waits for it.
    Fresh { last: bool },
    /// It was heard before, or so long ago that it must have been.
    Again,
    /// It was meant for others.
    Stray,
}

/// The messages of one publisher that some client still waits for.
#[derive(Debug)]
struct Row {
    oldest: u32,
    waiting: VecDeque<u32>,
    /// Clients that listen to this publisher.
    listening: u32,
}

impl Row {
    /// Where a message stands, with all before it in their places; none if nobody waits for it any
    /// more.
    fn reach(&mut self, number: u32) -> Option<usize> {
        let ahead = number.checked_sub(self.oldest)?;
        let mut ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
        if ahead > 2 * AWAITED_MAX {
            // A jump that no run makes: what was awaited before it is given up.
            (self.oldest, ahead) = (number, 0);
            self.waiting.clear();
        }
        while ahead > self.waiting.len() {
            self.waiting.push_back(self.listening);
        }
        Some(ahead)
    }

    /// One client less waits for a message. Whether it was the last.
    fn count_down(&mut self, number: u32) -> bool {
        let Some(ahead) = self.reach(number) else { return false };
        if ahead == self.waiting.len() {
            self.waiting.push_back(self.listening);
        }
        let waiting = &mut self.waiting[ahead];
        let last = *waiting == 1;
        *waiting = waiting.saturating_sub(1);
        // A message that was lost on its way is given up in the end, and holds up nobody.
        while self.waiting.front() == Some(&0) || self.waiting.len() > AWAITED_MAX {
            self.waiting.pop_front();
            self.oldest += 1;
        }
        last
    }

    /// One client more listens, from this message on.
    fn join(&mut self, number: u32) {
        let ahead = self.reach(number).unwrap_or(0);
        self.listening += 1;
        for waiting in self.waiting.iter_mut().skip(ahead).filter(|waiting| **waiting > 0) {
            *waiting += 1;
        }
    }
}

/// The clients of one thread.
#[derive(Debug)]
pub(crate) struct Ledger {
    publishers: usize,
    places: Vec<Place>,
    rows: Vec<Row>,
    pub(super) tally: Tally,
    /// For each client, the order in which it heard everything, boiled down.
    orders: Vec<Order>,
}

/// A client's order: equal for two clients that heard the same messages in the same order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) count: u64,
    pub(crate) digest: u64,
}

impl Ledger {
    pub(crate) fn new(clients: usize, publishers: usize) -> Self {
        let listening = u32::try_from(clients).unwrap_or(u32::MAX);
        let row = |_| Row { oldest: 0, waiting: VecDeque::new(), listening };
        Self {
            publishers,
            places: vec![Place::default(); clients * publishers],
            rows: (0..publishers).map(row).collect(),
            tally: Tally::default(),
            orders: vec![Order::default(); clients],
        }
    }

    /// A client heard a message; `counts` if it belongs to the measured time.
    pub(crate) fn receive(
        &mut self,
        client: usize,
        publisher: usize,
        number: u32,
        counts: bool,
    ) -> Receipt {
        let place = &mut self.places[client * self.publishers + publisher];
        let arrival = place.take(number);
        self.tally.count(arrival, counts);
        match arrival {
            Arrival::Again => return Receipt::Again,
            Arrival::Back { .. } => self.rows[publisher].join(number),
            Arrival::Next { .. } | Arrival::Late => {}
        }
        if counts {
            let order = &mut self.orders[client];
            order.count += 1;
            let what = (publisher as u64) << 32 | u64::from(number);
            // A multiplication by an odd number between two sums keeps their order in the result.
            order.digest =
                (order.digest ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        Receipt::Fresh { last: self.rows[publisher].count_down(number) }
    }

    /// A client listens no more, until it hears something again: nobody waits for what it had not
    /// heard.
    pub(crate) fn leave(&mut self, client: usize) {
        for (publisher, row) in self.rows.iter_mut().enumerate() {
            let place = &mut self.places[client * self.publishers + publisher];
            if place.away {
                continue;
            }
            row.listening = row.listening.saturating_sub(1);
            for (number, waiting) in (row.oldest..).zip(&mut row.waiting) {
                *waiting = waiting.saturating_sub(u32::from(!place.heard(number)));
            }
            place.leave();
        }
        self.orders[client] = Order::default();
    }

    /// The run is over: what those who are away have not heard they missed.
    pub(crate) fn settle(&mut self) {
        for publisher in 0..self.publishers {
            let places = || self.places.iter().skip(publisher).step_by(self.publishers);
            let said = places().map(|place| place.next).max().unwrap_or(0);
            let away = places().filter(|place| place.away);
            self.tally.missed += away.map(|place| u64::from(said - place.next)).sum::<u64>();
        }
    }

    /// The orders of the clients.
    pub(crate) fn orders(&self) -> &[Order] {
        &self.orders
    }
}

/// How many clients heard what most of them heard, but in another order. Those that missed
/// something are not compared.
pub(crate) fn disordered(orders: &[Order]) -> u64 {
    let whole = orders.iter().map(|order| order.count).max().unwrap_or(0);
    let mut digests: Vec<u64> =
        orders.iter().filter(|order| order.count == whole).map(|order| order.digest).collect();
    digests.sort_unstable();
    let usual = digests.chunk_by(|a, b| a == b).map(<[u64]>::len).max().unwrap_or(0);
    (digests.len() - usual) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_receipt_is_known() {
        let mut ledger = Ledger::new(2, 1);
        assert_eq!(ledger.receive(0, 0, 0, true), Receipt::Fresh { last: false });
        assert_eq!(ledger.receive(0, 0, 1, true), Receipt::Fresh { last: false });
        assert_eq!(ledger.receive(1, 0, 0, true), Receipt::Fresh { last: true });
        assert_eq!(ledger.receive(1, 0, 1, true), Receipt::Fresh { last: true });
    }

    #[test]
    fn repetitions_and_disorder_are_told_apart() {
        let mut ledger = Ledger::new(1, 1);
        for number in [0, 2, 1, 1, 2, 5, 0] {
            ledger.receive(0, 0, number, true);
        }
        assert_eq!((ledger.tally.duplicated, ledger.tally.out_of_order), (3, 1));
        ledger.receive(0, 0, 200, true);
        assert_eq!(ledger.receive(0, 0, 3, true), Receipt::Again, "too long ago to tell");
    }

    #[test]
    fn who_leaves_is_not_waited_for() {
        let mut ledger = Ledger::new(3, 1);
        ledger.receive(0, 0, 0, true);
        ledger.receive(1, 0, 1, true);
        ledger.leave(1);
        assert_eq!(ledger.receive(2, 0, 0, true), Receipt::Fresh { last: true });
        assert_eq!(ledger.receive(0, 0, 1, true), Receipt::Fresh { last: false });
        assert_eq!(ledger.receive(2, 0, 1, true), Receipt::Fresh { last: true });
        assert_eq!(ledger.receive(0, 0, 2, true), Receipt::Fresh { last: false });
        assert_eq!(ledger.receive(2, 0, 2, true), Receipt::Fresh { last: true });
    }

    #[test]
    fn who_comes_back_is_waited_for_from_what_it_hears_first() {
        let mut ledger = Ledger::new(2, 1);
        let (more, last) = (Receipt::Fresh { last: false }, Receipt::Fresh { last: true });
        assert_eq!(ledger.receive(0, 0, 0, true), more);
        ledger.leave(1);
        ledger.leave(1);
        assert_eq!(ledger.receive(0, 0, 1, true), last, "nobody else is there");
        assert_eq!(ledger.receive(0, 0, 2, true), last);
        // The other one hears the third, and is to hear all that follows.
        assert_eq!(ledger.receive(1, 0, 2, true), more, "it was complete without it");
        assert_eq!(ledger.receive(0, 0, 3, true), more);
        assert_eq!(ledger.receive(1, 0, 3, true), last);
        assert_eq!((ledger.tally.missed, ledger.tally.missing), (2, 0));
        // It goes again, and hears nothing more.
        ledger.leave(1);
        assert_eq!(ledger.receive(0, 0, 4, true), last);
        ledger.settle();
        assert_eq!(ledger.tally.missed, 3);
    }

    #[test]
    fn a_lost_message_holds_up_nobody_and_is_given_up() {
        let mut ledger = Ledger::new(2, 1);
        ledger.receive(0, 0, 0, true);
        for number in 1..70_000 {
            ledger.receive(0, 0, number, true);
            assert_eq!(ledger.receive(1, 0, number, true), Receipt::Fresh { last: true });
        }
        assert!(ledger.rows[0].waiting.len() <= AWAITED_MAX);
        ledger.receive(0, 0, u32::MAX - 1, true);
        assert!(ledger.rows[0].waiting.len() <= 1);
    }

    #[test]
    fn two_publishers_in_another_order_are_seen() {
        let hear = |row: &[(usize, u32)]| {
            let mut ledger = Ledger::new(1, 2);
            for (publisher, number) in row {
                ledger.receive(0, *publisher, *number, true);
            }
            assert_eq!(ledger.tally.out_of_order, 0);
            ledger.orders()[0]
        };
        let usual = hear(&[(0, 0), (1, 0), (0, 1)]);
        let other = hear(&[(1, 0), (0, 0), (0, 1)]);
        let part = hear(&[(1, 0), (0, 0)]);
        assert_eq!(disordered(&[usual, usual, other, part]), 1);
        assert_eq!(disordered(&[usual, usual]), 0);
        assert_eq!(disordered(&[]), 0);
    }

    /// Each client by itself: its last number, whether it has gone, and what it is to hear.
    #[derive(Clone, Default)]
    struct Plain {
        next: u32,
        gone: bool,
        waits: std::collections::BTreeSet<u32>,
    }

    proptest! {
        /// Clients hear, miss, go and come back: a message is complete when the last of those that
        /// were there, when it was first heard, has heard it or has gone.
        #[test]
        fn the_last_is_known_whoever_comes_and_goes(
            steps in proptest::collection::vec((0_usize..4, 0_u32..8), 1..200),
        ) {
            let (mut ledger, mut clients) = (Ledger::new(4, 1), vec![Plain::default(); 4]);
            let (mut said, mut complete) = (0_u32, std::collections::HashSet::new());
            for (client, what) in steps {
                if what == 0 {
                    ledger.leave(client);
                    clients[client].gone = true;
                    clients[client].waits.clear();
                    continue;
                }
                // Mostly the next, now and then one is skipped.
                let number = clients[client].next + u32::from(what == 1);
                clients[client].next = number + 1;
                let begun = number < said;
                let returns = std::mem::take(&mut clients[client].gone);
                if returns {
                    let open = |number: &u32| {
                        clients.iter().any(|client| client.waits.contains(number))
                    };
                    let open: Vec<u32> = (number..said).filter(open).collect();
                    clients[client].waits.extend(open);
                }
                if !begun {
                    for (index, plain) in clients.iter_mut().enumerate() {
                        let from = if index == client && returns { number } else { said };
                        if !plain.gone {
                            plain.waits.extend(from..=number);
                        }
                    }
                    said = number + 1;
                }
                let waited = clients[client].waits.remove(&number);
                let others = clients.iter().any(|plain| plain.waits.contains(&number));
                let last = waited && !others;
                let receipt = ledger.receive(client, 0, number, true);
                prop_assert_eq!(receipt, Receipt::Fresh { last });
                prop_assert!(!last || complete.insert(number), "{} is complete once", number);
            }
        }

        /// Whatever comes in whatever order, each message is fresh once.
        #[test]
        fn each_message_is_fresh_once(numbers in proptest::collection::vec(0_u32..60, 0..200)) {
            let mut ledger = Ledger::new(1, 1);
            let mut known = std::collections::HashSet::new();
            for number in numbers {
                let fresh = ledger.receive(0, 0, number, true) != Receipt::Again;
                prop_assert_eq!(fresh, known.insert(number));
            }
        }
    }
}
