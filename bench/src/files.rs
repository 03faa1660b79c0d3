//! Where runs go, what they must meet, and the exit code that follows from it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::output::threshold::Threshold;
use crate::output::{self, compare, summary};
use crate::run::Run;

/// The command line makes no sense, or a file cannot be read or written.
pub(crate) const USAGE: u8 = 2;
/// The server cannot be reached, or the run failed.
pub(crate) const FAILED: u8 = 3;
/// The run is not valid: what it found proves nothing.
pub(crate) const INVALID: u8 = 4;
/// A threshold is not met.
pub(crate) const MISSED: u8 = 99;

/// Where a run goes, and what it must meet.
#[derive(clap::Args)]
pub(crate) struct Files {
    /// A bound that the run must meet, such as delivery.p99<20ms or lost==0; may be repeated.
    #[arg(long, value_name = "FIGURE<BOUND")]
    threshold: Vec<Threshold>,
    /// The whole run, as JSON; several runs are an array.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Percentiles, for the plotter of `HdrHistogram`.
    #[arg(long, value_name = "FILE")]
    hgrm: Option<PathBuf>,
    /// One histogram a second, as an interval log.
    #[arg(long, value_name = "FILE")]
    hlog: Option<PathBuf>,
    /// One row a second.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl Files {
    /// Judges a run, by `more` thresholds as well, writes it, and says how it went.
    pub(crate) fn finish(&self, run: &mut Run, more: &[Threshold]) -> Result<u8, (u8, String)> {
        self.judge(run, more);
        let usage = |text: String| (USAGE, text);
        if let Some(path) = &self.json {
            write(path, &output::json::write(run)).map_err(usage)?;
        }
        for (ending, path) in [("hgrm", &self.hgrm), ("hlog", &self.hlog), ("csv", &self.csv)] {
            let Some(path) = path else { continue };
            let text = output::export_one(run, ending).map_err(usage)?;
            write(path, &text).map_err(usage)?;
        }
        say(&summary::write(run, summary::wants_colour()));
        Ok(if !run.faults.is_empty() {
            INVALID
        } else if run.thresholds.iter().any(|verdict| !verdict.met) {
            MISSED
        } else {
            0
        })
    }

    /// Returns an error for outputs that cannot be made of several runs.
    pub(crate) fn check_several(&self) -> Result<(), (u8, String)> {
        for (flag, path) in [("hgrm", &self.hgrm), ("hlog", &self.hlog), ("csv", &self.csv)] {
            if path.is_some() {
                let text = format!(
                    "--{flag} is of one run and there are several: keep them with --json, and make \
                     it of one with report"
                );
                return Err((USAGE, text));
            }
        }
        Ok(())
    }

    /// Judges runs of several sides, writes them, and sets them side by side. A side of which half
    /// the runs or more prove nothing makes all of it so.
    pub(crate) fn finish_several(
        &self,
        runs: &mut [Run],
        table: fn(&[Run]) -> String,
    ) -> Result<ExitCode, (u8, String)> {
        for run in runs.iter_mut() {
            self.judge(run, &[]);
        }
        if let Some(path) = &self.json {
            write(path, &output::json::write_all(runs)).map_err(|text| (USAGE, text))?;
        }
        if runs.is_empty() {
            return Err((INVALID, "interrupted before the first run was through".to_owned()));
        }
        say(&table(runs));
        let missed = missed(runs);
        say(&missed);
        Ok(ExitCode::from(if compare::proves_nothing(runs) {
            INVALID
        } else if missed.is_empty() {
            0
        } else {
            MISSED
        }))
    }

    fn judge(&self, run: &mut Run, more: &[Threshold]) {
        let all = more.iter().chain(&self.threshold);
        run.thresholds = all.map(|threshold| threshold.judge(run)).collect();
    }
}

/// A line for every threshold that some run misses. Runs that cannot have the figure, as others do,
/// miss nothing.
fn missed(runs: &[Run]) -> String {
    let mut lines = Vec::new();
    let verdicts = || runs.iter().flat_map(|run| &run.thresholds);
    let nowhere = |threshold: &str| {
        !verdicts().any(|verdict| verdict.threshold == threshold && verdict.found.is_some())
    };
    for run in runs {
        for verdict in run.thresholds.iter().filter(|verdict| !verdict.met) {
            if verdict.found.is_none() && !nowhere(&verdict.threshold) {
                continue;
            }
            let line = format!("✗ {}: {} is missed\n", run.label, verdict.threshold);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    lines.concat()
}

fn say(text: &str) {
    // A reader that has gone has had enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
