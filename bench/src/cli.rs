//! The command line.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Parser, Subcommand};

use crate::load::{self, Aim, Echo, Failed, Idle, Limit, Plan, Storm};
use crate::output::threshold::Threshold;
use crate::output::{self, summary};
use crate::run::Run;
use crate::scenario::Scenario;
use crate::{agents, host, raw};

/// The command line makes no sense, or a file cannot be read or written.
const USAGE: u8 = 2;
/// The server cannot be reached, or the run failed.
const FAILED: u8 = 3;
/// The run is not valid: what it found proves nothing.
const INVALID: u8 = 4;
/// A threshold is not met.
const MISSED: u8 = 99;

/// Latency and load of WebSocket broadcast servers, in figures that can be trusted.
#[derive(Parser)]
#[command(
    about,
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 measured, 2 usage, 3 not reachable, 4 the run is not valid, \
                  99 a threshold is missed."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Fan-out: publishers speak, all clients listen; latency at a rate, or capacity.
    Fanout(Box<Fanout>),
    /// Echoes: every client speaks and hears itself; round trips at a rate, or as many as can be.
    Echo(Box<Errand<Echo>>),
    /// A connect storm, and storms of reconnects: accepts a second, and what a handshake takes.
    Connect(Errand<Storm>),
    /// Silent clients: memory and CPU of the server, pings answered.
    Idle(Errand<Idle>),
    /// Drive clients for a coordinator that is run with --agents, on this host or another.
    Agent(agents::Args),
    #[command(flatten)]
    Output(output::Command),
    /// One fixed figure of a server, as JSON: what scripts/figures.sh is made of.
    #[command(subcommand)]
    Figure(Scenario),
    /// Serve as the bare loop: accept, a fixed 101, one send(2) for each client and message.
    Raw(raw::Args),
}

#[derive(clap::Args)]
struct Fanout {
    #[command(flatten)]
    plan: Plan,
    #[command(flatten)]
    limit: Limit,
    #[command(flatten)]
    files: Files,
}

/// A load without messages, and where its record goes.
#[derive(clap::Args)]
struct Errand<T: clap::Args> {
    #[command(flatten)]
    load: T,
    #[command(flatten)]
    files: Files,
}

/// Where a run goes, and what it must meet.
#[derive(clap::Args)]
struct Files {
    /// What the run must meet, such as delivery.p99<20ms or lost==0; may be given several times.
    #[arg(long, value_name = "FIGURE<BOUND")]
    threshold: Vec<Threshold>,
    /// The whole run, as JSON.
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

impl Cli {
    /// Does what was asked for; what goes wrong is one line on standard error.
    pub(crate) fn run(self) -> ExitCode {
        let (code, text) = match self.command {
            Command::Output(command) => return command.run(),
            Command::Fanout(fanout) => match fanout.run() {
                Ok(code) => return code,
                Err(failed) => failed,
            },
            Command::Echo(errand) => match errand.echo() {
                Ok(code) => return code,
                Err(failed) => failed,
            },
            Command::Connect(Errand { load, files }) => {
                match start(&load.aim, &files, |stopped| load.run(stopped)) {
                    Ok(code) => return code,
                    Err(failed) => failed,
                }
            }
            Command::Idle(Errand { load, files }) => {
                match start(&load.aim, &files, |stopped| load.run(stopped)) {
                    Ok(code) => return code,
                    Err(failed) => failed,
                }
            }
            Command::Agent(args) => match serve_agent(&args) {
                Ok(()) => return ExitCode::SUCCESS,
                Err(failed) => failed,
            },
            Command::Figure(scenario) => {
                match host::raise_nofile().and_then(|()| scenario.run()) {
                    Ok(found) => {
                        // A reader that has gone has had enough.
                        let _ = writeln!(std::io::stdout(), "{found}");
                        return ExitCode::SUCCESS;
                    }
                    Err(error) => (FAILED, error.to_string()),
                }
            }
            Command::Raw(args) => {
                let served = host::raise_nofile()
                    .and_then(|()| host::pin(args.core))
                    .and_then(|()| raw::serve(args));
                match served {
                    Ok(never) => match never {},
                    Err(error) => (FAILED, error.to_string()),
                }
            }
        };
        // Where standard error is closed, the exit code still says it.
        let _ = writeln!(std::io::stderr(), "stentor-bench: {text}");
        ExitCode::from(code)
    }
}

impl Fanout {
    fn run(&self) -> Result<ExitCode, (u8, String)> {
        let plan = &self.plan;
        plan.check().and_then(|()| self.limit.check(plan)).map_err(|text| (USAGE, text))?;
        start(&plan.aim, &self.files, |stopped| {
            let mut run = load::run(plan, stopped)?;
            run.limit = self.limit.run(plan, stopped)?;
            Ok(run)
        })
    }
}

impl Errand<Echo> {
    fn echo(self) -> Result<ExitCode, (u8, String)> {
        let plan = self.load.plan();
        plan.check().map_err(|text| (USAGE, text))?;
        start(&plan.aim, &self.files, |stopped| load::run(&plan, stopped))
    }
}

fn serve_agent(args: &agents::Args) -> Result<(), (u8, String)> {
    args.check().map_err(|text| (USAGE, text))?;
    let served = host::raise_nofile().and_then(|()| args.serve());
    served.map_err(|error| (FAILED, error.to_string()))
}

/// Prepares the process for a load, runs it, and finishes its record or explains its failure.
fn start(
    aim: &Aim,
    files: &Files,
    load: impl FnOnce(&Arc<AtomicBool>) -> Result<Run, Failed>,
) -> Result<ExitCode, (u8, String)> {
    aim.check().map_err(|text| (USAGE, text))?;
    let failed = |error: std::io::Error| (FAILED, error.to_string());
    host::raise_nofile().map_err(failed)?;
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        // The second one ends the process at once; the first one lets it say what it has.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stopped))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stopped)))
            .map_err(failed)?;
    }
    let mut run = load(&stopped).map_err(|error| match error {
        Failed::Unreachable(why) => (FAILED, format!("{}: {why}", aim.url)),
        Failed::Io(error) => failed(error),
    })?;
    files.finish(&mut run)
}

impl Files {
    /// Judges, writes, and says how it went.
    fn finish(&self, run: &mut Run) -> Result<ExitCode, (u8, String)> {
        run.thresholds = self.threshold.iter().map(|threshold| threshold.judge(run)).collect();
        let usage = |text: String| (USAGE, text);
        if let Some(path) = &self.json {
            write(path, &output::json::write(run)).map_err(usage)?;
        }
        for (ending, path) in [("hgrm", &self.hgrm), ("hlog", &self.hlog), ("csv", &self.csv)] {
            let Some(path) = path else { continue };
            let text = output::export_one(run, ending).map_err(usage)?;
            write(path, &text).map_err(usage)?;
        }
        let text = summary::write(run, summary::wants_colour());
        // A reader that has gone has had enough.
        let _ = std::io::stdout().write_all(text.as_bytes());
        Ok(if !run.faults.is_empty() {
            ExitCode::from(INVALID)
        } else if run.thresholds.iter().any(|verdict| !verdict.met) {
            ExitCode::from(MISSED)
        } else {
            ExitCode::SUCCESS
        })
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
        let read = |line: &str| Cli::try_parse_from(line.split_whitespace());
        assert!(read("x fanout ws://h:1/ws -c 10k -r 500/s -d 30s --warmup 5s --size 128").is_ok());
        assert!(
            read("x fanout ws://h:1/ws --threshold delivery.p99<20ms --threshold lost==0").is_ok()
        );
        assert!(read("x fanout ws://h:1/ws -r 5/s -w 3").is_err(), "open or closed, not both");
        assert!(read("x fanout ws://h:1/ws --threshold nonsense<1").is_err());
        assert!(read("x figure fanout --pid 1 -c 15000 -w 16 -d 2.5").is_ok());
        assert!(read("x figure fanout --pid 1 -w 0").is_err());
        assert!(read("x figure latency --pid 1 -r 0").is_err());
    }
}
