//! One connection of the bus to the engine, from its beginning to its end.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use async_nats::{Client, Event, HeaderMap, Message, Subscriber};
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{FuturesUnordered, SelectAll, StreamExt};
use serde::Deserialize;
use stentor_shards::{FromBus, Position, ToBus};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::Bus;
use super::engine::{Link, Stream, chain, connect, find_or_create};
use super::fetch::{Source, purge, read_live};
use super::flow::{Fetched, Step, Wanted};
use super::names::bucket_of;
use crate::bus_status::Figure;

/// The most channels that are fetched at once; more wait.
const FETCHES_MAX: usize = 64;

/// The messages of one kind that are taken before others have their turn.
const BATCH: usize = 128;

/// The engine must store something in this time, if anything is sent.
const STORE_TIMEOUT: Duration = Duration::from_secs(3);

/// The tails of all channels are compared so often.
const TAILS_PERIOD: Duration = Duration::from_secs(30);

const TICK: Duration = Duration::from_millis(250);

/// The end of a connection.
pub(super) enum End {
    /// All shards have gone.
    Over,
    Lost(String),
}

/// The engine's answer to a publication.
#[derive(Debug, Deserialize)]
struct Stored {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    error: Option<StoreFault>,
}

#[derive(Debug, Deserialize)]
struct StoreFault {
    #[serde(default)]
    code: u64,
    #[serde(default)]
    description: String,
}

type Fetch = LocalBoxFuture<'static, (Wanted, Result<Fetched, String>)>;

/// A connection at work.
struct Session {
    source: Source,
    inbox: String,
    live: SelectAll<Subscriber>,
    buckets: BTreeSet<u32>,
    acks: Subscriber,
    wanted: VecDeque<Wanted>,
    fetches: FuturesUnordered<Fetch>,
    /// When the engine last stored something, or had nothing to store.
    stored: Instant,
    tails: Instant,
}

impl Bus {
    /// Connects, and works until the connection ends.
    pub(super) async fn session(&mut self, pause: Duration) -> End {
        let settings = self.settings.clone();
        let names = self.names.clone();
        let connecting = async move {
            sleep(pause).await;
            let link = connect(&settings).await?;
            let (stream, _) = find_or_create(&link.client, &settings, &names).await?;
            Ok((link, stream))
        };
        let (link, stream) = match self.meanwhile(connecting).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(why)) => return End::Lost(why),
            Err(end) => return end,
        };
        let Link { client, mut events } = link;
        let mut session = match self.begin(client, stream).await {
            Ok(session) => session,
            Err(why) => return End::Lost(why),
        };
        self.status.set(Figure::Connected, 1);
        let end = self.work(&mut session, &mut events).await;
        // Publishers have been held since the engine stored the last one.
        let since = if self.window.is_waiting() { session.stored } else { Instant::now() };
        self.away_since = Some(since);
        self.status.set(Figure::Connected, 0);
        self.status.add(Figure::Reconnects, 1);
        end
    }

    /// Serves homes as far as it goes without an engine, until a future is ready.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, End> {
        let mut future = std::pin::pin!(future);
        let mut tick = interval(TICK);
        loop {
            tokio::select! {
                ready = &mut future => return Ok(ready),
                asked = self.lanes.receive() => match asked {
                    // A channel that it opens is fetched when the engine is there.
                    Some(asked) => drop(self.take(asked)),
                    None => return Err(End::Over),
                },
                _ = tick.tick() => self.note_away(true).await,
            }
        }
    }

    /// Begins to work on a connection: publications without a place are sent again, and every
    /// channel is compared with the stream.
    async fn begin(&mut self, client: Client, stream: Stream) -> Result<Session, String> {
        let inbox = client.new_inbox();
        let acks = client.subscribe(format!("{inbox}.*")).await.map_err(|error| chain(&error))?;
        let now = Instant::now();
        let is_other = stream.epoch != self.flow.epoch;
        let mut session = Session {
            source: Source {
                client,
                stream,
                names: self.names.clone(),
                per_channel: self.settings.history as usize,
            },
            inbox,
            live: SelectAll::new(),
            buckets: BTreeSet::new(),
            acks,
            wanted: VecDeque::new(),
            fetches: FuturesUnordered::new(),
            stored: now,
            tails: now,
        };
        let epoch = session.source.stream.epoch;
        if is_other {
            tracing::warn!(stream = &*session.source.stream.name, "the engine has another stream");
            self.tell_all(&FromBus::Renamed(epoch)).await;
        }
        let buckets: BTreeSet<u32> = self.flow.channels().map(|one| bucket_of(one)).collect();
        for bucket in buckets {
            session.listen(bucket).await?;
        }
        for step in self.flow.resume(epoch) {
            self.perform(&mut session, step).await;
        }
        self.status.add(Figure::Resent, self.window.go_back() as u64);
        self.away_since = None;
        self.note_away(false).await;
        Ok(session)
    }

    async fn work(
        &mut self,
        session: &mut Session,
        events: &mut tokio::sync::mpsc::Receiver<Event>,
    ) -> End {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if let Err(why) = self.send(session).await {
                return End::Lost(why);
            }
            session.begin_fetches();
            let worked = tokio::select! {
                asked = self.lanes.receive() => match asked {
                    Some(asked) => self.take_asked(session, asked).await,
                    None => return End::Over,
                },
                Some(message) = session.live.next(), if !session.live.is_empty() => {
                    self.take_live(session, message).await;
                    Ok(())
                }
                answer = session.acks.next() => match answer {
                    Some(answer) => self.take_stored(session, answer).await,
                    None => Err("the connection has ended".into()),
                },
                Some((wanted, fetched)) = session.fetches.next(), if !session.fetches.is_empty() =>
                    self.take_fetched(session, wanted, fetched).await,
                Some(event) = events.recv() => self.take_event(session, &event),
                _ = tick.tick() => self.look(session),
            };
            if let Err(why) = worked {
                return End::Lost(why);
            }
        }
    }

    /// Sends publications as far as there is room under way.
    async fn send(&mut self, session: &mut Session) -> Result<(), String> {
        let was_waiting = self.window.is_waiting();
        let mut count = 0;
        while let Some((number, carried)) = self.window.next() {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Msg-Id", format!("{:016x}-{number}", self.node));
            let subject = self.names.stored(&super::names::key_of(&carried.channel));
            let reply = format!("{}.{number}", session.inbox);
            let client = &session.source.client;
            let sent = client.publish_with_reply_and_headers(subject, reply, headers, carried.body);
            sent.await.map_err(|error| chain(&error))?;
            count += 1;
        }
        if count > 0 {
            self.status.add(Figure::Sent, count);
            if !was_waiting {
                session.stored = Instant::now();
            }
        }
        self.status.set(Figure::Window, self.window.len() as u64);
        Ok(())
    }

    async fn take_asked(&mut self, session: &mut Session, first: ToBus) -> Result<(), String> {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(asked) = next {
            if let ToBus::Open { channel, .. } = &asked {
                // Before the fetch: what is published behind it comes by the subscription.
                session.listen(bucket_of(channel)).await?;
            }
            if let ToBus::Purge { channel, up_to } = &asked {
                purge(&session.source, channel, *up_to).await?;
            }
            if let Some(step) = self.take(asked) {
                self.perform(session, step).await;
            }
            taken += 1;
            next = if taken < BATCH { self.lanes.try_next() } else { None };
        }
        Ok(())
    }

    /// Takes a message of a home.
    fn take(&mut self, asked: ToBus) -> Option<Step> {
        match asked {
            ToBus::Publish(carried) => {
                self.window.push(carried);
                None
            }
            ToBus::Open { channel, keeps } => Some(self.flow.open(channel, keeps)),
            // Done beside this, on each node that is asked.
            ToBus::Purge { .. } => None,
            ToBus::Close { channel } => {
                self.flow.close(&channel);
                None
            }
        }
    }

    async fn perform(&mut self, session: &mut Session, step: Step) {
        match step {
            Step::Fetch(wanted) => session.wanted.push_back(wanted),
            Step::Tell(message) => self.tell(message, 0).await,
        }
    }

    async fn take_live(&mut self, session: &mut Session, first: Message) {
        let mut next = Some(first);
        let mut taken = 0;
        while let Some(message) = next {
            self.status.add(Figure::Received, 1);
            let is_ours = |stream: &str| stream == &*session.source.stream.name;
            match read_live(&message).filter(|(stream, _)| is_ours(stream)) {
                Some((_, live)) => {
                    let key = self.names.key_of_live(&message.subject);
                    if let Some(step) = key.and_then(|key| self.flow.live(key, live)) {
                        self.perform(session, step).await;
                    }
                }
                None => self.status.add(Figure::Foreign, 1),
            }
            taken += 1;
            let mut ready = || session.live.next().now_or_never().flatten();
            next = if taken < BATCH { ready() } else { None };
        }
    }

    async fn take_stored(&mut self, session: &mut Session, answer: Message) -> Result<(), String> {
        let number = answer.subject.rsplit_once('.').and_then(|(_, number)| number.parse().ok());
        let Some(number) = number else { return Ok(()) };
        if answer.status.is_some() {
            return Err("the engine stores nothing now".into());
        }
        let Ok(stored) = serde_json::from_slice::<Stored>(&answer.payload) else {
            self.status.add(Figure::Foreign, 1);
            return Ok(());
        };
        session.stored = Instant::now();
        match stored.error {
            // It would take none at all at present.
            Some(fault) if fault.code >= 500 => return Err(fault.description),
            Some(fault) => {
                tracing::warn!(why = fault.description, "the engine refuses a publication");
                if let Some(ticket) = self.window.settle(number) {
                    self.status.add(Figure::Refused, 1);
                    self.tell(FromBus::Refused { ticket }, 0).await;
                }
            }
            None => {
                if let Some(ticket) = self.window.settle(number) {
                    self.status.add(Figure::Accepted, 1);
                    let position =
                        Position { epoch: session.source.stream.epoch, offset: stored.seq };
                    self.tell(FromBus::Accepted { ticket, position }, 0).await;
                }
            }
        }
        Ok(())
    }

    async fn take_fetched(
        &mut self,
        session: &mut Session,
        wanted: Wanted,
        fetched: Result<Fetched, String>,
    ) -> Result<(), String> {
        self.status.add(Figure::Fetches, 1);
        for step in self.flow.fetched(&wanted, fetched?) {
            self.perform(session, step).await;
        }
        self.status.set(Figure::Gaps, self.flow.gaps);
        self.status.set(Figure::Losses, self.flow.losses);
        Ok(())
    }

    fn take_event(&mut self, session: &mut Session, event: &Event) -> Result<(), String> {
        match event {
            Event::Disconnected | Event::Closed | Event::Draining => {
                Err("the connection has ended".into())
            }
            Event::SlowConsumer(_) => {
                self.compare_tails(session);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Fetches what every channel may have behind its last publication.
    fn compare_tails(&mut self, session: &mut Session) {
        session.tails = Instant::now();
        for key in self.flow.keys() {
            if let Some(Step::Fetch(wanted)) = self.flow.doubt(&key) {
                session.wanted.push_back(wanted);
            }
        }
    }

    fn look(&mut self, session: &mut Session) -> Result<(), String> {
        self.status.set(Figure::Channels, self.flow.len() as u64);
        if session.tails.elapsed() >= TAILS_PERIOD {
            self.compare_tails(session);
        }
        if self.window.is_waiting() && session.stored.elapsed() >= STORE_TIMEOUT {
            return Err("the engine stores nothing".into());
        }
        Ok(())
    }
}

impl Session {
    /// Listens to a bucket from now on.
    async fn listen(&mut self, bucket: u32) -> Result<(), String> {
        if self.buckets.insert(bucket) {
            let subject = self.source.names.bucket(bucket);
            let heard = self.source.client.subscribe(subject).await;
            self.live.push(heard.map_err(|error| chain(&error))?);
        }
        Ok(())
    }

    fn begin_fetches(&mut self) {
        while self.fetches.len() < FETCHES_MAX
            && let Some(wanted) = self.wanted.pop_front()
        {
            let source = self.source.clone();
            self.fetches.push(Box::pin(async move {
                let fetched = source.fetch(&wanted).await;
                (wanted, fetched)
            }));
        }
    }
}
