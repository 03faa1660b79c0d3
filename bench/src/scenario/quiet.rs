//! What clients cost that say nothing: their arrival, their memory, their pings.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{SETTLE, TURN, Target, rest};
use crate::meter::{Cost, Meter, per, real};
use crate::proc::private_bytes;
use crate::swarm::Swarm;

/// Private memory per idle client, and CPU of a time in which nothing happens.
pub(crate) fn idle(target: &Target) -> io::Result<Value> {
    let before = private_bytes(target.pid)?;
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    rest(&mut swarm, Duration::from_secs(1))?;
    let after = private_bytes(target.pid)?;
    let meter = Meter::start(target.pid)?;
    let began = Instant::now();
    rest(&mut swarm, target.seconds)?;
    let cpu_share = real(meter.server_ns()?) / 1e9 / began.elapsed().as_secs_f64();
    Ok(json!({
        "what": "idle client",
        "count": target.clients,
        "private_bytes_each": per(after.saturating_sub(before), target.clients as u64),
        "cpu_share": cpu_share,
        "lost": swarm.gone,
    }))
}

/// CPU per accepted connection, from SYN to 101.
pub(crate) fn accept(target: &Target) -> io::Result<Cost> {
    let meter = Meter::start(target.pid)?;
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    rest(&mut swarm, SETTLE)?;
    meter.cost("accept", target.clients as u64, swarm.gone)
}

/// CPU per ping and pong of otherwise idle clients.
pub(crate) fn ping(target: &Target) -> io::Result<Cost> {
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    // One interval until the pings have spread as they will stay.
    let deadline = Instant::now() + Duration::from_mins(2);
    while swarm.pings < target.clients as u64 {
        if Instant::now() > deadline {
            let text =
                format!("{} pings for {} clients in two minutes", swarm.pings, target.clients);
            return Err(io::Error::other(text));
        }
        swarm.receive(TURN, |_, _| {})?;
    }
    let meter = Meter::start(target.pid)?;
    let before = swarm.pings;
    rest(&mut swarm, target.seconds)?;
    meter.cost("ping and pong", swarm.pings - before, swarm.gone)
}
