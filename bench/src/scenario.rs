//! The scenarios: what is asked of a server, and what it cost.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::frame;
use crate::proc::{cpu_ns, private_bytes};
use crate::swarm::{Request, Swarm};

/// Which server is measured, and for how long.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Target {
    /// Address of the server.
    #[arg(long, default_value = "127.0.0.1:9001")]
    pub(crate) server: SocketAddr,
    /// Process id of the server, for its CPU time and memory.
    #[arg(long)]
    pub(crate) pid: u32,
    /// Clients.
    #[arg(short = 'c', long, default_value_t = 1000)]
    pub(crate) clients: usize,
    /// Seconds to measure.
    #[arg(short = 'd', long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// Bytes of each message, 20 or more: it begins with its number.
    #[arg(long, default_value_t = 64)]
    pub(crate) bytes: usize,
    /// Path and query of the endpoint.
    #[arg(long, default_value = "/ws")]
    pub(crate) path: String,
}

impl Target {
    fn request(&self) -> Request {
        Request { server: self.server, target: self.path.clone(), headers: String::new() }
    }
}

/// A message that says its number.
fn numbered(number: u64, bytes: usize) -> Vec<u8> {
    let mut payload = format!("{number:020}").into_bytes();
    payload.resize(bytes.max(20), b'.');
    let mut out = Vec::new();
    frame::put_masked(&mut out, frame::TEXT, &payload);
    out
}

fn number_of(payload: &[u8]) -> Option<u64> {
    std::str::from_utf8(payload.get(..20)?).ok()?.parse().ok()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per(total: u64, count: u64) -> f64 {
    total as f64 / count.max(1) as f64
}

/// CPU and deliveries between two moments.
struct Meter {
    server: u64,
    own: u64,
    began: Instant,
}

impl Meter {
    fn start(pid: u32) -> Self {
        Self { server: cpu_ns(pid), own: cpu_ns(std::process::id()), began: Instant::now() }
    }

    fn result(&self, pid: u32, count: u64, what: &str) -> Value {
        let server = cpu_ns(pid) - self.server;
        let own = cpu_ns(std::process::id()) - self.own;
        let seconds = self.began.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let rate = count as f64 / seconds;
        json!({
            "count": count,
            "what": what,
            "seconds": seconds,
            "per_second": rate,
            "server_us_each": per(server, count) / 1000.0,
            "generator_us_each": per(own, count) / 1000.0,
        })
    }
}

/// One publisher, `window` messages in flight: the next leaves when one has reached all clients.
pub(crate) fn fanout(target: &Target, window: u64) -> io::Result<Value> {
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    let clients = target.clients as u64;
    let (mut next, mut done, mut received) = (0_u64, 0_u64, 0_u64);
    let mut receipts: std::collections::VecDeque<u64> = std::collections::VecDeque::new();
    let warm = Instant::now() + Duration::from_secs_f64(target.seconds.min(1.0));
    let mut meter: Option<Meter> = None;
    let mut latest = Instant::now();
    loop {
        let mut out = Vec::new();
        while next - done < window {
            out.extend(numbered(next, target.bytes));
            receipts.push_back(0);
            next += 1;
        }
        if !out.is_empty() {
            swarm.send(0, &out)?;
        }
        let before = received;
        swarm.receive(Duration::from_millis(100), |_, payload| {
            received += 1;
            let place = number_of(payload).and_then(|number| number.checked_sub(done));
            if let Some(count) = place.and_then(|at| receipts.get_mut(usize::try_from(at).ok()?)) {
                *count += 1;
            }
        })?;
        while receipts.front().is_some_and(|count| *count >= clients) {
            receipts.pop_front();
            done += 1;
        }
        if received > before {
            latest = Instant::now();
        } else if latest.elapsed() > Duration::from_secs(5) {
            return Err(io::Error::other(format!("stuck: {done} of {next} messages complete")));
        }
        match &meter {
            None if Instant::now() >= warm => {
                meter = Some(Meter::start(target.pid));
                received = 0;
            }
            Some(meter) if meter.began.elapsed().as_secs_f64() >= target.seconds => {
                return Ok(meter.result(target.pid, received, "delivery"));
            }
            _ => {}
        }
    }
}

/// Every client publishes, and says its next word when it has heard its own.
pub(crate) fn all(target: &Target) -> io::Result<Value> {
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    for client in 0..target.clients {
        swarm.send(client, &numbered(client as u64, target.bytes))?;
    }
    let warm = Instant::now() + Duration::from_secs_f64(target.seconds.min(1.0));
    let mut meter: Option<Meter> = None;
    let mut received = 0;
    loop {
        let mut heard_own = Vec::new();
        swarm.receive(Duration::from_millis(100), |client, payload| {
            received += 1;
            if number_of(payload) == Some(client as u64) {
                heard_own.push(client);
            }
        })?;
        for client in heard_own {
            swarm.send(client, &numbered(client as u64, target.bytes))?;
        }
        match &meter {
            None if Instant::now() >= warm => {
                meter = Some(Meter::start(target.pid));
                received = 0;
            }
            Some(meter) if meter.began.elapsed().as_secs_f64() >= target.seconds => {
                return Ok(meter.result(target.pid, received, "delivery"));
            }
            _ => {}
        }
    }
}

/// Private memory per idle client, and CPU of a time in which nothing happens.
pub(crate) fn idle(target: &Target) -> io::Result<Value> {
    let before = private_bytes(target.pid);
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    rest(&mut swarm, Duration::from_secs(1))?;
    let after = private_bytes(target.pid);
    let meter = Meter::start(target.pid);
    rest(&mut swarm, Duration::from_secs_f64(target.seconds))?;
    let server = cpu_ns(target.pid) - meter.server;
    Ok(json!({
        "what": "idle client",
        "count": target.clients,
        "private_bytes_each": per(after.saturating_sub(before), target.clients as u64),
        "cpu_share": per(server, 1) / 1e9 / meter.began.elapsed().as_secs_f64(),
        "gone": swarm.gone,
    }))
}

fn rest(swarm: &mut Swarm, time: Duration) -> io::Result<()> {
    let until = Instant::now() + time;
    while Instant::now() < until {
        swarm.receive(time.min(Duration::from_millis(50)), |_, _| {})?;
    }
    Ok(())
}

/// Waits until the server has done with what was before: the clients of an earlier run may still be
/// leaving.
fn settle(pid: u32) {
    let until = Instant::now() + Duration::from_secs(5);
    let (mut before, mut quiet) = (cpu_ns(pid), 0);
    while quiet < 5 && Instant::now() < until {
        std::thread::park_timeout(Duration::from_millis(20));
        let now = cpu_ns(pid);
        quiet = if now - before < 200_000 { quiet + 1 } else { 0 };
        before = now;
    }
}

/// CPU per accepted connection, from SYN to 101.
pub(crate) fn accept(target: &Target) -> io::Result<Value> {
    settle(target.pid);
    let meter = Meter::start(target.pid);
    let swarm = Swarm::connect(&target.request(), target.clients)?;
    let result = meter.result(target.pid, target.clients as u64, "accept");
    drop(swarm);
    Ok(result)
}

/// Publish to last receipt at a steady rate, from the intended moment of each publication.
pub(crate) fn latency(target: &Target, rate: f64) -> io::Result<Value> {
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    let clients = target.clients as u64;
    let gap = Duration::from_secs_f64(1.0 / rate);
    let began = Instant::now() + Duration::from_millis(200);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let total = (target.seconds * rate) as usize;
    let mut last = microseconds()?;
    let mut each = last.clone();
    let mut late = last.clone();
    let mut receipts = vec![0_u64; total];
    let (mut next, mut done) = (0, 0);
    while done < total {
        let now = Instant::now();
        if now > began + Duration::from_secs_f64(target.seconds + 10.0) {
            return Err(io::Error::other(format!("{done} of {total} messages complete")));
        }
        let due = began + gap * u32::try_from(next).unwrap_or(u32::MAX);
        if next < total && now >= due {
            late.saturating_record(micros(now - due));
            swarm.send(0, &numbered(next as u64, target.bytes))?;
            next += 1;
            continue;
        }
        let wait = if next < total { due - now } else { Duration::from_millis(50) };
        swarm.receive(wait, |_, payload| {
            let Some(number) = number_of(payload).and_then(|n| usize::try_from(n).ok()) else {
                return;
            };
            let intended = began + gap * u32::try_from(number).unwrap_or(u32::MAX);
            let us = micros(intended.elapsed());
            each.saturating_record(us);
            receipts[number] += 1;
            if receipts[number] == clients {
                last.saturating_record(us);
                done += 1;
            }
        })?;
    }
    Ok(json!({
        "what": "publish to last receipt", "count": total,
        "last_p50_us": last.value_at_quantile(0.5), "last_p99_us": last.value_at_quantile(0.99),
        "each_p50_us": each.value_at_quantile(0.5), "each_p99_us": each.value_at_quantile(0.99),
        "generator_late_p99_us": late.value_at_quantile(0.99),
    }))
}

/// A histogram of microseconds up to a minute.
fn microseconds() -> io::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 60_000_000, 3).map_err(io::Error::other)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// CPU per ping and pong of otherwise idle clients.
pub(crate) fn ping(target: &Target) -> io::Result<Value> {
    let mut swarm = Swarm::connect(&target.request(), target.clients)?;
    // One interval until the pings have spread as they will stay.
    while swarm.pings < target.clients as u64 {
        swarm.receive(Duration::from_millis(50), |_, _| {})?;
    }
    let meter = Meter::start(target.pid);
    let before = swarm.pings;
    rest(&mut swarm, Duration::from_secs_f64(target.seconds))?;
    Ok(meter.result(target.pid, swarm.pings - before, "ping and pong"))
}

/// How many clients are tried until two are on different shards.
const TRIED: usize = 16;

/// From a publisher on one shard to the only subscriber, on another, one message at a time.
pub(crate) fn cross(target: &Target) -> io::Result<Value> {
    let headers = "Sec-WebSocket-Protocol: stentor.v1\r\n".to_owned();
    let request = Request { server: target.server, target: "/ws".into(), headers };
    let mut swarm = Swarm::connect(&request, TRIED)?;
    let mut shards: Vec<Option<String>> = vec![None; TRIED];
    let deadline = Instant::now() + Duration::from_secs(5);
    while shards.iter().any(Option::is_none) && Instant::now() < deadline {
        swarm.receive(Duration::from_millis(50), |client, payload| {
            let text = String::from_utf8_lossy(payload);
            let id = text.split("\"client\":\"").nth(1).and_then(|rest| rest.split('-').next());
            shards[client] = id.map(str::to_owned);
        })?;
    }
    let (publisher, place) = (0, shards.iter().position(|shard| *shard != shards[0]));
    let Some(subscriber) = place else {
        return Err(io::Error::other("all clients came to the same shard"));
    };
    let mut join = Vec::new();
    frame::put_masked(&mut join, frame::TEXT, br#"{"type":"join","channel":"bench"}"#);
    swarm.send(subscriber, &join)?;
    rest(&mut swarm, Duration::from_millis(200))?;

    let mut receipts = microseconds()?;
    let until = Instant::now() + Duration::from_secs_f64(target.seconds);
    let mut out = Vec::new();
    frame::put_masked(&mut out, frame::TEXT, br#"{"type":"publish","channel":"bench","body":1}"#);
    while Instant::now() < until {
        // Idle in between: both shards sleep when the message comes.
        rest(&mut swarm, Duration::from_millis(2))?;
        let began = Instant::now();
        swarm.send(publisher, &out)?;
        let mut there = false;
        while !there && began.elapsed() < Duration::from_secs(1) {
            swarm.receive(Duration::from_millis(100), |_, _| there = true)?;
        }
        receipts.saturating_record(micros(began.elapsed()));
    }
    Ok(json!({
        "what": "publish to receipt across shards", "count": receipts.len(),
        "p50_us": receipts.value_at_quantile(0.5), "p99_us": receipts.value_at_quantile(0.99),
    }))
}
