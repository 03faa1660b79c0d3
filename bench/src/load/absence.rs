//! The flags of clients that come back by themselves, and the sum of all workers' absences.

use std::io;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::sums::{add, merge};
use crate::histogram::nanoseconds;
use crate::run::Returns;
use crate::swarm::{Absences, Backoff, Spell};

/// The flags of clients that come back.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub(crate) struct Reconnect {
    /// Clients whose connection ends come back by themselves. Those of stentor.v1 and of
    /// Centrifugo's protocol ask for what they missed.
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

/// Returns the sum of all workers' absences, and the time of each, if clients were to come back.
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
        all.recovered += absences.recovered;
        all.unrecovered += absences.unrecovered;
        add(&mut all.failures, absences.failures.clone());
        merge(&mut took, &absences.took)?;
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
}
