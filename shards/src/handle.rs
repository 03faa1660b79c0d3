//! The control plane's side of the mesh: orders to shards, and answers that are collected without
//! blocking one.

use std::future::Future;
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded};
use hdrhistogram::Histogram;

use crate::clock::{Now, unix_ms};
use crate::config::Config;
use crate::error::Untaken;
use crate::mesh::Mesh;
use crate::mesh::parcel::{AckTo, Ask, Deliver, Order};
use crate::model::id::{ClientId, ShardId};
use crate::model::message::{Payload, Publication};
use crate::wire::name::check_name;

/// What a publication from the API carries.
#[derive(Debug, Clone)]
pub enum Body {
    /// A text, as a plain client would send it.
    Text(String),
    /// Bytes, as a plain client would send them.
    Binary(Bytes),
    /// One JSON value, already checked to be one.
    Json(String),
}

/// An HTTP request that is not an upgrade: the socket, and what was read of it so far.
#[derive(Debug)]
pub struct Visitor {
    /// The connection, in nonblocking mode.
    pub socket: TcpStream,
    /// Every byte read from it.
    pub head: Vec<u8>,
}

/// Takes visitors on behalf of the control plane; called on a shard, so it must not block. `false`
/// refuses (the shard closes it).
pub type Door = Arc<dyn Fn(Visitor) -> bool + Send + Sync>;

/// Whom a disconnect means.
#[derive(Debug, Clone)]
pub enum Target {
    /// Every client of a user.
    User(String),
    /// One client by its id as `welcome` told it.
    Client(String),
}

/// One channel on one shard.
#[derive(Debug, Clone)]
pub struct ChannelInfo {
    /// Its name.
    pub channel: Arc<str>,
    /// Clients of it on the shard that answers.
    pub clients: u64,
    /// Newest offset known there: exact on its home.
    pub offset: u64,
}

/// One client, for the operator's list.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Its id.
    pub client: String,
    /// Its user, if it named one.
    pub user: Option<Arc<str>>,
    /// Where it comes from.
    pub peer: Option<SocketAddr>,
    /// How many channels it is subscribed to.
    pub channels: u32,
    /// Whether it speaks `stentor.v1`.
    pub json: bool,
    /// Bytes in its outbox.
    pub queued_bytes: u64,
    /// How long the outbox has not moved, in milliseconds.
    pub stalled_ms: u64,
    /// How long ago something was heard from it, in milliseconds.
    pub quiet_ms: u64,
    /// How long it has been connected, in seconds.
    pub connected_s: u64,
}

/// One shard's counters since its start; all are totals unless they say `now`.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Which shard.
    pub shard: usize,
    /// The core it is pinned to.
    pub core: usize,
    /// Clients connected now.
    pub clients_now: u64,
    /// Users that this shard owns, connected anywhere, now.
    pub users_now: u64,
    /// Channels known now.
    pub channels_now: u64,
    /// Handshakes under way now.
    pub handshakes_now: u64,
    /// Connections accepted.
    pub accepts: u64,
    /// Times accepting paused because descriptors were out.
    pub accept_pauses: u64,
    /// Requests handed to the control plane.
    pub visitors: u64,
    /// Handshakes refused, by reason.
    pub refusals: Vec<(&'static str, u64)>,
    /// Clients gone, by reason.
    pub closes: Vec<(&'static str, u64)>,
    /// Messages from clients.
    pub messages_in: u64,
    /// Bytes of them.
    pub bytes_in: u64,
    /// Frames that left to clients or entered their outboxes.
    pub deliveries: u64,
    /// Bytes of them.
    pub bytes_out: u64,
    /// Sends that carried them (deliveries / sends is what joining brought).
    pub sends: u64,
    /// Ticks fanned out.
    pub ticks: u64,
    /// Publications that they carried (over ticks: how many came together).
    pub tick_publications: u64,
    /// Publications numbered here as home.
    pub publications: u64,
    /// Bytes in outboxes now.
    pub outbox_bytes_now: u64,
    /// Clients with something in the outbox now.
    pub blocked_now: u64,
    /// Frames lost to `drop`.
    pub dropped: u64,
    /// Frames overtaken under `conflate`.
    pub conflated: u64,
    /// Pings sent by the sweep.
    pub pings: u64,
    /// Parcels waiting in the publish lane now.
    pub publish_depth_now: u64,
    /// Parcels waiting in the deliver lane now.
    pub deliver_depth_now: u64,
    /// Times this shard rang another one's bell.
    pub rings: u64,
    /// Times a publisher was held back because a lane was full.
    pub holds: u64,
    /// Publishers held back now.
    pub held_now: u64,
    /// Turns in which this shard, as home, waited for room.
    pub stalls: u64,
    /// Times it was stopped, or without its core, for so long that no client's time ran on.
    pub absences: u64,
    /// Idle channels forgotten, with their offsets, to make room for others.
    pub forgotten_channels: u64,
    /// Turns of the shard's loop.
    pub turns: u64,
    /// Time spent in them, in microseconds.
    pub busy_us: u64,
    /// Messages over a rate limit.
    pub rate_limited: u64,
    /// Protocol-level errors answered to JSON clients.
    pub errors: u64,
}

/// Answers on their way: one from each shard asked, collected without blocking.
#[derive(Debug)]
pub struct Answers<T> {
    receiver: Receiver<T>,
    waker: Arc<AtomicWaker>,
    awaited: usize,
    got: Vec<T>,
}

/// The shard's end of [`Answers`].
#[derive(Debug)]
pub(crate) struct Reply<T> {
    sender: Sender<T>,
    waker: Arc<AtomicWaker>,
}

impl<T> Clone for Reply<T> {
    fn clone(&self) -> Self {
        Self { sender: self.sender.clone(), waker: Arc::clone(&self.waker) }
    }
}

impl<T> Reply<T> {
    /// Gives the answer; never blocks. An asker that has gone is no error.
    pub(crate) fn give(&self, answer: T) {
        let _ = self.sender.try_send(answer);
        self.waker.wake();
    }
}

impl<T> Answers<T> {
    pub(crate) fn expect(awaited: usize) -> (Reply<T>, Self) {
        let (sender, receiver) = bounded(awaited.max(1));
        let waker = Arc::new(AtomicWaker::new());
        let reply = Reply { sender, waker: Arc::clone(&waker) };
        (reply, Self { receiver, waker, awaited, got: Vec::with_capacity(awaited) })
    }

    fn collect(&mut self) -> bool {
        while let Ok(answer) = self.receiver.try_recv() {
            self.got.push(answer);
        }
        self.got.len() >= self.awaited
    }
}

impl<T: Unpin> Future for Answers<T> {
    type Output = Vec<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Vec<T>> {
        if !self.collect() {
            self.waker.register(cx.waker());
            // After registering: an answer that came in between rang the old waker.
            if !self.collect() {
                return Poll::Pending;
            }
        }
        Poll::Ready(std::mem::take(&mut self.got))
    }
}

/// The control plane's hold on all shards. Cheap to clone; every call returns at once.
#[derive(Debug, Clone)]
pub struct Handle {
    mesh: Mesh,
    address: SocketAddr,
    limits: Limits,
    draining: Arc<AtomicBool>,
}

/// What the handle checks before it bothers a shard.
#[derive(Debug, Clone, Copy)]
struct Limits {
    name_bytes: usize,
    message_bytes: usize,
}

impl Handle {
    pub(crate) fn new(mesh: Mesh, address: SocketAddr, config: &Config) -> Self {
        let limits = Limits { name_bytes: config.name_bytes, message_bytes: config.message_bytes };
        Self { mesh, address, limits, draining: Arc::default() }
    }

    /// Publishes to a channel; the answer is its offset, or 0 where no room is left for another
    /// channel.
    pub fn publish(&self, channel: &str, body: Body) -> Result<Answers<u64>, Untaken> {
        let channel = self.name(channel)?;
        let home = self.mesh.home_of(&*channel);
        let publication = self.publication(channel, body)?;
        let (reply, answers) = Answers::expect(1);
        self.ask(home, Ask::Publish { publication, ack: AckTo::Api(reply) })?;
        Ok(answers)
    }

    /// Sends to every client of a user; the answer is how many there were.
    pub fn direct(&self, user: &str, body: Body) -> Result<Answers<u64>, Untaken> {
        let user = self.name(user)?;
        let owner = self.mesh.home_of(&*user);
        let publication = self.publication("".into(), body)?;
        let (reply, answers) = Answers::expect(1);
        self.ask(owner, Ask::Direct { user, publication, ack: AckTo::Api(reply) })?;
        Ok(answers)
    }

    /// Closes clients with 3501; the answer is how many.
    pub fn disconnect(&self, target: &Target) -> Result<Answers<u64>, Untaken> {
        let (reply, answers) = Answers::expect(1);
        match target {
            Target::User(user) => {
                let user = self.name(user)?;
                self.ask(self.mesh.home_of(&*user), Ask::DisconnectUser { user, reply })?;
            }
            Target::Client(id) => {
                let client: ClientId = id.parse().map_err(|()| Untaken::BadName)?;
                if client.shard.index() >= self.mesh.shards() {
                    reply.give(0);
                } else {
                    let order = Deliver::Order(Order::Disconnect { client, reply });
                    self.mesh.deliver(client.shard, order).map_err(|_| Untaken::Busy)?;
                }
            }
        }
        Ok(answers)
    }

    /// Every shard's counters.
    pub fn reports(&self) -> Result<Answers<Report>, Untaken> {
        self.order_all(Order::Report)
    }

    /// Every shard's channels, at most `limit` of each.
    pub fn channels(&self, limit: usize) -> Result<Answers<Vec<ChannelInfo>>, Untaken> {
        self.order_all(|reply| Order::Channels { limit, reply })
    }

    /// Every shard's `limit` clients with the fullest outboxes (or, with `queued` false, the
    /// oldest).
    pub fn connections(
        &self,
        queued: bool,
        limit: usize,
    ) -> Result<Answers<Vec<ConnectionInfo>>, Untaken> {
        self.order_all(|reply| Order::Connections { queued, limit, reply })
    }

    /// Every shard's number and its histogram of ingress to last send, in microseconds.
    pub fn latency(&self) -> Result<Answers<(usize, Histogram<u64>)>, Untaken> {
        self.order_all(Order::Latency)
    }

    /// Makes a shard panic, in builds for tests only.
    #[cfg(debug_assertions)]
    pub fn break_shard(&self, shard: usize) -> Result<(), Untaken> {
        let shard = self.shards().nth(shard).ok_or(Untaken::BadName)?;
        self.mesh.deliver(shard, Deliver::Order(Order::Panic)).map_err(|_| Untaken::Busy)
    }

    /// Begins the drain: no new clients, paced closes. With a `successor`, which listens on the
    /// same sockets, nobody who was accepted is refused. Call it again if it says
    /// [`Untaken::Busy`].
    pub fn drain(&self, successor: bool) -> Result<(), Untaken> {
        if !successor {
            // Relaxed: it says what was asked for, and orders nothing.
            self.draining.store(true, Ordering::Relaxed);
        }
        for shard in self.shards() {
            let order = Deliver::Order(Order::Drain { successor });
            self.mesh.deliver(shard, order).map_err(|_| Untaken::Busy)?;
        }
        Ok(())
    }

    /// Whether a drain has begun after which nobody serves the address.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The address that the shards listen on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many shards there are.
    pub fn shard_count(&self) -> usize {
        self.mesh.shards()
    }

    fn shards(&self) -> impl Iterator<Item = ShardId> {
        (0..self.mesh.shards())
            .map(|index| ShardId(u16::try_from(index).expect("at most 64 shards")))
    }

    fn order_all<T>(&self, order: impl Fn(Reply<T>) -> Order) -> Result<Answers<T>, Untaken> {
        let (reply, answers) = Answers::expect(self.mesh.shards());
        for shard in self.shards() {
            let order = Deliver::Order(order(reply.clone()));
            self.mesh.deliver(shard, order).map_err(|_| Untaken::Busy)?;
        }
        Ok(answers)
    }

    fn ask(&self, shard: ShardId, ask: Ask) -> Result<(), Untaken> {
        self.mesh.ask(shard, ask).map_err(|_| Untaken::Busy)
    }

    fn name(&self, name: &str) -> Result<Arc<str>, Untaken> {
        check_name(name, self.limits.name_bytes).map_err(|_| Untaken::BadName)?;
        Ok(name.into())
    }

    fn publication(&self, channel: Arc<str>, body: Body) -> Result<Arc<Publication>, Untaken> {
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
            from: None,
            payload,
        }))
    }
}
