//! The state of a run while it runs: put together from its workers' snapshots, second by second.

use std::collections::{BTreeMap, VecDeque};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::meter::real;
use crate::output::hist;
use crate::seconds::Interval;

/// How many seconds are kept one by one.
const COLUMNS_MAX: usize = 512;

/// How long after its end a second is still waited for: threads show themselves four times in one,
/// to a coordinator twice.
const GRACE_S: f64 = 0.7;

/// The most seconds that are waited for at once; what shows more has lost its clock.
const OPEN_MAX: usize = 8;

/// Cells from a time to ten times that.
pub(super) const CELLS_PER_DECADE: i32 = 10;

/// Facts that do not change in a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    /// The subcommand, and what it is run against.
    pub(crate) command: String,
    pub(crate) target: String,
    /// The counted unit: deliveries, echoes, connects; or nothing.
    pub(crate) unit: &'static str,
    /// Connects that are asked for, over all rounds.
    pub(crate) asked: u64,
    /// Clients that receive each message; 0: nothing is published.
    pub(crate) hearers: u64,
}

/// The phase of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Connecting,
    WarmUp,
    Measuring,
    /// The last messages are on their way.
    Ending,
}

/// One thread's sums since measuring began.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) published: u64,
    pub(crate) receipts: u64,
    /// Messages that a client has not heard though it heard later ones.
    pub(crate) missing: u64,
    pub(crate) duplicated: u64,
    pub(crate) out_of_order: u64,
    pub(crate) strays: u64,
    /// The 99th percentile of how late the thread itself was.
    pub(crate) late_ns: u64,
    /// Clients that the server closed, by close code.
    pub(crate) endings: BTreeMap<String, u64>,
    /// Clients that are on their way back.
    pub(crate) away: u64,
}

/// A worker's own view of itself: a second as it stands, and its sums.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) thread: usize,
    pub(crate) second: Interval,
    pub(crate) sums: Sums,
}

/// One second of all threads.
#[derive(Debug, Default)]
pub(super) struct Column {
    pub(super) second: u64,
    pub(super) published: u64,
    pub(super) received: u64,
    /// CPU time of the busiest worker, as a share of the second.
    pub(super) generator: f64,
    /// Where a cell begins, in tenths of a decade of nanoseconds, and how many are in it.
    pub(super) cells: Vec<(i32, u64)>,
}

/// CPU and memory of the server.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Server {
    /// Of a core, in the last second.
    pub(crate) cpu_share: Option<f64>,
    pub(crate) rss_bytes: u64,
}

/// A run as it stands.
#[derive(Debug)]
pub(crate) struct Picture {
    pub(crate) head: Head,
    pub(crate) phase: Phase,
    pub(crate) connected: u64,
    /// Seconds of this phase that have passed, and how many it has, where that is known.
    pub(crate) passed_s: f64,
    pub(crate) of_s: Option<f64>,
    /// Seconds since measuring began.
    pub(crate) measured_s: f64,
    pub(crate) server: Option<Server>,
    sums: Vec<Sums>,
    /// Seconds that are not over, or only just: what each thread showed of them last.
    open: BTreeMap<u64, BTreeMap<usize, Interval>>,
    columns: VecDeque<Column>,
    last: Histogram<u64>,
    whole: Histogram<u64>,
}

impl Picture {
    /// Of a run of so many threads that has not begun.
    pub(crate) fn new(head: Head, threads: usize) -> Self {
        Self {
            head,
            phase: Phase::default(),
            connected: 0,
            passed_s: 0.0,
            of_s: None,
            measured_s: 0.0,
            server: None,
            sums: vec![Sums::default(); threads],
            open: BTreeMap::new(),
            columns: VecDeque::new(),
            last: hist::empty(),
            whole: hist::empty(),
        }
    }

    /// A thread has shown itself.
    pub(crate) fn take(&mut self, snapshot: Snapshot) {
        let Snapshot { thread, second, sums } = snapshot;
        if let Some(place) = self.sums.get_mut(thread) {
            *place = sums;
        }
        // A second that is in its column already stays as it is there.
        if self.columns.back().is_none_or(|column| column.second < second.second) {
            self.open.entry(second.second).or_default().insert(thread, second);
        }
    }

    /// Puts the seconds that are over into columns; `all`: nothing more comes.
    pub(crate) fn fold(&mut self, all: bool) {
        while let Some(entry) = self.open.first_entry() {
            let over = self.measured_s >= real(*entry.key()) + 1.0 + GRACE_S;
            if !over && !all && self.open.len() <= OPEN_MAX {
                break;
            }
            let Some((second, threads)) = self.open.pop_first() else { break };
            self.close(second, threads);
        }
    }

    fn close(&mut self, second: u64, threads: BTreeMap<usize, Interval>) {
        let mut column = Column { second, ..Column::default() };
        self.last.reset();
        for interval in threads.into_values() {
            column.published = column.published.saturating_add(interval.published);
            column.received = column.received.saturating_add(interval.received);
            column.generator = column.generator.max(real(interval.cpu_ns) / 1e9);
            for step in interval.latency.iter_recorded() {
                let (ns, count) = (step.value_iterated_to(), step.count_at_value().into());
                self.last.saturating_record_n(ns, count);
                self.whole.saturating_record_n(ns, count);
            }
        }
        let mut cells = BTreeMap::new();
        for step in self.last.iter_recorded() {
            *cells.entry(cell(step.value_iterated_to())).or_default() += step.count_at_value();
        }
        column.cells = cells.into_iter().collect();
        if self.columns.len() == COLUMNS_MAX {
            self.columns.pop_front();
        }
        self.columns.push_back(column);
    }

    /// Seconds that are over, the oldest that is kept first.
    pub(super) fn columns(&self) -> &VecDeque<Column> {
        &self.columns
    }

    /// So many a second in the last one that is over.
    pub(super) fn rate(&self) -> u64 {
        self.columns.back().map_or(0, |column| column.received)
    }

    /// Latencies of the last second that is over.
    pub(super) fn last(&self) -> &Histogram<u64> {
        &self.last
    }

    /// Latencies of all seconds that are over.
    pub(super) fn whole(&self) -> &Histogram<u64> {
        &self.whole
    }

    /// The sums of all threads; what is late is so for the latest.
    pub(super) fn sums(&self) -> Sums {
        let mut all = Sums::default();
        for sums in &self.sums {
            all.published = all.published.saturating_add(sums.published);
            all.receipts = all.receipts.saturating_add(sums.receipts);
            all.missing = all.missing.saturating_add(sums.missing);
            all.duplicated = all.duplicated.saturating_add(sums.duplicated);
            all.out_of_order = all.out_of_order.saturating_add(sums.out_of_order);
            all.strays = all.strays.saturating_add(sums.strays);
            all.late_ns = all.late_ns.max(sums.late_ns);
            all.away = all.away.saturating_add(sums.away);
            for (code, count) in &sums.endings {
                let all = all.endings.entry(code.clone()).or_default();
                *all = all.saturating_add(*count);
            }
        }
        all
    }

    /// Receipts that are neither here nor known to be missing.
    pub(super) fn under_way(&self) -> u64 {
        let sums = self.sums();
        let all = sums.published.saturating_mul(self.head.hearers);
        all.saturating_sub(sums.receipts.saturating_add(sums.missing))
    }

    /// How much of the phase is over, from 0 to 1.
    pub(super) fn progress(&self) -> f64 {
        let (done, all) = match (self.phase, self.of_s) {
            (Phase::Connecting, _) | (_, None) => (real(self.connected), real(self.head.asked)),
            (_, Some(of_s)) => (self.passed_s, of_s),
        };
        if all > 0.0 { (done / all).clamp(0.0, 1.0) } else { 1.0 }
    }
}

/// The tenth of a decade in which a time lies.
#[expect(clippy::cast_possible_truncation, reason = "a logarithm is a small number")]
fn cell(ns: u64) -> i32 {
    (real(ns.max(1)).log10() * f64::from(CELLS_PER_DECADE)).floor() as i32
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A second of one thread: so many receipts, each of so many microseconds.
    pub(crate) fn second(number: u64, received: u64, us: u64) -> Interval {
        let mut latency = Histogram::new(3).unwrap();
        latency.record_n(us * 1000, received.try_into().unwrap()).unwrap();
        Interval {
            second: number,
            published: received / 10,
            received,
            cpu_ns: 4 << 26,
            user_ns: 0,
            latency,
        }
    }

    pub(crate) fn picture(threads: usize) -> Picture {
        let head = Head {
            command: "fanout".to_owned(),
            target: "ws://127.0.0.1:9001/ws".to_owned(),
            unit: "deliveries",
            asked: 10,
            hearers: 10,
        };
        Picture::new(head, threads)
    }

    fn shown(thread: usize, second: Interval, receipts: u64) -> Snapshot {
        let endings = BTreeMap::from([("1006".to_owned(), 1)]);
        let sums = Sums { published: 1, receipts, missing: 1, endings, ..Sums::default() };
        Snapshot { thread, second, sums }
    }

    fn at(picture: &mut Picture, measured_s: f64) {
        picture.phase = Phase::Measuring;
        picture.measured_s = measured_s;
        picture.fold(false);
    }

    #[test]
    fn a_second_is_what_every_thread_showed_of_it_last() {
        let mut picture = picture(2);
        picture.take(shown(0, second(0, 10, 100), 10));
        picture.take(shown(0, second(0, 30, 100), 30));
        picture.take(shown(1, second(0, 70, 9000), 70));
        at(&mut picture, 1.2);
        assert_eq!((picture.rate(), picture.columns().len()), (0, 0), "it may not be over");
        picture.take(shown(0, second(0, 31, 100), 31));
        picture.take(shown(0, second(1, 5, 100), 36));
        at(&mut picture, 1.8);
        assert_eq!((picture.rate(), picture.whole().len()), (101, 101));
        assert_eq!(
            (picture.last().value_at_quantile(0.3) / 1000, picture.last().len()),
            (100, 101)
        );
        picture.take(shown(1, second(0, 900, 1), 900));
        at(&mut picture, 2.8);
        assert_eq!((picture.rate(), picture.whole().len()), (5, 106), "too late for its second");
        let sums = picture.sums();
        assert_eq!((sums.receipts, sums.missing, sums.endings["1006"]), (936, 2, 2));
    }

    #[test]
    fn what_is_under_way_is_neither_here_nor_missing() {
        let mut picture = picture(1);
        picture.take(shown(0, second(0, 6, 100), 6));
        assert_eq!(picture.under_way(), 10 - 6 - 1);
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let mut picture = picture(1);
        for number in 0..2000 {
            picture.take(shown(0, second(number, 1, 1), 1));
            at(&mut picture, 0.0);
            assert!(picture.open.len() <= OPEN_MAX && picture.columns().len() <= COLUMNS_MAX);
        }
        picture.fold(true);
        assert_eq!((picture.open.len(), picture.whole().len()), (0, 2000));
        picture.take(Snapshot { thread: 9, second: second(3000, 1, 1), sums: Sums::default() });
    }

    #[test]
    fn progress_is_of_the_phase() {
        let mut picture = picture(1);
        picture.connected = 5;
        assert!((picture.progress() - 0.5).abs() < 1e-9, "of the clients");
        (picture.phase, picture.passed_s, picture.of_s) = (Phase::Measuring, 3.0, Some(4.0));
        assert!((picture.progress() - 0.75).abs() < 1e-9, "of the time");
        picture.passed_s = 99.0;
        assert!((picture.progress() - 1.0).abs() < 1e-9);
        picture.of_s = None;
        assert!((picture.progress() - 0.5).abs() < 1e-9, "of the connects of a storm");
    }

    #[test]
    fn cells_are_tenths_of_a_decade() {
        assert_eq!([cell(0), cell(1), cell(9), cell(10), cell(1_000_000)], [0, 0, 9, 10, 60]);
    }
}
