//! The outputs of a run: text, files for other tools, comparisons and a report.
//!
//! All but the two subcommands here is pure: a [`Run`] goes in, text comes out.

pub(crate) mod units;
pub(crate) mod figure;
pub(crate) mod hist;
pub(crate) mod json;
pub(crate) mod csv;
pub(crate) mod hlog;
pub(crate) mod threshold;
pub(crate) mod summary;
pub(crate) mod brief;
pub(crate) mod search;
pub(crate) mod ratio;
pub(crate) mod compare;
mod html;
mod chart;
mod report;
#[cfg(test)]
pub(crate) mod sample;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::run::Run;

/// The exit code where files cannot be read or written, as for other misuse.
const USAGE: u8 = 2;

/// The commands over runs that were kept as JSON.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Compare kept runs: medians, and ratios to the first label.
    Compare {
        /// Runs, as JSON; the label decides which belong together, without one the file's name.
        #[arg(required = true, num_args = 1.., value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Draw kept runs into one page, or write one for other tools.
    Report {
        /// Runs, as JSON.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Where to; its ending says what.
        #[arg(short, long, default_value = "report.html")]
        output: PathBuf,
    },
}

impl Command {
    /// Does what was asked; what is wrong with the files is one line on standard error.
    pub(crate) fn run(&self) -> ExitCode {
        let result = match self {
            Self::Compare { files } => json::read_all(files).and_then(|runs| {
                if runs.len() < 2 {
                    return Err("one run has nothing to be compared with".to_owned());
                }
                // A reader that has gone, as `head` does, has had enough.
                let _ = std::io::stdout().write_all(compare::write(&runs).as_bytes());
                Ok(())
            }),
            Self::Report { files, output } => {
                json::read_all(files).and_then(|runs| export(&runs, output))
            }
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                // Where standard error is closed, the exit code still says it.
                let _ = writeln!(std::io::stderr(), "stentor-bench: {error}");
                ExitCode::from(USAGE)
            }
        }
    }
}

fn export(runs: &[Run], path: &Path) -> Result<(), String> {
    let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
    let text = match (ending.as_str(), runs) {
        ("html", runs) => report::write(runs)?,
        ("hgrm" | "hlog" | "csv" | "txt", [run]) => export_one(run, &ending)?,
        ("hgrm" | "hlog" | "csv" | "txt", _) => {
            return Err(format!("{}: one run at a time, {} given", path.display(), runs.len()));
        }
        _ => return Err(format!("{}: not .html, .hgrm, .hlog, .csv or .txt", path.display())),
    };
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

pub(crate) fn export_one(run: &Run, ending: &str) -> Result<String, String> {
    match ending {
        "hgrm" => {
            let (_, latency) = figure::main_latency(run).ok_or("the run measured no latency")?;
            let histogram = hist::decode(&latency.histogram)?;
            Ok(stentor_hgrm::write(&histogram, stentor_hgrm::Unit::Nanoseconds))
        }
        "hlog" => hlog::write(run),
        "csv" => csv::write(run),
        _ => Ok(summary::write(run, false)),
    }
}
