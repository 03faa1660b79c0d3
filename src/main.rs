//! Stentor's process: command line, configuration, host check, shards, control plane, exit code.
#![forbid(unsafe_code)]

mod cli;
mod config;
mod control;
mod doctor;
mod exit;
mod host;
mod log;
mod signals;
mod speak;
mod takeover;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

use cli::{Cli, Task, View};
use config::{Invalid, Layered, Settings};
use host::{Host, Verdict};
use takeover::{Predecessor, Sockets};

/// What ends the process, with its code.
enum End {
    Done,
    Failed(u8, String),
}

impl From<Invalid> for End {
    fn from(invalid: Invalid) -> Self {
        Self::Failed(exit::CONFIG, invalid.to_string())
    }
}

fn main() -> ExitCode {
    // Before the first thread: registered later it costs the first sleep of each executor tens of
    // milliseconds.
    let register = rustix::thread::MembarrierCommand::RegisterPrivateExpedited;
    let _ = rustix::thread::membarrier(register);
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            if error.use_stderr() {
                let _ = writeln!(std::io::stderr(), "stentor: {}", cli::complaint(&error));
                return ExitCode::from(exit::USAGE);
            }
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
    };
    match perform(&cli) {
        End::Done => ExitCode::SUCCESS,
        End::Failed(code, why) => {
            for line in why.lines() {
                let _ = writeln!(std::io::stderr(), "stentor: {line}");
            }
            ExitCode::from(code)
        }
    }
}

fn perform(cli: &Cli) -> End {
    let spoken = match &cli.task {
        Task::Publish(asked) => speak::publish(asked),
        Task::Subscribe(asked) => speak::subscribe(asked),
        Task::Print(text) => return print(text),
        Task::Config(View::Default) => return print(&config::show::default_file()),
        _ => match Layered::load(cli.file.as_deref(), environment(), &cli.flags) {
            Ok(layered) => return with_settings(&cli.task, &layered),
            Err(invalid) => return invalid.into(),
        },
    };
    match spoken {
        Ok(()) => End::Done,
        Err(why) => End::Failed(exit::RUN, why),
    }
}

/// The variables that are text; no other can be one of ours.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

fn with_settings(task: &Task, layered: &Layered) -> End {
    let settings = &layered.settings;
    match task {
        Task::Config(View::Env) => print(&config::show::environment(layered)),
        Task::Config(_) => print(&config::show::in_force(layered)),
        Task::Check => check(settings),
        Task::Doctor { json } => examine(settings, *json),
        _ => serve(settings.clone()),
    }
}

fn print(text: &str) -> End {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader that has gone is no failure of ours.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            End::Failed(exit::RUN, format!("standard output: {error}"))
        }
        _ => End::Done,
    }
}

fn check(settings: &Settings) -> End {
    let verdict = Host::read().judge(settings);
    for warning in verdict.warnings() {
        print(&format!("warning: {warning}\n"));
    }
    match verdict.refusal() {
        None => print("the configuration is valid\n"),
        Some(why) => End::Failed(exit::CONFIG, why),
    }
}

fn examine(settings: &Settings, json: bool) -> End {
    let host = Host::read();
    let verdict = host.judge(settings);
    print(&if json {
        doctor::record(&host, &verdict)
    } else {
        doctor::describe(&host, &verdict, settings)
    });
    match verdict.refusal() {
        None => End::Done,
        Some(why) => End::Failed(exit::CONFIG, why),
    }
}

fn serve(mut settings: Settings) -> End {
    let host = Host::read();
    let verdict = host.judge(&settings);
    if let Some(why) = verdict.refusal() {
        return End::Failed(exit::CONFIG, why);
    }
    settings.shards.cores.clone_from(&verdict.cores);
    settings.shards.ring = verdict.ring;
    log::install(&settings);
    log::end_with_a_shard();
    stentor_shards::rt::hide_failed_starts();
    for warning in verdict.warnings() {
        tracing::warn!(limit = warning.limit, "{warning}");
    }

    let listen = settings.shards.listen;
    let found = if settings.take_over { Predecessor::find(listen) } else { None };
    let (predecessor, inherited) = found.unzip();
    let Sockets { listeners, admin } = inherited.unwrap_or_default();

    let (door, visitors) = control::door();
    let (handle, mut run) = match stentor_shards::run(settings.shards.clone(), listeners, &door) {
        Ok(started) => started,
        Err(error) => return failed(&error),
    };
    // The shards hold it now: when they have gone no visitor comes any more.
    drop(door);
    let asked = control::Settings::of(&settings);
    let mut control = match control::start(handle.clone(), asked, admin, visitors) {
        Ok(control) => control,
        Err(error) => return End::Failed(exit::RUN, error.to_string()),
    };
    if let Err(error) = signals::handle(handle.clone()) {
        return End::Failed(exit::RUN, format!("signals: {error}"));
    }
    if let Some(predecessor) = predecessor {
        predecessor.relieve();
    }
    let listeners = run.take_listeners();
    if settings.take_over {
        offer(listeners, &mut control, &handle);
    }
    announce(&host, &verdict, &settings, (&handle, &control));
    let ended = run.wait();
    drop(control);
    match ended {
        Ok(reports) => {
            let served: u64 = reports.iter().map(|report| report.accepts).sum();
            tracing::info!(accepts = served, "drained");
            End::Done
        }
        Err(error) => failed(&error),
    }
}

/// Lets a newer process take over from this one.
fn offer(listeners: Vec<OwnedFd>, control: &mut control::Control, handle: &stentor_shards::Handle) {
    let (admin, admin_over) = control.lend_admin();
    let shards = handle.clone();
    let offered = takeover::offer(handle.address(), Sockets { listeners, admin }, move || {
        admin_over.send_replace(true);
        signals::drain(&shards, true);
    });
    if let Err(error) = offered {
        tracing::warn!(%error, "no other process can take over from this one");
    }
}

fn failed(error: &stentor_shards::RunError) -> End {
    let code = match error {
        stentor_shards::RunError::Panicked { .. } => exit::INTERNAL,
        // The host had no thread, core or ring for it, and has none the next time.
        stentor_shards::RunError::Executor { .. } => exit::CONFIG,
        _ => exit::RUN,
    };
    End::Failed(code, error.to_string())
}

/// Says where the page is, how the shards lie, and what this host can carry.
fn announce(
    host: &Host,
    verdict: &Verdict,
    settings: &Settings,
    (handle, control): (&stentor_shards::Handle, &control::Control),
) {
    let cores = config::units::show_cores(&settings.shards.cores);
    let (shards, sleeps_in) = (settings.shards.cores.len(), doctor::sleeps_in(verdict.ring));
    let cpu_quota = host.quota();
    tracing::info!(shards, cores, cpu_quota, sleeps_in, "one shard on each of these cores");
    let capacity = host.capacity(verdict.needs);
    if let Some((limit, clients)) = capacity.first() {
        tracing::info!(clients, limit, "this host carries about so many clients; the first limit");
        let asked = settings.shards.clients.min(settings.shards.clients_per_shard * shards);
        let defaults = stentor_shards::Config::with_cores(Vec::new());
        if settings.shards.clients != defaults.clients && asked as u64 > *clients {
            tracing::warn!(asked, clients, limit, "max-clients is more than this host carries");
        }
    }
    if u64::from(settings.shards.backlog) > host.somaxconn {
        tracing::warn!(somaxconn = host.somaxconn, "the kernel caps the backlog at somaxconn");
    }
    let url = format!("http://{}/", handle.address());
    let admin = control.admin().map(|admin| format!("http://{admin}/"));
    tracing::info!(url, admin, "ready");
}
