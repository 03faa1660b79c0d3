//! For how long a process that has taken over yields to no other, so that two copies under
//! supervisors that always restart them do not take over from each other for ever.
//!
//! Every newcomer waits for the settling time. A process like the one that was relieved, the same
//! program with the same settings, is most likely that one, restarted. It waits twice as long each
//! time that it comes back.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use crate::config::Settings;

/// The longest that one process keeps another from coming back.
const AGAIN_MAX: Duration = Duration::from_hours(1);

/// A process that comes back later than this after its time is no restart by a supervisor.
const QUIET: Duration = Duration::from_hours(1);

/// The samples that are taken of the program, so that a large one costs no time.
const SAMPLES: u64 = 64;
const SAMPLE_BYTES: usize = 4096;

/// When this process may yield, and to which newcomer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settling {
    since: Instant,
    /// For every newcomer.
    base: Duration,
    /// The fingerprint of the process that was relieved, and the time for its like.
    relieved: Option<(u64, Duration)>,
}

impl Settling {
    /// A process that has taken over from nobody yields at once.
    pub(super) fn none() -> Self {
        Self { since: Instant::now(), base: Duration::ZERO, relieved: None }
    }

    /// After a take-over from a process of the fingerprint `from`, which proposed `again`.
    pub(super) fn after(base: Duration, from: u64, again: Duration) -> Self {
        let again = if base.is_zero() { base } else { base.max(again) };
        Self { since: Instant::now(), base, relieved: Some((from, again)) }
    }

    /// Returns the time for which this process does not yield to a newcomer yet.
    pub(super) fn left(&self, newcomer: u64, now: Instant) -> Option<Duration> {
        let time = match self.relieved {
            Some((from, again)) if from == newcomer => again,
            _ => self.base,
        };
        let left = time.saturating_sub(now.saturating_duration_since(self.since));
        (!left.is_zero()).then_some(left)
    }

    /// The time for which a newcomer should not yield to the like of this process.
    pub(super) fn proposal(&self, newcomer: u64, now: Instant) -> Duration {
        let age = now.saturating_duration_since(self.since);
        match self.relieved {
            Some((from, again)) if from == newcomer && age < again + QUIET => {
                (again * 2).min(AGAIN_MAX)
            }
            _ => Duration::ZERO,
        }
    }
}

/// Tells programs and their settings apart.
pub(crate) fn fingerprint(settings: &Settings) -> u64 {
    // With the same keys in every process of one build, unlike the maps' hashers.
    let mut hasher = DefaultHasher::new();
    format!("{settings:?}").hash(&mut hasher);
    if let Ok(program) = File::open("/proc/self/exe") {
        let length = program.metadata().map_or(0, |metadata| metadata.len());
        length.hash(&mut hasher);
        let mut sample = [0; SAMPLE_BYTES];
        for number in 0..SAMPLES {
            let at = length / SAMPLES * number;
            let count = program.read_at(&mut sample, at).unwrap_or(0);
            sample[..count].hash(&mut hasher);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(30);

    #[test]
    fn a_fresh_process_yields_at_once_and_one_that_took_over_does_not() {
        let now = Instant::now();
        assert_eq!(Settling::none().left(1, now), None);
        let settling = Settling::after(BASE, 1, Duration::ZERO);
        assert!(settling.left(1, now) > Some(BASE.saturating_sub(Duration::from_secs(1))));
        assert!(settling.left(2, now).is_some());
        assert_eq!(settling.left(1, settling.since + BASE), None);
        assert_eq!(Settling::after(Duration::ZERO, 1, BASE).left(1, now), None, "switched off");
    }

    /// Two copies whose supervisors restart them at once swap less and less often.
    #[test]
    fn two_copies_swap_ever_more_seldom() {
        let mut settling = Settling::after(BASE, 1, Duration::ZERO);
        let (mut passed, mut swaps) = (Duration::ZERO, 0);
        while passed < Duration::from_hours(24) {
            let (relieved, serving) = if swaps % 2 == 0 { (1, 2) } else { (2, 1) };
            let wait = settling.left(relieved, settling.since).unwrap();
            let then = settling.since + wait;
            let proposal = settling.proposal(relieved, then);
            passed += wait;
            settling = Settling { since: then, ..Settling::after(BASE, serving, proposal) };
            swaps += 1;
        }
        assert!(swaps < 35, "{swaps} swaps in a day");
    }

    #[test]
    fn a_newer_version_waits_for_the_settling_time_only() {
        let settling = Settling::after(BASE, 1, AGAIN_MAX);
        let then = settling.since + BASE;
        assert!(settling.left(1, then).is_some());
        assert_eq!(settling.left(3, then), None);
        assert_eq!(settling.proposal(3, then), Duration::ZERO, "and begins anew");
        let late = settling.since + AGAIN_MAX + QUIET;
        assert_eq!(settling.proposal(1, late), Duration::ZERO);
    }

    #[test]
    fn settings_are_part_of_the_fingerprint() {
        let settings = Settings::default();
        let other = Settings { take_over: false, ..settings.clone() };
        assert_eq!(fingerprint(&settings), fingerprint(&settings.clone()));
        assert_ne!(fingerprint(&settings), fingerprint(&other));
    }
}
