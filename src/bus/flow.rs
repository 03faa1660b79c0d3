//! The order of open channels as it comes from the engine, proven to be whole.
//!
//! Live publications may be lost on their way. Each says which one of its channel was stored before
//! it: if that is not the last one that is known here, all that came later is held back until the
//! rest has been fetched. What cannot be fetched any more is told as a gap.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use stentor_shards::{Epoch, FromBus, Opened, Position};

use super::names::key_of;

/// The most publications of one channel that are held back; more are fetched once more.
const HELD_MAX: usize = 1024;

/// A live publication.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) sequence: u64,
    /// The one of the same channel that was stored before it; zero if none was there any more.
    pub(crate) previous: u64,
    pub(crate) body: Bytes,
}

/// A part of a channel that is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) key: Arc<str>,
    /// From this one on; `None`: its newest ones.
    pub(crate) from: Option<u64>,
    /// The publications themselves are wanted, and not only the newest position.
    pub(crate) keeps: bool,
    /// The fetch of this number; a later one of the same channel makes it void.
    pub(crate) round: u64,
}

/// The outcome of a fetch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fetched {
    /// All publications of the channel from the one that was asked for on, in their order.
    pub(crate) kept: Vec<(u64, Bytes)>,
    /// The newest one of the channel; zero for none.
    pub(crate) newest: u64,
    /// All of the channel above this are among those fetched.
    pub(crate) floor: u64,
    /// The newest one of the whole stream before the fetch.
    pub(crate) seen: u64,
}

/// The next thing to do.
#[derive(Debug)]
pub(crate) enum Step {
    Fetch(Wanted),
    Tell(FromBus),
}

#[derive(Debug)]
struct Track {
    channel: Arc<str>,
    keeps: bool,
    last: u64,
    /// Nothing of this channel that is above this had been removed when it was last looked at.
    seen: u64,
    /// The fetch that is under way, if any.
    fetching: Option<Fetching>,
}

#[derive(Debug)]
struct Fetching {
    round: u64,
    /// The channel was opened, and its home waits for it.
    is_first: bool,
    held: BTreeMap<u64, Live>,
    /// More came than could be held.
    overflowed: bool,
}

/// All open channels.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) epoch: Epoch,
    tracks: HashMap<Arc<str>, Track>,
    rounds: u64,
    pub(crate) gaps: u64,
    pub(crate) losses: u64,
}

impl Flow {
    pub(crate) fn new(epoch: Epoch) -> Self {
        Self { epoch, tracks: HashMap::new(), rounds: 0, gaps: 0, losses: 0 }
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = &Arc<str>> {
        self.tracks.values().map(|track| &track.channel)
    }

    pub(crate) fn len(&self) -> usize {
        self.tracks.len()
    }

    /// Opens a channel.
    pub(crate) fn open(&mut self, channel: Arc<str>, keeps: bool) -> Step {
        let key: Arc<str> = key_of(&channel).into();
        let track = Track { channel, keeps, last: 0, seen: 0, fetching: None };
        self.tracks.insert(Arc::clone(&key), track);
        Step::Fetch(self.want(&key, true))
    }

    pub(crate) fn close(&mut self, channel: &str) {
        self.tracks.remove(&*key_of(channel));
    }

    /// Begins a fetch of a channel that is there.
    fn want(&mut self, key: &Arc<str>, is_first: bool) -> Wanted {
        self.rounds += 1;
        let round = self.rounds;
        let Some(track) = self.tracks.get_mut(key) else {
            return Wanted { key: Arc::clone(key), from: None, keeps: false, round };
        };
        let held = track.fetching.take().map(|fetching| fetching.held).unwrap_or_default();
        track.fetching = Some(Fetching { round, is_first, held, overflowed: false });
        let from = (!is_first).then_some(track.last);
        // A channel without history needs only its newest position to begin.
        Wanted { key: Arc::clone(key), from, keeps: track.keeps || !is_first, round }
    }

    /// Takes a live publication.
    pub(crate) fn live(&mut self, key: &str, live: Live) -> Option<Step> {
        let track = self.tracks.get_mut(key)?;
        if let Some(fetching) = &mut track.fetching {
            if fetching.held.len() < HELD_MAX {
                fetching.held.insert(live.sequence, live);
            } else {
                fetching.overflowed = true;
            }
            return None;
        }
        if live.sequence <= track.last {
            return None;
        }
        // Without a predecessor in the stream, those between had been removed by age, and tails are
        // compared far more often than that.
        if live.previous == track.last || live.previous == 0 {
            track.last = live.sequence;
            return Some(Step::Tell(FromBus::Numbered {
                channel: Arc::clone(&track.channel),
                offset: live.sequence,
                body: live.body,
            }));
        }
        self.gaps += 1;
        let key = Arc::from(key);
        let wanted = self.want(&key, false);
        let fetching = self.tracks.get_mut(&key).and_then(|track| track.fetching.as_mut());
        fetching?.held.insert(live.sequence, live);
        Some(Step::Fetch(wanted))
    }

    /// Takes the outcome of a fetch.
    pub(crate) fn fetched(&mut self, wanted: &Wanted, fetched: Fetched) -> Vec<Step> {
        let Some(track) = self.tracks.get_mut(&wanted.key) else { return Vec::new() };
        let Some(fetching) = track.fetching.take_if(|one| one.round == wanted.round) else {
            return Vec::new();
        };
        let is_comparison = wanted.from.is_some() && !wanted.keeps;
        if is_comparison && fetched.newest > track.last {
            track.fetching = Some(fetching);
            return vec![Step::Fetch(self.want(&wanted.key, false))];
        }
        let Fetching { is_first, held, overflowed, .. } = fetching;
        let Fetched { kept, newest, floor, seen } = fetched;
        let mut steps = Vec::new();
        // If the last one that is known is still there, so is all that came behind it.
        let is_there = kept.first().is_some_and(|(sequence, _)| *sequence == track.last);
        let is_whole = is_there
            || newest == 0
            || newest == track.last
            || track.last == 0 && floor <= track.seen;
        // A comparison may have met a server that is behind: that is no loss.
        let goes_on = newest == 0 || is_comparison || is_whole && newest >= track.last;
        if !is_first && goes_on {
            for (offset, body) in kept {
                if offset > track.last {
                    track.last = offset;
                    let channel = Arc::clone(&track.channel);
                    steps.push(Step::Tell(FromBus::Numbered { channel, offset, body }));
                }
            }
        } else {
            self.losses += u64::from(!is_first);
            track.last = newest;
            let kept = if track.keeps { kept } else { Vec::new() };
            let opened = Opened {
                channel: Arc::clone(&track.channel),
                newest: Position { epoch: self.epoch, offset: newest },
                floor: if track.keeps { floor.min(newest) } else { newest },
                kept,
            };
            steps.push(Step::Tell(FromBus::Opened(Box::new(opened))));
        }
        if !is_comparison {
            track.seen = seen;
        }
        if overflowed {
            steps.push(Step::Fetch(self.want(&wanted.key, false)));
        }
        for (_, live) in held {
            steps.extend(self.live(&wanted.key, live));
        }
        steps
    }

    /// Nothing is known of what was published meanwhile: every channel is fetched from its last
    /// publication on; if the numbering is another one, anew.
    pub(crate) fn resume(&mut self, epoch: Epoch) -> Vec<Step> {
        let is_other = epoch != self.epoch;
        self.epoch = epoch;
        let keys: Vec<Arc<str>> = self.tracks.keys().cloned().collect();
        let wanted = keys.into_iter().map(|key| {
            let Some(track) = self.tracks.get_mut(&key) else { return self.want(&key, true) };
            let was_first = track.fetching.take().is_some_and(|one| one.is_first);
            if is_other {
                (track.last, track.seen) = (0, 0);
            }
            self.want(&key, was_first || is_other)
        });
        wanted.map(Step::Fetch).collect()
    }

    /// Returns the channels whose tails are to be compared, each by a fetch.
    pub(crate) fn doubt(&mut self, key: &Arc<str>) -> Option<Step> {
        let track = self.tracks.get(key)?;
        if track.fetching.is_some() {
            return None;
        }
        Some(Step::Fetch(Wanted { keeps: false, ..self.want(key, false) }))
    }

    pub(crate) fn keys(&self) -> Vec<Arc<str>> {
        self.tracks.keys().cloned().collect()
    }
}
