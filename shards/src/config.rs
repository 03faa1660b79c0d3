//! The settings of all shards: validated values with their units. Each bound has its name here.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;

use crate::mesh::bus::Joined;
use crate::proof::Prover;
use crate::rules::{ChannelRules, Compression, NewsKinds, Rules, SlowClients, SlowRules};
use crate::wire::forwarded::{ForwardedHeader, TrustedProxies};
use crate::wire::origin::Origins;

/// The policy for a user that connects while it is connected already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DuplicateUser {
    /// Close the older client with 3500.
    Replace,
    /// Answer the newer one with HTTP 409.
    Refuse,
    /// Keep both.
    Allow,
}

/// The form in which plain clients get the text messages of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinMessages {
    /// One WebSocket message each.
    None,
    /// One WebSocket message a tick, its texts separated by a line feed.
    Newline,
}

/// The policy for headers of the PROXY protocol at the beginning of a connection. Only those of
/// trusted proxies are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// No connection begins with one: the header is refused, as it is no HTTP request.
    Off,
    /// Connections of trusted proxies may begin with one.
    Optional,
    /// Each connection begins with one, or is refused.
    Required,
}

/// The source of a client's user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserFrom {
    /// The parameter `user`, which nobody proves, or a token.
    Url,
    /// A token, and nothing else.
    Token,
    /// This header of trusted proxies, or a token.
    Header(Arc<str>),
}

impl UserFrom {
    /// Says where a user comes from, for a client that has named none.
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::Url => "a user is required: ?user=ID",
            Self::Token => "a token is required",
            Self::Header(_) => "a user is required, and a trusted proxy names it",
        }
    }
}

/// The way in which a shard without work sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// In the runtime's `io_uring`, and in epoll if there is no `io_uring`.
    Auto,
    /// In the runtime's `io_uring`; without one the run does not start.
    Required,
    /// In epoll: no `io_uring` is ever opened.
    Off,
}

/// Returns `true` if a connection to one address may arrive at a socket of the other.
pub fn overlaps(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip().to_canonical(), other.ip().to_canonical());
    one.port() == other.port() && (a.is_unspecified() || b.is_unspecified() || a == b)
}

/// Returns `true` if connections that arrive at `local` speak TLS, where `listen_tls` is the
/// address for TLS beside another one. A socket may have the address in another form.
pub fn is_for_tls(local: SocketAddr, listen_tls: Option<SocketAddr>) -> bool {
    listen_tls.is_some_and(|listen_tls| overlaps(local, listen_tls))
}

/// The validated settings of all shards.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
#[derive(Debug, Clone)]
pub struct Config {
    /// The address that every shard binds. Port 0 takes a free one, the same for all.
    pub listen: SocketAddr,
    /// The address for TLS beside that one. Without it TLS is spoken at `listen`, if at all.
    pub listen_tls: Option<SocketAddr>,
    /// The settings of TLS at start, with its certificates; a reload hands shards others.
    pub tls: Option<Arc<ServerConfig>>,
    /// The core of each shard, in order; its length is the number of shards, 1 to 64.
    pub cores: Vec<usize>,
    /// The way in which a shard without work sleeps.
    pub ring: Ring,
    /// The accept queue of each listener, in connections; the kernel caps it at somaxconn.
    pub backlog: u32,
    /// The channel of plain clients that name none.
    pub default_channel: Arc<str>,
    /// Each client with a user is in the channel whose name is this and the user's; empty: in none.
    pub personal_channel: Arc<str>,
    /// The origins whose pages may connect.
    pub origins: Origins,
    /// The path under which a proxy shows this server, such as `/chat`; empty for none.
    pub path_prefix: Arc<str>,
    /// The proxies whose word on the addresses of clients is believed.
    pub trusted_proxies: TrustedProxies,
    /// The header in which trusted proxies write the addresses of clients.
    pub forwarded_header: ForwardedHeader,
    /// The policy for headers of the PROXY protocol.
    pub proxy_protocol: ProxyProtocol,
    /// The policy for a second client of a user.
    pub duplicate_user: DuplicateUser,
    /// The source of a client's user.
    pub user_from: UserFrom,
    /// The part that verifies tokens; without one they are not read.
    pub prover: Option<Arc<dyn Prover>>,
    /// The news that the application is told.
    pub news: NewsKinds,
    /// A client must name a user.
    pub require_user: bool,

    /// The time between two pings of a client; zero turns the sweep off.
    pub ping_interval: Duration,
    /// The longest time from a ping to the next sign of life, 100 ms or more.
    pub pong_timeout: Duration,
    /// The texts `ping` and `{"heartbeat":true}` are answered on the plain endpoint.
    pub text_ping: bool,

    /// The most bytes one client's outbox holds.
    pub outbox_bytes: usize,
    /// The most bytes all outboxes of one shard hold together.
    pub outbox_total_bytes: usize,
    /// The longest time that an outbox may hold frames without moving.
    pub write_timeout: Duration,
    /// The policy for a client that is over one of these bounds.
    pub slow_clients: SlowClients,
    /// The form in which plain clients get the texts of a tick unless they ask for another one.
    pub join_messages: JoinMessages,
    /// Line breaks in plain text become spaces, and its ends are trimmed.
    pub trim_text: bool,

    /// The most bytes of one message from a client.
    pub message_bytes: usize,
    /// The most bytes of a request head.
    pub head_bytes: usize,
    /// The longest time that a handshake may take.
    pub handshake_timeout: Duration,
    /// The longest time that a client may take to answer a close frame.
    pub close_timeout: Duration,
    /// The most clients of one shard.
    pub clients_per_shard: usize,
    /// The compression of messages to clients that can read such.
    pub compression: Compression,
    /// The most clients of the process.
    pub clients: usize,
    /// The most clients of one address; zero for no limit.
    pub clients_per_ip: u32,
    /// The number of leading bits of an IPv6 address that count as one address there, 0 to 128.
    pub ipv6_prefix: u8,
    /// Messages a second from one client, as a token bucket of one second's depth; zero for no
    /// limit.
    pub messages_per_second: u32,
    /// Bytes a second from one client, as a bucket of the same kind; zero for no limit.
    pub bytes_per_second: u32,
    /// The most bytes of a channel's or user's name.
    pub name_bytes: usize,
    /// The most channels of one client.
    pub channels_per_client: usize,
    /// The most channels one shard knows, as home or as subscriber.
    pub channels_per_shard: usize,
    /// The most members of a channel that one answer names.
    pub presence_names: usize,
    /// The rules of channels at start; a reload hands shards others.
    pub rules: Arc<Rules>,
    /// Most bytes that the histories of all channels of one shard hold together.
    pub history_total_bytes: usize,
    /// `true` to keep the histories for the end of the run.
    pub saves_history: bool,
    /// Errors a JSON client may make before it is closed; one is forgiven a second.
    pub errors_max: u32,

    /// The engine that orders the publications of several nodes; `None`: homes do.
    pub engine: Option<Joined>,

    /// Parcels in each lane.
    pub lane_parcels: usize,
    /// The time for which accepting pauses when no descriptor is left.
    pub accept_pause: Duration,
    /// The buffer into which a shard reads, in bytes; one per shard, not per client.
    pub read_buffer_bytes: usize,
    /// `SO_SNDBUF` of client sockets in bytes; zero leaves it to the kernel.
    pub send_buffer_bytes: u32,
    /// `SO_RCVBUF` of client sockets in bytes; zero leaves it to the kernel.
    pub receive_buffer_bytes: u32,
    /// The kernel steers connections to the shard on whose core they arrive.
    pub steer_by_core: bool,

    /// The time over which a drain spreads its closes.
    pub drain_spread: Duration,
    /// The longest time that a drain waits for outboxes and answers after that.
    pub drain_timeout: Duration,
}

impl Config {
    /// The defaults: one shard on each of `cores`, on 127.0.0.1:9001.
    pub fn with_cores(cores: Vec<usize>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9001)),
            listen_tls: None,
            tls: None,
            cores,
            ring: Ring::Auto,
            backlog: 4096,
            default_channel: "lobby".into(),
            personal_channel: "".into(),
            origins: Origins::SameHost,
            path_prefix: "".into(),
            trusted_proxies: TrustedProxies::default(),
            forwarded_header: ForwardedHeader::XForwardedFor,
            proxy_protocol: ProxyProtocol::Off,
            duplicate_user: DuplicateUser::Replace,
            user_from: UserFrom::Url,
            prover: None,
            news: NewsKinds::default(),
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
            compression: Compression::Off,
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
            presence_names: 1000,
            rules: Arc::default(),
            history_total_bytes: 64 << 20,
            saves_history: false,
            errors_max: 20,
            engine: None,
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

    /// Returns `true` if `listen` speaks TLS.
    pub(crate) fn tls_is_alone(&self) -> bool {
        self.tls.is_some() && self.listen_tls.is_none()
    }

    /// The policy for slow clients of channels with these rules.
    pub(crate) fn slow_rules(&self, rules: &ChannelRules) -> SlowRules {
        SlowRules {
            policy: rules.slow_clients.unwrap_or(self.slow_clients),
            outbox_bytes: rules.outbox_bytes.unwrap_or(self.outbox_bytes),
            recovers: rules.recovery && rules.history.is_on(),
        }
    }

    /// The compression of messages of channels with these rules.
    pub(crate) fn compression_of(&self, rules: &ChannelRules) -> Compression {
        rules.compression.unwrap_or(self.compression)
    }

    /// The policy for slow clients where no channel is concerned.
    pub(crate) fn slow_rules_of_server(&self) -> SlowRules {
        let (policy, outbox_bytes) = (self.slow_clients, self.outbox_bytes);
        SlowRules { policy, outbox_bytes, recovers: false }
    }
}
