//! Numbers by chance, the same for the same seed.

/// Sebastiano Vigna's `SplitMix64`: a few lines, and good enough for draws of runs and for waits.
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0, below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let end = u128::try_from(end).expect("a length fits 128 bits");
        usize::try_from((u128::from(self.next()) * end) >> 64).expect("it is less than a length")
    }
}
