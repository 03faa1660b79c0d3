//! The command line.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Parser, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use stentor_shards::descriptors;

use crate::files::{FAILED, Files, INVALID, MISSED, USAGE};
use crate::load::{Aim, Echo, Failed, Idle, Limit, Limits, Measure, Plan, Storm, limits};
use crate::output::{self, compare};
use crate::pair::Pair;
use crate::run::{Ended, Run};
use crate::scenario::Scenario;
use crate::search::Search;
use crate::{agents, host, live, raw, shell};

/// Someone did not want to wait for the end of an interrupted run.
const INTERRUPTED: i32 = 130;

/// An exit code, and what is said of it.
type Told = (u8, String);

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
    /// The greatest load that holds: steps up, then halves, each step warmed up and repeated.
    Search(Box<Searching>),
    /// The raw limit of this host: bare loops under one load, in turn, and their ratios.
    Limit(Box<BareLoops>),
    /// Drive clients for a coordinator that is run with --agents, on this host or another.
    Agent(agents::Args),
    #[command(flatten)]
    Output(output::Command),
    #[command(flatten)]
    Shell(shell::Command),
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
    pair: Pair,
    #[command(flatten)]
    files: Files,
}

#[derive(clap::Args)]
struct Searching {
    #[command(flatten)]
    search: Search,
    #[command(flatten)]
    files: Files,
}

#[derive(clap::Args)]
struct BareLoops {
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    files: Files,
}

/// A load without messages, and where its record goes.
#[derive(clap::Args)]
struct Errand<T: clap::Args> {
    #[command(flatten)]
    load: T,
    #[command(flatten)]
    pair: Pair,
    #[command(flatten)]
    files: Files,
}

impl Cli {
    /// Does what was asked for; what goes wrong is one line on standard error.
    pub(crate) fn run(self) -> ExitCode {
        let (code, text) = match self.command {
            Command::Output(command) => return command.run(),
            Command::Shell(command) => return command.run::<Self>(),
            Command::Fanout(fanout) => match fanout.run() {
                Ok(code) => return code,
                Err(failed) => failed,
            },
            Command::Echo(echo) => match echo.run() {
                Ok(code) => return code,
                Err(failed) => failed,
            },
            Command::Connect(storm) => match storm.run() {
                Ok(code) => return code,
                Err(failed) => failed,
            },
            Command::Idle(idle) => match idle.run() {
                Ok(code) => return code,
                Err(failed) => failed,
            },
            Command::Search(search) => match search.run() {
                Ok(code) => return code,
                Err(failed) => failed,
            },
            Command::Limit(limit) => match limit.run() {
                Ok(code) => return code,
                Err(failed) => failed,
            },
            Command::Agent(args) => match serve_agent(&args) {
                Ok(()) => return ExitCode::SUCCESS,
                Err(failed) => failed,
            },
            Command::Figure(scenario) => {
                match descriptors::raise_limit().and_then(|_| scenario.run()) {
                    Ok(found) => {
                        // A reader that has gone has had enough.
                        let _ = writeln!(std::io::stdout(), "{found}");
                        return ExitCode::SUCCESS;
                    }
                    Err(error) => (FAILED, error.to_string()),
                }
            }
            Command::Raw(args) => {
                let served = descriptors::raise_limit()
                    .and_then(|_| host::pin(args.core))
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
    fn run(&self) -> Result<ExitCode, Told> {
        let sense = self.plan.check().and_then(|()| self.limit.check(&self.plan));
        sense.map_err(|text| (USAGE, text))?;
        if self.pair.is_asked() && self.limit.is_asked() {
            let text = "--pair holds two servers against each other: name the bare loop as one of \
                        them instead of --against-limit";
            return Err((USAGE, text.to_owned()));
        }
        start(&self.plan, &self.pair, &self.files, |plan, stopped| {
            let mut run = plan.run(stopped)?;
            run.limit = self.limit.run(plan, stopped)?;
            Ok(run)
        })
    }
}

impl Searching {
    fn run(&self) -> Result<ExitCode, Told> {
        self.search.check().map_err(|text| (USAGE, text))?;
        let told = |error| told(&self.search.plan.aim, error);
        let Some(mut run) = self.search.run(&prepare()?).map_err(told)? else {
            return Err((INVALID, "interrupted before the first load was decided".to_owned()));
        };
        let code = self.files.finish(&mut run, &self.search.slos())?;
        let search = run.search.as_deref();
        let answer = search.map(output::search::answer).unwrap_or_default();
        match search.map(|search| search.ended).unwrap_or_default() {
            Ended::Found | Ended::Max => Ok(ExitCode::from(code)),
            Ended::None => Ok(ExitCode::from(MISSED)),
            Ended::Unproven | Ended::Interrupted => Err((INVALID, answer)),
            Ended::Unreachable => Err((FAILED, answer)),
        }
    }
}

impl BareLoops {
    fn run(&self) -> Result<ExitCode, Told> {
        self.limits.check().map_err(|text| (USAGE, text))?;
        self.files.check_several()?;
        let told = |error| told(&self.limits.plan.aim, error);
        let mut runs = self.limits.run(&prepare()?).map_err(told)?;
        self.files.finish_several(&mut runs, limits::table)
    }
}

impl<T: Measure + clap::Args> Errand<T> {
    fn run(&self) -> Result<ExitCode, Told> {
        self.load.check().map_err(|text| (USAGE, text))?;
        start(&self.load, &self.pair, &self.files, T::run)
    }
}

fn serve_agent(args: &agents::Args) -> Result<(), Told> {
    args.check().map_err(|text| (USAGE, text))?;
    let served = descriptors::raise_limit().and_then(|_| args.serve());
    served.map_err(|error| (FAILED, error.to_string()))
}

/// Prepares the process for a load, runs it, and finishes its record or explains its failure.
fn start<L: Measure>(
    load: &L,
    pair: &Pair,
    files: &Files,
    run: impl FnOnce(&L, &Arc<AtomicBool>) -> Result<Run, Failed>,
) -> Result<ExitCode, Told> {
    let told = |error| told(load.aim(), error);
    if pair.is_asked() {
        files.check_several()?;
        let mut runs = pair.run(load, &prepare()?).map_err(told)?;
        return files.finish_several(&mut runs, compare::write);
    }
    let mut run = run(load, &prepare()?).map_err(told)?;
    files.finish(&mut run, &[]).map(ExitCode::from)
}

/// Makes room for many clients; the flag is set when someone interrupts.
fn prepare() -> Result<Arc<AtomicBool>, Told> {
    let failed = |error: std::io::Error| (FAILED, error.to_string());
    descriptors::raise_limit().map_err(failed)?;
    let stopped = Arc::new(AtomicBool::new(false));
    stop_on_signals(Arc::clone(&stopped)).map_err(failed)?;
    Ok(stopped)
}

/// The first signal ends the run, which says what it has; the second one ends the process at once,
/// with the terminal as it was.
fn stop_on_signals(stopped: Arc<AtomicBool>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if stopped.swap(true, Ordering::Relaxed) {
                live::restore();
                std::process::exit(INTERRUPTED);
            }
        }
    })?;
    Ok(())
}

/// Why there is no run, in one line.
fn told(aim: &Aim, error: Failed) -> Told {
    match error {
        Failed::Unreachable(why) => (FAILED, format!("{}: {why}", aim.url)),
        Failed::Io(error) => (FAILED, error.to_string()),
    }
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
        for command in ["fanout", "connect", "idle"] {
            assert!(read(&format!("x {command} h:1 --pair a b --pair-labels c,d")).is_ok());
            assert!(read(&format!("x {command} h:1 --pair a")).is_err(), "two make a pair");
            assert!(read(&format!("x {command} h:1 --pair-repeats 3")).is_err());
        }
        assert!(read("x fanout ws://h:1/ws --threshold nonsense<1").is_err());
        assert!(read("x figure fanout --pid 1 -c 15000 -w 16 -d 2.5").is_ok());
        assert!(read("x figure fanout --pid 1 -w 0").is_err());
        assert!(read("x figure latency --pid 1 -r 0").is_err());
    }
}
