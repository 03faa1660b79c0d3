//! Stentor's process: command line, configuration, host check, shards, control plane, exit code.
#![forbid(unsafe_code)]

mod activation;
mod address;
mod announce;
mod backend;
#[cfg(feature = "nats")]
mod bus;
mod bus_status;
mod cli;
mod config;
mod control;
mod doctor;
mod events;
mod exit;
mod history_file;
mod hooks;
mod host;
mod inspect;
mod log;
mod migrate;
mod node_list;
mod nodes;
mod notify;
mod relief;
mod signals;
mod speak;
mod takeover;
mod tls;
mod token;
mod unix;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use announce::{announce, where_clients_come};
use cli::{Cli, Task, View};
use config::{Invalid, Layered, Settings};
use control::reload::Origin;
use history_file::HistoryFile;
use host::{Host, Verdict};
use inspect::{check, examine, print, translate, translate_soketi};
use relief::Relief;
use signals::Departure;
use takeover::{Claim, Histories, Offer, Sockets};

/// What ends the process, with its code.
enum End {
    Done,
    /// Another process serves in the place of this one.
    Relieved(u8),
    Failed(u8, String),
}

impl From<Invalid> for End {
    fn from(invalid: Invalid) -> Self {
        Self::Failed(exit::CONFIG, exit::harmless_line(&invalid.to_string()))
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
    let end = perform(&cli);
    // What was logged comes before the last line.
    log::flush();
    match end {
        End::Done => ExitCode::SUCCESS,
        End::Relieved(code) => ExitCode::from(code),
        End::Failed(code, why) => {
            log::last_words(&why);
            ExitCode::from(code)
        }
    }
}

fn perform(cli: &Cli) -> End {
    let spoken = match &cli.task {
        Task::Publish(asked) => speak::publish(asked),
        Task::Subscribe(asked) => speak::subscribe(asked),
        Task::DevCert(asked) => {
            return tls::dev_cert::dev_cert(asked).map_or_else(
                |why| End::Failed(exit::RUN, exit::harmless_line(&why)),
                |text| print(&text),
            );
        }
        Task::Print(text) => return print(text),
        Task::Translate(source) => return translate(source),
        Task::TranslateSoketi(source) => return translate_soketi(source.as_deref()),
        Task::Config(View::Default) => return print(&config::show::default_file()),
        _ => return with_settings(cli),
    };
    match spoken {
        Ok(()) => End::Done,
        Err(why) => End::Failed(exit::RUN, why),
    }
}

fn with_settings(cli: &Cli) -> End {
    let layered = Layered::load(
        config::file::find(cli.file.as_ref()).as_deref(),
        std::env::vars_os(),
        &cli.flags,
    );
    let layered = match layered {
        Ok(layered) => layered,
        Err(invalid) => return invalid.into(),
    };
    let settings = &layered.settings;
    if !matches!(cli.task, Task::Serve) {
        for warning in &layered.warnings {
            let _ =
                writeln!(std::io::stderr(), "stentor: warning: {}", exit::harmless_line(warning));
        }
    }
    match &cli.task {
        Task::Config(View::Env) => print(&config::show::environment(&layered)),
        Task::Config(_) => print(&config::show::in_force(&layered)),
        Task::Check => check(settings),
        Task::Token(asked) => token::perform(asked, &settings.tokens)
            .map_or_else(|failed| End::Failed(failed.code, failed.why), |text| print(&text)),
        Task::Engine { creates } => nodes::examine(settings, *creates),
        Task::Doctor { json } => examine(settings, *json),
        _ => serve(cli, layered),
    }
}

fn serve(cli: &Cli, layered: Layered) -> End {
    let Layered { mut settings, warnings, .. } = layered;
    let (file, flags) = (config::file::find(cli.file.as_ref()), cli.flags.clone());
    let origin = Origin { file, flags, settings: settings.clone() };
    // Before anything else is opened: it could take a number that is not there.
    let activated = match activation::take(&settings) {
        Ok(activated) => activated,
        Err(invalid) => return invalid.into(),
    };
    let fingerprint = takeover::fingerprint(&settings);
    // Sockets of the service manager are its own: they pass to no other process.
    let sockets_stay = activated.is_some();
    settings.take_over &= !sockets_stay;
    let host = Host::read();
    let verdict = host.judge(&settings);
    if let Some(why) = verdict.refusal() {
        return End::Failed(exit::CONFIG, why);
    }
    settings.shards.cores.clone_from(&verdict.cores);
    settings.shards.ring = verdict.ring;
    open_log(&settings, &warnings, &verdict);

    let mut claim = match address::claim(&mut settings, activated, fingerprint) {
        Ok(claim) => claim,
        Err(end) => return end,
    };
    let Sockets { listeners, admin } = std::mem::take(&mut claim.sockets);
    let listeners = match activation::spread(listeners, &settings) {
        Ok(listeners) => listeners,
        Err(error) => return End::Failed(exit::RUN, format!("inherited sockets: {error}")),
    };

    let history = match HistoryFile::of(&mut settings, claim.takes_over()) {
        Ok(history) => history,
        Err(why) => return End::Failed(exit::CONFIG, why),
    };
    let earlier = Earlier { listeners, admin, history: history.as_ref(), claim: &mut claim };
    let started = start(&settings, origin, earlier);
    let Running { handle, mut run, mut control, backend, signals, shared } = match started {
        Ok(running) => running,
        Err(end) => return end,
    };
    let departure = Departure::new(handle.clone(), &settings, sockets_stay);
    if let Err(error) = departure.begin_at(signals, control.reloads()) {
        return End::Failed(exit::RUN, format!("signals: {error}"));
    }
    claim.relieve(run.take_link().zip(shared.led));
    history.iter().for_each(HistoryFile::take);
    let listeners = run.take_listeners();
    let (relieved, code) = (Arc::new(AtomicBool::new(false)), settings.relieved_exit_code);
    // A Unix socket passes to no other process either: its file cannot be in two hands.
    if let Some(address) = handle.address().filter(|_| settings.take_over) {
        let (admin, admin_over) = control.lend_admin();
        let sockets = Sockets { listeners, admin };
        let prepare = history.as_ref().map(|file| file.prepare(&handle));
        let (once, peers) = (shared.once, shared.peers);
        let histories = Histories { handle: handle.clone(), once, peers };
        let histories = Some(histories).filter(|_| !settings.engine.is_on());
        let what = Offer { sockets, fingerprint, settling: claim.settling, prepare, histories };
        let leave = Relief {
            relieved: Arc::clone(&relieved),
            admin_over,
            departure,
            history: history.clone(),
        };
        if let Err(error) = takeover::offer(address, what, move || leave.go(code)) {
            tracing::warn!(%error, "no other process can take over from this one");
        }
    }
    let place = claim.settle();
    announce(&host, &verdict, &settings, (&handle, &control));
    notify::ready(&handle, &where_clients_come(&handle, &settings));
    let ended = run.wait();
    backend.finish(ended.is_ok());
    drop((control, place));
    conclude(ended, history, relieved.load(Ordering::Relaxed).then_some(code))
}

/// The end of a run: what the shards have left is kept, and the exit code says how they ended.
fn conclude(
    ended: Result<Vec<stentor_shards::Ending>, stentor_shards::RunError>,
    history: Option<HistoryFile>,
    relieved: Option<u8>,
) -> End {
    let endings = match ended {
        Ok(endings) => endings,
        Err(error) => return failed(&error),
    };
    let served: u64 = endings.iter().map(|ending| ending.report.accepts).sum();
    if let Some(history) = history {
        history.end(endings);
    }
    tracing::info!(accepts = served, "drained");
    relieved.map_or(End::Done, End::Relieved)
}

/// The parts of a running server.
struct Running {
    handle: stentor_shards::Handle,
    run: stentor_shards::Run,
    control: control::Control,
    backend: backend::Threads,
    signals: signal_hook::iterator::Signals,
    shared: Shared,
}

/// The state that the control plane shares with those of other processes in a take-over.
struct Shared {
    once: control::Once<stentor_shards::Position>,
    peers: control::peers::Peers,
    /// The process that this one numbers for.
    led: Option<control::peers::PeerEnd>,
}

/// The parts of a server that come from an earlier process.
struct Earlier<'a> {
    listeners: Vec<OwnedFd>,
    admin: Option<OwnedFd>,
    history: Option<&'a HistoryFile>,
    claim: &'a mut Claim,
}

/// Starts shards and control plane.
fn start(settings: &Settings, origin: Origin, earlier: Earlier<'_>) -> Result<Running, End> {
    let Earlier { listeners, admin, history, claim } = earlier;
    let refused = |why: String| End::Failed(exit::RUN, why);
    let signals = signals::catch().map_err(|error| refused(format!("signals: {error}")))?;
    let asked = control::Settings::of(settings);
    // Before the shards: they accept as soon as they run, and clients of a process that then fails
    // would be reset.
    let admin = control::listen(&asked, admin).map_err(|error| {
        let (code, cure) = exit::of_listen(&error);
        End::Failed(code, format!("{}{cure}", who_has_admin(&error, settings)))
    })?;
    let mut shards = settings.shards.clone();
    shards.prover = asked.prover().map_err(|why| End::Failed(exit::CONFIG, why))?;
    shards.listen_tls = settings.tls.listen;
    let broken = |why: String| End::Failed(exit::CONFIG, exit::harmless_line(&why));
    shards.tls = asked.certificates.begin().map_err(broken)?;
    shards.engine = nodes::join(settings)?;
    let joined = shards.engine;
    // As late as can be: the older process goes on meanwhile.
    // Under an engine both are nodes of it, and need nothing of each other.
    let inherited = if joined.is_some() { None } else { claim.inherit() };
    let takeover::Inherited { mut past, keys } = inherited.unwrap_or_default();
    let (once, peers) = (asked.once.clone(), asked.peers.clone());
    once.learn_all(keys);
    // Before anything can be asked for here: the older process will be told of it.
    let led = past.leads.then(|| peers.join(false));
    let shared = Shared { once, peers, led };
    if let Some(history) = history.filter(|_| !past.leads) {
        past.channels = history.read();
    }
    let (handle, inbox, mut run) = stentor_shards::run(shards, listeners, past, || claim.begin())
        .map_err(|error| failed(&error))?;
    if let Some(history) = history {
        history.keep(handle.clone()).map_err(|error| refused(error.to_string()))?;
    }
    let backend = backend::start(&mut run, &handle, settings, &asked).map_err(refused)?;
    nodes::begin(run.take_bus().zip(joined), settings, &asked).map_err(refused)?;
    let control = control::start(handle.clone(), asked, admin, inbox, origin)
        .map_err(|error| refused(format!("control thread: {error}")))?;
    Ok(Running { handle, run, control, backend, signals, shared })
}

/// Begins to log, with what is to be said about the settings and this host.
fn open_log(settings: &Settings, warnings: &[String], verdict: &Verdict) {
    log::install(settings);
    log::end_with_a_shard();
    stentor_shards::rt::hide_failed_starts();
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    for warning in verdict.warnings() {
        tracing::warn!(limit = warning.limit, "{warning}");
    }
}

fn who_has_admin(error: &std::io::Error, settings: &Settings) -> String {
    match settings.admin {
        Some(admin) if error.kind() == std::io::ErrorKind::AddrInUse => {
            format!("admin address {admin}: address in use by {}", takeover::describe(admin))
        }
        _ => error.to_string(),
    }
}

fn failed(error: &stentor_shards::RunError) -> End {
    let (code, cure) = match error {
        stentor_shards::RunError::Panicked { .. } => (exit::INTERNAL, ""),
        // The host had no thread, core or ring for it, and has none the next time.
        stentor_shards::RunError::Executor { .. } => (exit::CONFIG, ""),
        stentor_shards::RunError::Listen { source, .. } => exit::of_listen(source),
        stentor_shards::RunError::Shards { .. } => (exit::RUN, ""),
    };
    End::Failed(code, format!("{error}{cure}"))
}
