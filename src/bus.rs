//! The bus: the thread that has an engine, `JetStream` of NATS, order the publications of several
//! nodes.
//!
//! A home sends what its clients publish to this thread, which sends it to the engine's stream. The
//! engine gives each publication its place and sends it on to every node that listens to its
//! bucket; the bus proves that nothing was left out, and hands it to the channel's home here.

mod engine;
mod fetch;
mod flow;
mod names;
pub(crate) mod nodes;
mod session;
mod tell;
#[cfg(test)]
mod sim;
mod window;

use std::io;
use std::panic::AssertUnwindSafe;
use std::thread;
use std::time::{Duration, Instant};

use stentor_shards::{BusLanes, Joined, fresh_seed};

use crate::bus_status::Status;
use crate::config::engine::Engine as Settings;
use crate::{exit, log};
use flow::Flow;
use names::Names;
use session::End;
use window::Window;

/// The longest pause before another attempt to reach the engine.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Everything that outlives a connection to the engine.
pub(crate) struct Bus {
    settings: Settings,
    names: Names,
    lanes: BusLanes,
    flow: Flow,
    window: Window,
    node: u64,
    status: Status,
    away_since: Option<Instant>,
}

/// Finds the stream of the cluster, or creates it. Returns its numbering.
///
/// # Errors
/// The engine cannot be reached, or its stream is not as it must be, on one line.
pub(crate) fn join(settings: &Settings, message_bytes: usize) -> Result<Joined, String> {
    let (stream, is_new) = on_engine(async {
        let link = engine::connect(settings).await?;
        let names = Names::new(&settings.cluster);
        let found = engine::find_or_create(&link.client, settings, &names).await?;
        let room = link.client.max_payload();
        if room < message_bytes + MESSAGE_OVERHEAD {
            return Err(format!(
                "engine: it takes messages of {room} bytes, and message-bytes is {message_bytes}: \
                 raise max_payload there"
            ));
        }
        Ok(found)
    })?;
    tracing::info!(stream = &*stream.name, is_new, "joined the engine");
    Ok(Joined { epoch: stream.epoch, node: fresh_seed().0 })
}

/// The part of a message at the engine that is no body: names, tags, headers.
const MESSAGE_OVERHEAD: usize = 8 << 10;

/// Creates the stream of the cluster if it is not there, or only checks it. Returns a line about
/// what was found.
///
/// # Errors
/// As of [`join`], or there is no stream and none is to be created.
pub(crate) fn examine(settings: &Settings, creates: bool) -> Result<String, String> {
    on_engine(async {
        let link = engine::connect(settings).await?;
        let names = Names::new(&settings.cluster);
        let version = link.client.server_info().version;
        let (stream, is_new) = if creates {
            engine::find_or_create(&link.client, settings, &names).await?
        } else {
            let found = engine::find(&link.client, settings, &names).await?;
            let missing = "engine: there is no stream of this cluster: stentor engine init";
            (found.ok_or(missing)?, false)
        };
        let word = if is_new { "created" } else { "found as it should be" };
        Ok(format!("nats-server {version}: the stream {} was {word}\n", stream.name))
    })
}

fn on_engine<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| format!("engine: {error}"))?.block_on(work)
}

/// Starts the thread; it ends with the shards.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(
    lanes: BusLanes,
    joined: Joined,
    settings: Settings,
    status: Status,
) -> io::Result<()> {
    let names = Names::new(&settings.cluster);
    status.begin();
    let bus = Bus {
        names,
        settings,
        lanes,
        flow: Flow::new(joined.epoch),
        window: Window::default(),
        node: joined.node,
        status,
        away_since: None,
    };
    thread::Builder::new().name("bus".into()).spawn(move || {
        // Nobody else can take its place: homes would wait for ever.
        if std::panic::catch_unwind(AssertUnwindSafe(|| run(bus))).is_err() {
            log::last_words("the bus has failed");
            std::process::exit(i32::from(exit::INTERNAL));
        }
    })?;
    Ok(())
}

fn run(mut bus: Bus) {
    let mut pause = Duration::ZERO;
    loop {
        // One for each connection: all that belongs to it ends with it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::error!(%error, "the bus cannot run");
                thread::park_timeout(PAUSE_MAX);
                continue;
            }
        };
        let began = Instant::now();
        match runtime.block_on(bus.session(pause)) {
            End::Over => return,
            End::Lost(why) => tracing::warn!(why, "no connection to the engine"),
        }
        runtime.shutdown_background();
        let is_quick = began.elapsed() < PAUSE_MAX * 2;
        pause = if is_quick {
            (pause * 2).clamp(Duration::from_millis(50), PAUSE_MAX)
        } else {
            Duration::from_millis(50)
        };
    }
}
