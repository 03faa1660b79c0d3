//! Clients that come back by themselves when the server has ended their connection.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::time::Duration;

use rustix::event::epoll;

use super::arrive::{CONNECTING_MAX, STANDSTILL_MAX};
use super::{Request, Swarm};
use crate::host::now_ns;
use crate::load::{self, Absences, Backoff};
use crate::random::Random;

/// How clients come back, and how far those are that are away.
pub(super) struct Returning {
    request: Request,
    backoff: Backoff,
    random: Random,
    /// Who waits, by the moment at which it tries.
    waiting: BinaryHeap<Reverse<(u64, usize)>>,
    /// Whose try is under way, by the moment at which it has failed; some are through.
    trying: VecDeque<(u64, usize)>,
    under_way: usize,
    trips: Vec<Trip>,
    absences: Absences,
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

impl Swarm {
    /// From now on clients that the server closes come back, waiting as `backoff` says.
    pub(crate) fn come_back(
        &mut self,
        request: &Request,
        backoff: Backoff,
        seed: u64,
    ) -> io::Result<()> {
        self.returning = Some(Box::new(Returning {
            request: request.clone(),
            backoff,
            // The threads of a run must not wait alike.
            random: Random(seed ^ (request.first as u64) << 32),
            waiting: BinaryHeap::new(),
            trying: VecDeque::new(),
            under_way: 0,
            trips: vec![Trip::default(); self.clients.len()],
            absences: Absences::new()?,
        }));
        Ok(())
    }

    /// What came of it.
    pub(crate) fn absences(&mut self) -> Option<Absences> {
        self.returning.take().map(|returning| returning.absences)
    }

    /// How many are on their way back.
    pub(crate) fn away(&self) -> u64 {
        self.returning.as_ref().map_or(0, |returning| returning.absences.away())
    }

    /// No longer than until somebody is to try, or has tried long enough.
    pub(super) fn until_due(&self, longest: Duration) -> Duration {
        let next = self.returning.as_ref().and_then(|returning| returning.next_ns());
        next.map_or(longest, |at| longest.min(Duration::from_nanos(at.saturating_sub(now_ns()))))
    }

    /// Gives up tries that take too long, and begins those that are due.
    pub(super) fn set_out(&mut self) {
        let Some(returning) = &mut self.returning else { return };
        let Some(next) = returning.next_ns() else { return };
        let now = now_ns();
        if next > now {
            return;
        }
        while let Some(index) = returning.overdue(now) {
            self.clients[index] = None;
            returning.failed(index, "no answer in time", now);
        }
        while let Some(index) = returning.next_due(now) {
            match self.outlet.begin(&returning.request, index) {
                Ok(client) => {
                    self.clients[index] = Some(client);
                    returning.tries(index, now);
                }
                Err(error) => returning.failed(index, &error.to_string(), now),
            }
        }
    }

    /// A client on its way back can go on. Whether it is there, with what came behind the answer
    /// in its head.
    pub(super) fn near(&mut self, index: usize, flags: epoll::EventFlags) -> io::Result<bool> {
        let Some(mut returning) = self.returning.take() else { return Ok(false) };
        let end = self.go_on(&returning.request, index, flags).map(|went| went.end);
        match &end {
            Ok(Some(Ok(()))) => returning.is_back(index, now_ns()),
            Ok(Some(Err(cause))) => returning.failed(index, cause, now_ns()),
            Ok(None) | Err(_) => {}
        }
        self.returning = Some(returning);
        Ok(matches!(end?, Some(Ok(()))))
    }
}

impl Returning {
    /// A client's connection has ended.
    pub(super) fn lost(&mut self, index: usize, now: u64) {
        self.absences.lost(now);
        self.trips[index] = Trip { lost_ns: now, ..Trip::default() };
        self.wait(index, now);
    }

    fn wait(&mut self, index: usize, now: u64) {
        let wait = self.backoff.wait_ns(self.trips[index].failed, &mut self.random);
        self.waiting.push(Reverse((now + wait, index)));
    }

    fn tries(&mut self, index: usize, now: u64) {
        let until_ns = now + load::nanoseconds(STANDSTILL_MAX);
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

    fn failed(&mut self, index: usize, cause: &str, now: u64) {
        self.is_over(index);
        self.absences.failed(cause);
        self.trips[index].failed += 1;
        self.wait(index, now);
    }

    fn is_back(&mut self, index: usize, now: u64) {
        self.is_over(index);
        self.absences.back(self.trips[index].lost_ns, now);
    }

    /// When there is next something to do.
    fn next_ns(&self) -> Option<u64> {
        let room = self.under_way < CONNECTING_MAX;
        let due = self.waiting.peek().filter(|_| room).map(|Reverse((at, _))| *at);
        let over = self.trying.front().map(|(until, _)| *until);
        due.into_iter().chain(over).min()
    }

    /// Someone whose try is due, if there is room for one.
    fn next_due(&mut self, now: u64) -> Option<usize> {
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
    fn overdue(&mut self, now: u64) -> Option<usize> {
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
        let mut swarm = Swarm::empty().unwrap();
        swarm.clients.extend((0..clients).map(|_| None));
        swarm.come_back(&request, backoff.unwrap(), 7).unwrap();
        *swarm.returning.take().unwrap()
    }

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn no_more_try_at_once_than_may() {
        let mut returning = returning(CONNECTING_MAX + 10);
        (0..CONNECTING_MAX + 10).for_each(|index| returning.lost(index, 5 * SECOND));
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
            returning.lost(index, SECOND);
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
