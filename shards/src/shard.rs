//! One shard: what it owns, and the turn in which its stages run one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use bytes::BytesMut;

use crate::client::roster::{Partial, Roster, SERVED};
use crate::clock::Now;
use crate::close::CloseReason;
use crate::config::Config;
use crate::handle::Door;
use crate::mesh::Port;
use crate::mesh::parcel::AckTo;
use crate::model::channel::{Channels, Subscription};
use crate::model::directory::Directory;
use crate::model::id::ClientId;
use crate::model::tally::Tally;
use crate::net::{Net, Ready};
use crate::stage::drain::Drain;
use crate::stage::fanout::Encoded;

/// The most parcels of one lane that a turn takes.
const PARCELS_PER_TURN: usize = 256;

/// After so many sends to single clients, outside ticks, what asks for more waits for the next
/// turn.
pub(crate) const TOLD_PER_TURN: usize = 1024;

/// A connection that must end, found where it could not be ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doomed {
    pub(crate) client: ClientId,
    pub(crate) reason: CloseReason,
}

/// When a connection that is on its way in, or out, must be done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) due_ms: u32,
    pub(crate) client: ClientId,
    pub(crate) leaving: bool,
}

/// What all shards of a process share: counts, never data.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Clients open in the whole process.
    pub(crate) clients: AtomicUsize,
}

/// Everything that one shard owns.
pub(crate) struct Shard<N: Net> {
    pub(crate) config: Arc<Config>,
    pub(crate) websocket: WebSocketConfig,
    pub(crate) shared: Arc<Shared>,
    pub(crate) door: Door,
    pub(crate) core: usize,
    pub(crate) port: Port,
    pub(crate) now: Now,
    pub(crate) net: N,
    /// Accepted connections on their way into the roster.
    pub(crate) fresh: VecDeque<N::Stream>,
    pub(crate) roster: Roster<N>,
    pub(crate) channels: Channels,
    pub(crate) directory: Directory,
    pub(crate) tally: Tally,
    /// Open and closing clients, as against handshakes.
    pub(crate) open: usize,

    pub(crate) ready: Vec<Ready>,
    /// The one buffer into which every socket is read.
    pub(crate) read_buffer: Vec<u8>,
    /// What a client's own protocol state wrote: pongs, close answers.
    pub(crate) control_out: Vec<u8>,
    /// The client whose bytes are being taken, and what it was told meanwhile.
    pub(crate) feeding: Option<u32>,
    pub(crate) replies: Vec<u8>,
    /// Protocol state for the next client that is not in the middle of a message.
    pub(crate) spare: Option<Box<Partial>>,

    /// Channels with an open tick.
    pub(crate) dirty: Vec<u32>,
    pub(crate) tick_is_full: bool,
    pub(crate) encoded: Vec<Encoded>,
    pub(crate) scratch: BytesMut,
    /// Members of several channels in a tick: slot and place in `encoded`.
    pub(crate) several: Vec<(u32, u32)>,
    /// Channels that may have lost their last member here.
    pub(crate) emptied: Vec<u32>,

    /// Publishers that wait for room, in the order in which they found none.
    pub(crate) held: VecDeque<ClientId>,
    /// Whether other shards' asks come before them in the next turn.
    asks_first: bool,
    /// How many single clients were sent something in this turn because others asked for it.
    pub(crate) told: usize,
    pub(crate) doomed: Vec<Doomed>,
    /// Clients with something in their outbox.
    pub(crate) blocked: Vec<ClientId>,
    pub(crate) outbox_bytes: usize,
    /// Handshakes, closes and lingering refusals, and when they end.
    pub(crate) deadlines: Vec<Deadline>,
    pub(crate) sweep_at: usize,
    pub(crate) swept: Now,
    pub(crate) drain: Option<Drain>,
}

impl<N: Net> Shard<N> {
    #[expect(clippy::too_many_arguments, reason = "a shard's whole world, given once")]
    pub(crate) fn new(
        net: N,
        config: Arc<Config>,
        core: usize,
        port: Port,
        shared: Arc<Shared>,
        door: Door,
    ) -> Self {
        let websocket = WebSocketConfig::default()
            .read_buffer_size(1024)
            .write_buffer_size(0)
            .max_write_buffer_size(64 << 10)
            .max_message_size(Some(config.message_bytes))
            .max_frame_size(Some(config.message_bytes));
        let me = port.me;
        let mut shard = Self {
            websocket,
            shared,
            door,
            core,
            port,
            now: Now::read(),
            net,
            fresh: VecDeque::new(),
            roster: Roster::new(me),
            channels: Channels::new(config.channels_per_shard),
            directory: Directory::default(),
            tally: Tally::new(),
            open: 0,
            ready: Vec::new(),
            read_buffer: vec![0; config.read_buffer_bytes],
            control_out: Vec::new(),
            feeding: None,
            replies: Vec::new(),
            spare: None,
            dirty: Vec::new(),
            tick_is_full: false,
            encoded: Vec::new(),
            scratch: BytesMut::new(),
            several: Vec::new(),
            emptied: Vec::new(),
            held: VecDeque::new(),
            asks_first: false,
            told: 0,
            doomed: Vec::new(),
            blocked: Vec::new(),
            outbox_bytes: 0,
            deadlines: Vec::new(),
            sweep_at: 0,
            swept: Now::default(),
            drain: None,
            config,
        };
        shard.pin_default_channel();
        shard
    }

    /// The default channel is subscribed for good, so that its clients never wait for it.
    fn pin_default_channel(&mut self) {
        let name = Arc::clone(&self.config.default_channel);
        if let Ok(index) = self.subscribe(&name) {
            self.channels.at(index).pinned = true;
            let live = self.channels.get(index).subscription == Subscription::Live;
            debug_assert!(live || self.channels.get(index).home != self.port.me);
        }
    }

    /// One turn at `now`: takes all that is ready, acts on it, and sends each client what came of
    /// it at once.
    pub(crate) fn turn(&mut self, now: Now) {
        let before = std::mem::replace(&mut self.now, now);
        self.told = 0;
        self.excuse_absence(before);
        self.admit_fresh();
        self.port.retry();
        self.take_delivers();
        self.serve_publishers();
        self.read_ready();
        self.fan_out();
        self.bury();
        self.relieve_outboxes();
        self.sweep();
        self.drain_on();
        self.bury();
        self.forget_emptied();
        self.port.ring();
        self.tally.turns += 1;
        self.tally.stalls += u64::from(self.port.is_stalled());
        self.tally.busy_ns += Now::read().ns.saturating_sub(now.ns);
    }

    /// Whether something is left to do without waiting.
    pub(crate) fn has_work(&self) -> bool {
        self.net.has_ready() || self.port.has_work() || !self.fresh.is_empty()
    }

    /// How long the shard may sleep at most; `None`: until it is rung.
    pub(crate) fn nap(&self) -> Option<Duration> {
        let timed = self.drain.is_some()
            || !self.deadlines.is_empty()
            || !self.blocked.is_empty()
            || (self.open > 0 && !self.config.ping_interval.is_zero());
        timed.then(|| self.sweep_period())
    }

    /// Takes what homes have sent, as long as that leaves the asks of this turn their part: a shard
    /// that is told of many all the time would answer nobody else.
    fn take_delivers(&mut self) {
        let mut taken = 0;
        while taken < PARCELS_PER_TURN
            && self.told < TOLD_PER_TURN / 2
            && let Some(parcel) = self.port.next_deliver()
        {
            taken += 1;
            self.take_deliver(parcel);
            self.fan_out_if_full();
        }
        if taken > 0 {
            self.port.made_room();
        }
    }

    /// Lets this shard's held publishers and the asks of others share what room there is for what
    /// comes of them. A saturated home is never without waiting publishers of its own: taken first
    /// each time, they would leave the others nothing.
    fn serve_publishers(&mut self) {
        if self.asks_first {
            let taken = self.take_asks();
            self.resume_held();
            self.asks_first = taken == 0 && self.port.depths().0 > 0;
        } else {
            let resumed = self.resume_held();
            self.take_asks();
            self.asks_first = resumed > 0 || self.held.is_empty();
        }
    }

    fn take_asks(&mut self) -> usize {
        let mut taken = 0;
        while taken < PARCELS_PER_TURN
            && self.told < TOLD_PER_TURN
            && !self.port.is_stalled()
            && let Some(ask) = self.port.next_ask()
        {
            taken += 1;
            self.take_ask(ask);
            self.fan_out_if_full();
        }
        if taken > 0 {
            self.port.made_room();
        }
        taken
    }

    fn read_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        self.net.take_ready(&mut ready);
        for &ready in &ready {
            self.serve(ready);
            self.fan_out_if_full();
        }
        for ready in ready.drain(..) {
            self.roster.hot_mut(ready.slot).flags &= !SERVED;
        }
        self.ready = ready;
    }

    fn fan_out_if_full(&mut self) {
        if self.tick_is_full {
            self.fan_out();
        }
    }

    /// Marks a client to be closed once no one walks over clients.
    pub(crate) fn doom(&mut self, slot: u32, reason: CloseReason) {
        self.doomed.push(Doomed { client: self.roster.id(slot), reason });
    }

    /// Closes the marked clients.
    fn bury(&mut self) {
        while let Some(Doomed { client, reason }) = self.doomed.pop() {
            if let Some(slot) = self.roster.slot_of(client) {
                self.close(slot, reason);
            }
        }
    }

    /// Unsubscribes from channels that have no member here any more. At the end of a turn: no index
    /// is in use then.
    fn forget_emptied(&mut self) {
        for index in std::mem::take(&mut self.emptied) {
            self.forget_if_empty(index);
        }
    }

    pub(crate) fn count_open(&mut self) {
        self.open += 1;
        // Relaxed: a bound on a count, which orders nothing.
        self.shared.clients.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_gone(&mut self) {
        self.open -= 1;
        self.shared.clients.fetch_sub(1, Ordering::Relaxed);
    }

    /// Answers whoever waits for a publication to be taken.
    pub(crate) fn acknowledge(&mut self, ack: AckTo, channel: &Arc<str>, offset: u64) {
        match ack {
            AckTo::Nobody => {}
            AckTo::Api(reply) => reply.give(offset),
            AckTo::Client(to, id) if to.shard == self.port.me => {
                self.tell_published(to, &id, channel, offset);
            }
            AckTo::Client(to, id) => {
                let channel = Arc::clone(channel);
                let parcel = crate::mesh::parcel::Deliver::Published { to, id, channel, offset };
                self.port.deliver(to.shard, parcel);
            }
        }
    }
}
