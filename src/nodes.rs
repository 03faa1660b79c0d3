//! Nodes: this process is one of several that an engine joins, if the settings name one.

use stentor_shards::{BusLanes, Joined};

use crate::config::Settings;
use crate::inspect::print;
use crate::{End, control, exit};

/// Says whether the engine is as a node needs it.
pub(crate) fn examine(settings: &Settings, creates: bool) -> End {
    if !settings.engine.is_on() {
        let why = "engine is memory, so there is nothing to check: --engine nats://HOST:4222";
        return End::Failed(exit::CONFIG, why.into());
    }
    examined(settings, creates).map_or_else(failed, |found| print(&found))
}

fn failed(why: String) -> End {
    End::Failed(exit::RUN, exit::harmless_line(&why))
}

#[cfg(feature = "nats")]
fn examined(settings: &Settings, creates: bool) -> Result<String, String> {
    crate::bus::examine(&settings.engine, creates)
}

/// Joins the engine.
#[cfg(feature = "nats")]
pub(crate) fn join(settings: &Settings) -> Result<Option<Joined>, End> {
    let (engine, message_bytes) = (&settings.engine, settings.shards.message_bytes);
    let joined = engine.is_on().then(|| crate::bus::join(engine, message_bytes));
    joined.transpose().map_err(failed)
}

/// Starts the thread of the bus, if there is an engine.
#[cfg(feature = "nats")]
pub(crate) fn begin(
    bus: Option<(BusLanes, Joined)>,
    settings: &Settings,
    asked: &control::Settings,
) -> Result<(), String> {
    let Some((lanes, joined)) = bus else { return Ok(()) };
    let engine = &settings.engine;
    crate::bus::nodes::start(joined.node, engine.clone(), asked.peers.clone(), asked.nodes.clone())
        .map_err(|error| format!("nodes thread: {error}"))?;
    crate::bus::start(lanes, joined, engine.clone(), asked.bus.clone())
        .map_err(|error| format!("bus thread: {error}"))
}

#[cfg(not(feature = "nats"))]
fn examined(_: &Settings, _: bool) -> Result<String, String> {
    Err("this program was built without an engine".into())
}

#[cfg(not(feature = "nats"))]
pub(crate) fn join(_: &Settings) -> Result<Option<Joined>, End> {
    Ok(None)
}

#[cfg(not(feature = "nats"))]
pub(crate) fn begin(
    _: Option<(BusLanes, Joined)>,
    _: &Settings,
    _: &control::Settings,
) -> Result<(), String> {
    Ok(())
}
