//! One shard: the parts that it owns, and the turn in which its stages run one after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::WebSocketConfig;

use crate::client::{Clients, Shared, TOLD_PER_TURN};
use crate::clock::{Now, unix_ms};
use crate::config::Config;
use crate::home::Home;
use crate::home::engine::Engine;
use crate::mesh::Port;
use crate::model::channel::Subscription;
use crate::model::directory::Directory;
use crate::model::id::ClientId;
use crate::model::rooms::Rooms;
use crate::model::snapshot::Past;
use crate::net::{Net, Ready};
use crate::stage::batch::FanOut;
use crate::stage::drain::Drain;
use crate::stage::inflate::Inflation;
use crate::stage::lost_apps::LostApps;
use crate::stage::prove::Trust;
use crate::stage::recall::LastPages;
use crate::wire::machine::Machine;

/// The most parcels of one lane that a turn takes.
pub(crate) const PARCELS_PER_TURN: usize = 256;

/// The longest sleep of a shard that keeps publications and has nothing else to time.
const HISTORY_NAP: Duration = Duration::from_secs(1);

/// A connection that was just accepted.
pub(crate) struct Fresh<S> {
    pub(crate) stream: S,
    /// It came to a port that speaks TLS.
    pub(crate) is_sealed: bool,
}

/// Everything that one shard owns.
pub(crate) struct Shard<N: Net> {
    /// Sockets and the clients behind them.
    pub(crate) clients: Clients<N>,
    /// Channels and their open ticks.
    pub(crate) rooms: Rooms,
    /// Users and addresses that this shard owns.
    pub(crate) directory: Directory,
    /// The links to other shards.
    pub(crate) port: Port,
    /// The fan-out's memory.
    pub(crate) fan: FanOut,
    /// Frames for clients that come back.
    pub(crate) last_pages: LastPages,
    /// Clients whose next page waits for the next turn.
    pub(crate) recall_later: VecDeque<ClientId>,
    /// Other processes that take part in the order of this home; `None` while there are none.
    pub(crate) engine: Option<Box<Engine>>,
    /// Pages that homes were asked for and that have not come yet.
    pub(crate) recalls_asked: usize,
    /// Keys and revocations.
    pub(crate) trust: Trust,

    pub(crate) core: usize,
    /// Accepted connections on their way into the roster.
    pub(crate) fresh: VecDeque<Fresh<N::Stream>>,
    ready: Vec<Ready>,
    /// Slots that are read first in the next turn: this one has done enough for requests.
    pub(crate) put_off: Vec<Ready>,
    /// Clients whose peers have ended, and that later turns take leave of.
    pub(crate) leaving: VecDeque<ClientId>,
    /// The clients whose peers have ended that this turn has served.
    pub(crate) leavers: usize,
    pub(crate) leavers_max: usize,
    /// The time that the latest turn took.
    turn_ns: u64,
    /// The one buffer into which every socket is read.
    pub(crate) read_buffer: Vec<u8>,

    pub(crate) websocket: WebSocketConfig,
    /// Protocol state for the next client that is not in the middle of a message.
    pub(crate) spare: Option<Box<Machine>>,
    /// Decompression, and room for what has passed a shim.
    pub(crate) inflation: Inflation,
    /// Room for the protocol machine's own answers: pongs, close answers.
    pub(crate) control_out: Vec<u8>,
    /// Clients whose requests wait for room, in the order in which they found none.
    pub(crate) held: VecDeque<ClientId>,
    /// `true` if other shards' asks come before them in the next turn.
    asks_first: bool,

    pub(crate) sweep_at: usize,
    pub(crate) swept: Now,
    pub(crate) drain: Option<Drain>,
    /// Clients that a reload has left without their app.
    pub(crate) lost_apps: Option<LostApps>,
}

impl<N: Net> Shard<N> {
    pub(crate) fn new(
        net: N,
        config: Arc<Config>,
        core: usize,
        port: Port,
        shared: Arc<Shared>,
    ) -> Self {
        let websocket = WebSocketConfig::default()
            .read_buffer_size(1024)
            .write_buffer_size(0)
            .max_write_buffer_size(64 << 10)
            .max_message_size(Some(config.message_bytes))
            .max_frame_size(Some(config.message_bytes));
        let mut shard = Self {
            rooms: Rooms::new(
                config.channels_per_shard,
                port.mesh.epoch(),
                Arc::clone(&config.rules),
                config.history_total_bytes,
            ),
            directory: Directory::default(),
            fan: FanOut::default(),
            last_pages: LastPages::default(),
            recall_later: VecDeque::new(),
            engine: None,
            recalls_asked: 0,
            trust: Trust { prover: config.prover.clone(), ..Trust::default() },
            core,
            fresh: VecDeque::new(),
            ready: Vec::new(),
            put_off: Vec::new(),
            leaving: VecDeque::new(),
            leavers: 0,
            leavers_max: 0,
            turn_ns: 0,
            read_buffer: vec![0; config.read_buffer_bytes],
            websocket,
            spare: None,
            inflation: Inflation::default(),
            control_out: Vec::new(),
            held: VecDeque::new(),
            asks_first: false,
            sweep_at: 0,
            swept: Now::default(),
            drain: None,
            lost_apps: None,
            clients: Clients::new(net, config, shared, port.me),
            port,
        };
        shard.clients.backend_refreshes = shard.rooms.channels.rules().hooks().refresh;
        shard.pin_default_channel();
        shard
    }

    /// Subscribes to the default channel for good, so that its clients never wait for it.
    fn pin_default_channel(&mut self) {
        let name = Arc::clone(&self.clients.config.default_channel);
        if let Ok(index) = self.subscribe(&name) {
            self.rooms.channels.at(index).pinned = true;
            let live = self.rooms.channels.get(index).subscription == Subscription::Live;
            debug_assert!(live || self.rooms.channels.get(index).home != self.port.me);
        }
    }

    /// Goes on with what an earlier process has left, before the first turn.
    pub(crate) fn restore(&mut self, past: Past) {
        for revocation in &past.revocations {
            self.trust.revoked.add(revocation);
        }
        let tally = &mut self.clients.tally;
        tally.lost_pasts += past.lost;
        tally.restored_channels += past.channels.len() as u64;
        // The one clock that both processes have: it says how old the publications are.
        let time_ms = unix_ms();
        let (me, times) = (self.port.me, (self.clients.now.long_ms(), time_ms));
        self.rooms.restore(past.channels, (me, past.leads), times);
        (self.port.process, self.clients.roster.process) = (past.process, past.process);
        self.home().restore(past.facts, past.leads);
    }

    /// The parts of this shard that a home and owner works on.
    pub(crate) fn home(&mut self) -> Home<'_> {
        Home {
            config: &self.clients.config,
            rooms: &mut self.rooms,
            directory: &mut self.directory,
            port: &mut self.port,
            tally: &mut self.clients.tally,
            engine: &mut self.engine,
            now: self.clients.now,
        }
    }

    /// One turn at `now`: takes all that is ready, acts on it, and sends each client what came of
    /// it at once.
    pub(crate) fn turn(&mut self, now: Now) {
        let before = std::mem::replace(&mut self.clients.now, now);
        (self.clients.told, self.trust.verified) = (0, 0);
        self.excuse_absence(before);
        self.admit_fresh();
        self.port.retry();
        self.settle();
        while self.resume_recall() {
            // This shard's own homes answer at once.
            self.settle();
        }
        self.take_delivers();
        self.serve_link();
        self.serve_publishers();
        self.read_ready();
        self.fan_out();
        self.bury();
        self.relieve_outboxes();
        self.sweep();
        self.drain_on();
        self.bury();
        self.settle();
        self.forget_emptied();
        debug_assert!(self.port.is_settled(), "no parcel to itself waits for the next turn");
        self.port.ring();
        let tally = &mut self.clients.tally;
        tally.turns += 1;
        tally.stalls += u64::from(self.port.is_stalled());
        self.turn_ns = N::clock().ns.saturating_sub(now.ns);
        tally.busy_ns += self.turn_ns;
        self.clients.sealing.handshakes.end_turn(self.turn_ns);
    }

    /// Returns how many things that take `each_ns` fit into a quarter of the latest turn: beside so
    /// much else, they make a turn little longer, and a bound in numbers would be too low for those
    /// that wait.
    pub(crate) fn part_of_turn(&self, each_ns: u64) -> usize {
        if cfg!(any(test, fuzzing)) {
            // Runs of the simulation repeat themselves, however fast the machine is.
            return 0;
        }
        usize::try_from(self.turn_ns / 4 / each_ns).unwrap_or(usize::MAX)
    }

    /// Returns `true` if something is left to do without waiting.
    pub(crate) fn has_work(&self) -> bool {
        !self.clients.doomed.is_empty()
            || !self.recall_later.is_empty() && self.may_recall()
            || self.clients.net.has_ready()
            || !self.put_off.is_empty()
            || !self.leaving.is_empty()
            || !self.clients.sealing.handshakes.is_empty()
            || self.port.has_work()
            || self.link_has_work()
            || !self.fresh.is_empty()
    }

    /// Returns the longest time that the shard may sleep; `None`: until it is rung.
    pub(crate) fn nap(&self) -> Option<Duration> {
        let timed = self.drain.is_some()
            || self.lost_apps.is_some()
            || !self.clients.deadlines.is_empty()
            || !self.clients.outboxes.listed.is_empty()
            || self.clients.has_ends()
            || !self.rooms.returns.is_empty()
            || self.directory.watchers.has_news()
            || self.engine.as_ref().is_some_and(|engine| engine.waits_for_members())
            || (self.clients.open > 0 && !self.clients.config.ping_interval.is_zero());
        // Publications that a history keeps too long are memory only: nobody is told them.
        let keeps = self.rooms.keeps_any().then_some(HISTORY_NAP);
        timed.then(|| self.sweep_period()).or(keeps)
    }

    /// Takes what homes have sent, as long as that leaves the asks of this turn their part: a shard
    /// that is told of many all the time would answer nobody else.
    fn take_delivers(&mut self) {
        let mut taken = 0;
        while taken < PARCELS_PER_TURN
            && self.clients.told < TOLD_PER_TURN / 2
            && let Some(parcel) = self.port.next_deliver()
        {
            taken += 1;
            self.take_deliver(parcel);
            self.settle();
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
            && self.clients.told < TOLD_PER_TURN
            && !self.port.is_stalled()
            && let Some(ask) = self.port.next_ask()
        {
            taken += 1;
            self.take_ask(ask);
            self.settle();
            self.fan_out_if_full();
        }
        if taken > 0 {
            self.port.made_room();
        }
        taken
    }

    fn read_ready(&mut self) {
        let mut ready = std::mem::take(&mut self.ready);
        self.clients.net.take_ready(&mut ready);
        // Those that waited come first: the others have had more turns than they.
        let mut waited = std::mem::take(&mut self.put_off);
        self.take_leavers(&mut waited);
        self.clients.told_max = self.clients.told + TOLD_PER_TURN;
        for &ready in waited.iter().chain(&ready) {
            self.serve(ready);
            self.fan_out_if_full();
        }
        self.serve_handshakes();
        for ready in waited.into_iter().chain(ready.drain(..)) {
            self.clients.roster.state_mut(ready.slot).end_turn();
        }
        self.ready = ready;
    }

    /// Unsubscribes from channels that have no member here any more. At the end of a turn: no index
    /// is in use then.
    fn forget_emptied(&mut self) {
        for index in self.rooms.take_emptied() {
            self.forget_if_empty(index);
        }
        self.settle();
    }

    /// Holds the parts against each other.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check(&self) {
        self.clients.check();
        self.rooms.channels.check();
        self.rooms.check_histories();
    }
}
