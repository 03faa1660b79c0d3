//! The command line.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use stentor_shards::descriptors;

use crate::files::{FAILED, Files, INVALID, MISSED, USAGE};
use crate::handshake::Handshake;
use crate::limit::{Limit, Limits};
use crate::load::presets::Figure;
use crate::load::{Echo, Failed, Idle, Plan, Setup, Storm};
use crate::measure::Measure;
use crate::output::{self, compare};
use crate::pair::Pair;
use crate::run::{Ended, Run};
use crate::search::Search;
use crate::{agents, help, host, limit, live, raw, shell};

/// Someone did not want to wait for the end of an interrupted run.
const INTERRUPTED: i32 = 130;

/// An exit code, and what is said of it.
type Told = (u8, String);

/// Latency and load of WebSocket broadcast servers, in figures that can be trusted.
#[derive(Parser)]
#[command(version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Publishers speak, all clients listen: latency at a rate, or capacity.
    Fanout(Box<Fanout>),
    /// Every client speaks and hears itself: round trips.
    Echo(Box<Errand<Echo>>),
    /// Storms of connects: accepts a second, and what a handshake takes.
    Connect(Errand<Storm>),
    /// Silent clients: memory and CPU of the server.
    Idle(Errand<Idle>),
    /// The greatest load that holds.
    Search(Box<Searching>),
    /// The raw limit of this host: bare loops under one load, in turn.
    Limit(Box<BareLoops>),
    /// Drive clients for a run with --agents, on this host or another.
    Agent(agents::Args),
    #[command(flatten)]
    Output(output::Command),
    /// A load of the README's figures, by its name.
    Figure(Figure),
    /// The floor under what crosses cores: one thread wakes another.
    Wake(raw::Wake),
    /// The floor under a connect within TLS: a full handshake in memory.
    Handshake(Handshake),
    #[command(flatten)]
    Shell(shell::Command),
    /// Serve as the bare loop that others are held against.
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
    /// Reads the command line of this process; help, and what is wrong, ends it.
    pub(crate) fn read() -> Self {
        let matches = help::dressed(Self::command()).get_matches();
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Reads the command line that a preset stands for. Its flags may be there twice: the last
    /// one counts.
    fn of_preset(figure: &Figure) -> Self {
        let matches =
            Self::command().args_override_self(true).get_matches_from(figure.command_line());
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Does what was asked for; what goes wrong is one line on standard error.
    pub(crate) fn run(self) -> ExitCode {
        let (code, text) = match self.command {
            Command::Output(command) => return command.run(),
            Command::Shell(shell) => return shell.run(help::dressed(Self::command())),
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
            Command::Figure(figure) => return Self::of_preset(&figure).run(),
            Command::Wake(wake) => match wake.run() {
                Ok(found) => {
                    // A reader that has gone has had enough.
                    let _ = writeln!(std::io::stdout(), "{found}");
                    return ExitCode::SUCCESS;
                }
                Err(error) => (FAILED, error.to_string()),
            },
            Command::Handshake(handshake) => match handshake.run() {
                Ok(found) => {
                    let _ = writeln!(std::io::stdout(), "{found}");
                    return ExitCode::SUCCESS;
                }
                Err(why) => (FAILED, why),
            },
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
        let settled = self.plan.settled().and_then(|plan| {
            plan.check()?;
            self.limit.check(&plan)?;
            Ok(plan)
        });
        let plan = settled.map_err(|text| (USAGE, text))?;
        if self.pair.is_asked() && self.limit.is_asked() {
            let text = "--pair holds two servers against each other: name the bare loop as one of \
                        them instead of --against-limit";
            return Err((USAGE, text.to_owned()));
        }
        start(&plan, &self.pair, &self.files, |plan, stopped| {
            let mut run = plan.run(stopped)?;
            run.limit = self.limit.run(plan, stopped)?;
            Ok(run)
        })
    }
}

impl Searching {
    fn run(&self) -> Result<ExitCode, Told> {
        self.search.check().map_err(|text| (USAGE, text))?;
        let told = |error| told(&self.search.plan.setup, error);
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
        let told = |error| told(&self.limits.plan.setup, error);
        let mut runs = self.limits.run(&prepare()?).map_err(told)?;
        self.files.finish_several(&mut runs, limit::table)
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
    let told = |error| told(load.setup(), error);
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
fn told(setup: &Setup, error: Failed) -> Told {
    match error {
        Failed::Unreachable(why) => (FAILED, format!("{}: {why}", setup.url)),
        Failed::Io(error) => (FAILED, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::presets;

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
        assert!(read("x figure nonsense h:1").is_err());
    }
    #[test]
    fn presets_are_command_lines_whose_flags_can_be_replaced() {
        for mut line in presets::tests::command_lines() {
            assert!(Cli::try_parse_from(&line).is_ok(), "{line:?}");
            line.extend(["--label", "a", "--label", "b"].map(str::to_owned));
            let command = Cli::command().args_override_self(true);
            assert!(command.try_get_matches_from(&line).is_ok(), "{line:?}");
        }
    }
}
