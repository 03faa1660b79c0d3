//! Closed loops, whose pace is the server's: CPU per delivery.

use std::io;
use std::time::{Duration, Instant};

use super::{PATIENCE, SETTLE, TURN, Target, number_of, put_numbered, rest};
use crate::meter::{Cost, Meter};
use crate::swarm::Swarm;
use crate::window::Window;

/// One publisher, the first client, with `in_flight` messages under way: the next leaves when one
/// has reached all clients.
///
/// What becomes due in one turn leaves in one write, as a publisher that is not slower than the
/// server would have it.
pub(crate) fn fanout(target: &Target, in_flight: usize) -> io::Result<Cost> {
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    let mut window = Window::new(target.clients);
    let bytes = target.bytes;
    publish_for(&mut swarm, &mut window, target.warm_up(), (in_flight, bytes))?;
    rest(&mut swarm, SETTLE)?;

    let (receipts, missing) = (window.receipts(), window.missing() + window.strays());
    let meter = Meter::start(target.pid)?;
    publish_for(&mut swarm, &mut window, target.seconds, (in_flight, bytes))?;
    rest(&mut swarm, SETTLE)?;
    let lost = window.missing() + window.strays() - missing;
    meter.cost("delivery", window.receipts() - receipts, lost)
}

/// Publishes for a time, then waits until every message has reached every client or nothing comes
/// any more.
fn publish_for(
    swarm: &mut Swarm,
    window: &mut Window,
    time: Duration,
    (in_flight, bytes): (usize, usize),
) -> io::Result<()> {
    let until = Instant::now() + time;
    let mut latest = Instant::now();
    let mut out = Vec::new();
    loop {
        let now = Instant::now();
        if now < until {
            while window.in_flight() < in_flight {
                put_numbered(&mut out, window.publish(), bytes);
            }
        }
        if !out.is_empty() {
            swarm.send(0, &out)?;
            out.clear();
        }
        if window.in_flight() == 0 || latest.elapsed() > PATIENCE {
            return Ok(());
        }
        swarm.receive(TURN, |client, payload| {
            latest = now;
            if let Some(number) = number_of(payload) {
                window.receive(client, number);
            }
        })?;
    }
}

/// Every client publishes, and says its next word as soon as it has heard its own.
pub(crate) fn all(target: &Target) -> io::Result<Cost> {
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    let words: Vec<Vec<u8>> = (0..target.clients)
        .map(|client| {
            let mut word = Vec::new();
            put_numbered(&mut word, client as u64, target.bytes);
            word
        })
        .collect();
    talk_for(&mut swarm, &words, target.warm_up())?;
    rest(&mut swarm, SETTLE)?;

    let meter = Meter::start(target.pid)?;
    let (heard, expected) = talk_for(&mut swarm, &words, target.seconds)?;
    rest(&mut swarm, SETTLE)?;
    meter.cost("delivery", heard, expected.abs_diff(heard))
}

/// Lets all talk for a time, then waits for what is under way. Returns how much was heard, and how
/// much there was to hear.
fn talk_for(swarm: &mut Swarm, words: &[Vec<u8>], time: Duration) -> io::Result<(u64, u64)> {
    for (client, word) in words.iter().enumerate() {
        swarm.send(client, word)?;
    }
    let (mut said, mut heard) = (words.len() as u64, 0);
    let until = Instant::now() + time;
    let mut latest = Instant::now();
    while heard < said * words.len() as u64 && latest.elapsed() < PATIENCE {
        let now = Instant::now();
        swarm.converse(TURN, |client, payload| {
            heard += 1;
            latest = now;
            let own = number_of(payload) == Some(client as u64);
            (own && now < until).then(|| {
                said += 1;
                words[client].as_slice()
            })
        })?;
    }
    Ok((heard, said * words.len() as u64))
}
