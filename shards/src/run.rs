//! Starts one thread per shard, and ends the run when one of them does.

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::accept::{self, Entrance};
use crate::config::Config;
use crate::error::RunError;
use crate::handle::{Door, Handle, Report};
use crate::mesh::{Mesh, Port};
use crate::model::id::SHARDS_MAX;
use crate::rt;
use crate::shard::{Shard, Shared};
use crate::sleep;
use crate::watch::Watch;

/// The running shards.
#[derive(Debug)]
pub struct Run {
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<Result<Report, RunError>>,
}

impl Run {
    /// Waits until every shard has been drained, and gives their last reports.
    ///
    /// # Errors
    /// The first shard that panicked. The others may still run: the process must end.
    pub fn wait(self) -> Result<Vec<Report>, RunError> {
        let mut reports = Vec::with_capacity(self.threads.len());
        for _ in 0..self.threads.len() {
            // Every thread says how it ended before it ends.
            let Ok(ended) = self.ended.recv() else { break };
            reports.push(ended?);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
        reports.sort_by_key(|report| report.shard);
        Ok(reports)
    }
}

/// Binds the listeners, starts one shard per core of `config` and returns when all of them serve.
///
/// Visitors, that is requests which are not upgrades, go through `door`.
///
/// # Errors
/// What keeps a shard from starting.
pub fn run(config: Config, door: &Door) -> Result<(Handle, Run), RunError> {
    let shards = config.cores.len();
    if shards == 0 || shards > SHARDS_MAX {
        return Err(RunError::Shards { asked: shards, max: SHARDS_MAX });
    }
    let mut address = config.listen;
    let mut listeners = Vec::with_capacity(shards);
    for &core in &config.cores {
        let listener = listen(&config, address, core)?;
        // Port 0 was a wish for any free one: the others take the same.
        address = local_address(&listener, address)?;
        listeners.push(listener);
    }

    let config = Arc::new(config);
    let seed = foldhash::quality::RandomState::default().hash_one(std::process::id());
    let (mesh, ports) = Mesh::new(shards, config.lane_parcels, seed);
    let handle = Handle::new(mesh, address, &config);
    let shared = Arc::new(Shared::default());
    let (started, starts) = bounded(shards);
    let (endings, ended) = bounded(shards);
    let mut threads = Vec::with_capacity(shards);
    for (port, listener) in ports.into_iter().zip(listeners) {
        let start = Start {
            config: Arc::clone(&config),
            port,
            shared: Arc::clone(&shared),
            door: Arc::clone(door),
            listener,
            started: started.clone(),
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
            .map_err(|error| RunError::Executor { shard, cause: error.to_string() })?;
        threads.push(thread);
    }
    drop(started);
    for _ in 0..shards {
        if starts.recv().is_err() {
            // A shard ended before it served; it has said why.
            let run = Run { threads, ended };
            return Err(first_error(&run));
        }
    }
    Ok((handle, Run { threads, ended }))
}

fn first_error(run: &Run) -> RunError {
    while let Ok(ended) = run.ended.recv() {
        if let Err(error) = ended {
            return error;
        }
    }
    RunError::Executor { shard: 0, cause: "it ended before it served".into() }
}

/// What a shard's thread begins with.
struct Start {
    config: Arc<Config>,
    port: Port,
    shared: Arc<Shared>,
    door: Door,
    listener: std::os::fd::OwnedFd,
    started: Sender<()>,
}

impl Start {
    fn serve(self) -> Result<Report, RunError> {
        let shard = self.port.me.index();
        let core = self.config.cores[shard];
        let executor = rt::executor(&format!("shard-{shard}"), Some(core))
            .map_err(|cause| RunError::Executor { shard, cause })?;
        let Self { config, port, shared, door, listener, started } = self;
        let net = Watch::open(&listener)
            .map_err(|error| RunError::Executor { shard, cause: error.to_string() })?;
        let entrance = Entrance::new(listener, config.accept_pause);
        Ok(executor.run(async move {
            let shard = Shard::new(net, config, core, port, shared, door);
            let _ = started.send(());
            drop(started);
            sleep::run(shard, entrance).await
        }))
    }
}

fn listen(
    config: &Config,
    address: SocketAddr,
    core: usize,
) -> Result<std::os::fd::OwnedFd, RunError> {
    accept::listen(config, address, core).map_err(|source| RunError::Listen { address, source })
}

fn local_address(
    listener: &std::os::fd::OwnedFd,
    asked: SocketAddr,
) -> Result<SocketAddr, RunError> {
    let local = socket2::SockRef::from(listener).local_addr();
    let local = local.map_err(|source| RunError::Listen { address: asked, source })?;
    Ok(local.as_socket().unwrap_or(asked))
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "no message".to_owned())
}
