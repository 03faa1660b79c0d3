//! The other nodes, as their heartbeats tell of them, and the calls of the API that each node
//! performs for its own clients. It is a thread with a connection of its own, so that no
//! publication waits for an answer about clients.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use async_nats::{Client, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use stentor_shards::unix_ms;
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{interval, sleep};

use super::engine::{Link, chain, connect};
use super::names::Names;
use crate::config::engine::Engine as Settings;
use crate::control::peers::{Ear, PeerEnd, Peers};
use crate::control::word::{Fault, Word};
use crate::node_list::{Node, Nodes};

/// The time between two heartbeats of a node.
const BEAT: Duration = Duration::from_secs(1);

/// A node that says nothing for so long has gone.
const SILENCE_MAX: Duration = Duration::from_millis(3500);

/// The most nodes of a cluster; others are not heard.
const NODES_MAX: usize = 256;

/// The pause before the engine is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// A node's heartbeat.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Beat {
    /// Its number, in hexadecimal digits.
    node: String,
    host: String,
    pid: u32,
    version: String,
    started_ms: u64,
}

/// Another node.
struct Known {
    ear: Ear,
    end: Arc<Mutex<PeerEnd>>,
    seen: Instant,
    carries: JoinHandle<()>,
    beat: Beat,
}

/// Everything that outlives a connection.
struct Watch {
    settings: Settings,
    names: Names,
    own: Beat,
    peers: Peers,
    nodes: watch::Sender<Nodes>,
    known: HashMap<String, Known>,
}

/// Starts the thread. It ends with the process.
///
/// # Errors
/// The thread cannot be started.
pub(crate) fn start(
    node: u64,
    settings: Settings,
    peers: Peers,
    nodes: watch::Sender<Nodes>,
) -> io::Result<()> {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let own = Beat {
        node: format!("{node:016x}"),
        host,
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").into(),
        started_ms: unix_ms(),
    };
    let names = Names::new(&settings.cluster);
    let known = HashMap::new();
    let mut watch = Watch { settings, names, own, peers, nodes, known };
    thread::Builder::new().name("nodes".into()).spawn(move || watch.run())?;
    Ok(())
}

impl Watch {
    fn run(&mut self) {
        self.tell();
        loop {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => {
                    let Err(why) = runtime.block_on(self.session());
                    tracing::debug!(why, "no connection to other nodes");
                    // Words to other nodes that are still to be sent end with the connection.
                    runtime.shutdown_timeout(PAUSE);
                }
                Err(error) => tracing::error!(%error, "other nodes cannot be heard"),
            }
            // Outside of any runtime, as their ends ask for.
            self.known.clear();
            self.tell();
            thread::park_timeout(PAUSE);
        }
    }

    /// Hears other nodes until the connection ends.
    async fn session(&mut self) -> Result<std::convert::Infallible, String> {
        let Link { client, mut events } = connect(&self.settings).await?;
        let heard =
            async |subject: String| client.subscribe(subject).await.map_err(|error| chain(&error));
        let mut beats = heard(self.names.beats()).await?;
        let mut words = heard(self.names.words(&self.own.node)).await?;
        let mut beat = interval(BEAT);
        loop {
            tokio::select! {
                Some(message) = beats.next() => self.take_beat(&client, &message).await,
                Some(message) = words.next() => self.take_word(message).await,
                _ = beat.tick() => {
                    let body = serde_json::to_vec(&self.own).unwrap_or_default();
                    let sent = client.publish(self.names.beats(), body.into()).await;
                    sent.map_err(|error| chain(&error))?;
                    self.forget_silent().await;
                }
                event = events.recv() => match event {
                    Some(async_nats::Event::Disconnected | async_nats::Event::Closed) | None => {
                        return Err("the connection has ended".into());
                    }
                    Some(_) => {}
                },
            }
        }
    }

    async fn take_beat(&mut self, client: &Client, message: &Message) {
        let Ok(beat) = serde_json::from_slice::<Beat>(&message.payload) else { return };
        let is_name = beat.node.len() == 16 && beat.node.bytes().all(|c| c.is_ascii_hexdigit());
        if !is_name || beat.node == self.own.node {
            return;
        }
        if let Some(known) = self.known.get_mut(&beat.node) {
            known.seen = Instant::now();
            return;
        }
        if self.known.len() >= NODES_MAX {
            return;
        }
        let peers = self.peers.clone();
        let Ok(end) = spawn_blocking(move || peers.join(false)).await else { return };
        let (ear, end) = (end.ear.clone(), Arc::new(Mutex::new(end)));
        let to = self.names.words(&beat.node);
        let carried = carry(Arc::clone(&end), client.clone(), (to, self.own.node.clone()));
        let carries = tokio::spawn(carried);
        tracing::info!(node = beat.node, host = beat.host, version = beat.version, "a node came");
        let known = Known { ear, end, seen: Instant::now(), carries, beat: beat.clone() };
        self.known.insert(beat.node, known);
        self.tell();
    }

    async fn take_word(&mut self, message: Message) {
        let Some((from, word)) = message.payload.split_at_checked(16) else { return };
        let known = std::str::from_utf8(from).ok().and_then(|from| self.known.get(from));
        let Some(known) = known else { return };
        let Ok(word) = serde_json::from_slice::<Word>(word) else { return };
        known.ear.hear(word).await;
    }

    async fn forget_silent(&mut self) {
        let is_silent = |known: &Known| known.seen.elapsed() > SILENCE_MAX;
        let silent = self.known.iter().filter(|(_, known)| is_silent(known));
        let names: Vec<String> = silent.map(|(name, _)| name.clone()).collect();
        for name in names {
            self.forget(&name).await;
        }
    }

    async fn forget(&mut self, node: &str) {
        let Some(Known { end, carries, beat, .. }) = self.known.remove(node) else { return };
        tracing::info!(node, host = beat.host, "a node has gone");
        carries.abort();
        let _ = carries.await;
        // Its end goes last, and outside of the runtime's own thread, as it asks for.
        let _ = spawn_blocking(move || drop(end)).await;
        self.tell();
    }

    /// Tells the control plane which nodes there are.
    fn tell(&self) {
        let mut all: Vec<Node> =
            self.known.values().map(|known| node(&known.beat, false)).collect();
        all.push(node(&self.own, true));
        all.sort_by(|a, b| a.started_ms.cmp(&b.started_ms).then_with(|| a.name.cmp(&b.name)));
        self.nodes.send_replace(Nodes(all));
    }
}

fn node(beat: &Beat, is_own: bool) -> Node {
    let Beat { node, host, pid, version, started_ms } = beat.clone();
    Node { name: node, host, pid, version, started_ms, is_own }
}

/// Brings to a node what the control plane says to it.
async fn carry(end: Arc<Mutex<PeerEnd>>, client: Client, (to, from): (String, String)) {
    let mut end = end.lock().await;
    while let Some(word) = end.words.recv().await {
        let mut body = from.clone().into_bytes();
        if serde_json::to_writer(&mut body, &word).is_err() {
            continue;
        }
        if body.len() > client.max_payload() {
            let Word::Answer { number, .. } = word else { continue };
            body.truncate(from.len());
            let refused = Word::Answer { number, answer: Err(Fault::Busy) };
            let _ = serde_json::to_writer(&mut body, &refused);
        }
        while client.publish(to.clone(), Bytes::from(body.clone())).await.is_err() {
            sleep(PAUSE).await;
        }
    }
}
