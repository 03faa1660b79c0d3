//! The random numbers of a schedule: from a seed, or from given bytes.

/// A source of small numbers.
pub(crate) enum Dice {
    /// The dullest generator that is good enough: a linear congruence, high bits only.
    Seeded(u64),
    /// Each byte is one throw; behind the last, every throw is zero.
    Given(std::vec::IntoIter<u8>),
}

impl Dice {
    pub(crate) fn seeded(seed: u64) -> Self {
        let mut dice = Self::Seeded(seed.wrapping_mul(2).wrapping_add(1));
        for _ in 0..4 {
            dice.below(2);
        }
        dice
    }

    pub(crate) fn given(bytes: &[u8]) -> Self {
        Self::Given(Vec::from(bytes).into_iter())
    }

    /// A number below `sides`, of which there are at most 256.
    pub(crate) fn below(&mut self, sides: usize) -> usize {
        match self {
            Self::Seeded(state) => {
                *state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                usize::try_from(*state >> 33).expect("31 bits fit") % sides
            }
            Self::Given(bytes) => usize::from(bytes.next().unwrap_or(0)) % sides,
        }
    }

    /// Returns `true` if there is more than zeros to come.
    pub(crate) fn goes_on(&self) -> bool {
        match self {
            Self::Seeded(_) => true,
            Self::Given(bytes) => bytes.len() > 0,
        }
    }
}
