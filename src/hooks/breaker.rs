//! The circuit breaker of an endpoint: after so many failures in a row it is left alone for a
//! while, and then one question tries it.

use std::time::{Duration, Instant};

/// The state of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    /// No question goes out before this time.
    Open(Instant),
    /// One question is out, and decides.
    Probing,
}

/// A breaker; `now` is an argument everywhere.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    pause: Duration,
    failures: u32,
    state: State,
}

impl Breaker {
    /// With `failures_max` zero it never opens.
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, failures: 0, state: State::Closed }
    }

    /// Returns `true` if a question may go out. Its outcome must be told then.
    pub(super) fn lets_pass(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed => true,
            State::Open(until) if now >= until => {
                self.state = State::Probing;
                true
            }
            State::Open(_) | State::Probing => false,
        }
    }

    /// A question was answered.
    pub(super) fn succeed(&mut self) {
        self.failures = 0;
        self.state = State::Closed;
    }

    /// A question was not answered. Returns `true` if that has opened the breaker.
    pub(super) fn fail(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let opens = match self.state {
            State::Closed => self.failures_max > 0 && self.failures >= self.failures_max,
            State::Probing => true,
            // It was under way when the breaker opened.
            State::Open(_) => false,
        };
        if opens {
            self.state = State::Open(now + self.pause);
        }
        opens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    #[test]
    fn it_opens_after_failures_in_a_row_and_one_success_closes_it() {
        let (mut breaker, begin) = (Breaker::new(3, PAUSE), Instant::now());
        assert!(!breaker.fail(begin) && !breaker.fail(begin));
        breaker.succeed();
        assert!(!breaker.fail(begin) && !breaker.fail(begin), "these are two in a row");
        assert!(breaker.lets_pass(begin) && breaker.fail(begin));
        assert!(!breaker.lets_pass(begin + PAUSE / 2));
        assert!(!breaker.fail(begin + PAUSE / 2), "a late failure does not prolong it");
        assert!(breaker.lets_pass(begin + PAUSE), "one may try");
        assert!(!breaker.lets_pass(begin + PAUSE), "and only one");
        breaker.succeed();
        assert!(breaker.lets_pass(begin + PAUSE));
    }

    #[test]
    fn a_failed_probe_opens_it_again_for_the_whole_pause() {
        let (mut breaker, begin) = (Breaker::new(1, PAUSE), Instant::now());
        assert!(breaker.fail(begin));
        let later = begin + PAUSE;
        assert!(breaker.lets_pass(later) && breaker.fail(later));
        assert!(!breaker.lets_pass(later + PAUSE / 2) && breaker.lets_pass(later + PAUSE));
    }

    #[test]
    fn zero_failures_turn_it_off() {
        let (mut breaker, begin) = (Breaker::new(0, PAUSE), Instant::now());
        assert!((0..1000).all(|_| !breaker.fail(begin) && breaker.lets_pass(begin)));
    }
}
