//! Channels that are vacated and in use again soon after were not vacated, and users that return
//! soon have not left: the news wait for that.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use stentor_shards::{Happening, News};

/// The most channels and users that are waited for, of each app; those beyond are told at once.
const WAITING_MAX: usize = 65_536;

/// The thing that may come back: a channel, or a user in it.
type Key = (Arc<str>, Option<Arc<str>>);

/// The news that wait are of a thing that goes, and others of one that comes.
enum Turn {
    Goes(Key),
    Comes(Key),
}

impl Turn {
    fn of(what: &Happening) -> Option<Self> {
        match what {
            Happening::Vacated(channel) => Some(Self::Goes((Arc::clone(channel), None))),
            Happening::Occupied(channel) => Some(Self::Comes((Arc::clone(channel), None))),
            Happening::MemberRemoved(channel, user) => {
                Some(Self::Goes((Arc::clone(channel), Some(Arc::clone(user)))))
            }
            Happening::MemberAdded(channel, user) => {
                Some(Self::Comes((Arc::clone(channel), Some(Arc::clone(user)))))
            }
            _ => None,
        }
    }
}

/// News that wait; `now` is an argument everywhere.
#[derive(Debug)]
pub(super) struct Debounce {
    time: Duration,
    /// The things that have gone, with the number of their place in `order`.
    waiting: HashMap<Key, (u64, News)>,
    /// The same in the order in which they are due.
    order: VecDeque<(Instant, u64, Key)>,
    numbers: u64,
}

impl Debounce {
    pub(super) fn new(time: Duration) -> Self {
        Self { time, waiting: HashMap::new(), order: VecDeque::new(), numbers: 0 }
    }

    /// Takes news. Returns them if they are to be told now.
    pub(super) fn take(&mut self, news: News, now: Instant) -> Option<News> {
        match Turn::of(&news.what) {
            Some(Turn::Goes(key)) if !self.time.is_zero() && self.waiting.len() < WAITING_MAX => {
                self.numbers += 1;
                self.order.push_back((now + self.time, self.numbers, key.clone()));
                self.waiting.insert(key, (self.numbers, news));
                None
            }
            Some(Turn::Comes(key)) if self.waiting.remove(&key).is_some() => {
                // One of those who are left over in the order may be the head of a long line.
                self.tidy();
                None
            }
            _ => Some(news),
        }
    }

    /// Returns the time at which the next news are due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.order.front().map(|(due, ..)| *due)
    }

    /// Takes the next news that are due; with `all`, whether they are or not.
    pub(super) fn next(&mut self, now: Instant, all: bool) -> Option<News> {
        loop {
            let (due, ..) = self.order.front()?;
            if *due > now && !all {
                return None;
            }
            let (_, number, key) = self.order.pop_front()?;
            if self.is_current(number, &key) {
                return self.waiting.remove(&key).map(|(_, news)| news);
            }
        }
    }

    fn is_current(&self, number: u64, key: &Key) -> bool {
        self.waiting.get(key).is_some_and(|(current, _)| *current == number)
    }

    /// Keeps the order from growing beyond what waits.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.waiting.len() + 64 {
            let waiting = &self.waiting;
            self.order.retain(|(_, number, key)| {
                waiting.get(key).is_some_and(|(current, _)| current == number)
            });
        }
    }
}

/// A debounce for each app, so that the channels of one take no room from another.
#[derive(Debug)]
pub(super) struct Debounces {
    time: Duration,
    of_apps: BTreeMap<Box<str>, Debounce>,
}

impl Debounces {
    pub(super) fn new(time: Duration) -> Self {
        Self { time, of_apps: BTreeMap::new() }
    }

    /// Takes news of an app's namespace. Returns them if they are to be told now.
    pub(super) fn take(&mut self, namespace: &str, news: &News, now: Instant) -> Option<News> {
        if let Some(known) = self.of_apps.get_mut(namespace) {
            return known.take(news.clone(), now);
        }
        if !matches!(Turn::of(&news.what), Some(Turn::Goes(_))) {
            return Some(news.clone());
        }
        let mut new = Debounce::new(self.time);
        let told = new.take(news.clone(), now);
        self.of_apps.insert(namespace.into(), new);
        told
    }

    /// Returns the time at which the next news are due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.of_apps.values().filter_map(Debounce::due).min()
    }

    /// Takes the next news that are due; with `all`, whether they are or not.
    pub(super) fn next(&mut self, now: Instant, all: bool) -> Option<News> {
        let told = self.of_apps.values_mut().find_map(|known| known.next(now, all));
        if told.is_none() {
            self.of_apps.retain(|_, known| !known.waiting.is_empty());
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vacated(channel: &str) -> News {
        News { time_ms: 0, what: Happening::Vacated(channel.into()) }
    }

    fn occupied(channel: &str) -> News {
        News { time_ms: 0, what: Happening::Occupied(channel.into()) }
    }

    const TIME: Duration = Duration::from_secs(3);

    #[test]
    fn a_channel_in_use_again_in_time_was_not_vacated() {
        let (mut debounce, begin) = (Debounce::new(TIME), Instant::now());
        assert!(debounce.take(occupied("a"), begin).is_some(), "the first one is told");
        assert!(debounce.take(vacated("a"), begin).is_none());
        assert!(debounce.take(occupied("a"), begin + TIME / 2).is_none(), "both are no news");
        assert!(debounce.next(begin + TIME * 2, false).is_none());
        assert!(debounce.take(vacated("a"), begin + TIME).is_none());
        assert!(debounce.next(begin + TIME + TIME / 2, false).is_none(), "not yet");
        assert!(debounce.next(begin + TIME * 2, false).is_some());
        assert!(debounce.take(occupied("a"), begin + TIME * 2).is_some(), "it was told as vacated");
    }

    #[test]
    fn a_user_that_returns_in_time_has_not_left() {
        let (mut debounce, begin) = (Debounce::new(TIME), Instant::now());
        let (room, ana) = (Arc::from("a"), Arc::from("ana"));
        let member = |of: fn(Arc<str>, Arc<str>) -> Happening| News {
            time_ms: 0,
            what: of(Arc::clone(&room), Arc::clone(&ana)),
        };
        let (added, removed) = (Happening::MemberAdded, Happening::MemberRemoved);
        assert!(debounce.take(member(added), begin).is_some());
        assert!(debounce.take(member(removed), begin).is_none());
        assert!(debounce.take(occupied("a"), begin).is_some(), "a channel is no user");
        assert!(debounce.take(member(added), begin).is_none());
        assert!(debounce.next(begin + TIME, false).is_none());
    }

    #[test]
    fn channels_that_flap_leave_nothing_behind() {
        let (mut debounce, begin) = (Debounce::new(TIME), Instant::now());
        for _ in 0..10_000 {
            assert!(debounce.take(vacated("a"), begin).is_none());
            assert!(debounce.take(occupied("a"), begin).is_none());
        }
        assert!(debounce.order.len() <= 64 && debounce.waiting.is_empty());
    }

    #[test]
    fn the_channels_of_one_app_take_no_room_from_another() {
        let (mut all, begin) = (Debounces::new(TIME), Instant::now());
        for number in 0..=WAITING_MAX {
            let told = all.take("a", &vacated(&format!("a:{number}")), begin);
            assert_eq!(told.is_some(), number == WAITING_MAX, "{number}");
        }
        assert!(all.take("b", &vacated("b:x"), begin).is_none());
        assert!(all.take("b", &occupied("b:x"), begin).is_none(), "it was not vacated");
        assert!(all.take("c", &occupied("c:x"), begin).is_some());
        let told = std::iter::from_fn(|| all.next(begin + TIME, false)).count();
        assert_eq!((told, all.of_apps.len(), all.due()), (WAITING_MAX, 0, None));
    }

    #[test]
    fn without_a_time_all_is_told_at_once() {
        let mut debounce = Debounce::new(Duration::ZERO);
        assert!(debounce.take(vacated("a"), Instant::now()).is_some());
    }
}
