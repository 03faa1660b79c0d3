//! The faults of a run that its agents cause.

use crate::meter::real;
use crate::output::units::time;
use crate::run::{Agent, Fault};

/// Faults of the agents' own, where a p99 of so many nanoseconds was measured; none: no moments of
/// different processes were compared.
pub(crate) fn faults(agents: &[Agent], p99_ns: Option<u64>) -> Vec<Fault> {
    let worst = agents.iter().max_by_key(|agent| agent.clock_uncertainty_ns);
    let clock = worst.zip(p99_ns).filter(|(agent, p99)| agent.clock_uncertainty_ns > p99 / 10);
    let clock = clock.map(|(agent, _)| Fault {
        what: format!(
            "the clock of {} is known to {} only, which is over a tenth of the p99",
            agent.name,
            time(real(agent.clock_uncertainty_ns))
        ),
        remedy: "agents nearer to each other, or publishers and listeners in one process"
            .to_owned(),
    });
    let lost: u64 = agents.iter().map(|agent| agent.notes_lost).sum();
    let notes = (lost > 0).then(|| Fault {
        what: format!("{lost} notes between the agents were lost: publish-to-last lacks them"),
        remedy: "a lower rate, or cores that the generator does not use".to_owned(),
    });
    clock.into_iter().chain(notes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(name: &str, clock_uncertainty_ns: u64, notes_lost: u64) -> Agent {
        Agent { name: name.to_owned(), clock_uncertainty_ns, notes_lost, ..Agent::default() }
    }

    #[test]
    fn a_clock_must_be_known_to_a_tenth_of_what_is_measured() {
        let agents = [agent("agent 1", 0, 0), agent("agent 2 (far:7000)", 100_001, 0)];
        assert_eq!(faults(&agents, Some(1_000_020)), []);
        assert_eq!(faults(&agents, None), []);
        let [fault] = &faults(&agents, Some(1_000_000))[..] else { panic!("one fault") };
        assert!(fault.what.contains("agent 2 (far:7000)") && fault.what.contains(" 100 µs "));
        assert_eq!(faults(&agents[..1], Some(0)), [], "one clock is known");
    }

    #[test]
    fn lost_notes_are_said() {
        let agents = [agent("agent 1", 0, 3), agent("agent 2", 0, 4)];
        let [fault] = &faults(&agents, None)[..] else { panic!("one fault") };
        assert!(fault.what.starts_with("7 notes"));
        assert_eq!(faults(&[], Some(1)), []);
    }
}
