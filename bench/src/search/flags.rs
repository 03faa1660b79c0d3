//! The flags of a search.

use super::sequence::LoadSequence;
use crate::load::{Plan, SAMPLES_MIN};
use crate::meter::real;
use crate::output::threshold::Threshold;
use crate::run::By;
use crate::{host, units};

/// The bound of every search.
const ALWAYS: &str = "lost==0";

/// The rate at which a search begins, and the greatest; the number of clients at which one begins.
const START_RATE: f64 = 10.0;
const MAX_RATE: f64 = 1e6;
const START_CLIENTS: f64 = 100.0;

/// Descriptors that are no clients', and of each thread as many again: the runtime keeps one of
/// every executor that ended, and each run has one a thread.
const OTHER_DESCRIPTORS: u64 = 100;

/// A search, as asked for.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Search {
    #[command(flatten)]
    pub(crate) plan: Plan,
    /// A threshold that must hold: p99<20ms of delivery, or any other; may be given several times.
    /// In addition nothing may be lost, and no queue may grow.
    #[arg(long, required = true, value_name = "FIGURE<BOUND")]
    pub(super) slo: Vec<Threshold>,
    /// The quantity to raise: the rate with as many clients, or the clients at one rate.
    #[arg(long, default_value = "rate")]
    pub(super) by: By,
    /// The load to begin with, and the least that is tried; 10/s, or 100 clients.
    #[arg(long, value_name = "LOAD", value_parser = units::rate)]
    pub(super) start: Option<f64>,
    /// The greatest that is tried; 1M/s, or as many clients as this process may have descriptors.
    #[arg(long, value_name = "LOAD", value_parser = units::rate)]
    pub(super) max: Option<f64>,
    /// How much greater each load is than the last, on the way up.
    #[arg(long, value_name = "TIMES", default_value = "2")]
    pub(super) factor: f64,
    /// How near the greatest that holds and the least that does not must be.
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = units::share)]
    pub(super) precision: f64,
    /// How often each load is run. Most of them decide, so that two that agree make a third one
    /// needless.
    #[arg(long, value_name = "N", default_value = "3", value_parser = units::count)]
    pub(super) repeats: usize,
}

impl Search {
    /// Returns an error for flags that contradict each other.
    pub(crate) fn check(&self) -> Result<(), String> {
        let plan = &self.plan;
        if plan.traffic.window.is_some() {
            return Err("a search is an open loop: it takes no window".into());
        }
        match self.by {
            By::Rate if plan.traffic.rate.is_some() => {
                return Err("the rate is what is searched: --start and --max bound it".into());
            }
            By::Clients if plan.traffic.rate.is_none() => {
                return Err("a search by clients needs the rate that they hear: -r 20/s".into());
            }
            By::Clients if !plan.audience.is_everyone() => {
                return Err("a search by clients is of one channel for all of them".into());
            }
            _ => {}
        }
        plan.settled()?;
        if self.repeats == 0 || self.repeats > 99 {
            return Err("a step is run from once to 99 times".into());
        }
        let sequence = self.sequence()?;
        for load in [sequence.start, sequence.max] {
            self.plan_of(load).check()?;
        }
        let first = self.plan_of(sequence.start);
        let receipts = first.traffic.rate.unwrap_or(0.0)
            * real(first.hearers() as u64)
            * first.traffic.time.as_secs_f64();
        if receipts < real(SAMPLES_MIN) {
            return Err(format!(
                "the first step would bring {receipts:.0} receipts, and {SAMPLES_MIN} are the \
                 least that prove something: a longer -d, or a greater --start"
            ));
        }
        Ok(())
    }

    pub(super) fn sequence(&self) -> Result<LoadSequence, String> {
        let (start, max) = match self.by {
            By::Rate => (START_RATE, MAX_RATE),
            By::Clients => {
                let others = OTHER_DESCRIPTORS * (1 + self.plan.setup.threads as u64);
                let most = host::nofile_max().saturating_sub(others);
                // Agents of other hosts have limits of their own, mostly the same.
                let processes = self.plan.setup.agents.count().max(1) as u64;
                (START_CLIENTS, real(most.saturating_mul(processes).min(1_000_000)))
            }
        };
        let (start, max) = (self.start.unwrap_or(start), self.max.unwrap_or(max));
        LoadSequence::new(start, max, self.factor, self.precision, self.by == By::Clients)
    }

    /// The plan of one load.
    pub(super) fn plan_of(&self, load: f64) -> Plan {
        let mut plan = self.plan.clone();
        plan.setup.quiet = true;
        match self.by {
            By::Rate => plan.traffic.rate = Some(load),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a whole number of clients"
            )]
            By::Clients => plan.setup.clients = load as usize,
        }
        // Flags that make no sense together were refused before.
        plan.settled().unwrap_or(plan)
    }

    /// Returns the bounds that must hold: those that were typed, and the one of every search.
    pub(crate) fn slos(&self) -> Vec<Threshold> {
        let always: Threshold = ALWAYS.parse().expect("it is a threshold");
        let mut slos = self.slo.clone();
        if !slos.contains(&always) {
            slos.push(always);
        }
        slos
    }
}
