//! Histograms, one for each second, handed on without a stop.

use std::io;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::histogram::{LONGEST_NS, SHORTEST_NS};
use crate::host::thread_cpu_ns;
use crate::output::hist;
use crate::proc::thread_user_ns;

/// The counts of one thread in one second.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Interval {
    /// Seconds since the measuring began.
    pub(crate) second: u64,
    pub(crate) published: u64,
    pub(crate) received: u64,
    /// The running time of the thread, in all and outside of the kernel.
    pub(crate) cpu_ns: u64,
    pub(crate) user_ns: u64,
    #[serde(with = "hist::text")]
    pub(crate) latency: Histogram<u32>,
}

/// One thread's seconds, in the order in which they came.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Intervals {
    #[serde(skip)]
    begin_ns: u64,
    /// The thread's own clock where the last second began.
    #[serde(skip)]
    cpu_ns: u64,
    #[serde(skip)]
    user_ns: u64,
    /// The part of its time since then in which it only waited.
    #[serde(skip)]
    waited_ns: u64,
    /// The measured time is over.
    #[serde(skip)]
    ended: bool,
    seconds: Vec<Interval>,
}

impl Intervals {
    pub(crate) fn new() -> io::Result<Self> {
        // The first is made beforehand: its memory is touched before anything is measured.
        let seconds = vec![Interval::new(0)?];
        Ok(Self { begin_ns: 0, cpu_ns: 0, user_ns: 0, waited_ns: 0, ended: false, seconds })
    }

    /// From this moment on seconds are counted.
    pub(crate) fn begin(&mut self, begin_ns: u64) {
        self.begin_ns = begin_ns;
    }

    /// The moment has come.
    pub(crate) fn begun(&mut self) {
        (self.cpu_ns, self.user_ns) = (thread_cpu_ns(), thread_user_ns());
        self.waited_ns = 0;
    }

    /// The thread ran for a while and did nothing but look whether it was time: that is no part of
    /// what its work costs.
    pub(crate) fn waited(&mut self, ns: u64) {
        self.waited_ns += ns;
    }

    fn close_second(&mut self) {
        if self.ended {
            return;
        }
        let (now, user) = (thread_cpu_ns(), thread_user_ns());
        if let Some(last) = self.seconds.last_mut() {
            let ran_ns = now.saturating_sub(self.cpu_ns).saturating_sub(self.waited_ns);
            last.cpu_ns += ran_ns;
            last.user_ns += user.saturating_sub(self.user_ns).min(ran_ns);
        }
        self.waited_ns = 0;
        (self.cpu_ns, self.user_ns) = (now, user);
    }

    pub(crate) fn published(&mut self, at_ns: u64) {
        if let Some(interval) = self.at(at_ns) {
            interval.published += 1;
        }
    }

    pub(crate) fn received(&mut self, at_ns: u64, took_ns: u64) {
        if let Some(interval) = self.at(at_ns) {
            interval.received += 1;
            // It resizes itself; what it refuses is longer than the clock runs.
            let _ = interval.latency.record(took_ns.min(LONGEST_NS));
        }
    }

    /// How many seconds there are.
    pub(crate) fn count(&self) -> usize {
        self.seconds.len()
    }

    /// The seconds from a place on, as they stand.
    pub(crate) fn since(&self, place: usize) -> impl Iterator<Item = Interval> {
        let spent_ns = self.cpu_ns + self.waited_ns;
        let now = if self.ended { 0 } else { thread_cpu_ns().saturating_sub(spent_ns) };
        let last = self.seconds.len() - 1;
        self.seconds.iter().enumerate().skip(place).map(move |(at, second)| {
            let mut second = second.clone();
            second.cpu_ns += if at == last { now } else { 0 };
            second
        })
    }

    /// Time passes, whether anything happens or not.
    pub(crate) fn tick(&mut self, now_ns: u64) {
        self.at(now_ns);
    }

    /// The second in which a moment lies; mostly the last one.
    fn at(&mut self, at_ns: u64) -> Option<&mut Interval> {
        let second = at_ns.checked_sub(self.begin_ns)? / 1_000_000_000;
        let known = self.seconds.iter().rposition(|interval| interval.second == second);
        let place = if let Some(place) = known {
            place
        } else {
            self.close_second();
            self.seconds.push(Interval::new(second).ok()?);
            self.seconds.len() - 1
        };
        self.seconds.get_mut(place)
    }

    /// The measured time is over: what comes later costs no second anything.
    pub(crate) fn end(&mut self) {
        self.close_second();
        self.ended = true;
    }

    pub(crate) fn finish(self) -> Vec<Interval> {
        self.seconds
    }
}

impl Interval {
    fn new(second: u64) -> io::Result<Self> {
        // It grows with what it holds: a second of a long run costs what its slowest receipt needs.
        let mut latency = Histogram::new_with_bounds(SHORTEST_NS, 2 * SHORTEST_NS, 3)
            .map_err(io::Error::other)?;
        latency.auto(true);
        Ok(Self { second, published: 0, received: 0, cpu_ns: 0, user_ns: 0, latency })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::histogram::nanoseconds;
    use crate::load::judge;
    use crate::load::sampler::{Origin, Sampler};
    use crate::run::Second;

    #[test]
    fn each_receipt_lies_in_its_second() {
        let mut intervals = Intervals::new().unwrap();
        intervals.begin(500);
        intervals.received(500, 2_000_000);
        intervals.received(1_000_000_499, 90_000_000_000);
        intervals.received(1_000_000_500, 5);
        intervals.published(3_000_000_500);
        intervals.received(400, 5);
        let seconds = intervals.finish();
        let seen: Vec<_> =
            seconds.iter().map(|i| (i.second, i.published, i.received, i.latency.len())).collect();
        assert_eq!(seen, [(0, 0, 2, 2), (1, 0, 1, 1), (3, 1, 0, 0)]);
        assert!(seconds[0].latency.max() >= 90_000_000_000);
    }

    #[test]
    fn the_wait_for_a_due_message_is_no_cost_of_its_work() {
        let mut intervals = Intervals::new().unwrap();
        intervals.begin(0);
        intervals.begun();
        let until = thread_cpu_ns() + 20_000_000;
        while thread_cpu_ns() < until {
            std::hint::spin_loop();
        }
        intervals.waited(15_000_000);
        let shown: u64 = intervals.since(0).map(|second| second.cpu_ns).sum();
        intervals.end();
        let kept = intervals.finish()[0].cpu_ns;
        for cost in [shown, kept] {
            assert!((5_000_000..15_000_000).contains(&cost), "{cost}");
        }
    }

    #[test]
    fn receipts_after_the_end_cost_no_second_anything() {
        let mut intervals = Intervals::new().unwrap();
        intervals.begin(0);
        intervals.begun();
        intervals.end();
        let until = thread_cpu_ns() + 5_000_000;
        while thread_cpu_ns() < until {
            std::hint::spin_loop();
        }
        intervals.received(1_000_000_001, 5);
        let costs: Vec<u64> = intervals.since(0).map(|second| second.cpu_ns).collect();
        assert!(costs.iter().sum::<u64>() < 5_000_000, "{costs:?}");
        let kept: Vec<u64> = intervals.finish().iter().map(|second| second.cpu_ns).collect();
        assert_eq!(kept, costs);
    }

    /// Returns an agent's seconds as the coordinator has them.
    fn told(intervals: Intervals) -> Vec<Interval> {
        let text = serde_json::to_string(&intervals).unwrap();
        let read: Intervals = serde_json::from_str(&text).unwrap();
        read.finish()
    }

    proptest! {
        // Each makes some forty histograms of hours, to the microsecond.
        #![proptest_config(ProptestConfig::with_cases(16))]

        /// However receipts are dealt to processes, what they tell makes one histogram of all
        /// values, for every second and for the whole.
        #[test]
        fn merged_histograms_equal_one_of_all_values(
            receipts in proptest::collection::vec(
                (0_usize..4, 0_u64..4_000_000_000, 0_u64..2 * LONGEST_NS), 1..300,
            ),
            handshakes in proptest::collection::vec((0_usize..4, 0_u64..2 * LONGEST_NS), 0..300),
        ) {
            let sampler = Sampler::new(None, Origin::Unknown).unwrap();
            let mut alone = Intervals::new().unwrap();
            let mut parts: Vec<_> = (0..4).map(|_| Intervals::new().unwrap()).collect();
            let mut one = nanoseconds().unwrap();
            let mut several: Vec<_> = (0..4).map(|_| nanoseconds().unwrap()).collect();
            for (part, at_ns, took_ns) in receipts {
                alone.received(at_ns, took_ns);
                parts[part].received(at_ns, took_ns);
            }
            for (part, took_ns) in handshakes {
                one.saturating_record(took_ns);
                several[part].saturating_record(took_ns);
            }
            let intervals = parts.into_iter().flat_map(told).collect();
            let (whole, seconds) = judge::seconds_of(intervals, &sampler).unwrap();
            let (right, right_seconds) = judge::seconds_of(alone.finish(), &sampler).unwrap();
            prop_assert_eq!(whole, right);
            let histograms = |seconds: Vec<Second>| -> Vec<_> {
                let kept = seconds.into_iter().filter(|second| second.deliveries > 0);
                kept.map(|second| (second.deliveries, second.histogram)).collect()
            };
            prop_assert_eq!(histograms(seconds), histograms(right_seconds));
            let mut merged = nanoseconds().unwrap();
            for part in several {
                merged.add(hist::decode(&hist::encode(&part)).unwrap()).unwrap();
            }
            prop_assert_eq!(merged, one);
        }
    }
}
