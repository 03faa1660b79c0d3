//! The control plane's calls to shards, through the mesh. Every call returns at once.

mod bounds;
mod members;
pub(crate) mod past;
mod presence;
mod settings;

pub use self::members::MOVED_MAX;

use self::bounds::Bounds;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::clock::{Now, unix_ms};
use crate::close::CloseReason;
use crate::config::Config;
use crate::error::Untaken;
use crate::mesh::Mesh;
use crate::mesh::parcel::{Ask, Deliver, Fate, Instruction, Whom};
use crate::mesh::question::{Asker, Ruled, Ruling};
use crate::mesh::reply::{Answers, Reply, ReplyTo};
use crate::model::channel::NoChannel;
use crate::model::history::Query;
use crate::model::id::{ClientId, ProcessId, ShardId};
use crate::model::message::{Details, Payload, Position, Publication};
use crate::model::past::{HistoryFault, HistoryPage, Since};
use crate::model::report::{ChannelFilter, ChannelInfo, ConnectionInfo, Listing, Report};
use crate::model::revoked::Revocation;
use crate::proof::Prover;

/// The body of a publication from the API.
#[derive(Debug, Clone)]
pub enum Body {
    /// A text, as a plain client would send it.
    Text(String),
    /// Bytes, as a plain client would send them.
    Binary(Bytes),
    /// One JSON value, already checked to be one.
    Json(String),
}

/// The clients that a disconnect selects.
#[derive(Debug, Clone)]
pub enum Target {
    /// Every client of a user.
    User(String),
    /// One client by its id as `welcome` told it.
    Client(String),
    /// The clients that came with the token of this id.
    Token(String),
}

/// A part of a channel's history to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Only what lies behind this publication; in front of it, if the newest come first. Without an
    /// epoch its offset counts in the present one.
    pub since: Option<Since>,
    /// The most publications.
    pub limit: usize,
    /// The newest come first.
    pub newest_first: bool,
    /// The most bytes of payload in the answer, which has one publication whatever its size.
    pub bytes: usize,
}

/// The control plane's hold on all shards. Cheap to clone; every call returns at once.
#[derive(Debug, Clone)]
pub struct Handle {
    mesh: Mesh,
    address: Option<SocketAddr>,
    tls_address: Option<SocketAddr>,
    process: ProcessId,
    limits: Bounds,
    draining: Arc<AtomicBool>,
}

impl Handle {
    pub(crate) fn new(
        mesh: Mesh,
        [address, tls_address]: [Option<SocketAddr>; 2],
        process: ProcessId,
        config: &Config,
    ) -> Self {
        let limits = Bounds::of(config);
        Self { mesh, address, tls_address, process, limits, draining: Arc::default() }
    }

    /// Publishes to a channel, with its details if it has any. The answer of its home is the
    /// publication's position, or why the channel cannot be had.
    ///
    /// # Errors
    /// A bad name, a body over the bound for messages, or a full lane.
    pub fn publish(
        &self,
        channel: &str,
        body: Body,
        details: Option<&Arc<Details>>,
    ) -> Result<Answers<Result<Position, NoChannel>>, Untaken> {
        let channel = self.limits.channel(channel)?;
        let home = self.mesh.home_of(&*channel);
        let publication = self.publication(channel, body, details)?;
        let (reply, answers) = Answers::expect(1);
        self.ask(home, Ask::Publish { publication, reply: ReplyTo::Bridge(reply) })?;
        Ok(answers)
    }

    /// Sends to every client of a user. The answer of the user's owner is the number of these
    /// clients.
    ///
    /// # Errors
    /// A bad name, a body over the bound for messages, or a full lane.
    pub fn direct(&self, user: &str, body: Body) -> Result<Answers<u64>, Untaken> {
        let user = self.limits.user(user)?;
        let owner = self.mesh.home_of(&*user);
        let publication = self.publication("".into(), body, None)?;
        let (reply, answers) = Answers::expect(1);
        self.ask(owner, Ask::Direct { user, publication, reply: ReplyTo::Bridge(reply) })?;
        Ok(answers)
    }

    /// Reads a part of a channel's history. The answer of its home is that part, or the reason for
    /// which there is none.
    ///
    /// # Errors
    /// A bad name, or a full lane.
    pub fn history(
        &self,
        channel: &str,
        reading: &Reading,
    ) -> Result<Answers<Result<HistoryPage, HistoryFault>>, Untaken> {
        let channel = self.limits.channel(channel)?;
        let home = self.mesh.home_of(&*channel);
        let (reply, answers) = Answers::expect(1);
        let Reading { since, limit, newest_first, bytes } = *reading;
        let query = Query { beyond: None, newest_first, limit, bytes };
        let reply = ReplyTo::Bridge(reply);
        self.ask(home, Ask::History { channel, since, query, reply })?;
        Ok(answers)
    }

    /// Forgets what a channel has kept. The answer is `false` if that was nothing.
    ///
    /// # Errors
    /// A bad name, or a full lane.
    pub fn remove_history(&self, channel: &str) -> Result<Answers<bool>, Untaken> {
        let channel = self.limits.channel(channel)?;
        let home = self.mesh.home_of(&*channel);
        let (reply, answers) = Answers::expect(1);
        self.ask(home, Ask::RemoveHistory { channel, reply })?;
        Ok(answers)
    }

    /// Closes clients with 3501, but for some of a user. The answers add up to the number of those
    /// that are closed.
    ///
    /// # Errors
    /// A bad name or client id, or a full lane.
    pub fn disconnect(&self, target: &Target, but: &[ClientId]) -> Result<Answers<u64>, Untaken> {
        let (reply, answers) = Answers::expect(1);
        match target {
            Target::User(user) => {
                let user = self.limits.user(user)?;
                let (owner, but) = (self.mesh.home_of(&*user), but.to_vec());
                self.ask(owner, Ask::DisconnectUser { user, but, reply })?;
            }
            Target::Token(_) => {
                return self.decide(target, Fate::Close(CloseReason::Disconnected));
            }
            Target::Client(id) => {
                let client: ClientId = id.parse().map_err(|()| Untaken::BadName)?;
                if client.shard.index() >= self.mesh.shards() {
                    reply.send(0);
                } else {
                    let order = Deliver::Instruction(Instruction::Disconnect { client, reply });
                    self.mesh.deliver(client.shard, order).map_err(|_| Untaken::Busy)?;
                }
            }
        }
        Ok(answers)
    }

    /// Sets when the time of clients is over, in Unix seconds; `None`: never. They close with 3005
    /// then. The answers add up to the number of clients.
    ///
    /// # Errors
    /// A bad name or client id, or a full lane.
    pub fn set_end(&self, target: &Target, unix_s: Option<u64>) -> Result<Answers<u64>, Untaken> {
        self.decide(target, Fate::End(unix_s))
    }

    /// Closes clients with 3005, as if their time were over. The answers add up to their number.
    ///
    /// # Errors
    /// A bad name or client id, or a full lane.
    pub fn expire(&self, target: &Target) -> Result<Answers<u64>, Untaken> {
        self.decide(target, Fate::Close(CloseReason::Expired))
    }

    fn decide(&self, target: &Target, fate: Fate) -> Result<Answers<u64>, Untaken> {
        let whom = match target {
            Target::User(user) => Whom::User(self.limits.user(user)?),
            Target::Client(id) => Whom::Client(id.parse().map_err(|()| Untaken::BadName)?),
            Target::Token(id) => Whom::Token(id.as_str().into()),
        };
        self.order_all(|reply| Instruction::Decide { whom: whom.clone(), fate, reply })
    }

    /// Revokes tokens, on every shard, and closes their clients with 3502. The answers add up to
    /// the number of these.
    ///
    /// # Errors
    /// A full lane: some shards may have been told. Call it again.
    pub fn revoke(&self, revocation: &Revocation) -> Result<Answers<u64>, Untaken> {
        self.order_all(|reply| Instruction::Revoke { revocation: revocation.clone(), reply })
    }

    /// Brings the backend's ruling to the shard that has asked for it.
    ///
    /// # Errors
    /// A full lane: call it again.
    pub fn rule(&self, to: Asker, ruling: &Ruling) -> Result<(), Untaken> {
        let ruled = Ruled { to, ruling: ruling.clone() };
        let order = Deliver::Ruled(Box::new(ruled));
        self.mesh.deliver(to.client.shard, order).map_err(|_| Untaken::Busy)
    }

    /// Has tokens verified by `prover` from now on.
    ///
    /// # Errors
    /// A full lane: some shards may have been told. Call it again.
    pub fn set_prover(&self, prover: &Arc<dyn Prover>) -> Result<(), Untaken> {
        for shard in self.shards() {
            let order = Deliver::Instruction(Instruction::Prover(Arc::clone(prover)));
            self.mesh.deliver(shard, order).map_err(|_| Untaken::Busy)?;
        }
        Ok(())
    }

    /// Asks for every shard's counters.
    ///
    /// # Errors
    /// A full lane.
    pub fn reports(&self) -> Result<Answers<Report>, Untaken> {
        self.order_all(Instruction::Report)
    }

    /// Asks for those of every shard's channels that are meant, at most `limit` of each.
    ///
    /// # Errors
    /// A full lane.
    pub fn channels(
        &self,
        filter: &ChannelFilter,
        limit: usize,
    ) -> Result<Answers<Vec<ChannelInfo>>, Untaken> {
        self.order_all(|reply| Instruction::Channels { filter: filter.clone(), limit, reply })
    }

    /// Asks for the first `limit` clients of every shard in the order of a list.
    ///
    /// # Errors
    /// A full lane.
    pub fn connections(
        &self,
        listing: Listing,
        limit: usize,
    ) -> Result<Answers<Vec<ConnectionInfo>>, Untaken> {
        self.order_all(|reply| Instruction::Connections { listing, limit, reply })
    }

    /// Asks for every shard's number and its histogram of the time from the read of a publication
    /// to its last send, in microseconds.
    ///
    /// # Errors
    /// A full lane.
    pub fn latency(&self) -> Result<Answers<(usize, Histogram<u64>)>, Untaken> {
        self.order_all(Instruction::Latency)
    }

    /// Makes a shard panic, in builds for tests only.
    ///
    /// # Errors
    /// There is no such shard, or its lane is full.
    #[cfg(debug_assertions)]
    pub fn break_shard(&self, shard: usize) -> Result<(), Untaken> {
        let shard = self.shards().nth(shard).ok_or(Untaken::BadName)?;
        self.mesh
            .deliver(shard, Deliver::Instruction(Instruction::Panic))
            .map_err(|_| Untaken::Busy)
    }

    /// Begins the drain: no new clients, paced closes. With a `successor`, which listens on the
    /// same sockets, nobody who was accepted is refused, and once all shards have answered they
    /// accept nobody any more.
    ///
    /// # Errors
    /// A full lane: some shards may have been told. Call it again.
    pub fn drain(&self, successor: bool) -> Result<Answers<()>, Untaken> {
        if !successor {
            // Relaxed: it says what was asked for, and orders nothing.
            self.draining.store(true, Ordering::Relaxed);
        }
        self.order_all(|reply| Instruction::Drain { successor, reply })
    }

    /// Returns `true` if a drain has begun after which nobody serves the address.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Returns the address that the shards listen on; `None` on a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Returns the address for TLS beside that one, if there is one.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Returns this process in the row of take-overs.
    pub fn process(&self) -> ProcessId {
        self.process
    }

    /// Returns the number of shards.
    pub fn shard_count(&self) -> usize {
        self.mesh.shards()
    }

    fn shards(&self) -> impl Iterator<Item = ShardId> {
        (0..self.mesh.shards()).map(ShardId::at)
    }

    fn order_all<T>(&self, order: impl Fn(Reply<T>) -> Instruction) -> Result<Answers<T>, Untaken> {
        let (reply, answers) = Answers::expect(self.mesh.shards());
        for shard in self.shards() {
            let order = Deliver::Instruction(order(reply.clone()));
            self.mesh.deliver(shard, order).map_err(|_| Untaken::Busy)?;
        }
        Ok(answers)
    }

    fn ask(&self, shard: ShardId, ask: Ask) -> Result<(), Untaken> {
        self.mesh.ask(shard, ask).map_err(|_| Untaken::Busy)
    }

    fn publication(
        &self,
        channel: Arc<str>,
        body: Body,
        details: Option<&Arc<Details>>,
    ) -> Result<Arc<Publication>, Untaken> {
        let payload = match body {
            Body::Text(text) => Payload::Text(text.into()),
            Body::Binary(bytes) => Payload::Binary(bytes),
            Body::Json(json) => Payload::Json(json.into()),
        };
        if payload.len() > self.limits.message_bytes {
            return Err(Untaken::TooLarge);
        }
        Ok(Arc::new(Publication {
            channel,
            offset: 0,
            time_ms: unix_ms(),
            ingress_ns: Now::read().ns,
            details: details.cloned(),
            from: None,
            payload,
        }))
    }
}
