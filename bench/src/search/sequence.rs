//! Which load is tried next: up by a factor until one is missed, then halfway between the greatest
//! that held and the least that did not.

/// The most by which a rounded middle may be off, as a share of the interval, on either side.
const ROUNDING: f64 = 1.0 / 16.0;

/// The bounds of a search, and what it knows so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoadSequence {
    pub(crate) start: f64,
    pub(crate) max: f64,
    /// The factor between two loads on the way up.
    pub(crate) factor: f64,
    /// How far apart, as a share, the greatest that held and the least that did not may be.
    pub(crate) precision: f64,
    /// Loads are whole numbers.
    pub(crate) whole: bool,
    held: Option<f64>,
    missed: Option<f64>,
}

impl LoadSequence {
    /// A search that knows nothing. The error is what makes no sense.
    pub(crate) fn new(
        start: f64,
        max: f64,
        factor: f64,
        precision: f64,
        whole: bool,
    ) -> Result<Self, String> {
        if !max.is_finite() || !(f64::MIN_POSITIVE..=max).contains(&start) {
            return Err(format!("a search begins above 0, and at {max} at the most"));
        }
        if whole && (start.fract() != 0.0 || max.fract() != 0.0) {
            return Err("clients are whole numbers".into());
        }
        if !(1.05..=100.0).contains(&factor) {
            return Err("a step up is by a factor from 1.05 to 100".into());
        }
        if !(0.001..=1.0).contains(&precision) {
            return Err("a precision is from 0.1% to 100%".into());
        }
        Ok(Self { start, max, factor, precision, whole, held: None, missed: None })
    }

    /// The greatest load that held.
    pub(crate) fn held(&self) -> Option<f64> {
        self.held
    }

    /// The least load that did not.
    pub(crate) fn missed(&self) -> Option<f64> {
        self.missed
    }

    /// Returns the load to try next; none: the search is over.
    pub(crate) fn next(&self) -> Option<f64> {
        match (self.held, self.missed) {
            (None, None) => Some(self.start),
            // Nothing below the start is tried.
            (None, Some(_)) => None,
            (Some(held), None) => (held < self.max).then(|| self.above(held)),
            (Some(held), Some(missed)) => {
                let near = missed - held <= held * self.precision;
                let beside = self.whole && missed - held <= 1.0;
                (!near && !beside).then(|| self.between(held, missed))
            }
        }
    }

    /// Takes the decision on a load.
    pub(crate) fn tell(&mut self, load: f64, held: bool) {
        if held {
            self.held = Some(self.held.map_or(load, |held| held.max(load)));
        } else {
            self.missed = Some(self.missed.map_or(load, |missed| missed.min(load)));
        }
    }

    /// How many loads are tried at the most.
    pub(crate) fn steps_max(&self) -> u32 {
        let mut up = Self { held: None, missed: None, ..self.clone() };
        let mut steps = 0;
        while let Some(load) = up.next() {
            up.tell(load, true);
            steps += 1;
        }
        // Each of the others leaves half of the interval, and what rounding adds.
        let left = (0.5 + ROUNDING).ln().abs();
        let ratio = (self.factor - 1.0) / self.precision;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count below 100"
        )]
        let halvings = (ratio.ln() / left).ceil().max(0.0) as u32;
        // A few whole numbers are not halved evenly.
        steps + halvings + if self.whole { 3 } else { 0 }
    }

    fn above(&self, held: f64) -> f64 {
        let next = held * self.factor;
        let next = if self.whole { next.ceil() } else { next };
        next.min(self.max)
    }

    /// The middle, as short a number as may be.
    fn between(&self, held: f64, missed: f64) -> f64 {
        let middle = f64::midpoint(held, missed);
        let mut step = 10_f64.powf(middle.log10().floor() - 1.0);
        while step > 2.0 * ROUNDING * (missed - held) {
            step /= 10.0;
        }
        if self.whole && step < 1.0 { middle.floor() } else { (middle / step).round() * step }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sequence(start: f64, max: f64, precision: f64) -> LoadSequence {
        LoadSequence::new(start, max, 2.0, precision, false).unwrap()
    }

    /// All loads that a search tries where `holds` decides.
    fn tried(sequence: &mut LoadSequence, mut holds: impl FnMut(f64) -> bool) -> Vec<f64> {
        let most = sequence.steps_max();
        let mut loads = Vec::new();
        while let Some(load) = sequence.next() {
            loads.push(load);
            assert!(loads.len() <= most as usize, "{most} at the most: {loads:?}");
            sequence.tell(load, holds(load));
        }
        loads
    }

    #[test]
    fn up_and_then_between() {
        let mut to = sequence(100.0, 1e6, 0.05);
        let loads = tried(&mut to, |load| load <= 730.0);
        assert_eq!(loads, [100.0, 200.0, 400.0, 800.0, 600.0, 700.0, 750.0, 725.0]);
        assert_eq!((to.held(), to.missed()), (Some(725.0), Some(750.0)));
    }

    #[test]
    fn the_bounds_are_ends() {
        let mut all = sequence(100.0, 350.0, 0.05);
        assert_eq!(tried(&mut all, |_| true), [100.0, 200.0, 350.0]);
        assert_eq!((all.held(), all.missed()), (Some(350.0), None));
        let mut none = sequence(100.0, 350.0, 0.05);
        assert_eq!(tried(&mut none, |_| false), [100.0]);
        assert_eq!((none.held(), none.missed()), (None, Some(100.0)));
        assert_eq!(tried(&mut sequence(7.0, 7.0, 0.05), |_| true), [7.0]);
    }

    #[test]
    fn clients_are_whole() {
        let mut clients = LoadSequence::new(1.0, 20.0, 1.5, 0.001, true).unwrap();
        let loads = tried(&mut clients, |load| load <= 6.0);
        assert_eq!(loads, [1.0, 2.0, 3.0, 5.0, 8.0, 6.0, 7.0]);
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for ((start, max), factor, precision, whole) in [
            ((0.0, 1.0), 2.0, 0.1, false),
            ((2.0, 1.0), 2.0, 0.1, false),
            ((f64::NAN, 1.0), 2.0, 0.1, false),
            ((1.5, 9.0), 2.0, 0.1, true),
            ((1.0, 9.0), 1.0, 0.1, false),
            ((1.0, 9.0), f64::NAN, 0.1, false),
            ((1.0, 9.0), 2.0, 0.0, false),
        ] {
            let sequence = LoadSequence::new(start, max, factor, precision, whole);
            assert!(sequence.is_err(), "{sequence:?}");
        }
    }

    fn any_course() -> impl Strategy<Value = LoadSequence> {
        let bounds = (0.001..1e5_f64, 1.0..1e5_f64);
        (bounds, 1.05..20.0_f64, 0.001..1.0_f64, any::<bool>()).prop_map(
            |((start, times), factor, precision, whole)| {
                let (start, max) = (start, start * times);
                let of = |load: f64| if whole { load.ceil() } else { load };
                LoadSequence::new(of(start), of(max), factor, precision, whole).unwrap()
            },
        )
    }

    proptest! {
        /// A server that is slower under more load: its knee lies between what held and what did
        /// not, and these two are as near to each other as was asked for.
        #[test]
        fn the_knee_is_found(sequence in any_course(), at in 0.0..1.2_f64) {
            let mut sequence = sequence;
            let knee = sequence.start * (sequence.max / sequence.start).powf(at);
            let loads = tried(&mut sequence, |load| load <= knee);
            let within = sequence.start..=sequence.max;
            prop_assert!(loads.iter().all(|load| within.contains(load)), "{loads:?}");
            prop_assert!(!sequence.whole || loads.iter().all(|load| load.fract() == 0.0));
            match (sequence.held(), sequence.missed()) {
                (Some(held), Some(missed)) => {
                    prop_assert!(held <= knee && knee < missed);
                    let near = missed <= held * (1.0 + sequence.precision) * (1.0 + 1e-9);
                    prop_assert!(near || sequence.whole && missed - held <= 1.0, "{loads:?}");
                }
                (Some(held), None) => prop_assert!(held >= sequence.max && held <= knee),
                (None, missed) => {
                    prop_assert!(missed == Some(sequence.start) && knee < sequence.start);
                }
            }
        }

        /// A server without a knee, whose steps hold or not as it likes: the search ends all the
        /// same, has tried nothing twice and nothing outside its bounds, and believes what it saw.
        #[test]
        fn a_noisy_server_ends(
            sequence in any_course(),
            coins in proptest::collection::vec(any::<bool>(), 4000),
        ) {
            let mut sequence = sequence;
            let mut coins = coins.into_iter().chain(std::iter::repeat(false));
            let mut seen = Vec::new();
            let loads = tried(&mut sequence, |load| {
                let holds = coins.next().unwrap();
                seen.push((load, holds));
                holds
            });
            let within = sequence.start..=sequence.max;
            prop_assert!(loads.iter().all(|load| within.contains(load)), "{loads:?}");
            let mut sorted = loads;
            sorted.sort_by(f64::total_cmp);
            prop_assert!(sorted.windows(2).all(|two| two[0] < two[1]), "{sorted:?}");
            let held = seen.iter().filter(|(_, holds)| *holds).map(|(load, _)| *load);
            prop_assert_eq!(sequence.held(), held.max_by(f64::total_cmp));
        }
    }
}
