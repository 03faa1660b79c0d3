//! The clients of a shard, and all that is needed to send to them: the part of a shard that knows
//! sockets, and no channel.

pub(crate) mod app;
pub(crate) mod bodies;
pub(crate) mod handshakes;
pub(crate) mod hot;
pub(crate) mod identity;
pub(crate) mod lapses;
pub(crate) mod outboxes;
pub(crate) mod pending;
pub(crate) mod wants;
pub(crate) mod state;
pub(crate) mod roster;
pub(crate) mod sealing;
pub(crate) mod sessions;
pub(crate) mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use crossbeam_channel::Sender;

use crate::clock::Now;
use crate::close::CloseReason;
use crate::config::Config;
use crate::model::id::{ChannelIndex, ClientId, ShardId, Slot};
use crate::model::socket::SocketId;
use crate::net::Net;
use crate::notice::Notice;
use crate::wire::dialect::Dialect;
use crate::wire::refusal::Refusal;
use crate::wire::transport::Transport;
use bodies::Bodies;
use identity::Expiries;
use lapses::Lapses;
use roster::Roster;
use sealing::Sealing;
use sessions::Sessions;
use state::Flags;
use tally::Tally;

/// After so many sends to single clients, outside of ticks, a request for more waits for the next
/// turn.
pub(crate) const TOLD_PER_TURN: usize = 768;

/// Returns the number of messages to single clients that cost a shard as much as a page of older
/// publications with so many bytes. A client that reads large ones as fast as they come gets some
/// hundred KiB of them a turn.
pub(crate) fn told_per_page(bytes: usize) -> usize {
    16 + (bytes >> 9)
}

/// The counts that all shards of a process share, and what never changes; no other data.
#[derive(Default)]
pub(crate) struct Shared {
    /// Clients open in the whole process.
    clients: AtomicUsize,
    /// Shards without clients.
    drained: AtomicUsize,
    /// The log of notices for the operator.
    notices: Option<Sender<Notice>>,
    /// The names of clients for requests that speak for them.
    sessions: Sessions,
}

impl Shared {
    /// The counts of a process that logs notices.
    pub(crate) fn with_notices(notices: Sender<Notice>) -> Self {
        Self { notices: Some(notices), ..Self::default() }
    }
}

/// A connection that must end, found where it could not be ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doomed {
    pub(crate) client: ClientId,
    pub(crate) reason: CloseReason,
}

/// The time by which a connection must have come in, or gone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) due_ms: u32,
    pub(crate) client: ClientId,
    pub(crate) leaving: bool,
}

/// The outboxes of a shard, taken together.
#[derive(Debug, Default)]
pub(crate) struct Outboxes {
    /// Clients with something in their outbox, and some that had it until the last sweep.
    pub(crate) listed: Vec<ClientId>,
    /// Bytes in all of them.
    pub(crate) bytes: usize,
}

/// The client whose bytes are being looked at, and the frames for it meanwhile, which leave in one
/// send.
#[derive(Debug, Default)]
pub(crate) struct Speaker {
    pub(crate) slot: Option<Slot>,
    pub(crate) replies: Vec<u8>,
}

/// All connections of a shard.
pub(crate) struct Clients<N: Net> {
    pub(crate) config: Arc<Config>,
    shared: Arc<Shared>,
    pub(crate) now: Now,
    pub(crate) net: N,
    pub(crate) roster: Roster<N>,
    pub(crate) tally: Tally,
    /// Open clients, as against handshakes and those that leave.
    pub(crate) open: usize,
    pub(crate) outboxes: Outboxes,
    pub(crate) speaker: Speaker,
    /// Room for one event on its way.
    pub(crate) scratch: BytesMut,
    /// The number of the latest request whose answer comes in parcels.
    requests: u32,
    /// Sends to single clients in this turn because others asked for them.
    pub(crate) told: usize,
    /// With so many of them clients that have requests are read in the next turn.
    pub(crate) told_max: usize,
    pub(crate) doomed: Vec<Doomed>,
    /// Members that take patches and have lost a publication of the ticks that are leaving.
    pub(crate) unlinked: Vec<(ClientId, ChannelIndex)>,
    /// Members that have not heard all that a window of the ticks that are leaving holds.
    pub(crate) apart: Vec<(ClientId, ChannelIndex)>,
    /// Members that have lost a publication of the ticks that are leaving, and leave its channel.
    pub(crate) lost: Vec<(ClientId, ChannelIndex)>,
    /// Handshakes, closes and lingering refusals, and when they end.
    pub(crate) deadlines: Vec<Deadline>,
    /// Open clients whose time is limited.
    expiries: Expiries,
    /// Subscriptions of them whose time is limited.
    pub(crate) lapses: Lapses,
    /// Requests whose bodies are incomplete.
    pub(crate) bodies: Bodies,
    /// The backend is asked about clients whose time is nearly over.
    pub(crate) backend_refreshes: bool,
    /// TLS.
    pub(crate) sealing: Sealing,
}

impl<N: Net> Clients<N> {
    pub(crate) fn new(net: N, config: Arc<Config>, shared: Arc<Shared>, me: ShardId) -> Self {
        let sealing = Sealing::new(config.tls.clone());
        Self {
            config,
            shared,
            now: Now::read(),
            net,
            roster: Roster::new(me),
            tally: Tally::new(),
            open: 0,
            outboxes: Outboxes::default(),
            speaker: Speaker::default(),
            scratch: BytesMut::new(),
            requests: 0,
            told: 0,
            told_max: TOLD_PER_TURN,
            doomed: Vec::new(),
            unlinked: Vec::new(),
            apart: Vec::new(),
            lost: Vec::new(),
            deadlines: Vec::new(),
            expiries: Expiries::default(),
            lapses: Lapses::default(),
            bodies: Bodies::default(),
            backend_refreshes: false,
            sealing,
        }
    }

    /// The dialect of an open client.
    pub(crate) fn dialect(&self, slot: Slot) -> Dialect {
        Dialect::of(self.roster.hot(slot).shape).0
    }

    /// Returns `true` if a client with an answer listens to an HTTP response that never ends.
    pub(crate) fn is_stream(&self, slot: Slot) -> bool {
        Transport::of(self.roster.hot(slot).shape).is_stream()
    }

    /// Returns `true` if a client's messages may be compressed.
    pub(crate) fn inflates(&self, slot: Slot) -> bool {
        Transport::of(self.roster.hot(slot).shape).inflates()
    }

    /// Returns `true` if a message to a client may be compressed by those before it, of which the
    /// client is told all.
    pub(crate) fn reaches_back(&self, slot: Slot) -> bool {
        let hot = self.roster.hot(slot);
        Transport::of(hot.shape) == Transport::Deflated && !hot.state.is_any(Flags::NO_ECHO)
    }

    /// The names of a client and of this process for requests that speak for the client.
    pub(crate) fn session(&self, slot: Slot) -> (String, String) {
        let sessions = &self.shared.sessions;
        (sessions.name(self.roster.id(slot)), sessions.node().to_owned())
    }

    /// The number of this process in socket ids.
    pub(crate) fn run(&self) -> u64 {
        self.shared.sessions.run()
    }

    /// The name of a client in Pusher's protocol.
    pub(crate) fn socket_id(&self, slot: Slot) -> SocketId {
        SocketId { run: self.run(), client: self.roster.id(slot) }
    }

    /// The names of clients for requests that speak for them.
    pub(crate) fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    /// Numbers a request whose answer comes in parcels. The numbers are the shard's: a client that
    /// has given a request up may get its answer after the next request, and must not mistake it.
    pub(crate) fn number_request(&mut self) -> u32 {
        self.requests = self.requests.wrapping_add(1);
        self.requests
    }

    /// Marks a client to be closed once no stage walks over clients.
    pub(crate) fn doom(&mut self, slot: Slot, reason: CloseReason) {
        if matches!(reason, CloseReason::Slow | CloseReason::Overtaken) {
            // It would take a later message for the next one of its channel, and come back behind
            // that.
            self.roster.state_mut(slot).lose();
        }
        self.doomed.push(Doomed { client: self.roster.id(slot), reason });
    }

    /// Sets the time by which a connection must have come in, or gone.
    pub(crate) fn set_deadline(&mut self, slot: Slot, after: Duration) {
        let after = u32::try_from(after.as_millis()).unwrap_or(u32::MAX / 4);
        let due_ms = self.now.ms().wrapping_add(after);
        let leaving = self.roster.state(slot).is_leaving();
        self.deadlines.push(Deadline { due_ms, client: self.roster.id(slot), leaving });
    }

    /// Returns `true` if the time of some client is limited, or that of a subscription.
    pub(crate) fn has_ends(&self) -> bool {
        !self.expiries.is_empty() || !self.lapses.is_empty()
    }

    /// Logs a notice, unless too many wait already.
    pub(crate) fn notice(&self, notice: impl FnOnce() -> Notice) {
        if let Some(notices) = self.shared.notices.as_ref().filter(|notices| !notices.is_full()) {
            let _ = notices.try_send(notice());
        }
    }

    pub(crate) fn count_refusal(&mut self, refusal: &Refusal) {
        self.tally.refusals[refusal.index()] += 1;
    }

    /// One more client is open.
    pub(crate) fn count_open(&mut self) {
        self.open += 1;
        // Relaxed: a bound on a count, which orders nothing.
        self.shared.clients.fetch_add(1, Ordering::Relaxed);
    }

    /// One client fewer is open.
    pub(crate) fn count_gone(&mut self) {
        self.open -= 1;
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the number of open clients of all shards of the process.
    pub(crate) fn open_in_process(&self) -> usize {
        self.shared.clients.load(Ordering::Relaxed)
    }

    /// Counts this shard as one without clients. Returns the number of such shards.
    pub(crate) fn count_drained(&self) -> usize {
        // Relaxed: a count, which orders nothing; parcels between shards pass through lanes.
        self.shared.drained.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns `true` once no shard of the process has a client left.
    pub(crate) fn all_are_drained(&self) -> bool {
        self.shared.drained.load(Ordering::Relaxed) >= self.config.cores.len()
    }

    /// Holds the parts against each other.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        self.roster.check();
        self.check_ends();
        self.check_lapses();
    }
}
