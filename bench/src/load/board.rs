//! Which messages have reached everyone, across the generator's threads: without a lock, one access
//! for each message and thread.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::coordination::{CoordinatorLink, Heard};

/// How many messages of one publisher may be under way before the oldest is given up.
const SLOTS: usize = 4096;

/// The state of all publishers' messages.
#[derive(Debug)]
pub(crate) struct Board<'a> {
    threads: u32,
    publishers: Vec<Publisher>,
    /// The link to the coordinator, which knows what other processes have received.
    coordinator: Option<&'a CoordinatorLink>,
}

#[derive(Debug)]
struct Publisher {
    /// For each place: the message's number above, the threads that still wait for it below.
    slots: Vec<AtomicU64>,
    /// How many messages have reached everyone.
    complete: AtomicU32,
}

impl<'a> Board<'a> {
    /// For so many threads that have listeners.
    pub(crate) fn new(
        threads: usize,
        publishers: usize,
        coordinator: Option<&'a CoordinatorLink>,
    ) -> Self {
        let slots = if threads > 1 { SLOTS } else { 0 };
        let publisher = || Publisher {
            slots: (0..slots).map(|_| AtomicU64::new(u64::MAX)).collect(),
            complete: AtomicU32::new(0),
        };
        Self {
            threads: u32::try_from(threads).unwrap_or(u32::MAX),
            publishers: (0..publishers).map(|_| publisher()).collect(),
            coordinator,
        }
    }

    /// Returns `true` if one worker has all listeners.
    pub(crate) fn is_of_one_thread(&self) -> bool {
        self.threads == 1 && self.coordinator.is_none()
    }

    /// All listeners of one thread have heard a message. Whether this was the last thread of all,
    /// as far as that is known here.
    pub(crate) fn heard_by_thread(&self, number: usize, heard: Heard) -> bool {
        let publisher = &self.publishers[number];
        if self.threads > 1 && !publisher.count_down(heard.number, self.threads) {
            return false;
        }
        if let Some(coordinator) = self.coordinator {
            coordinator.heard(number, heard);
            return false;
        }
        // Relaxed: a count, which orders nothing.
        publisher.complete.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// How many messages of a publisher have reached everyone.
    pub(crate) fn complete(&self, publisher: usize) -> u32 {
        self.coordinator.map_or_else(
            || self.publishers[publisher].complete.load(Ordering::Relaxed),
            |coordinator| coordinator.complete(publisher),
        )
    }
}

impl Publisher {
    fn count_down(&self, number: u32, threads: u32) -> bool {
        let slot = &self.slots[number as usize % SLOTS];
        // Relaxed: each slot stands for itself; no other memory is passed on through it.
        let mut seen = slot.load(Ordering::Relaxed);
        loop {
            let (holder, left) = (seen >> 32, seen & u64::from(u32::MAX));
            let left = if seen != u64::MAX && holder == u64::from(number) {
                left - 1
            } else if seen != u64::MAX && holder > u64::from(number) && left > 0 {
                // A later message has taken the place: this one is given up.
                return false;
            } else {
                u64::from(threads) - 1
            };
            let next = u64::from(number) << 32 | left;
            match slot.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return left == 0,
                Err(other) => seen = other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordination::Note;

    fn heard(board: &Board<'_>, publisher: usize, number: u32) -> bool {
        board.heard_by_thread(publisher, Heard { number, took_ns: None })
    }

    #[test]
    fn the_last_thread_is_told() {
        let board = Board::new(3, 2, None);
        assert!(!heard(&board, 1, 5) && !heard(&board, 1, 5));
        assert!(!heard(&board, 0, 5), "another publisher");
        assert!(heard(&board, 1, 5));
        assert_eq!((board.complete(0), board.complete(1)), (0, 1));
        assert!(heard(&Board::new(1, 1, None), 0, 9));
    }

    #[test]
    fn a_place_is_used_again() {
        let board = Board::new(2, 1, None);
        for number in 0..10_000 {
            assert!(!heard(&board, 0, number), "{number}");
            assert!(heard(&board, 0, number), "{number}");
        }
        assert_eq!(board.complete(0), 10_000);
    }

    #[test]
    fn threads_agree_on_who_was_last() {
        let board = Board::new(4, 1, None);
        let lasts: usize = std::thread::scope(|scope| {
            let count = || (0..4000).filter(|number| heard(&board, 0, *number)).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(lasts, 4000);
    }

    #[test]
    fn what_a_process_has_heard_is_told_outside() {
        let (coordinator, link) = CoordinatorLink::new(1, false);
        let board = Board::new(2, 1, Some(&coordinator));
        let last = Heard { number: 3, took_ns: Some(70) };
        assert!(!heard(&board, 0, 3) && !board.heard_by_thread(0, last), "others may still wait");
        let told = Note { publisher: 0, number: 3, took_ns: Some(70) };
        assert_eq!(link.notes.try_iter().collect::<Vec<_>>(), [told]);
        assert_eq!(board.complete(0), 0);
        coordinator.completed(0, 4);
        assert_eq!(board.complete(0), 4);
    }
}
