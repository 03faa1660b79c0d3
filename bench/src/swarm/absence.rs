//! How long clients wait before they come back, and what one thread saw of their absences.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::causes;
use crate::histogram::nanoseconds;
use crate::output::hist;
use crate::random::Random;
use crate::units;

/// The most times of one thread in which somebody was away that are told apart: what comes after
/// them prolongs the last one.
const SPELLS_MAX: usize = 1024;

/// How long clients wait before a try: exponential backoff with full jitter, so that those that
/// fell together do not return together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// `500ms..20s`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let Some((first, most)) = text.split_once("..") else {
            return Err(format!("{text:?} is not two times such as 500ms..20s"));
        };
        let (first, most) = (units::time(first)?, units::time(most)?);
        if first.is_zero() || first > most {
            return Err(format!("{text:?} does not go from a time to a longer one"));
        }
        Ok(Self { first, most })
    }

    /// The wait of a client that has failed so many times, in nanoseconds.
    pub(crate) fn wait_ns(self, failed: u32, random: &mut Random) -> u64 {
        let doubled = self.first.checked_mul(1_u32.checked_shl(failed).unwrap_or(u32::MAX));
        let longest = doubled.unwrap_or(self.most).min(self.most);
        let longest = usize::try_from(longest.as_nanos()).unwrap_or(usize::MAX);
        random.below(longest) as u64
    }
}

/// A time in which somebody was away, on the run's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Spell {
    pub(crate) from_ns: u64,
    pub(crate) to_ns: u64,
}

/// The result of one worker whose clients come back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Absences {
    pub(crate) returned: u64,
    pub(crate) away: u64,
    /// Clients that came back and were told all that they had missed.
    pub(crate) recovered: u64,
    /// Clients that came back and asked for it in vain.
    pub(crate) unrecovered: u64,
    /// Tries that failed, by cause.
    pub(crate) failures: BTreeMap<String, u64>,
    /// From the end of one connection to the next one's readiness.
    #[serde(with = "hist::text")]
    pub(crate) took: Histogram<u64>,
    /// One after the other; the last one goes on while anyone is away.
    pub(crate) spells: Vec<Spell>,
}

impl Absences {
    /// Nobody has been away yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            returned: 0,
            away: 0,
            recovered: 0,
            unrecovered: 0,
            failures: BTreeMap::new(),
            took: nanoseconds()?,
            spells: Vec::new(),
        })
    }

    /// How many are away.
    pub(crate) fn away(&self) -> u64 {
        self.away
    }

    /// A client's connection has ended.
    pub(crate) fn lost(&mut self, now: u64) {
        if self.away == 0 && self.spells.len() < SPELLS_MAX {
            self.spells.push(Spell { from_ns: now, to_ns: now });
        }
        self.away += 1;
    }

    /// A client's try has failed.
    pub(crate) fn failed(&mut self, cause: &str) {
        causes::count(&mut self.failures, cause);
    }

    /// The server has said whether a client was told all that it had missed.
    pub(crate) fn recovered(&mut self, all: bool) {
        *(if all { &mut self.recovered } else { &mut self.unrecovered }) += 1;
    }

    /// A client is there again.
    pub(crate) fn back(&mut self, lost_ns: u64, now: u64) {
        self.returned += 1;
        self.away = self.away.saturating_sub(1);
        self.took.saturating_record(now.saturating_sub(lost_ns));
        if let Some(last) = self.spells.last_mut() {
            last.to_ns = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::causes::CAUSES_MAX;

    #[test]
    fn waits_double_up_to_the_longest_and_are_random() {
        let backoff = Backoff::read("100ms..2s").unwrap();
        let mut random = Random(1);
        for (failed, most_ms) in [(0, 100), (1, 200), (4, 1600), (5, 2000), (40, 2000)] {
            let waits: Vec<u64> = (0..500).map(|_| backoff.wait_ns(failed, &mut random)).collect();
            let most = most_ms * 1_000_000;
            assert!(waits.iter().all(|wait| *wait < most), "{failed}");
            assert!(waits.iter().any(|wait| *wait > most * 9 / 10), "{failed}");
            assert!(waits.iter().any(|wait| *wait < most / 10), "{failed}");
        }
        for nonsense in ["1s", "2s..1s", "0s..1s", "1s..", "x..y", ""] {
            assert!(Backoff::read(nonsense).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn spells_and_causes_are_bounded() {
        let mut absences = Absences::new().unwrap();
        for at in 0..3_000 {
            absences.lost(10 * at);
            absences.back(10 * at, 10 * at + 1);
            absences.failed(&format!("cause {at}"));
        }
        assert_eq!((absences.spells.len(), absences.failures.len()), (SPELLS_MAX, CAUSES_MAX + 1));
        assert_eq!(absences.failures.values().sum::<u64>(), 3_000);
        assert_eq!(absences.spells.last().unwrap().to_ns, 29_991);
    }
}
