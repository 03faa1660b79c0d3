//! What each client has heard of each publisher: losses, repetitions and disorder, without a
//! socket.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// How far back a repetition can be told from a late arrival.
const SEEN: u32 = u64::BITS;

/// The most messages of one publisher whose last receipt is awaited.
const AWAITED_MAX: usize = 1 << 16;

/// One client's place in one publisher's row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// The number after the highest one heard.
    next: u32,
    /// Which of the last numbers before it were heard, the latest in the lowest bit.
    seen: u64,
}

/// How a message stands to those of its publisher that came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Behind all of them, and so many between did not come yet.
    Next { skipped: u32 },
    /// After a later one.
    Late,
    /// It was heard before, or so long ago that it must have been.
    Again,
}

impl Place {
    /// A message came.
    pub(super) fn take(&mut self, number: u32) -> Arrival {
        if number >= self.next {
            let ahead = number - self.next + 1;
            self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
            self.next = number + 1;
            Arrival::Next { skipped: ahead - 1 }
        } else if self.heard(number) {
            Arrival::Again
        } else {
            self.seen |= 1 << (self.next - 1 - number);
            Arrival::Late
        }
    }

    fn heard(&self, number: u32) -> bool {
        number < self.next && {
            let back = self.next - 1 - number;
            back >= SEEN || self.seen >> back & 1 == 1
        }
    }
}

/// What came that should not have, or did not.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Messages that a client has not heard though it heard later ones.
    pub(super) missing: u64,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
    /// Messages that were meant for others.
    pub(super) strays: u64,
}

impl Tally {
    /// A message came; `counts` if it belongs to the measured time.
    pub(super) fn count(&mut self, arrival: Arrival, counts: bool) {
        match arrival {
            _ if !counts => {}
            Arrival::Next { skipped } => self.missing += u64::from(skipped),
            Arrival::Late => {
                self.out_of_order += 1;
                // It may have been skipped before it counted.
                self.missing = self.missing.saturating_sub(1);
            }
            Arrival::Again => self.duplicated += 1,
        }
    }
}

/// What a receipt was.
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
#[derive(Debug, Default)]
struct Row {
    oldest: u32,
    waiting: VecDeque<u32>,
}

/// The clients of one thread.
#[derive(Debug)]
pub(crate) struct Ledger {
    publishers: usize,
    places: Vec<Place>,
    rows: Vec<Row>,
    /// Clients that still listen.
    listening: u32,
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
        Self {
            publishers,
            places: vec![Place::default(); clients * publishers],
            rows: (0..publishers).map(|_| Row::default()).collect(),
            listening: u32::try_from(clients).unwrap_or(u32::MAX),
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
        if arrival == Arrival::Again {
            return Receipt::Again;
        }
        if counts {
            let order = &mut self.orders[client];
            order.count += 1;
            let what = (publisher as u64) << 32 | u64::from(number);
            // A multiplication by an odd number between two sums keeps their order in the result.
            order.digest =
                (order.digest ^ what).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        Receipt::Fresh { last: self.count_down(publisher, number) }
    }

    /// One client less waits for a message. Whether it was the last.
    fn count_down(&mut self, publisher: usize, number: u32) -> bool {
        let row = &mut self.rows[publisher];
        let Some(ahead) = number.checked_sub(row.oldest) else { return false };
        let mut ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
        if ahead > 2 * AWAITED_MAX {
            // A jump that no run makes: what was awaited before it is given up.
            (row.oldest, ahead) = (number, 0);
            row.waiting.clear();
        }
        while ahead >= row.waiting.len() {
            row.waiting.push_back(self.listening);
        }
        let waiting = &mut row.waiting[ahead];
        *waiting = waiting.saturating_sub(1);
        let last = *waiting == 0;
        // What was lost on its way is given up in the end: it holds up nobody.
        while row.waiting.front() == Some(&0) || row.waiting.len() > AWAITED_MAX {
            row.waiting.pop_front();
            row.oldest += 1;
        }
        last
    }

    /// A client listens no more: nobody waits for what it had not heard.
    pub(crate) fn leave(&mut self, client: usize) {
        self.listening = self.listening.saturating_sub(1);
        for (publisher, row) in self.rows.iter_mut().enumerate() {
            let place = self.places[client * self.publishers + publisher];
            for (number, waiting) in (row.oldest..).zip(&mut row.waiting) {
                *waiting = waiting.saturating_sub(u32::from(!place.heard(number)));
            }
        }
        self.orders[client] = Order::default();
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

    proptest! {
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
