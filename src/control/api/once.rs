//! Idempotency keys: a publication that is asked for again under its key is made once, and every
//! such request gets the same result.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use stentor_shards::Position;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::control::ask::Unanswered;
pub(crate) use crate::control::word::KnownKey;

/// The time for which a key is remembered, as in Centrifugo.
pub(crate) const KEY_TIME: Duration = Duration::from_mins(5);

/// The longest key.
pub(crate) const KEY_BYTES_MAX: usize = 256;

/// The most keys that are remembered; beyond that the oldest is forgotten before its time.
pub(crate) const KEYS_MAX: usize = 100_000;

/// The most keys of one part of what a process that takes over is told.
const KEYS_A_PAGE: usize = 1000;

/// The longest wait of a request for the publication of its key. The publication itself goes on.
const WAIT_TIMEOUT: Duration = Duration::from_secs(8);

/// The place of a publication in its channel.
pub(crate) type Published<P> = Result<P, Unanswered>;

/// A key counts for one channel.
type Key = (String, String);

impl KnownKey {
    pub(super) fn new(channel: String, key: String, place: Position) -> Self {
        let (epoch, offset) = (place.epoch.to_string(), place.offset);
        Self { channel, key, age_ms: 0, epoch, offset }
    }

    fn place(&self) -> Option<Position> {
        Some(Position { epoch: self.epoch.parse().ok()?, offset: self.offset })
    }
}

/// The result, once there is one.
type Told<P> = watch::Receiver<Option<Published<P>>>;

/// The figures of the keys in `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Keys remembered now.
    pub(crate) keys: u64,
    /// Requests that were told an earlier result.
    pub(crate) replays: u64,
    /// Keys forgotten before their time, because there were too many.
    pub(crate) evictions: u64,
}

/// The keys of the last minutes. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Once<P> {
    /// The control plane is one thread, and nothing is awaited under this lock: it is always free.
    keys: Arc<Mutex<Keys<P>>>,
}

#[derive(Debug)]
struct Keys<P> {
    known: HashMap<Arc<Key>, (u64, State<P>)>,
    /// In the order in which they were first asked for. The number tells a key from the same one
    /// that was given back and asked for again.
    order: VecDeque<(Instant, u64, Arc<Key>)>,
    room: usize,
    next: u64,
    replays: u64,
    evictions: u64,
}

/// A key's publication. A made one keeps no more than its place, because there are many.
#[derive(Debug, Clone)]
enum State<P> {
    UnderWay(Told<P>),
    Made(P),
}

/// The first to ask for a key publishes; all others are told the result.
enum Claim<P> {
    First(u64, watch::Sender<Option<Published<P>>>, Told<P>),
    Again(State<P>),
}

impl<P: Copy> Keys<P> {
    fn new(room: usize) -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
            room,
            next: 0,
            replays: 0,
            evictions: 0,
        }
    }

    fn claim(&mut self, key: &Arc<Key>, now: Instant) -> Claim<P> {
        self.forget_old(now);
        if let Some((_, state)) = self.known.get(key) {
            self.replays += 1;
            return Claim::Again(state.clone());
        }
        if self.order.len() >= self.room {
            self.evictions += u64::from(self.forget_oldest());
        }
        let (sender, told) = watch::channel(None);
        let number = self.next;
        self.next += 1;
        self.known.insert(Arc::clone(key), (number, State::UnderWay(told.clone())));
        self.order.push_back((now, number, Arc::clone(key)));
        Claim::First(number, sender, told)
    }

    /// Keeps the result of a claim, or forgets its key if nothing was published.
    fn settle(&mut self, key: &Arc<Key>, number: u64, published: Published<P>) {
        match (published, self.known.get_mut(key)) {
            (Ok(place), Some((known, state))) if *known == number => *state = State::Made(place),
            (Ok(_), _) => {}
            (Err(_), _) => {
                self.give_back(key, number);
            }
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(since, ..)| now - *since >= KEY_TIME) {
            self.forget_oldest();
        }
    }

    /// Returns `false` if the oldest had been given back already.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, number, key)) = self.order.pop_front() else { return false };
        self.give_back(&key, number)
    }

    /// Takes a key for one that was never asked for. A later claim of the same key stays.
    fn give_back(&mut self, key: &Arc<Key>, number: u64) -> bool {
        let same = self.known.get(key).is_some_and(|(known, _)| *known == number);
        same && self.known.remove(key).is_some()
    }
}

impl Keys<Position> {
    fn learn(&mut self, known: KnownKey) {
        let Some(place) = known.place() else { return };
        let age = Duration::from_millis(known.age_ms);
        // A host that has just started knows no time before that.
        let since = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let key = Arc::new((known.channel, known.key));
        if let Claim::First(number, ..) = self.claim(&key, since) {
            self.settle(&key, number, Ok(place));
        }
    }
}

impl Once<Position> {
    /// Takes note of a key that another process has published under.
    pub(crate) async fn learn(&self, known: KnownKey) {
        self.keys.lock().await.learn(known);
    }

    /// The same for those of an earlier process. Not to be called on a thread of a runtime.
    pub(crate) fn learn_all(&self, known: Vec<KnownKey>) {
        let mut keys = self.keys.blocking_lock();
        for key in known {
            keys.learn(key);
        }
    }

    /// Returns some of the keys whose publications were made, for another process: those from a
    /// number on, with the next number; `None`: there are no more. Not to be called on a thread of
    /// a runtime.
    pub(crate) fn page(&self, from: u64) -> Option<(Vec<KnownKey>, u64)> {
        let keys = self.keys.blocking_lock();
        let now = Instant::now();
        let begin = keys.order.partition_point(|(_, number, _)| *number < from);
        let some = keys.order.range(begin..).take(KEYS_A_PAGE);
        let next = some.clone().next_back()?.1 + 1;
        let known = some.filter_map(|(since, number, key)| {
            let (_, State::Made(place)) = keys.known.get(key).filter(|one| one.0 == *number)?
            else {
                return None;
            };
            let age_ms = u64::try_from((now - *since).as_millis()).unwrap_or(u64::MAX);
            let known = KnownKey::new(key.0.clone(), key.1.clone(), *place);
            Some(KnownKey { age_ms, ..known })
        });
        Some((known.collect(), next))
    }
}

impl<P: Copy + Send + Sync + 'static> Once<P> {
    pub(crate) fn new() -> Self {
        Self::with_room_for(KEYS_MAX)
    }

    fn with_room_for(room: usize) -> Self {
        Self { keys: Arc::new(Mutex::new(Keys::new(room))) }
    }

    pub(crate) async fn counts(&self) -> Counts {
        let mut keys = self.keys.lock().await;
        keys.forget_old(Instant::now());
        Counts { keys: keys.known.len() as u64, replays: keys.replays, evictions: keys.evictions }
    }

    /// Publishes unless the key's publication was made, or is under way. A failure is not
    /// remembered: the next request with the key tries again.
    pub(crate) async fn publish<F>(&self, key: Key, publication: F) -> Published<P>
    where
        F: Future<Output = Published<P>> + Send + 'static,
    {
        let key = Arc::new(key);
        let claim = self.keys.lock().await.claim(&key, Instant::now());
        let mut told = match claim {
            Claim::Again(State::Made(place)) => return Ok(place),
            Claim::Again(State::UnderWay(told)) => told,
            Claim::First(number, sender, told) => {
                let keys = Arc::clone(&self.keys);
                // A task of its own: the request may be given up on, and its retry must find the
                // result.
                tokio::spawn(async move {
                    let published = publication.await;
                    keys.lock().await.settle(&key, number, published);
                    sender.send_replace(Some(published));
                });
                told
            }
        };
        let waited = tokio::time::timeout(WAIT_TIMEOUT, told.wait_for(Option::is_some)).await;
        match waited {
            Ok(Ok(published)) => published.unwrap_or(Err(Unanswered::Busy)),
            Ok(Err(_)) | Err(_) => Err(Unanswered::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test);
    }

    fn key(name: &str) -> Key {
        ("channel".into(), name.into())
    }

    /// Counts what is published; the offset is the count.
    #[derive(Clone, Default)]
    struct Home(Arc<AtomicU64>);

    impl Home {
        fn publish(&self) -> impl Future<Output = Published<u64>> + Send + 'static {
            let count = Arc::clone(&self.0);
            async move {
                tokio::task::yield_now().await;
                Ok(count.fetch_add(1, Ordering::Relaxed) + 1)
            }
        }
    }

    #[test]
    fn a_key_publishes_once_and_returns_the_same_offset_to_every_request() {
        run(async {
            let (once, home) = (Once::new(), Home::default());
            let (first, second) = tokio::join!(
                once.publish(key("a"), home.publish()),
                once.publish(key("a"), home.publish())
            );
            assert_eq!((first, second), (Ok(1), Ok(1)));
            assert_eq!(once.publish(key("a"), home.publish()).await, Ok(1));
            assert_eq!(once.publish(key("b"), home.publish()).await, Ok(2));
            let other = ("other channel".into(), "a".into());
            assert_eq!(once.publish(other, home.publish()).await, Ok(3));
            let expected = Counts { keys: 3, replays: 2, evictions: 0 };
            assert_eq!(once.counts().await, expected);
        });
    }

    #[test]
    fn another_process_knows_the_keys_and_publishes_nothing_again() {
        let place = Position { epoch: "0000000a".parse().unwrap(), offset: 7 };
        let (once, other) = (Once::new(), Once::new());
        run(async {
            for name in ["a", "b", "c"] {
                let published = once.publish(key(name), async move { Ok(place) }).await;
                assert_eq!(published, Ok(place));
            }
            let failed = once.publish(key("d"), async { Err(Unanswered::Busy) }).await;
            assert!(failed.is_err());
        });
        let (known, next) = once.page(0).unwrap();
        assert_eq!((known.len(), once.page(next)), (3, None));
        assert_eq!(once.page(1).unwrap().0[..], known[1..]);
        run(async {
            for one in known {
                other.learn(one).await;
            }
            let again = async { Err(Unanswered::Busy) };
            assert_eq!(other.publish(key("b"), again).await, Ok(place));
            let wrong =
                KnownKey { epoch: "none".into(), ..KnownKey::new("c".into(), "k".into(), place) };
            other.learn(wrong).await;
            assert_eq!(other.counts().await.keys, 3);
        });
    }

    #[test]
    fn a_failed_publication_is_tried_again() {
        run(async {
            let (once, home) = (Once::new(), Home::default());
            for failed in [Err(Unanswered::Busy), Err(Unanswered::NoRoom)] {
                assert_eq!(once.publish(key("a"), async move { failed }).await, failed);
            }
            assert_eq!(once.publish(key("a"), home.publish()).await, Ok(1));
        });
    }

    #[test]
    fn a_request_that_is_given_up_on_is_still_published_once() {
        run(async {
            let (once, home) = (Once::new(), Home::default());
            let given_up = once.publish(key("a"), home.publish());
            let _ = tokio::time::timeout(Duration::ZERO, given_up).await;
            assert_eq!(once.publish(key("a"), home.publish()).await, Ok(1));
        });
    }

    #[test]
    fn keys_are_forgotten_after_their_time_and_when_there_are_too_many() {
        let mut keys = Keys::<u64>::new(2);
        let begin = Instant::now();
        let mut claim = |name: &str, after: Duration| {
            let claim = keys.claim(&Arc::new(key(name)), begin + after);
            (matches!(claim, Claim::First(..)), keys.evictions)
        };
        let second = Duration::from_secs(1);
        assert_eq!(claim("a", second), (true, 0));
        assert_eq!(claim("a", KEY_TIME), (false, 0));
        assert_eq!(claim("a", KEY_TIME + second), (true, 0));
        assert_eq!(claim("b", KEY_TIME + second), (true, 0));
        assert_eq!(claim("c", KEY_TIME + second), (true, 1));
        assert_eq!(claim("b", KEY_TIME + second), (false, 1));
        assert_eq!(claim("a", KEY_TIME + second), (true, 2));
        assert!(keys.order.len() <= 2 && keys.known.len() <= 2);
    }

    #[test]
    fn a_key_that_was_evicted_and_claimed_again_belongs_to_the_later_claim() {
        let (mut keys, now) = (Keys::<u64>::new(1), Instant::now());
        let [a, b] = ["a", "b"].map(|name| Arc::new(key(name)));
        let mut number = |key| match keys.claim(key, now) {
            Claim::First(number, ..) => number,
            Claim::Again(state) => panic!("{state:?}"),
        };
        let (first, _, later) = (number(&a), number(&b), number(&a));
        for published in [Err(Unanswered::Busy), Ok(7)] {
            keys.settle(&a, first, published);
            assert!(matches!(keys.claim(&a, now), Claim::Again(State::UnderWay(_))));
        }
        keys.settle(&a, later, Ok(8));
        assert!(matches!(keys.claim(&a, now), Claim::Again(State::Made(8))));
    }
}
