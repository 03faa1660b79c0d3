//! A search under way: runs the loads, and writes down what came of them.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::flags::Search;
use super::moved::moved;
use super::sequence::LoadSequence;
use super::verdict::{Decision, Outcome, decide, excuse, outcome_of};
use crate::live;
use crate::load::{Failed, Origin, Plan};
use crate::measure::Measure;
use crate::meter::{self, real};
use crate::output::threshold::Threshold;
use crate::output::{self, brief};
use crate::run::{self, Ended, Fault, Run, Step};

/// How long a server whose process is not known is left alone after a run.
const PAUSE: Duration = Duration::from_millis(250);

/// One run of a load, or why there is no record of it.
struct Repeat {
    outcome: Outcome,
    run: Option<Run>,
}

/// A search under way.
pub(super) struct Walk<'a> {
    search: &'a Search,
    slos: Vec<Threshold>,
    sequence: LoadSequence,
    steps: Vec<(Decision, Step, Vec<Repeat>)>,
}

/// Why a step has no decision.
enum Cut {
    Failed(Failed),
    Interrupted,
}

impl<'a> Walk<'a> {
    pub(super) fn new(search: &'a Search, sequence: LoadSequence) -> Self {
        Self { search, slos: search.slos(), sequence, steps: Vec::new() }
    }

    /// Walks the whole sequence, or as much of it as can be walked.
    pub(super) fn run(mut self, stopped: &Arc<AtomicBool>) -> Result<Option<Run>, Failed> {
        self.announce()?;
        let mut cut_short = None;
        while let Some(load) = self.sequence.next() {
            match self.step(load, stopped) {
                Ok(Decision::Unproven) => {
                    cut_short = Some((Ended::Unproven, self.fault(load)));
                    break;
                }
                Ok(decision) => self.sequence.tell(load, decision == Decision::Held),
                Err(Cut::Failed(error)) if self.steps.is_empty() => return Err(error),
                Err(Cut::Failed(error)) => {
                    cut_short = Some((Ended::Unreachable, self.failure(load, &error)));
                    break;
                }
                Err(Cut::Interrupted) => {
                    let what = format!("interrupted at {}", self.said(load));
                    let remedy = "let it run to its end".to_owned();
                    cut_short = Some((Ended::Interrupted, Fault { what, remedy }));
                    break;
                }
            }
        }
        let lost = self.steps.first().map(|(_, step, _)| step.why.join("; "));
        match (self.finish(cut_short), lost) {
            // Every run ended without a record.
            (None, Some(why)) => Err(Failed::Io(io::Error::other(why))),
            (found, _) => Ok(found),
        }
    }

    /// Returns the name of a load.
    fn said(&self, load: f64) -> String {
        output::search::load(self.search.by, load)
    }

    fn failure(&self, load: f64, error: &Failed) -> Fault {
        let why = match error {
            Failed::Unreachable(why) => why.clone(),
            Failed::Io(error) => error.to_string(),
        };
        Fault {
            what: format!("at {} the server was not there: {why}", self.said(load)),
            remedy: "see whether it has ended, and why".to_owned(),
        }
    }

    /// Prints the aim of the search, and the time that it may take.
    fn announce(&self) -> Result<(), Failed> {
        let Search { plan, repeats, .. } = self.search;
        if plan.setup.quiet {
            return Ok(());
        }
        let steps = self.sequence.steps_max();
        let each = (plan.traffic.warm_up + plan.traffic.time).as_secs_f64();
        let minutes = f64::from(steps) * real(*repeats as u64) * each / 60.0;
        let slos: Vec<&str> = self.slos.iter().map(Threshold::text).collect();
        let (least, most) = (self.said(self.sequence.start), self.said(self.sequence.max));
        let text = format!(
            "from {least} to {most} while {} and no queue grows: at most {steps} loads of \
             {repeats} runs of {each:.1} s, {minutes:.0} min",
            slos.join(", ")
        );
        Ok(live::say(&text)?)
    }

    /// Runs a load until it is decided.
    fn step(&mut self, load: f64, stopped: &Arc<AtomicBool>) -> Result<Decision, Cut> {
        let mut repeats: Vec<Repeat> = Vec::new();
        let plan = self.search.plan_of(load);
        let decision = loop {
            let outcomes = repeats.iter().map(|repeat| &repeat.outcome);
            if let Some(decision) = decide(self.search.repeats, outcomes) {
                break decision;
            }
            let repeat = self.repeat(&plan, stopped)?;
            self.tell(load, &repeat).map_err(Cut::Failed)?;
            repeats.push(repeat);
        };
        let verdict = match decision {
            Decision::Held => "held",
            Decision::Missed => "missed",
            Decision::Unproven => "unproven",
        };
        let why = repeats.iter().find_map(|repeat| match (&repeat.outcome, decision) {
            (Outcome::Missed(why), Decision::Missed) => Some(why.clone()),
            (Outcome::Unproven(fault), Decision::Unproven) => Some(vec![fault.what.clone()]),
            _ => None,
        });
        let runs = repeats.iter().filter_map(|repeat| repeat.run.clone()).collect();
        let step = Step { load, verdict: verdict.to_owned(), why: why.unwrap_or_default(), runs };
        self.steps.push((decision, step, repeats));
        Ok(decision)
    }

    /// The same load, against a server that had clients in earlier steps.
    fn used(&self, plan: &Plan) -> Plan {
        let mut plan = plan.clone();
        if !self.steps.is_empty() {
            plan.setup.server_origin = Origin::Used;
        }
        plan
    }

    fn repeat(&self, plan: &Plan, stopped: &Arc<AtomicBool>) -> Result<Repeat, Cut> {
        // Work that the last run left with the server is not part of this one.
        match plan.setup.server_pid {
            Some(pid) => meter::settle(pid).map_err(|error| Cut::Failed(error.into()))?,
            None => std::thread::park_timeout(PAUSE),
        }
        let found =
            if stopped.load(Ordering::Relaxed) { None } else { Some(self.used(plan).run(stopped)) };
        match found {
            None => Err(Cut::Interrupted),
            Some(_) if stopped.load(Ordering::Relaxed) => Err(Cut::Interrupted),
            Some(Ok(mut run)) => {
                excuse(&mut run, &self.slos);
                run.thresholds = self.slos.iter().map(|slo| slo.judge(&run)).collect();
                Ok(Repeat { outcome: outcome_of(&run, &self.slos), run: Some(run) })
            }
            // A server that does not read what it is told cannot keep up.
            Some(Err(Failed::Io(error))) if error.kind() == ErrorKind::QuotaExceeded => {
                Ok(Repeat { outcome: Outcome::Missed(vec![error.to_string()]), run: None })
            }
            Some(Err(error)) => Err(Cut::Failed(error)),
        }
    }

    /// A line for each run.
    fn tell(&self, load: f64, repeat: &Repeat) -> Result<(), Failed> {
        if self.search.plan.setup.quiet {
            return Ok(());
        }
        let (word, why) = match &repeat.outcome {
            Outcome::Held => ("held", String::new()),
            Outcome::Missed(why) => ("missed", why.join("; ")),
            Outcome::Unproven(fault) => ("unproven", fault.what.clone()),
        };
        let figures = repeat.run.as_ref().map(brief::write).unwrap_or_default();
        let (number, load) = (self.steps.len() + 1, self.said(load));
        let line = format!("step {number}  {load}  {word:8}  {figures}  {why}");
        Ok(live::say(line.trim_end())?)
    }

    /// Returns the reason why the last run at a load proved nothing.
    fn fault(&self, load: f64) -> Fault {
        let repeats = self.steps.last().map(|(_, _, repeats)| &repeats[..]).unwrap_or_default();
        let mut faults = repeats.iter().filter_map(|repeat| match &repeat.outcome {
            Outcome::Unproven(fault) => Some(fault),
            _ => None,
        });
        let fault = faults.next_back().cloned().unwrap_or_default();
        Fault { what: format!("at {}: {}", self.said(load), fault.what), ..fault }
    }

    /// The step of a load.
    fn step_of(&self, load: Option<f64>) -> Option<&(Decision, Step, Vec<Repeat>)> {
        self.steps.iter().find(|(_, step, _)| Some(step.load) == load)
    }

    fn finish(self, cut_short: Option<(Ended, Fault)>) -> Option<Run> {
        let (held, missed) = (self.sequence.held(), self.sequence.missed());
        let agreeing = |load| {
            let (decision, _, repeats) = self.step_of(load)?;
            Some(runs_that_agree(*decision, repeats))
        };
        let (ended, fault) = match cut_short {
            Some((ended, fault)) => (ended, Some(fault)),
            None if held.is_none() => (Ended::None, None),
            None if missed.is_none() => (Ended::Max, None),
            None => (Ended::Found, None),
        };
        let moved = match (agreeing(held), agreeing(missed)) {
            (Some(held), Some(missed)) => moved(&held, &missed),
            _ => Vec::new(),
        };
        // The answer, or what is nearest to one.
        let shown = agreeing(held).or_else(|| agreeing(missed)).filter(|runs| !runs.is_empty());
        let mut shown = shown
            .map(|runs| median_run(runs, &self.slos).clone())
            .or_else(|| self.steps.iter().find_map(|(_, step, _)| step.runs.first().cloned()))?;
        "search".clone_into(&mut shown.command);
        let Search { by, factor, precision, repeats, .. } = self.search;
        shown.search = Some(Box::new(run::Search {
            by: *by,
            slos: self.slos.iter().map(|slo| slo.text().to_owned()).collect(),
            start: self.sequence.start,
            max: self.sequence.max,
            factor: *factor,
            precision: *precision,
            repeats: *repeats as u64,
            held,
            missed,
            ended,
            fault,
            moved,
            steps: self.steps.into_iter().map(|(_, step, _)| step).collect(),
        }));
        Some(shown)
    }
}

/// The records of those repeats that said what the step came to.
fn runs_that_agree(decision: Decision, repeats: &[Repeat]) -> Vec<&Run> {
    let agree = |repeat: &&Repeat| match decision {
        Decision::Held => repeat.outcome == Outcome::Held,
        Decision::Missed => matches!(repeat.outcome, Outcome::Missed(_)),
        Decision::Unproven => matches!(repeat.outcome, Outcome::Unproven(_)),
    };
    repeats.iter().filter(agree).filter_map(|repeat| repeat.run.as_ref()).collect()
}

/// The run in the middle by what was to hold first; of two the worse one, if less is better.
fn median_run<'a>(mut runs: Vec<&'a Run>, slos: &[Threshold]) -> &'a Run {
    let value = |run: &Run| {
        let found = slos.first().and_then(|slo| slo.judge(run).found);
        found.unwrap_or(f64::INFINITY)
    };
    runs.sort_by(|a, b| value(a).total_cmp(&value(b)));
    runs[runs.len() / 2]
}
