//! Starts one thread per shard, and ends the run when one of them does.

use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use socket2::SockRef;

use crate::client::Shared;
use crate::config::{Config, is_for_tls};
use crate::error::RunError;
use crate::handle::Handle;
use crate::home::claims::owner_of;
use crate::mesh::bridge::{BridgeId, Bridges, Inbox};
use crate::mesh::bus::{self, BusEnd, BusLanes};
use crate::mesh::link::{Link, Out, Sizes};
use crate::mesh::{self, Mesh, Port};
use crate::model::facts::{Fact, Known};
use crate::model::id::SHARDS_MAX;
use crate::model::message::Epoch;
use crate::model::report::Ending;
use crate::model::snapshot::{ChannelPast, Past};
use crate::notice;
use crate::rt;
use crate::shard::Shard;
use crate::sleep;
use crate::stage::accept::{self, Door, Entrance};
use crate::watch::Watch;

/// The most visitors that may wait for the control plane.
const VISITORS_WAITING_MAX: usize = 256;

/// The most questions that may wait for the thread of the hooks.
const QUESTIONS_WAITING_MAX: usize = 2048;

/// The most news that may wait for the thread of the events.
const NEWS_WAITING_MAX: usize = 16 << 10;

/// The running shards.
#[derive(Debug)]
pub struct Run {
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<Result<Ending, RunError>>,
    listeners: Vec<OwnedFd>,
    link: Option<Link>,
    bus: Option<BusLanes>,
    questions: Option<Inbox>,
    news: Option<Inbox>,
}

/// Returns a seed of numberings, and the first epoch of a run that is started with it.
pub fn fresh_seed() -> (u64, Epoch) {
    let seed = foldhash::quality::RandomState::default().hash_one(std::process::id());
    (seed, mesh::epoch_of(seed))
}

impl Run {
    /// The link to the earlier process, if this one numbers its publications; once.
    pub fn take_link(&mut self) -> Option<Link> {
        self.link.take()
    }

    /// The lanes of the bus, if the settings name an engine; once.
    pub fn take_bus(&mut self) -> Option<BusLanes> {
        self.bus.take()
    }

    /// The questions of the shards for the application's backend; once. Those that nobody takes are
    /// refused as soon as this is dropped.
    pub fn take_questions(&mut self) -> Option<Inbox> {
        self.questions.take()
    }

    /// The news of the shards for the application, if the settings want any; once.
    pub fn take_news(&mut self) -> Option<Inbox> {
        self.news.take()
    }

    /// The sockets that the shards listen on, to be handed to a process that takes over; once.
    pub fn take_listeners(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.listeners)
    }

    /// Waits until every shard has been drained. Returns their ends, in the order of the shards.
    ///
    /// # Errors
    /// The first shard that panicked. The others may still run: the process must end.
    pub fn wait(self) -> Result<Vec<Ending>, RunError> {
        let mut endings = Vec::with_capacity(self.threads.len());
        for _ in 0..self.threads.len() {
            // Every thread says how it ended before it ends.
            let Ok(ended) = self.ended.recv() else { break };
            endings.push(ended?);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
        endings.sort_by_key(|ending| ending.report.shard);
        Ok(endings)
    }
}

/// Binds the listeners, starts one shard per core of `config` and returns when all of them serve.
///
/// Visitors, that is requests which are not upgrades, come out of the inbox. `inherited` are
/// sockets on which another process listens to the same address: the connections that wait at them
/// are served here. `past` is what an earlier process has left. `begins` is called when all shards
/// have started and none has served a client yet.
///
/// # Errors
/// The reason for which a shard could not start.
pub fn run(
    config: Config,
    inherited: Vec<OwnedFd>,
    past: Past,
    begins: impl FnOnce(),
) -> Result<(Handle, Inbox, Run), RunError> {
    let shards = config.cores.len();
    if shards == 0 || shards > SHARDS_MAX {
        return Err(RunError::Shards { asked: shards, max: SHARDS_MAX });
    }
    let Listening { address, tls_address, doors, all } = listen(&config, inherited)?;

    let config = Arc::new(config);
    let seed = past.seed.unwrap_or_else(|| fresh_seed().0);
    let mut bridges = Bridges::default();
    let inbox = bridges.build(BridgeId::Control, VISITORS_WAITING_MAX);
    let questions = Some(bridges.build(BridgeId::Hooks, QUESTIONS_WAITING_MAX));
    // A reload may give an app its first webhook.
    let has_news = config.news.any() || !config.rules.apps().is_empty();
    let news = has_news.then(|| bridges.build(BridgeId::Events, NEWS_WAITING_MAX));
    let (mesh, ports) = Mesh::new(shards, config.lane_parcels, seed, &bridges);
    // An inbox ends when the last shard has dropped its end of the bridge.
    drop(bridges);
    let (link, out) = past.leads.then(|| Link::leader(&mesh, Sizes::USUAL)).unzip();
    let (bus, mut bus_ends) = config.engine.map(|joined| bus::build(&mesh, joined)).unzip();
    let process = past.process;
    let pasts = spread(past, &mesh);
    let handle = Handle::new(mesh, [address, tls_address], process, &config);
    let notices = notice::start()
        .map_err(|error| RunError::Executor { shard: 0, cause: error.to_string() })?;
    let shared = Arc::new(Shared::with_notices(notices));
    let (started, starts) = bounded(shards);
    let (open, opened) = bounded(shards);
    let (endings, ended) = bounded(shards);
    let mut threads = Vec::with_capacity(shards);
    // Each takes its own from the end.
    if let Some(ends) = &mut bus_ends {
        ends.reverse();
    }
    for ((port, doors), past) in ports.into_iter().zip(doors).zip(pasts) {
        let start = Start {
            config: Arc::clone(&config),
            port,
            shared: Arc::clone(&shared),
            doors,
            past,
            out: out.clone(),
            bus: bus_ends.as_mut().and_then(Vec::pop),
            started: started.clone(),
            opened: opened.clone(),
        };
        let endings = endings.clone();
        let shard = start.port.me.index();
        let thread = std::thread::Builder::new()
            .name(format!("shard-{shard}"))
            .spawn(move || {
                let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| start.serve()));
                let outcome = outcome.unwrap_or_else(|panic| {
                    Err(RunError::Panicked { shard, cause: message_of(&*panic) })
                });
                let _ = endings.send(outcome);
            })
            .map_err(|error| RunError::Executor { shard, cause: no_thread(&error) })?;
        threads.push(thread);
    }
    // The link ends with the last shard.
    drop((started, out));
    let run = Run { threads, ended, listeners: all, link, bus, questions, news };
    if !(0..shards).all(|_| starts.recv().is_ok()) {
        // A shard ended before it served; it has said why.
        return Err(first_error(&run));
    }
    begins();
    (0..shards).for_each(|_| open.send(()).unwrap_or_default());
    Ok((handle, inbox, run))
}

/// Returns the past that each shard begins with: that of the channels whose home it is, and all
/// revocations.
pub(crate) fn spread(past: Past, mesh: &Mesh) -> Vec<Past> {
    let Past { channels, facts, revocations, lost, leads, seed, process } = past;
    let mut by_home = vec![(Vec::<ChannelPast>::new(), Vec::<Fact>::new()); mesh.shards()];
    for channel in channels {
        by_home[mesh.home_of(&*channel.name).index()].0.push(channel);
    }
    for fact in facts {
        let home = match &fact.0 {
            Known::Granted { claim, .. } => owner_of(mesh, claim),
            Known::Version { channel, .. }
            | Known::Present { channel, .. }
            | Known::Watched { channel }
            | Known::Used { channel } => mesh.home_of(&**channel),
        };
        by_home[home.index()].1.push(fact);
    }
    let each = by_home.into_iter().enumerate();
    each.map(|(shard, (channels, facts))| {
        // One shard counts it.
        let lost = if shard == 0 { lost } else { 0 };
        let revocations = revocations.clone();
        Past { channels, revocations, facts, process, lost, leads, seed }
    })
    .collect()
}

fn no_thread(error: &io::Error) -> String {
    format!("its thread: {error}; ulimit -u, and pids.max of the control group, bound threads")
}

fn first_error(run: &Run) -> RunError {
    while let Ok(ended) = run.ended.recv() {
        if let Err(error) = ended {
            return error;
        }
    }
    RunError::Executor { shard: 0, cause: "it ended before it served".into() }
}

/// Everything that the thread of a shard starts with.
struct Start {
    config: Arc<Config>,
    port: Port,
    shared: Arc<Shared>,
    doors: Vec<Door>,
    past: Past,
    /// The way to a process that this one numbers for.
    out: Option<Out>,
    /// The way to an engine.
    bus: Option<BusEnd>,
    started: Sender<()>,
    /// Says that all shards have started. Where one of them cannot, none accepts: clients of a
    /// process that then ends would be reset.
    opened: Receiver<()>,
}

impl Start {
    fn serve(self) -> Result<Ending, RunError> {
        let shard = self.port.me.index();
        let core = self.config.cores[shard];
        let runner = rt::Runner::new(&format!("shard-{shard}"), core, self.config.ring)
            .map_err(|cause| RunError::Executor { shard, cause })?;
        let Self { config, port, shared, doors, past, out, bus, started, opened } = self;
        let net = Watch::open(doors.iter().map(|door| &door.socket)).map_err(|error| {
            let cause = format!("its set of watched sockets: {error}");
            RunError::Executor { shard, cause }
        })?;
        let entrance = Entrance::new(doors, config.accept_pause);
        let parking = sleep::Parking::of(&runner);
        Ok(runner.run(async move {
            let mut shard = Shard::new(net, config, core, port, shared);
            shard.restore(past);
            if let Some(out) = out {
                shard.lead(out);
            }
            if let Some(end) = bus {
                shard.board(end);
            }
            let _ = started.send(());
            drop(started);
            if opened.recv().is_err() {
                // Another shard could not start, and so the process ends.
                std::future::pending::<()>().await;
            }
            sleep::run(shard, entrance, parking).await
        }))
    }
}

/// The sockets of a run that listen.
struct Listening {
    /// The address of clients; a Unix socket has none.
    address: Option<SocketAddr>,
    /// The address for TLS beside it.
    tls_address: Option<SocketAddr>,
    /// Those of each shard.
    doors: Vec<Vec<Door>>,
    /// All of them once more.
    all: Vec<OwnedFd>,
}

/// Makes the listeners of each shard: an inherited one, several if there are more of these than
/// shards, or a new one.
fn listen(config: &Config, inherited: Vec<OwnedFd>) -> Result<Listening, RunError> {
    let is_for_tls = |listener: &OwnedFd| {
        let local = SockRef::from(listener).local_addr().ok().and_then(|local| local.as_socket());
        local.is_some_and(|local| is_for_tls(local, config.listen_tls))
    };
    let (for_tls, others): (Vec<_>, Vec<_>) = inherited.into_iter().partition(is_for_tls);
    let named = |address| move |source| RunError::Listen { address, source };
    let (address, mut doors) = open_doors(config, others, config.listen, config.tls_is_alone())
        .map_err(named(config.listen))?;
    let mut tls_address = None;
    if let Some(listen_tls) = config.listen_tls {
        let (address, more) =
            open_doors(config, for_tls, listen_tls, true).map_err(named(listen_tls))?;
        tls_address = address;
        doors.iter_mut().zip(more).for_each(|(doors, more)| doors.extend(more));
    }
    let twins = doors.iter().flatten().map(|door| door.socket.try_clone());
    let all = twins.collect::<io::Result<_>>().map_err(named(config.listen))?;
    Ok(Listening { address, tls_address, doors, all })
}

/// Makes the listeners of each shard at one address. Returns that as well; a Unix socket has none.
fn open_doors(
    config: &Config,
    inherited: Vec<OwnedFd>,
    mut address: SocketAddr,
    is_sealed: bool,
) -> io::Result<(Option<SocketAddr>, Vec<Vec<Door>>)> {
    let shards = config.cores.len();
    let mut doors: Vec<Vec<Door>> = (0..shards).map(|_| Vec::new()).collect();
    for (index, socket) in inherited.into_iter().enumerate() {
        accept::adopt(&socket, config, config.cores[index % shards])?;
        doors[index % shards].push(Door { socket, is_sealed });
    }
    let mut bound = None;
    for (own, &core) in doors.iter_mut().zip(&config.cores) {
        if own.is_empty() {
            let socket = accept::listen(config, address, core)?;
            own.push(Door { socket, is_sealed });
        }
        // Port 0 means any free port: the other shards take the one that the first shard got.
        let local = SockRef::from(&own[0].socket).local_addr()?;
        bound = local.as_socket();
        address = bound.unwrap_or(address);
    }
    Ok((bound, doors))
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no message".to_owned())
}
