//! Which messages of one publisher are still on their way to whom: the closed loop, without a
//! socket.

use std::collections::VecDeque;

/// Messages in flight to a fixed set of clients, numbered from 0 without gaps.
#[derive(Debug)]
pub(crate) struct Window {
    /// The number that each client hears next.
    next_of: Vec<u64>,
    /// How many clients still wait for each message in flight, the oldest first.
    waiting: VecDeque<usize>,
    /// The number of the oldest message in flight.
    oldest: u64,
    /// Receipts that were repeated, out of order or never published.
    strays: u64,
    receipts: u64,
}

impl Window {
    pub(crate) fn new(clients: usize) -> Self {
        assert!(clients > 0, "a window needs clients");
        Self {
            next_of: vec![0; clients],
            waiting: VecDeque::new(),
            oldest: 0,
            strays: 0,
            receipts: 0,
        }
    }

    /// How many messages some client still waits for.
    pub(crate) fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    /// How many messages were published.
    pub(crate) fn published(&self) -> u64 {
        self.oldest + self.waiting.len() as u64
    }

    /// How many receipts were counted, each client and message once.
    pub(crate) fn receipts(&self) -> u64 {
        self.receipts
    }

    pub(crate) fn strays(&self) -> u64 {
        self.strays
    }

    /// How many receipts are missing. Of messages in flight they may come yet.
    pub(crate) fn missing(&self) -> u64 {
        self.published() * self.next_of.len() as u64 - self.receipts
    }

    /// Takes the number of the next message.
    pub(crate) fn publish(&mut self) -> u64 {
        let number = self.published();
        self.waiting.push_back(self.next_of.len());
        number
    }

    /// `client` heard `number`. Returns whether it was the last one to hear it.
    ///
    /// Order is part of the contract, so a client that hears a later number has lost those before
    /// it: they stay in flight for good, and the loop that waits for them stops.
    pub(crate) fn receive(&mut self, client: usize, number: u64) -> bool {
        let published = self.published();
        let expected = &mut self.next_of[client];
        if number < *expected || number >= published {
            self.strays += 1;
            return false;
        }
        *expected = number + 1;
        self.receipts += 1;
        // This client had not heard it, so it is still in flight and not older than the oldest.
        let place = usize::try_from(number - self.oldest).expect("a window fits in memory");
        self.waiting[place] -= 1;
        let last = self.waiting[place] == 0;
        while self.waiting.front() == Some(&0) {
            self.waiting.pop_front();
            self.oldest += 1;
        }
        self.check();
        last
    }

    fn check(&self) {
        debug_assert!(self.waiting.front() != Some(&0), "a complete message is still in flight");
        debug_assert!(self.waiting.iter().all(|waiting| *waiting <= self.next_of.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_when_the_last_client_heard_it() {
        let mut window = Window::new(3);
        assert_eq!((window.publish(), window.publish()), (0, 1));
        assert!(!window.receive(0, 0));
        assert!(!window.receive(1, 0));
        assert!(!window.receive(0, 1));
        assert_eq!((window.in_flight(), window.missing()), (2, 3));
        assert!(window.receive(2, 0));
        assert_eq!((window.in_flight(), window.published()), (1, 2));
        assert!(!window.receive(2, 1));
        assert!(window.receive(1, 1));
        assert_eq!((window.in_flight(), window.missing(), window.receipts()), (0, 0, 6));
        assert_eq!(window.strays(), 0);
    }

    #[test]
    fn what_comes_twice_or_was_never_said_is_a_stray() {
        let mut window = Window::new(1);
        assert!(!window.receive(0, 0));
        window.publish();
        assert!(window.receive(0, 0));
        assert!(!window.receive(0, 0));
        assert_eq!((window.strays(), window.receipts(), window.missing()), (2, 1, 0));
    }

    #[test]
    fn a_gap_is_missing_and_keeps_its_message_in_flight() {
        let mut window = Window::new(2);
        window.publish();
        window.publish();
        assert!(!window.receive(0, 1));
        assert!(!window.receive(0, 0), "too late: out of order");
        assert!(!window.receive(1, 0));
        assert!(window.receive(1, 1), "complete, though an older one is not");
        assert_eq!((window.missing(), window.strays(), window.in_flight()), (1, 1, 2));
    }
}
