//! The verdict of one run on its load, and of all repeats of a step together.

use crate::load::{self, SAMPLES_MIN};
use crate::meter::real;
use crate::output::threshold::{self, Threshold};
use crate::output::units::{count, digits, share};
use crate::run::{Fault, Run, Verdict};

/// A server thread that runs for more than this share of its core has no more to give.
pub(crate) const SATURATED: f64 = 0.95;

/// A queue that grows by more than this share of what is published is one of a server that cannot
/// keep up.
const GROWTH: f64 = 0.10;

/// A generator that is late by more than this share of a bound is part of the verdict on it.
const LATE_SHARE: f64 = 0.10;

/// How connects end where the server, and not this host, had no room for them: what the answer was,
/// and what the kernel calls a reset, a time-out, a refusal and a broken pipe.
const REFUSALS: [&str; 7] = [
    "HTTP/",
    "closed before the answer",
    "no answer in time",
    "(os error 104)",
    "(os error 110)",
    "(os error 111)",
    "(os error 32)",
];

/// The verdict of one run on its load.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Held,
    /// Why.
    Missed(Vec<String>),
    /// The generator was the limit, or something else was measured than what was asked for.
    Unproven(Fault),
}

/// Takes from a run the fault that its generator was late, where it was so by too little to matter:
/// a run by itself is held to what it measured, and here to what is asked for.
pub(crate) fn excuse(run: &mut Run, slos: &[Threshold]) {
    let bound = slos.iter().filter_map(Threshold::bound_ns).reduce(f64::min);
    let Some((late, bound)) = load::lateness(run).zip(bound) else { return };
    if real(late) <= LATE_SHARE * bound {
        run.faults.retain(|fault| !fault.what.starts_with(load::LATE));
    }
}

/// Returns the outcome of a run. A server that is itself the limit is not excused by a generator
/// that is late as well.
pub(crate) fn outcome_of(run: &Run, slos: &[Threshold]) -> Outcome {
    let absent = run.load.clients.saturating_sub(run.totals.connected);
    if absent > 0 {
        return absence(run, absent);
    }
    let mut why: Vec<String> = slos
        .iter()
        .map(|slo| slo.judge(run))
        .filter(|verdict| !verdict.met)
        .map(|verdict| told(&verdict))
        .collect();
    if let Some(growth) = growth(run).filter(|growth| *growth > GROWTH) {
        why.push(format!("the queue grew by {} of what was published", share(growth)));
    }
    match run.faults.first() {
        Some(fault) if why.is_empty() || !server_is_limit(run) => Outcome::Unproven(fault.clone()),
        None if why.is_empty() => Outcome::Held,
        _ => Outcome::Missed(why),
    }
}

/// Not all clients came: whose fault that is.
fn absence(run: &Run, absent: u64) -> Outcome {
    let causes = &run.totals.failures;
    let refused = |cause: &String| REFUSALS.iter().any(|refusal| cause.contains(refusal));
    if !causes.is_empty() && causes.keys().all(refused) {
        let cause = causes.keys().next().map_or("", String::as_str);
        let (absent, of) = (count(real(absent)), count(real(run.load.clients)));
        return Outcome::Missed(vec![format!("{absent} of {of} clients were refused: {cause}")]);
    }
    Outcome::Unproven(run.faults.first().cloned().unwrap_or_default())
}

/// Returns `true` if the server is beyond doubt the reason for what a faulty run missed: one of its
/// threads was busy all the time, or the missing samples are messages that it lost.
fn server_is_limit(run: &Run) -> bool {
    let saturated = |share: f64| share >= SATURATED;
    let few = run.totals.deliveries < SAMPLES_MIN;
    let asked = run.totals.published * run.totals.connected >= SAMPLES_MIN;
    let only_few = few && asked && run.faults.len() == 1;
    only_few || run.server.as_ref().is_some_and(|server| saturated(server.busiest_thread_share))
}

fn told(verdict: &Verdict) -> String {
    let found = verdict.found.map_or("not in this run".to_owned(), |found| {
        format!("{} {}", digits(found), threshold::unit_of(&verdict.threshold))
    });
    format!("{}: {}", verdict.threshold, found.trim_end())
}

/// How much of what was published in the second half of an open loop's time was added to what waits
/// to be delivered. Losses are not told apart from it; they are missed by themselves.
pub(crate) fn growth(run: &Run) -> Option<f64> {
    run.load.rate?;
    let whole = run.totals.seconds.floor();
    let half = (whole / 2.0).floor();
    if half < 1.0 {
        return None;
    }
    let second = run.series.iter().filter(|second| (half..whole).contains(&second.at_s));
    let (published, delivered) = second.fold((0, 0), |(published, delivered), second| {
        (published + second.published, delivered + second.deliveries)
    });
    let due = published * hearers(run);
    (due > 0).then(|| real(due.saturating_sub(delivered)) / real(due))
}

/// The clients that each message was for.
fn hearers(run: &Run) -> u64 {
    match (run.load.direct, run.load.channels) {
        (true, _) => 1,
        (false, Some(channels)) => run.totals.connected / channels.max(1),
        (false, None) => run.totals.connected,
    }
}

/// The decision of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Held,
    Missed,
    Unproven,
}

/// Returns the outcome of all repeats as soon as it is certain: more than half of the asked repeats
/// for held, half for missed. Runs that prove nothing are repeated, until they too are more than
/// half.
pub(crate) fn decide<'a>(
    repeats: usize,
    outcomes: impl IntoIterator<Item = &'a Outcome>,
) -> Option<Decision> {
    let (mut held, mut missed, mut unproven) = (0, 0, 0);
    for outcome in outcomes {
        match outcome {
            Outcome::Held => held += 1,
            Outcome::Missed(_) => missed += 1,
            Outcome::Unproven(_) => unproven += 1,
        }
    }
    if held > repeats / 2 {
        Some(Decision::Held)
    } else if missed >= repeats.div_ceil(2) {
        Some(Decision::Missed)
    } else if unproven > repeats / 2 {
        Some(Decision::Unproven)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slo(text: &str) -> Result<Threshold, String> {
        text.parse()
    }
    use crate::output::sample;

    const CLIENTS: u64 = 100;

    /// A run of 100 clients at 50/s for three seconds, with nothing wrong: p99 is 3.97 ms.
    fn run() -> Run {
        let mut run = sample::bare("", 1_000_000);
        run.load.clients = CLIENTS;
        run.totals.connected = CLIENTS;
        run.totals.deliveries = 15_000;
        run.totals.lost = 0;
        for second in &mut run.series {
            second.deliveries = second.published * CLIENTS;
        }
        run
    }

    fn fault() -> Fault {
        Fault { what: "the generator was late".to_owned(), remedy: "more threads".to_owned() }
    }

    fn of(run: &Run) -> Outcome {
        outcome_of(run, &[slo("p99<20ms").unwrap(), slo("lost==0").unwrap()])
    }

    #[test]
    fn an_slo_is_a_threshold_or_a_percentile() {
        assert_eq!(slo(" p99.9 < 20ms"), "delivery.p99.9 < 20ms".parse());
        assert_eq!(slo("published_per_s>10"), "published_per_s>10".parse());
        assert!(slo("p99").is_err() && slo("p101<1ms").is_err() && slo("").is_err());
    }

    #[test]
    fn a_clean_run_holds_or_misses() {
        assert_eq!(of(&run()), Outcome::Held);
        let slow = outcome_of(&run(), &[slo("p99<2ms").unwrap()]);
        assert_eq!(slow, Outcome::Missed(vec!["delivery.p99<2ms: 3.97 ms".to_owned()]));
        let mut lossy = run();
        lossy.totals.lost = 7;
        assert_eq!(of(&lossy), Outcome::Missed(vec!["lost==0: 7".to_owned()]));
    }

    #[test]
    fn a_generator_that_is_the_limit_proves_nothing() {
        let mut late = run();
        late.faults = vec![fault()];
        assert_eq!(of(&late), Outcome::Unproven(fault()));
        // Its losses may then come from a generator that does not read.
        late.totals.lost = 7;
        assert_eq!(of(&late), Outcome::Unproven(fault()));
    }

    #[test]
    fn lateness_counts_by_what_is_asked_for() {
        let slos =
            |text: &str| [slo("lost==0").unwrap(), slo("p99<1s").unwrap(), slo(text).unwrap()];
        let left = |late_ms: u64, faults: usize, text: &str| {
            let mut late = run();
            late.latencies.get_mut("late").unwrap().p99_ns = late_ms * 1_000_000;
            late.faults = vec![fault(); faults];
            late.faults.push(Fault { what: "8 receipts are too few".to_owned(), ..fault() });
            excuse(&mut late, &slos(text));
            late.faults.len()
        };
        assert_eq!(left(2, 1, "p99<20ms"), 1, "a tenth of the bound, half of what was measured");
        assert_eq!(left(3, 1, "p99<20ms"), 2);
        assert_eq!(left(3, 1, "handshake.p99<1ms"), 1, "which is no bound of messages");
        assert_eq!(left(0, 0, "p99<20ms"), 1, "what else there is stays");
    }

    #[test]
    fn a_server_that_is_the_limit_is_not_excused_by_the_generator() {
        let mut full = run();
        full.faults = vec![fault()];
        full.totals.lost = 7;
        full.server.as_mut().unwrap().busiest_thread_share = 0.99;
        assert_eq!(of(&full), Outcome::Missed(vec!["lost==0: 7".to_owned()]));
        full.totals.lost = 0;
        assert_eq!(of(&full), Outcome::Unproven(fault()), "it may hold with a better generator");
    }

    #[test]
    fn what_was_lost_may_be_what_the_samples_lack() {
        let mut few = run();
        few.totals.deliveries = 900;
        few.faults = vec![fault()];
        few.totals.lost = 14_100;
        assert!(matches!(of(&few), Outcome::Missed(_)));
        few.faults.push(fault());
        assert!(matches!(of(&few), Outcome::Unproven(_)), "there is more than the samples to it");
        few.faults.pop();
        few.totals.published = 9;
        assert!(matches!(of(&few), Outcome::Unproven(_)), "so few were asked for");
    }

    #[test]
    fn refused_clients_are_missed_and_those_that_could_not_leave_prove_nothing() {
        let mut run = run();
        run.totals.connected = 97;
        run.faults = vec![fault()];
        run.totals.failures = [("HTTP/1.1 503 no room".to_owned(), 3)].into();
        let why = "3 of 100 clients were refused: HTTP/1.1 503 no room".to_owned();
        assert_eq!(of(&run), Outcome::Missed(vec![why]));
        run.totals.failures.insert("Too many open files (os error 24)".to_owned(), 1);
        assert_eq!(of(&run), Outcome::Unproven(fault()));
        run.totals.failures.clear();
        assert_eq!(of(&run), Outcome::Unproven(fault()));
    }

    /// Of what is published in the second half a fifth stays behind.
    #[test]
    fn a_queue_that_grows_is_missed_and_one_that_stands_is_not() {
        let mut run = run();
        run.totals.seconds = 4.0;
        run.series.push(run.series[2].clone());
        for (place, second) in run.series.iter_mut().enumerate() {
            second.at_s = [0.0, 1.0, 2.0, 3.0][place];
            second.published = 50;
            // A standing queue is what the first second leaves behind.
            second.deliveries = if place == 0 { 2_000 } else { 5_000 };
        }
        assert_eq!((growth(&run), of(&run)), (Some(0.0), Outcome::Held));
        run.series[2].deliveries = 4_000;
        run.series[3].deliveries = 4_000;
        let why = "the queue grew by 20 % of what was published".to_owned();
        assert_eq!(of(&run), Outcome::Missed(vec![why]));
        run.load.rate = None;
        assert_eq!(growth(&run), None, "a closed loop waits");
    }

    #[test]
    fn most_of_the_repeats_decide() {
        let (held, missed) = (Outcome::Held, Outcome::Missed(Vec::new()));
        let unproven = Outcome::Unproven(fault());
        let of = |repeats, outcomes: &[&Outcome]| decide(repeats, outcomes.iter().copied());
        assert_eq!(of(3, &[&held, &missed]), None);
        assert_eq!(of(3, &[&held, &missed, &held]), Some(Decision::Held));
        assert_eq!(of(3, &[&missed, &missed]), Some(Decision::Missed));
        assert_eq!(of(3, &[&held, &missed, &unproven]), None, "what proves nothing is repeated");
        assert_eq!(of(3, &[&unproven, &held, &unproven]), Some(Decision::Unproven));
        assert_eq!(of(1, &[]), None);
        assert_eq!(of(1, &[&unproven]), Some(Decision::Unproven));
        assert_eq!(of(2, &[&held]), None);
        assert_eq!(of(2, &[&held, &missed]), Some(Decision::Missed), "in doubt it is missed");
    }

    proptest! {
        /// Whatever comes, a step ends before half as many runs again as were asked for, and one
        /// more; and it ends with what most of them said.
        #[test]
        fn a_step_ends(
            repeats in 1_usize..20,
            kinds in proptest::collection::vec(0..3, 40),
        ) {
            let mut outcomes = Vec::new();
            let mut kinds = kinds.into_iter();
            let decision = loop {
                if let Some(decision) = decide(repeats, &outcomes) {
                    break decision;
                }
                outcomes.push(match kinds.next().unwrap() {
                    0 => Outcome::Held,
                    1 => Outcome::Missed(Vec::new()),
                    _ => Outcome::Unproven(fault()),
                });
            };
            prop_assert!(outcomes.len() <= repeats + repeats / 2 + 1, "{}", outcomes.len());
            let alike = outcomes.iter().filter(|outcome| match decision {
                Decision::Held => matches!(outcome, Outcome::Held),
                Decision::Missed => matches!(outcome, Outcome::Missed(_)),
                Decision::Unproven => matches!(outcome, Outcome::Unproven(_)),
            });
            prop_assert!(alike.count() >= repeats.div_ceil(2));
        }
    }
}
