//! Clients that come back by themselves: how long they wait, and what their absences come to.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::record::nanoseconds;
use crate::output::hist;
use crate::random::Random;
use crate::run::Returns;
use crate::units;

/// The most times of one thread in which somebody was away that are told apart: what comes after
/// them prolongs the last one.
const SPELLS_MAX: usize = 1024;

/// The most causes of failed tries that are told apart; what comes after them is `other`.
const CAUSES_MAX: usize = 64;

/// Whether clients come back.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Reconnect {
    /// Clients whose connection ends come back by themselves.
    #[arg(long)]
    reconnect: bool,
    /// Before a try they wait for a random time up to the first one, which doubles with each try
    /// that fails, up to the second one.
    #[arg(
        long, value_name = "TIME..TIME", default_value = "500ms..20s", requires = "reconnect",
        value_parser = Backoff::read
    )]
    backoff: Backoff,
}

impl Reconnect {
    /// How clients come back, if they do.
    pub(crate) fn backoff(&self) -> Option<Backoff> {
        self.reconnect.then_some(self.backoff)
    }
}

/// How long clients wait before a try: exponential backoff with full jitter, so that those that
/// fell together do not return together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
}

impl Backoff {
    /// `500ms..20s`.
    fn read(text: &str) -> Result<Self, String> {
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
struct Spell {
    from_ns: u64,
    to_ns: u64,
}

/// What one thread saw of clients that come back.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Absences {
    returned: u64,
    away: u64,
    /// Tries that failed, by cause.
    failures: BTreeMap<String, u64>,
    /// From the end of one connection to the next one's readiness.
    #[serde(with = "hist::text")]
    took: Histogram<u64>,
    /// One after the other; the last one goes on while anyone is away.
    spells: Vec<Spell>,
}

impl Absences {
    /// Nobody has been away yet.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            returned: 0,
            away: 0,
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
        let known = self.failures.len() < CAUSES_MAX || self.failures.contains_key(cause);
        let cause = if known { cause } else { "other" };
        *self.failures.entry(cause.to_owned()).or_default() += 1;
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

/// What the absences of all threads come to, if clients were to come back; and how long each took.
pub(super) fn merged<'a>(
    absences: impl Iterator<Item = &'a Absences>,
    missed: u64,
) -> io::Result<Option<(Returns, Histogram<u64>)>> {
    let mut took = nanoseconds()?;
    let (mut all, mut spells, mut any) = (Returns::default(), Vec::new(), false);
    for absences in absences {
        any = true;
        all.returned += absences.returned;
        all.away += absences.away;
        super::judge::add(&mut all.failures, absences.failures.clone());
        super::judge::merge(&mut took, &absences.took)?;
        spells.extend(&absences.spells);
    }
    all.missed = missed;
    // Nobody knows how long it takes who is not back yet.
    all.recovery_s = (all.away == 0).then(|| longest(spells)).flatten();
    Ok(any.then_some((all, took)))
}

/// The longest time for which somebody was away, in seconds; none where nobody was.
#[expect(clippy::cast_precision_loss, reason = "seconds for people")]
fn longest(mut spells: Vec<Spell>) -> Option<f64> {
    spells.sort_unstable_by_key(|spell| spell.from_ns);
    let joined = spells.iter().scan(None::<Spell>, |current, spell| {
        let joined = match *current {
            Some(Spell { from_ns, to_ns }) if spell.from_ns <= to_ns => {
                Spell { from_ns, to_ns: to_ns.max(spell.to_ns) }
            }
            _ => *spell,
        };
        *current = Some(joined);
        Some(joined.to_ns - joined.from_ns)
    });
    joined.max().map(|ns| ns as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

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

    /// Two threads whose outages overlap are away from the first loss to the last return.
    #[test]
    fn a_recovery_is_that_of_all_threads() {
        let thread = |moments: &[(u64, u64)]| {
            let mut absences = Absences::new().unwrap();
            for (lost, back) in moments {
                absences.lost(*lost);
                absences.back(*lost, *back);
            }
            absences
        };
        let second = 1_000_000_000;
        let one = thread(&[(0, second), (10 * second, 12 * second)]);
        let mut other = thread(&[(11 * second, 14 * second), (14 * second + 1, 15 * second)]);
        let (all, took) = merged([&one, &other].into_iter(), 7).unwrap().unwrap();
        assert_eq!((all.returned, all.away, all.missed), (4, 0, 7));
        assert_eq!(all.recovery_s, Some(4.0));
        assert_eq!(took.len(), 4);
        other.lost(20 * second);
        let (all, _) = merged([&one, &other].into_iter(), 0).unwrap().unwrap();
        assert_eq!((all.away, all.recovery_s), (1, None), "who is not back may never be");
        assert!(merged(std::iter::empty(), 0).unwrap().is_none());
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
