//! Account of the clients that are to come back after the server has ended their connection.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;

use super::absence::{Absences, Backoff};
use super::client::{CONNECTING_MAX, Client, STANDSTILL_MAX};
use super::request::Request;
use crate::dialect::{Position, Track};
use crate::histogram;
use crate::random::Random;

/// How clients come back, and how far those are that are away.
pub(super) struct Returning {
    /// Of the clients, and of publishers beside them, in the order of their places.
    requests: Vec<Request>,
    backoff: Backoff,
    random: Random,
    /// Clients that wait, by the moment at which they try again.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// Whose try is under way, by the moment at which it has failed; some are through.
    trying: VecDeque<(u64, usize)>,
    under_way: usize,
    trips: Vec<Trip>,
    /// How far each client has heard its channel, where it goes on there.
    places: Vec<Option<Position>>,
    pub(super) absences: Absences,
}

/// One client's way back.
#[derive(Debug, Clone, Copy, Default)]
struct Trip {
    lost_ns: u64,
    /// Tries that failed since.
    failed: u32,
    /// When the try that is under way has failed; 0: none is.
    until_ns: u64,
}

impl Returning {
    /// None of so many clients is away yet.
    pub(super) fn new(
        requests: Vec<Request>,
        backoff: Backoff,
        seed: u64,
        clients: usize,
    ) -> io::Result<Self> {
        let first = requests.first().map_or(0, |request| request.first);
        Ok(Self {
            backoff,
            // The threads of a run must not wait alike.
            random: Random(seed ^ (first as u64) << 32),
            requests,
            waiting: BinaryHeap::new(),
            trying: VecDeque::new(),
            under_way: 0,
            trips: vec![Trip::default(); clients],
            places: vec![None; clients],
            absences: Absences::new()?,
        })
    }

    /// Returns the request of the client at a place.
    pub(super) fn request(&self, index: usize) -> &Request {
        let later = self.requests.iter().rev().find(|request| request.base <= index);
        later.expect("the clients of the first request begin at place 0")
    }

    /// The connection of a client has ended that has heard its channel up to a place.
    pub(super) fn lost(&mut self, index: usize, place: Option<Position>, now: u64) {
        self.absences.lost(now);
        self.places[index] = place;
        self.trips[index] = Trip { lost_ns: now, ..Trip::default() };
        self.wait(index, now);
    }

    fn wait(&mut self, index: usize, now: u64) {
        let wait = self.backoff.wait_ns(self.trips[index].failed, &mut self.random);
        self.waiting.push(Reverse((now + wait, index)));
    }

    /// A client tries: where it can, it goes on at its place.
    pub(super) fn sets_out(&mut self, index: usize, client: &mut Client, now: u64) {
        if let Some(track) = &mut client.track {
            **track = Track { position: self.places[index].clone(), recovered: None };
        }
        self.tries(index, now);
    }

    fn tries(&mut self, index: usize, now: u64) {
        let until_ns = now + histogram::ns_of(STANDSTILL_MAX);
        self.trips[index].until_ns = until_ns;
        self.trying.push_back((until_ns, index));
        self.under_way += 1;
    }

    /// A try is over. Whether one was under way.
    fn is_over(&mut self, index: usize) -> bool {
        let tried = std::mem::take(&mut self.trips[index].until_ns) > 0;
        self.under_way -= usize::from(tried);
        tried
    }

    pub(super) fn failed(&mut self, index: usize, cause: &str, now: u64) {
        self.is_over(index);
        self.absences.failed(cause);
        self.trips[index].failed += 1;
        self.wait(index, now);
    }

    pub(super) fn is_back(&mut self, index: usize, now: u64) {
        self.is_over(index);
        self.absences.back(self.trips[index].lost_ns, now);
    }

    /// When there is next something to do.
    pub(super) fn next_ns(&self) -> Option<u64> {
        let room = self.under_way < CONNECTING_MAX;
        let due = self.waiting.peek().filter(|_| room).map(|Reverse((at, _))| *at);
        let over = self.trying.front().map(|(until, _)| *until);
        due.into_iter().chain(over).min()
    }

    /// Someone whose try is due, if there is room for one.
    pub(super) fn next_due(&mut self, now: u64) -> Option<usize> {
        if self.under_way >= CONNECTING_MAX {
            return None;
        }
        let Reverse((at, index)) = *self.waiting.peek()?;
        if at > now {
            return None;
        }
        self.waiting.pop();
        Some(index)
    }

    /// Someone who has tried long enough.
    pub(super) fn overdue(&mut self, now: u64) -> Option<usize> {
        loop {
            let (until, index) = *self.trying.front()?;
            let through = self.trips[index].until_ns != until;
            if !through && until > now {
                return None;
            }
            self.trying.pop_front();
            if !through {
                return Some(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn returning(clients: usize) -> Returning {
        let request = Request::plain("127.0.0.1:1".parse().unwrap(), "/");
        let backoff =
            serde_json::from_str(r#"{"first":{"secs":1,"nanos":0},"most":{"secs":4,"nanos":0}}"#);
        Returning::new(vec![request], backoff.unwrap(), 7, clients).unwrap()
    }

    #[test]
    fn publishers_beside_the_clients_have_a_request_of_their_own() {
        let request = |target, base| Request {
            base,
            ..Request::plain("127.0.0.1:1".parse().unwrap(), target)
        };
        let requests = vec![request("/sse", 0), request("/ws", 10)];
        let returning = Returning { requests, ..returning(12) };
        let targets = [0, 9, 10, 11].map(|place| returning.request(place).target.as_str());
        assert_eq!(targets, ["/sse", "/sse", "/ws", "/ws"]);
        assert_eq!(returning.request(11).number(11), 1, "it speaks for the second client");
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn no_more_try_at_once_than_may() {
        let mut returning = returning(CONNECTING_MAX + 10);
        (0..CONNECTING_MAX + 10).for_each(|index| returning.lost(index, None, 5 * SECOND));
        assert_eq!(returning.absences.away(), CONNECTING_MAX as u64 + 10);
        let now = 6 * SECOND;
        let first: Vec<usize> = std::iter::from_fn(|| {
            returning.next_due(now).inspect(|index| returning.tries(*index, now))
        })
        .collect();
        assert_eq!(first.len(), CONNECTING_MAX);
        assert!(returning.next_ns() > Some(now), "nobody is due while there is no room");
        returning.is_back(first[0], now);
        assert!(returning.next_due(now).is_some());
    }

    #[test]
    fn a_try_without_an_answer_fails_in_time_and_another_follows() {
        let mut returning = returning(2);
        for index in [0, 1] {
            returning.lost(index, None, SECOND);
            assert!(returning.next_due(2 * SECOND).is_some());
            returning.tries(index, 2 * SECOND);
        }
        returning.is_back(0, 3 * SECOND);
        assert_eq!(returning.overdue(11 * SECOND), None);
        assert_eq!(returning.overdue(12 * SECOND), Some(1), "the other one is through");
        returning.failed(1, "no answer in time", 12 * SECOND);
        assert_eq!((returning.overdue(99 * SECOND), returning.under_way), (None, 0));
        // The next wait is of up to two seconds.
        assert!(
            returning.next_ns() < Some(14 * SECOND) && returning.next_due(14 * SECOND) == Some(1)
        );
        returning.tries(1, 14 * SECOND);
        returning.is_back(1, 15 * SECOND);
        assert_eq!((returning.absences.away(), returning.next_ns()), (0, Some(24 * SECOND)));
    }
}
