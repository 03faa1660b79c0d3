//! The history of one channel at its home: its newest publications in their order, within bounds.

use std::collections::VecDeque;
use std::sync::Arc;

use super::message::Publication;
use crate::rules::HistoryRules;

/// The memory of a kept publication beside its body and details: the structure itself, its place in
/// the ring, and what the allocator adds to both.
pub(crate) const KEPT_OVERHEAD_BYTES: usize = 208;

/// The publications that one channel keeps.
#[derive(Debug)]
pub(crate) struct History {
    kept: VecDeque<Entry>,
    /// Bytes of the bodies and details of all of them.
    content_bytes: usize,
    /// Whatever was to be kept above this offset is here.
    floor: u64,
    /// When something was last kept or read.
    pub(crate) used_ms: u64,
    /// The place of the channel in the list of those that keep something.
    pub(crate) place: usize,
}

#[derive(Debug)]
struct Entry {
    publication: Arc<Publication>,
    /// Below zero for a publication that is older than this boot of the host.
    since_ms: i64,
}

/// Publications that were let go, with their cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Evicted {
    pub(crate) publications: u64,
    /// Memory, as [`cost`] counts it.
    pub(crate) bytes: usize,
}

impl Evicted {
    fn add(&mut self, publication: &Publication) {
        self.publications += 1;
        self.bytes += cost(publication);
    }
}

/// The memory that a kept publication takes.
pub(crate) fn cost(publication: &Publication) -> usize {
    publication.bytes() + KEPT_OVERHEAD_BYTES
}

/// A part of a history to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Query {
    /// Only publications above this offset; below it, if the newest come first.
    pub(crate) beyond: Option<u64>,
    pub(crate) newest_first: bool,
    /// The most publications.
    pub(crate) limit: usize,
    /// The most bytes of bodies and details; the first publication is taken whatever its size.
    pub(crate) bytes: usize,
}

/// A part of a history.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    pub(crate) publications: Vec<Arc<Publication>>,
    /// There are more in the direction of the query.
    pub(crate) more: bool,
}

impl History {
    /// An empty history that begins behind the publication of offset `floor`.
    pub(crate) fn new(floor: u64, place: usize) -> Self {
        Self { kept: VecDeque::new(), content_bytes: 0, floor, used_ms: 0, place }
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The memory of all that is kept, as [`cost`] counts it.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn bytes(&self) -> usize {
        self.content_bytes + self.kept.len() * KEPT_OVERHEAD_BYTES
    }

    /// Returns the offset above which everything that was to be kept is here.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// All publications, the oldest first.
    pub(crate) fn publications(&self) -> impl Iterator<Item = &Arc<Publication>> {
        self.kept.iter().map(|kept| &kept.publication)
    }

    /// Returns `true` if everything that was to be kept behind `offset` is here.
    #[cfg(test)]
    pub(crate) fn reaches_back_to(&self, offset: u64) -> bool {
        offset >= self.floor
    }

    /// Keeps a numbered publication of some age. Returns those that leave for it.
    pub(crate) fn keep(
        &mut self,
        publication: Arc<Publication>,
        (now_ms, age_ms): (u64, u64),
        rules: &HistoryRules,
    ) -> Evicted {
        debug_assert!(self.newest().is_none_or(|newest| newest < publication.offset));
        self.content_bytes += publication.bytes();
        let since_ms = signed(now_ms).saturating_sub(signed(age_ms));
        self.kept.push_back(Entry { publication, since_ms });
        self.used_ms = now_ms.saturating_sub(age_ms);
        self.trim(now_ms, rules)
    }

    /// Lets go what the rules do not allow any more.
    pub(crate) fn trim(&mut self, now_ms: u64, rules: &HistoryRules) -> Evicted {
        let ttl_ms = i64::try_from(rules.ttl.as_millis()).unwrap_or(i64::MAX);
        let mut evicted = Evicted::default();
        while let Some(oldest) = self.kept.front() {
            let over = self.kept.len() > rules.size as usize
                || self.content_bytes > rules.bytes
                || signed(now_ms).saturating_sub(oldest.since_ms) > ttl_ms;
            if !over {
                break;
            }
            self.let_go(&mut evicted);
        }
        evicted
    }

    /// Lets the oldest publication go.
    pub(crate) fn evict_oldest(&mut self) -> Evicted {
        let mut evicted = Evicted::default();
        self.let_go(&mut evicted);
        evicted
    }

    /// Lets all publications go.
    pub(crate) fn clear(&mut self) -> Evicted {
        let mut evicted = Evicted::default();
        while !self.kept.is_empty() {
            self.let_go(&mut evicted);
        }
        evicted
    }

    fn let_go(&mut self, evicted: &mut Evicted) {
        let Some(Entry { publication, .. }) = self.kept.pop_front() else { return };
        self.content_bytes -= publication.bytes();
        self.floor = publication.offset;
        evicted.add(&publication);
        // A burst of once must not be paid for ever.
        if self.kept.capacity() > 64 && self.kept.len() < self.kept.capacity() / 4 {
            self.kept.shrink_to(self.kept.len() * 2);
        }
    }

    fn newest(&self) -> Option<u64> {
        self.kept.back().map(|kept| kept.publication.offset)
    }

    /// Reads a part of it.
    pub(crate) fn page(&self, query: &Query) -> Page {
        let beyond = query.beyond.unwrap_or(if query.newest_first { u64::MAX } else { 0 });
        // Offsets grow along the ring, also where a publication was not to be kept.
        let at = |offset: u64| self.kept.partition_point(|kept| kept.publication.offset < offset);
        let publications = self.kept.iter().map(|kept| &kept.publication);
        if query.newest_first {
            fill(publications.take(at(beyond)).rev(), query)
        } else {
            fill(publications.skip(at(beyond.saturating_add(1))), query)
        }
    }

    /// The newest `count` publications in their order, as the offset behind which they begin.
    pub(crate) fn before_last(&self, count: usize) -> u64 {
        match self.kept.len().checked_sub(count) {
            None | Some(0) => self.floor,
            Some(skipped) => self.kept[skipped - 1].publication.offset,
        }
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn fill<'a>(from: impl Iterator<Item = &'a Arc<Publication>>, query: &Query) -> Page {
    let mut page = Page::default();
    let mut bytes = 0;
    for publication in from {
        let full = page.publications.len() >= query.limit
            || !page.publications.is_empty() && bytes + publication.bytes() > query.bytes;
        if full {
            page.more = true;
            break;
        }
        bytes += publication.bytes();
        page.publications.push(Arc::clone(publication));
    }
    page
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::model::message::{Details, Payload, Version};
    use crate::sim::dice::Dice;

    fn publication(offset: u64, bytes: usize) -> Arc<Publication> {
        Arc::new(Publication {
            channel: "room".into(),
            offset,
            time_ms: 0,
            ingress_ns: 0,
            details: None,
            from: None,
            payload: Payload::Binary(Bytes::from(vec![0; bytes])),
        })
    }

    fn rules(size: u32, bytes: usize) -> HistoryRules {
        HistoryRules { size, ttl: Duration::from_secs(10), bytes }
    }

    const ALL: Query =
        Query { beyond: None, newest_first: false, limit: usize::MAX, bytes: usize::MAX };

    fn offsets(page: &Page) -> Vec<u64> {
        page.publications.iter().map(|publication| publication.offset).collect()
    }

    #[test]
    fn count_bytes_and_time_bound_a_history() {
        let mut history = History::new(0, 0);
        for offset in 1..=5 {
            history.keep(publication(offset, 10), (0, 0), &rules(3, 1000));
        }
        assert_eq!(offsets(&history.page(&ALL)), [3, 4, 5]);
        assert!(history.reaches_back_to(2) && !history.reaches_back_to(1));
        let evicted = history.keep(publication(6, 985), (0, 0), &rules(3, 1000));
        assert_eq!(offsets(&history.page(&ALL)), [5, 6]);
        assert_eq!(evicted.publications, 2);
        assert_eq!(history.bytes(), 995 + 2 * KEPT_OVERHEAD_BYTES);
        assert_eq!(history.trim(10_000, &rules(3, 1000)), Evicted::default());
        assert_eq!(history.trim(10_001, &rules(3, 1000)).publications, 2);
        assert!(history.is_empty() && history.reaches_back_to(6) && !history.reaches_back_to(5));
    }

    #[test]
    fn a_publication_from_before_the_boot_of_the_host_is_kept_no_longer_than_others() {
        let (mut history, rules) = (History::new(0, 0), rules(9, 1000));
        let evicted = history.keep(publication(1, 10), (500, 10_501), &rules);
        assert_eq!((evicted.publications, history.is_empty()), (1, true), "its time was over");
        history.keep(publication(2, 10), (500, 9_000), &rules);
        assert_eq!(history.trim(1_500, &rules), Evicted::default());
        assert_eq!(history.trim(1_501, &rules).publications, 1);
    }

    #[test]
    fn a_publication_that_is_too_large_for_the_history_leaves_at_once() {
        let mut history = History::new(7, 0);
        assert_eq!(history.keep(publication(8, 11), (0, 0), &rules(3, 10)).publications, 1);
        assert!(history.is_empty() && !history.reaches_back_to(7));
    }

    #[test]
    fn a_page_takes_one_publication_whatever_its_size() {
        let mut history = History::new(0, 0);
        for offset in 1..=4 {
            history.keep(publication(offset, 100), (0, 0), &rules(10, 1000));
        }
        let page = history.page(&Query { bytes: 10, ..ALL });
        assert_eq!((offsets(&page), page.more), (vec![1], true));
        let page = history.page(&Query { beyond: Some(4), ..ALL });
        assert_eq!((offsets(&page), page.more), (vec![], false));
        let page = history.page(&Query { newest_first: true, limit: 2, ..ALL });
        assert_eq!((offsets(&page), page.more), (vec![4, 3], true));
        assert_eq!((history.before_last(1), history.before_last(9)), (3, 0));
    }

    #[test]
    fn tags_and_versions_count_as_bytes_of_a_publication() {
        let details = Details {
            skip_history: false,
            tags: Some("x".repeat(500).into()),
            except: None,
            version: Some(Version { number: 1, epoch: "y".repeat(300).into() }),
        };
        let large =
            Publication { details: Some(Arc::new(details)), ..(*publication(1, 10)).clone() };
        assert_eq!(cost(&large), 810 + KEPT_OVERHEAD_BYTES);
        let mut history = History::new(0, 0);
        history.keep(Arc::new(large), (0, 0), &rules(9, 1000));
        assert_eq!(history.keep(publication(2, 200), (0, 0), &rules(9, 1000)).bytes, cost_of(810));
        assert_eq!(history.bytes(), cost_of(200));
    }

    fn cost_of(content: usize) -> usize {
        content + KEPT_OVERHEAD_BYTES
    }

    /// A history against a plain list that knows all publications ever made.
    #[test]
    fn a_history_agrees_with_a_plain_list() {
        for seed in 0..200 {
            let mut dice = Dice::seeded(seed);
            let size = u32::try_from(1 + dice.below(8)).unwrap();
            let rules = rules(size, 40 + dice.below(200));
            let (mut history, mut all) = (History::new(0, 0), Vec::new());
            let (mut offset, mut now_ms) = (0, 0);
            for _ in 0..100 {
                now_ms += dice.below(2000) as u64;
                match dice.below(10) {
                    // A number that is given out, and not to be kept.
                    0 => offset += 1,
                    1 => drop(history.evict_oldest()),
                    2 => drop(history.trim(now_ms, &rules)),
                    _ => {
                        offset += 1;
                        let one = publication(offset, dice.below(60));
                        all.push(Arc::clone(&one));
                        history.keep(one, (now_ms, 0), &rules);
                    }
                }
                compare(&history, &all, &mut dice, offset);
                assert!(history.len() <= rules.size as usize);
            }
        }
    }

    fn compare(history: &History, all: &[Arc<Publication>], dice: &mut Dice, newest: u64) {
        let since = dice.below(usize::try_from(newest).unwrap() + 2) as u64;
        let limit = 1 + dice.below(5);
        let kept: Vec<u64> = offsets(&history.page(&ALL));
        let expected: Vec<u64> = all.iter().map(|one| one.offset).rev().take(kept.len()).collect();
        assert!(kept.iter().rev().eq(&expected), "the newest are kept, in their order");
        let bytes: usize = history.kept.iter().map(|kept| kept.publication.payload.len()).sum();
        assert_eq!(history.content_bytes, bytes);
        if history.reaches_back_to(since) {
            let missed: Vec<u64> =
                all.iter().map(|one| one.offset).filter(|offset| *offset > since).collect();
            let page = history.page(&Query { beyond: Some(since), limit, ..ALL });
            assert_eq!(offsets(&page), missed[..limit.min(missed.len())]);
            assert_eq!(page.more, missed.len() > limit);
        }
        let before = Query { beyond: Some(since), newest_first: true, limit, ..ALL };
        let mut older: Vec<u64> = kept.iter().copied().filter(|&one| one < since).collect();
        older.reverse();
        let page = history.page(&before);
        assert_eq!(
            (page.more, offsets(&page).len()),
            (older.len() > limit, limit.min(older.len()))
        );
        assert_eq!(offsets(&page), older[..limit.min(older.len())]);
    }
}
