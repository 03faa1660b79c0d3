//! The open loop's clock: when which publisher is meant to speak.

/// The publications of a whole run are evenly spaced, and the publishers speak in turn. This is one
/// thread's part of it.
#[derive(Debug)]
pub(crate) struct Pace {
    begin_ns: u64,
    gap_ns: f64,
    /// Numbers of this thread's publishers in the whole run, ascending.
    own: Vec<usize>,
    in_all: usize,
    round: u64,
    place: usize,
}

impl Pace {
    pub(crate) fn new(begin_ns: u64, rate: f64, own: Vec<usize>, in_all: usize) -> Self {
        Self { begin_ns, gap_ns: 1e9 / rate, own, in_all, round: 0, place: 0 }
    }

    /// The usual time between two publications of this thread.
    pub(crate) fn usual_gap_ns(&self) -> u64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "about so long"
        )]
        let gap_ns = (self.gap_ns * self.in_all as f64 / self.own.len().max(1) as f64) as u64;
        gap_ns
    }

    /// The place of the publisher that speaks next among this thread's, and when.
    pub(crate) fn next_due(&self) -> Option<(usize, u64)> {
        let publisher = *self.own.get(self.place)?;
        let number = self.round * self.in_all as u64 + publisher as u64;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a microsecond in a year"
        )]
        let after_ns = (number as f64 * self.gap_ns) as u64;
        Some((self.place, self.begin_ns + after_ns))
    }

    /// The publication is on its way.
    pub(crate) fn step(&mut self) {
        self.place += 1;
        if self.place == self.own.len() {
            self.place = 0;
            self.round += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(own: &[usize], count: usize) -> Vec<(usize, u64)> {
        let mut pace = Pace::new(1000, 1e9 / 10.0, own.to_vec(), 4);
        (0..count)
            .map(|_| {
                let due = pace.next_due().unwrap();
                pace.step();
                due
            })
            .collect()
    }

    #[test]
    fn threads_share_one_even_row() {
        assert_eq!(due(&[0, 2], 4), [(0, 1000), (1, 1020), (0, 1040), (1, 1060)]);
        assert_eq!(due(&[1, 3], 4), [(0, 1010), (1, 1030), (0, 1050), (1, 1070)]);
        assert_eq!(Pace::new(0, 1.0, Vec::new(), 4).next_due(), None);
        assert_eq!(Pace::new(0, 50.0, vec![0], 1).usual_gap_ns(), 20_000_000);
        assert_eq!(Pace::new(0, 50.0, vec![1, 3], 4).usual_gap_ns(), 40_000_000);
    }
}
