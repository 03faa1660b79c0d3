//! The raw limit of this host: the bare loops under one load, in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bare::{Kind, start};
use crate::live::say;
use crate::load::{Failed, Origin, Plan, Setup, Storm};
use crate::measure::Measure;
use crate::meter;
use crate::output::figure::Figure;
use crate::output::{brief, compare};
use crate::run::Run;
use crate::units;

/// The placeholder of a server's address, which this command does not need.
const NOWHERE: &str = "ws://127.0.0.1:1/ws";

/// Figures of the fan-outs in the table, and of the storms before them.
const FANOUT: [&str; 6] = [
    "deliveries_per_s",
    "server.cpu_per_delivery",
    "delivery.p50",
    "delivery.p99",
    "last.p99",
    "server.cpu_share",
];
const STORM: [&str; 2] = ["server.cpu_per_connect", "connects_per_s"];

/// Which bare loops, and how often.
#[derive(Debug, Clone, clap::Args)]
#[command(mut_arg("url", |url| url.required(false).hide(true).default_value(NOWHERE)))]
pub(crate) struct Limits {
    #[command(flatten)]
    pub(crate) plan: Plan,
    /// The bare loops to run; all if not given, and the first is what ratios are to.
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// How often each runs.
    #[arg(long, value_name = "N", default_value = "3", value_parser = units::count)]
    repeats: usize,
    /// The core that they run on.
    #[arg(long, value_name = "CORE")]
    limit_core: Option<usize>,
}

impl Limits {
    /// Returns an error for flags that contradict each other.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.plan.setup.url.to_string() != NOWHERE {
            return Err("limit starts its own servers and takes no address".into());
        }
        if self.repeats == 0 {
            return Err("at least one repeat".into());
        }
        let mut seen = Vec::new();
        for kind in &self.kinds {
            if seen.contains(kind) {
                return Err(format!("{} is there twice", kind.name()));
            }
            seen.push(*kind);
        }
        if !self.plan.audience.is_everyone() {
            return Err("the bare loops know neither channels nor users".into());
        }
        self.plan.settled()?.check()
    }

    /// A connect storm and a fan-out for each kind and repeat; another kind is the first in every
    /// repeat. What was interrupted is left out.
    pub(crate) fn run(&self, stopped: &Arc<AtomicBool>) -> Result<Vec<Run>, Failed> {
        let all = [Kind::Plain, Kind::Joined, Kind::Uring];
        let kinds = if self.kinds.is_empty() { &all[..] } else { &self.kinds };
        let mut runs = Vec::new();
        for repeat in 0..self.repeats {
            for place in 0..kinds.len() {
                let kind = kinds[(repeat + place) % kinds.len()];
                let both = self.one(kind, stopped)?;
                if stopped.load(Ordering::Relaxed) {
                    return Ok(in_order(runs, kinds));
                }
                if !self.plan.setup.quiet {
                    let (number, of, name) = (repeat + 1, self.repeats, kind.name());
                    say(&format!("{number} of {of}  {name}  {}", brief::write(&both[1])))?;
                }
                runs.extend(both);
            }
        }
        Ok(in_order(runs, kinds))
    }

    fn one(&self, kind: Kind, stopped: &Arc<AtomicBool>) -> Result<[Run; 2], Failed> {
        let (bare, address) = start(kind, self.limit_core)?;
        let mut plan = self.plan.against(address, bare.pid()).map_err(Failed::Unreachable)?;
        (plan.setup.label, plan.setup.quiet) = (kind.name().to_owned(), true);
        let storm = Storm::once(Setup { ..plan.setup.clone() }).run(stopped)?;
        meter::settle(bare.pid())?;
        plan.setup.server_origin = Origin::Used;
        let fanout = plan.run(stopped)?;
        bare.end()?;
        Ok([storm, fanout])
    }
}

/// By kind, so that the first is what the others are held against.
fn in_order(mut runs: Vec<Run>, kinds: &[Kind]) -> Vec<Run> {
    runs.sort_by_key(|run| kinds.iter().position(|kind| kind.name() == run.label));
    runs
}

/// Medians, spread, and ratios to the first kind.
pub(crate) fn table(runs: &[Run]) -> String {
    let (storms, fanouts): (Vec<Run>, Vec<Run>) =
        runs.iter().cloned().partition(|run| run.command == "connect");
    let named = |names: &'static [&str]| names.iter().filter_map(|name| Figure::named(name));
    let fanouts = compare::write_figures(&fanouts, named(&FANOUT));
    let storms = compare::write_figures(&storms, named(&STORM));
    format!("{fanouts}\n{storms}")
}
