//! The numbers that one client has received of one publisher, without a socket.

use serde::{Deserialize, Serialize};

/// How far back a repetition can be told from a late arrival.
const SEEN: u32 = u64::BITS;

/// One client's place in one publisher's row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    /// The number after the highest one heard.
    pub(super) next: u32,
    /// The client has gone, and has heard nothing of this publisher since.
    pub(super) away: bool,
    /// Which of the last numbers before it were heard, the latest in the lowest bit.
    seen: u64,
}

/// How a message stands to those of its publisher that came before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Behind all of them, and so many between did not come yet.
    Next { skipped: u32 },
    /// The same, and the first after the client had been away.
    Back { skipped: u32 },
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
            let skipped = ahead - 1;
            if std::mem::take(&mut self.away) {
                // Earlier messages are not awaited, as if they had been heard.
                self.seen = u64::MAX;
                Arrival::Back { skipped }
            } else {
                Arrival::Next { skipped }
            }
        } else if self.heard(number) {
            Arrival::Again
        } else {
            self.seen |= 1 << (self.next - 1 - number);
            Arrival::Late
        }
    }

    /// The client has gone.
    pub(super) fn leave(&mut self) {
        self.away = true;
    }

    pub(super) fn heard(&self, number: u32) -> bool {
        number < self.next && {
            let back = self.next - 1 - number;
            back >= SEEN || self.seen >> back & 1 == 1
        }
    }
}

/// Counts of receipts that should not have come, and of those that did not come.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Messages that a client has not heard though it heard later ones.
    pub(super) missing: u64,
    pub(super) duplicated: u64,
    pub(super) out_of_order: u64,
    /// Messages that were meant for others.
    pub(super) strays: u64,
    /// Messages that a client never heard because it was away, or was cut off while they were on
    /// their way to it.
    pub(super) missed: u64,
}

impl Tally {
    /// Adds what was counted elsewhere.
    pub(super) fn add(&mut self, other: &Self) {
        let Self { missing, duplicated, out_of_order, strays, missed } = other;
        self.missing += missing;
        self.duplicated += duplicated;
        self.out_of_order += out_of_order;
        self.strays += strays;
        self.missed += missed;
    }

    /// A message came; `counts` if it belongs to the measured time.
    pub(super) fn count(&mut self, arrival: Arrival, counts: bool) {
        match arrival {
            _ if !counts => {}
            Arrival::Next { skipped } => self.missing += u64::from(skipped),
            Arrival::Back { skipped } => self.missed += u64::from(skipped),
            Arrival::Late => {
                self.out_of_order += 1;
                // It may have been skipped before it counted.
                self.missing = self.missing.saturating_sub(1);
            }
            Arrival::Again => self.duplicated += 1,
        }
    }
}
