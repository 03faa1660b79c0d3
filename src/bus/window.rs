//! The publications of this node on their way to the engine, in order, until each has its place.
//!
//! On one connection the engine takes them in the order in which they are sent. When a connection
//! ends, all those without a place are sent again on the next one, from the oldest on. The engine
//! knows each by its number and stores none twice, so the order holds and nothing is doubled.

use std::collections::VecDeque;

use stentor_shards::{Carried, Ticket};

/// The most publications that are sent and have no place yet.
pub(crate) const IN_FLIGHT_MAX: usize = 512;

#[derive(Debug)]
struct Entry {
    carried: Carried,
    has_place: bool,
}

/// Publications without a place, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Window {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    /// The number of entries that were sent on this connection.
    sent: usize,
}

impl Window {
    pub(crate) fn push(&mut self, carried: Carried) {
        self.entries.push_back(Entry { carried, has_place: false });
    }

    /// Returns the next publication to send, with its number.
    pub(crate) fn next(&mut self) -> Option<(u64, Carried)> {
        while self.sent < IN_FLIGHT_MAX
            && let Some(entry) = self.entries.get(self.sent)
        {
            self.sent += 1;
            if !entry.has_place {
                return Some((self.first + self.sent as u64 - 1, entry.carried.clone()));
            }
        }
        None
    }

    /// Takes note that a publication needs no more sending. Returns its ticket, once.
    pub(crate) fn settle(&mut self, number: u64) -> Option<Ticket> {
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        let entry = self.entries.get_mut(place).filter(|entry| !entry.has_place)?;
        entry.has_place = true;
        let ticket = entry.carried.ticket;
        while self.entries.front().is_some_and(|entry| entry.has_place) {
            self.entries.pop_front();
            self.first += 1;
            self.sent = self.sent.saturating_sub(1);
        }
        Some(ticket)
    }

    /// Sends again, from the oldest publication on.
    pub(crate) fn go_back(&mut self) -> usize {
        std::mem::take(&mut self.sent)
    }

    /// Gives all of them up. Returns their tickets in order.
    pub(crate) fn give_up(&mut self) -> Vec<Ticket> {
        self.first += self.entries.len() as u64;
        self.sent = 0;
        let open = self.entries.drain(..).filter(|entry| !entry.has_place);
        open.map(|entry| entry.carried.ticket).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns `true` if something was sent that has no place yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.sent > 0 && !self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn carried(number: u64) -> Carried {
        Carried { ticket: Ticket::of(0, number), channel: "a".into(), body: Bytes::new() }
    }

    fn sent(window: &mut Window) -> Vec<u64> {
        std::iter::from_fn(|| window.next()).map(|(number, _)| number).collect()
    }

    #[test]
    fn publications_without_a_place_are_sent_again_in_order() {
        let mut window = Window::default();
        (0..4).for_each(|number| window.push(carried(number)));
        assert_eq!(sent(&mut window), [0, 1, 2, 3]);
        assert_eq!(window.settle(2).map(Ticket::number), Some(2));
        assert_eq!(window.settle(0).map(Ticket::number), Some(0));
        assert_eq!(window.settle(0), None, "it is answered once");
        assert_eq!((window.settle(9), window.len()), (None, 3));
        window.go_back();
        window.push(carried(4));
        assert_eq!(sent(&mut window), [1, 3, 4]);
        assert_eq!(window.give_up().into_iter().map(Ticket::number).collect::<Vec<_>>(), [1, 3, 4]);
        window.push(carried(5));
        assert_eq!(sent(&mut window), [5], "numbers are not used again");
    }

    #[test]
    fn only_so_many_are_under_way() {
        let mut window = Window::default();
        (0..IN_FLIGHT_MAX as u64 + 2).for_each(|number| window.push(carried(number)));
        assert_eq!(sent(&mut window).len(), IN_FLIGHT_MAX);
        window.settle(0);
        assert_eq!(sent(&mut window), [IN_FLIGHT_MAX as u64]);
    }
}
