//! The channels at home here that keep publications, and the one bound on the memory of all their
//! histories together.

use std::sync::Arc;

use super::channel::NoChannel;
use super::facts::put_version;
use super::history::{Evicted, History, cost};
use super::id::{ChannelIndex, ShardId};
use super::message::{Position, Publication};
use super::rooms::Rooms;
use super::snapshot::{self, ChannelPast};
use super::told::make_foreign;

/// The histories that one sweep looks at for publications whose time is over, at least.
const LOOKS_MIN: usize = 64;

/// A full walk over all histories takes so many sweeps, at most.
const SWEEPS_A_WALK: usize = 16;

/// The channels that keep something, and their memory.
#[derive(Debug)]
pub(crate) struct Keepers {
    list: Vec<ChannelIndex>,
    /// Over the bound, the oldest publication of the channel at this place goes next.
    hand: usize,
    /// The next sweep looks at this place.
    sweep_at: usize,
    bytes: usize,
    bytes_max: usize,
    publications: usize,
    /// Publications that left because of the bound on all histories together.
    pressed_out: u64,
    /// Histories that were forgotten to make room for other channels.
    forgotten: u64,
}

/// The figures of all histories of a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeptNow {
    pub(crate) channels: usize,
    pub(crate) publications: usize,
    pub(crate) bytes: usize,
    /// A total since the start.
    pub(crate) pressed_out: u64,
    /// A total since the start.
    pub(crate) forgotten: u64,
}

impl Keepers {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            list: Vec::new(),
            hand: 0,
            sweep_at: 0,
            bytes: 0,
            bytes_max,
            publications: 0,
            pressed_out: 0,
            forgotten: 0,
        }
    }

    /// Begins the history of a channel, behind an offset.
    fn begin(&mut self, index: ChannelIndex, floor: u64) -> History {
        self.list.push(index);
        History::new(floor, self.list.len() - 1)
    }

    fn let_go(&mut self, evicted: Evicted) {
        self.bytes -= evicted.bytes;
        self.publications -= usize::try_from(evicted.publications).unwrap_or(usize::MAX);
    }
}

impl Rooms {
    /// Keeps a numbered publication, as its channel's rules say, at a time and of an age.
    pub(crate) fn keep(
        &mut self,
        index: ChannelIndex,
        publication: Arc<Publication>,
        times_ms: (u64, u64),
    ) {
        let channel = self.channels.at(index);
        let (keepers, floor) = (&mut self.keepers, channel.order.floor);
        keepers.bytes += cost(&publication);
        keepers.publications += 1;
        let history =
            channel.order.history.get_or_insert_with(|| Box::new(keepers.begin(index, floor)));
        let evicted = history.keep(publication, times_ms, &channel.terms.rules.history);
        self.settle_history(index, evicted);
        while self.keepers.bytes > self.keepers.bytes_max {
            self.press_one_out();
        }
    }

    /// Over the bound on all histories the channels lose their oldest publications in turn.
    fn press_one_out(&mut self) {
        let keepers = &mut self.keepers;
        if keepers.hand >= keepers.list.len() {
            keepers.hand = 0;
        }
        let Some(&index) = keepers.list.get(keepers.hand) else {
            debug_assert_eq!(keepers.bytes, 0, "whatever is counted is in a history");
            keepers.bytes = 0;
            return;
        };
        keepers.hand += 1;
        keepers.pressed_out += 1;
        let history = self.channels.at(index).order.history.as_mut();
        let evicted = history.map(|history| history.evict_oldest()).unwrap_or_default();
        self.settle_history(index, evicted);
    }

    /// Lets those publications of a channel go that its rules do not allow any more.
    pub(crate) fn trim_history(&mut self, index: ChannelIndex, now_ms: u64) {
        let channel = self.channels.at(index);
        if let Some(history) = &mut channel.order.history {
            let evicted = history.trim(now_ms, &channel.terms.rules.history);
            self.settle_history(index, evicted);
        }
    }

    /// Does the same for a channel whose history is about to be read.
    pub(crate) fn use_history(&mut self, index: ChannelIndex, now_ms: u64) {
        self.trim_history(index, now_ms);
        if let Some(history) = &mut self.channels.at(index).order.history {
            history.used_ms = now_ms;
        }
    }

    /// The channel of that name, known from now on. Under pressure an idle channel is forgotten for
    /// it, or else, of some channels that only their history keeps here, the longest unused one.
    pub(crate) fn find_or_add(
        &mut self,
        name: &Arc<str>,
        home: ShardId,
    ) -> Result<ChannelIndex, NoChannel> {
        match self.channels.find_or_add(name, home) {
            Err(NoChannel::NoRoom) => {}
            found => return found,
        }
        let unused = self.channels.take_longest_unused().ok_or(NoChannel::NoRoom)?;
        self.remove_history(unused);
        self.channels.forget(unused);
        self.keepers.forgotten += 1;
        self.channels.find_or_add(name, home)
    }

    /// Looks at some histories for publications whose time is over.
    pub(crate) fn sweep_histories(&mut self, now_ms: u64) {
        let looks = LOOKS_MIN.max(self.keepers.list.len() / SWEEPS_A_WALK);
        for _ in 0..looks.min(self.keepers.list.len()) {
            if self.keepers.sweep_at >= self.keepers.list.len() {
                self.keepers.sweep_at = 0;
            }
            let Some(&index) = self.keepers.list.get(self.keepers.sweep_at) else { return };
            self.keepers.sweep_at += 1;
            self.trim_history(index, now_ms);
        }
    }

    /// Forgets the whole history of a channel.
    pub(crate) fn remove_history(&mut self, index: ChannelIndex) {
        if let Some(history) = &mut self.channels.at(index).order.history {
            let evicted = history.clear();
            self.settle_history(index, evicted);
        }
    }

    /// Counts what has left a history, and forgets a history that is empty.
    fn settle_history(&mut self, index: ChannelIndex, evicted: Evicted) {
        self.keepers.let_go(evicted);
        let order = &mut self.channels.at(index).order;
        let Some(history) = order.history.take_if(|history| history.is_empty()) else { return };
        order.floor = order.floor.max(history.floor());
        let place = history.place;
        self.keepers.list.swap_remove(place);
        if let Some(&moved) = self.keepers.list.get(place)
            && let Some(history) = &mut self.channels.at(moved).order.history
        {
            history.place = place;
        }
    }

    /// Goes on with the channels of an earlier process, of which this shard is the home. Those that
    /// find no room are left out. It `goes_on` in their numberings if that process numbers nothing
    /// any more. `now_ms` is this process's time, `unix_ms` that of all.
    pub(crate) fn restore(
        &mut self,
        past: Vec<ChannelPast>,
        (me, goes_on): (ShardId, bool),
        (now_ms, unix_ms): (u64, u64),
    ) {
        for ChannelPast { name, newest, floor, ancestors, publications, is_open } in past {
            let Ok(index) = self.channels.find_or_add(&name, me) else { continue };
            let channel = self.channels.at(index);
            let start = channel.order.newest;
            if start.offset > 0 {
                continue;
            }
            if goes_on {
                channel.order.take_over(newest, &ancestors);
            } else if is_open {
                channel.order.begin_behind(Position { offset: newest.offset, ..start });
            } else {
                channel.order.go_on(newest, &ancestors);
            }
            channel.fanned = channel.order.newest;
            channel.order.floor = newest.offset;
            if !channel.terms.rules.history.is_on() {
                continue;
            }
            channel.order.floor = floor;
            if publications.is_empty() {
                continue;
            }
            channel.order.history = Some(Box::new(self.keepers.begin(index, floor)));
            for mut publication in publications {
                if !goes_on {
                    make_foreign(Arc::make_mut(&mut publication));
                }
                let age_ms = unix_ms.saturating_sub(publication.time_ms);
                self.keep(index, publication, (now_ms, age_ms));
            }
            self.trim_history(index, now_ms);
        }
    }

    /// Appends the newest versions of channels whose home this is, as facts for a process that
    /// takes over.
    pub(crate) fn save_versions(&self, me: ShardId, out: &mut Vec<u8>) {
        for channel in self.channels.iter().filter(|channel| channel.home == me) {
            if let Some(version) = channel.order.version() {
                put_version(out, &channel.name, version);
            }
        }
    }

    /// Appends the records of channels whose home this is, from a place on, until there are some
    /// bytes; of those that keep a history, or of `all`. Returns the number of records and the next
    /// place; `None`: these were all.
    pub(crate) fn save(
        &self,
        (me, all): (ShardId, bool),
        place: usize,
        bytes: usize,
        out: &mut Vec<u8>,
    ) -> (u32, Option<usize>) {
        let mut records = 0;
        for (next, channel) in self.channels.iter_from(place) {
            let order = &channel.order;
            let is_kept = order.newest.offset > 0 && channel.terms.rules.history.is_on();
            if channel.home != me || !(all || is_kept) {
                continue;
            }
            let floor = order.complete_above();
            let kept = order.history.iter().flat_map(|history| history.publications());
            let kept = kept.filter(|publication| publication.offset > floor).cloned();
            snapshot::put(out, (&channel.name, order.newest, floor), order.ancestors(), kept);
            records += 1;
            if out.len() >= bytes {
                return (records, Some(next));
            }
        }
        (records, None)
    }

    /// Returns `true` if any channel keeps something.
    pub(crate) fn keeps_any(&self) -> bool {
        !self.keepers.list.is_empty()
    }

    /// Returns the figures of all histories.
    pub(crate) fn kept_now(&self) -> KeptNow {
        let Keepers { list, publications, bytes, pressed_out, forgotten, .. } = &self.keepers;
        KeptNow {
            channels: list.len(),
            publications: *publications,
            bytes: *bytes,
            pressed_out: *pressed_out,
            forgotten: *forgotten,
        }
    }

    /// Holds the sums against the histories.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn check_histories(&self) {
        let histories = || self.channels.iter().filter_map(|one| one.order.history.as_deref());
        debug_assert_eq!(self.keepers.bytes, histories().map(History::bytes).sum::<usize>());
        debug_assert_eq!(self.keepers.publications, histories().map(History::len).sum::<usize>());
        debug_assert_eq!(self.keepers.list.len(), histories().count());
        debug_assert!(self.keepers.bytes <= self.keepers.bytes_max);
        for (place, &index) in self.keepers.list.iter().enumerate() {
            let history = self.channels.get(index).order.history.as_ref();
            debug_assert_eq!(history.map(|history| history.place), Some(place));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::model::history::KEPT_OVERHEAD_BYTES;
    use crate::model::id::ShardId;
    use crate::model::message::{Epoch, Payload};
    use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};
    use crate::sim::dice::Dice;

    fn rooms(size: u32, bytes_max: usize) -> Rooms {
        let history = HistoryRules { size, ttl: Duration::from_secs(1), bytes: 1 << 20 };
        let rules = ChannelRules { history, ..ChannelRules::open("") };
        let rules = Arc::new(Rules::new(Marks::default(), rules, vec![]).unwrap());
        Rooms::new(100, Epoch(1), rules, bytes_max)
    }

    fn publish(rooms: &mut Rooms, channel: &str, bytes: usize, now_ms: u64) -> ChannelIndex {
        let index = rooms.channels.find_or_add(&channel.into(), ShardId(0)).unwrap();
        let newest = &mut rooms.channels.at(index).order.newest;
        newest.offset += 1;
        let publication = Publication {
            channel: channel.into(),
            offset: newest.offset,
            time_ms: 0,
            ingress_ns: 0,
            details: None,
            from: None,
            payload: Payload::Binary(Bytes::from(vec![0; bytes])),
        };
        rooms.keep(index, Arc::new(publication), (now_ms, 0));
        rooms.check_histories();
        index
    }

    #[test]
    fn all_histories_together_are_bounded_and_take_turns() {
        let each = KEPT_OVERHEAD_BYTES + 100;
        let mut rooms = rooms(100, 10 * each);
        for _ in 0..5 {
            publish(&mut rooms, "a", 100, 0);
            publish(&mut rooms, "b", 100, 0);
        }
        assert_eq!(rooms.kept_now().publications, 10);
        let c = publish(&mut rooms, "c", 100, 0);
        publish(&mut rooms, "c", 100, 0);
        assert_eq!((rooms.kept_now().publications, rooms.kept_now().pressed_out), (10, 2));
        let c = rooms.channels.get(c).order.history.as_ref().map(|history| history.len());
        assert_eq!(c, Some(2), "the others lost one each");
    }

    #[test]
    fn the_longest_unused_history_makes_room_for_another_channel() {
        let mut rooms = rooms(100, 1 << 20);
        for number in 0..100 {
            publish(&mut rooms, &format!("room{number}"), 10, 1_000 - number);
        }
        // Within the first channels that are looked at, the last one was used before all others.
        rooms.find_or_add(&"new".into(), ShardId(0)).unwrap();
        assert!(rooms.channels.find("room63").is_none() && rooms.channels.find("room0").is_some());
        assert_eq!((rooms.kept_now().channels, rooms.kept_now().forgotten), (99, 1));
        rooms.check_histories();
    }

    #[test]
    fn a_channel_whose_history_is_over_can_be_forgotten() {
        let mut rooms = rooms(10, 1 << 20);
        let index = publish(&mut rooms, "a", 10, 0);
        assert!(!rooms.channels.get(index).is_idle());
        rooms.sweep_histories(1000);
        assert!(!rooms.channels.get(index).is_idle());
        rooms.sweep_histories(1001);
        assert!(rooms.channels.get(index).is_idle());
        assert_eq!(rooms.kept_now(), KeptNow::default());
    }

    #[test]
    fn sums_and_places_agree_whatever_happens() {
        for seed in 0..100 {
            let mut dice = Dice::seeded(seed);
            let mut rooms = rooms(u32::try_from(1 + dice.below(4)).unwrap(), 5000);
            for now_ms in (0..200).map(|step| step * 20) {
                let name = format!("channel-{}", dice.below(9));
                match dice.below(6) {
                    0 => rooms.sweep_histories(now_ms),
                    1 => {
                        if let Some(index) = rooms.channels.find(&name) {
                            rooms.remove_history(index);
                        }
                    }
                    _ => drop(publish(&mut rooms, &name, dice.below(200), now_ms)),
                }
                rooms.check_histories();
            }
        }
    }
}
