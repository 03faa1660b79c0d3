//! Reports of shards to the control plane.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::message::Position;

/// The members of a channel on one shard.
#[derive(Debug, Clone, Default)]
pub struct Here {
    /// Clients of the channel.
    pub clients: u64,
    /// Their users, at most 1,000 of each shard; a user of several clients may stand there several
    /// times.
    pub users: Vec<Arc<str>>,
    /// There are more users than are named.
    pub more: bool,
}

/// One channel on one shard.
#[derive(Debug, Clone)]
pub struct ChannelInfo {
    /// Its name.
    pub channel: Arc<str>,
    /// Clients of it on the shard that answers.
    pub clients: u64,
    /// Newest position known there: exact on its home.
    pub newest: Position,
}

/// One client, for the operator's list.
#[derive(Debug, Clone)]
pub struct ConnectionInfo {
    /// Its id.
    pub client: String,
    /// Its user, if it named one.
    pub user: Option<Arc<str>>,
    /// The other end of its connection; `None` if it has no address, or none any more.
    pub peer: Option<SocketAddr>,
    /// Where it comes from, if that other end is a proxy that says so.
    pub behind_proxy: Option<IpAddr>,
    /// The number of channels it is subscribed to.
    pub channels: u32,
    /// Its dialect's name.
    pub dialect: &'static str,
    /// Bytes in its outbox.
    pub queued_bytes: u64,
    /// The time since the outbox last moved, in milliseconds.
    pub stalled_ms: u64,
    /// The time since something was heard from it, in milliseconds.
    pub quiet_ms: u64,
    /// The time since it connected, in seconds.
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
    /// Those of them that were closed because too many waited for the control plane.
    pub visitors_turned_away: u64,
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
