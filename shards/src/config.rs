//! What a shard set is told at start: validated values with their units; every bound has its name
//! here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::rules::{Rules, SlowClients};
use crate::wire::forwarded::{ForwardedHeader, TrustedProxies};
use crate::wire::origin::Origins;

/// What happens when a user connects who is connected already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateUser {
    /// Close the older client with 3500.
    Replace,
    /// Answer the newer one with HTTP 409.
    Refuse,
    /// Keep both.
    Allow,
}

/// Whether a tick's text messages are joined into one WebSocket message for plain clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinMessages {
    /// One WebSocket message each.
    None,
    /// One WebSocket message a tick, its texts separated by a line feed.
    Newline,
}

/// Whether connections begin with a header of the PROXY protocol; only trusted proxies are
/// believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// None does: such a header is no HTTP request.
    Off,
    /// Those of trusted proxies may.
    Optional,
    /// All do; others are refused.
    Required,
}

/// Where a shard that has no work sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// In the runtime's `io_uring`, and in epoll where that cannot be had.
    Auto,
    /// In the runtime's `io_uring`; without one the run does not start.
    Required,
    /// In epoll: no `io_uring` is ever opened.
    Off,
}

/// The validated settings of all shards.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Clone)]
pub struct Config {
    /// The address that every shard binds. Port 0 takes a free one, the same for all.
    pub listen: SocketAddr,
    /// The core of each shard, in order; its length is the number of shards, 1 to 64.
    pub cores: Vec<usize>,
    /// Where a shard that has no work sleeps.
    pub ring: Ring,
    /// The accept queue of each listener, in connections; the kernel caps it at somaxconn.
    pub backlog: u32,
    /// The channel of plain clients that name none.
    pub default_channel: Arc<str>,
    /// Which origins may open a client.
    pub origins: Origins,
    /// Under which path a proxy shows this server, such as `/chat`; empty for none.
    pub path_prefix: Arc<str>,
    /// Who is believed to speak for clients.
    pub trusted_proxies: TrustedProxies,
    /// The header in which trusted proxies write for whom they speak.
    pub forwarded_header: ForwardedHeader,
    /// Whether proxies speak the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// What a second client of a user does to the first.
    pub duplicate_user: DuplicateUser,
    /// Whether a client must name a user.
    pub require_user: bool,

    /// The time between two pings of a client; zero turns the sweep off.
    pub ping_interval: Duration,
    /// How long after a ping something must be heard, 100 ms or more.
    pub pong_timeout: Duration,
    /// Whether text `ping` and `{"heartbeat":true}` are answered on the plain endpoint.
    pub text_ping: bool,

    /// Most bytes one client's outbox holds.
    pub outbox_bytes: usize,
    /// Most bytes all outboxes of one shard hold together.
    pub outbox_total_bytes: usize,
    /// How long an outbox may hold frames without moving.
    pub write_timeout: Duration,
    /// What happens to a client that is over either.
    pub slow_clients: SlowClients,
    /// Whether plain clients get a tick's texts joined unless they say otherwise.
    pub join_messages: JoinMessages,
    /// Whether line breaks in plain text become spaces and its ends are trimmed.
    pub trim_text: bool,

    /// Most bytes of one message from a client.
    pub message_bytes: usize,
    /// Most bytes of a request head.
    pub head_bytes: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// How long a closing client may take to answer a close frame.
    pub close_timeout: Duration,
    /// Most clients of one shard.
    pub clients_per_shard: usize,
    /// Most clients of the process.
    pub clients: usize,
    /// Most clients of one address; zero for no limit.
    pub clients_per_ip: u32,
    /// How many bits of an IPv6 address count as one address there, 0 to 128.
    pub ipv6_prefix: u8,
    /// Messages a second from one client, as a token bucket of one second's depth; zero for no
    /// limit.
    pub messages_per_second: u32,
    /// Bytes a second from one client, likewise; zero for no limit.
    pub bytes_per_second: u32,
    /// Most bytes of a channel's or user's name.
    pub name_bytes: usize,
    /// Most channels of one client.
    pub channels_per_client: usize,
    /// Most channels one shard knows, as home or as subscriber.
    pub channels_per_shard: usize,
    /// The rules of channels at start; a reload hands shards others.
    pub rules: Arc<Rules>,
    /// Most bytes that the histories of all channels of one shard hold together.
    pub history_total_bytes: usize,
    /// Errors a JSON client may make before it is closed; one is forgiven a second.
    pub errors_max: u32,

    /// Parcels in each lane.
    pub lane_parcels: usize,
    /// How long accepting pauses when descriptors are out.
    pub accept_pause: Duration,
    /// The buffer into which a shard reads, in bytes; one per shard, not per client.
    pub read_buffer_bytes: usize,
    /// `SO_SNDBUF` of client sockets in bytes; zero leaves it to the kernel.
    pub send_buffer_bytes: u32,
    /// `SO_RCVBUF` of client sockets in bytes; zero leaves it to the kernel.
    pub receive_buffer_bytes: u32,
    /// Whether the kernel steers connections to the shard on whose core they arrive.
    pub steer_by_core: bool,

    /// Over how long a drain spreads its closes.
    pub drain_spread: Duration,
    /// How long a drain waits for outboxes and answers, after the spread.
    pub drain_timeout: Duration,
}

impl Config {
    /// The defaults: one shard on each of `cores`, on 127.0.0.1:9001.
    pub fn with_cores(cores: Vec<usize>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9001)),
            cores,
            ring: Ring::Auto,
            backlog: 4096,
            default_channel: "lobby".into(),
            origins: Origins::SameHost,
            path_prefix: "".into(),
            trusted_proxies: TrustedProxies::default(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            proxy_protocol: ProxyProtocol::Off,
            duplicate_user: DuplicateUser::Replace,
            require_user: false,
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            text_ping: true,
            outbox_bytes: 1 << 20,
            outbox_total_bytes: 256 << 20,
            write_timeout: Duration::from_secs(10),
            slow_clients: SlowClients::Disconnect,
            join_messages: JoinMessages::None,
            trim_text: false,
            message_bytes: 64 << 10,
            head_bytes: 8 << 10,
            handshake_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(2),
            clients_per_shard: 1_000_000,
            clients: 4_000_000,
            clients_per_ip: 0,
            ipv6_prefix: 64,
            messages_per_second: 0,
            bytes_per_second: 0,
            name_bytes: 64,
            channels_per_client: 128,
            channels_per_shard: 100_000,
            rules: Arc::default(),
            history_total_bytes: 64 << 20,
            errors_max: 20,
            lane_parcels: 4096,
            accept_pause: Duration::from_millis(20),
            read_buffer_bytes: 64 << 10,
            send_buffer_bytes: 0,
            receive_buffer_bytes: 0,
            steer_by_core: false,
            drain_spread: Duration::from_secs(3),
            drain_timeout: Duration::from_secs(10),
        }
    }
}
