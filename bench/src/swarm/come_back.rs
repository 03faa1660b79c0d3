//! Clients that come back by themselves when the server has ended their connection.

use std::io;
use std::time::Duration;

use rustix::event::epoll;

use super::absence::{Absences, Backoff};
use super::back::Returning;
use super::clients::Swarm;
use super::request::Request;
use crate::host::now_ns;

impl Swarm {
    /// From now on clients that the server closes come back, waiting as `backoff` says.
    pub(crate) fn come_back(
        &mut self,
        requests: Vec<Request>,
        backoff: Backoff,
        seed: u64,
    ) -> io::Result<()> {
        let returning = Returning::new(requests, backoff, seed, self.clients.len())?;
        self.returning = Some(Box::new(returning));
        Ok(())
    }

    /// Returns the account of the absences.
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
            match self.sender.begin(returning.request(index), index) {
                Ok(mut client) => {
                    returning.sets_out(index, &mut client, now);
                    self.clients[index] = Some(client);
                }
                Err(error) => returning.failed(index, &error.to_string(), now),
            }
        }
    }

    /// A client on its way back can go on. Whether it is there, with what came behind the answer
    /// in its head.
    pub(super) fn near(&mut self, index: usize, flags: epoll::EventFlags) -> io::Result<bool> {
        let Some(mut returning) = self.returning.take() else { return Ok(false) };
        let end = self.go_on(returning.request(index), index, flags).map(|went| went.end);
        match &end {
            Ok(Some(Ok(()))) => returning.is_back(index, now_ns()),
            Ok(Some(Err(cause))) => returning.failed(index, cause, now_ns()),
            Ok(None) | Err(_) => {}
        }
        self.returning = Some(returning);
        Ok(matches!(end?, Some(Ok(()))))
    }
}
