//! Which messages have reached the clients of every process: notes of the agents, put together.

use std::collections::VecDeque;

use crate::coordination::Note;

/// The most messages of one publisher whose last note is awaited.
const AWAITED_MAX: usize = 1 << 16;

/// A message that some process has heard, and others have not.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    parties: u32,
    took_ns: Option<u64>,
}

/// One publisher's messages.
#[derive(Debug, Default)]
struct Row {
    oldest: u32,
    awaited: VecDeque<Awaited>,
    /// How many have reached everyone.
    complete: u32,
    changed: bool,
}

/// All publishers' messages.
#[derive(Debug)]
pub(crate) struct NoteCollector {
    /// Processes that have clients.
    parties: u32,
    rows: Vec<Row>,
}

impl NoteCollector {
    pub(crate) fn new(parties: usize, publishers: usize) -> Self {
        Self {
            parties: u32::try_from(parties).unwrap_or(u32::MAX),
            rows: (0..publishers).map(|_| Row::default()).collect(),
        }
    }

    /// Takes a note. What it completes has this time to its last receipt of all, if it counts.
    pub(crate) fn hear(&mut self, note: Note) -> Option<u64> {
        let row = self.rows.get_mut(usize::try_from(note.publisher).ok()?)?;
        let mut ahead = usize::try_from(note.number.checked_sub(row.oldest)?).ok()?;
        if ahead > 2 * AWAITED_MAX {
            // A jump that no run makes: what was awaited before it is given up.
            (row.oldest, ahead) = (note.number, 0);
            row.awaited.clear();
        }
        while ahead >= row.awaited.len() {
            row.awaited.push_back(Awaited { parties: self.parties, took_ns: None });
        }
        let awaited = &mut row.awaited[ahead];
        awaited.parties = awaited.parties.saturating_sub(1);
        awaited.took_ns = awaited.took_ns.max(note.took_ns);
        let whole = *awaited;
        // A message that was lost on its way is given up in the end, and holds up nobody.
        while row.awaited.front().is_some_and(|front| front.parties == 0)
            || row.awaited.len() > AWAITED_MAX
        {
            row.awaited.pop_front();
            row.oldest += 1;
        }
        if whole.parties > 0 {
            return None;
        }
        row.complete += 1;
        row.changed = true;
        whole.took_ns
    }

    /// The publishers of whom more messages have reached everyone since the last look, and how many
    /// of each have by now.
    pub(crate) fn news(&mut self) -> Vec<(u32, u32)> {
        let changed = |(publisher, row): (u32, &mut Row)| {
            std::mem::take(&mut row.changed).then_some((publisher, row.complete))
        };
        (0_u32..).zip(&mut self.rows).filter_map(changed).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn note(publisher: u32, number: u32, took_ns: u64) -> Note {
        Note { publisher, number, took_ns: Some(took_ns) }
    }

    #[test]
    fn a_message_is_through_when_all_have_heard_it() {
        let mut gather = NoteCollector::new(3, 2);
        assert_eq!(gather.hear(note(1, 0, 70)), None);
        assert_eq!(gather.hear(note(1, 0, 90)), None);
        assert_eq!(gather.hear(note(0, 0, 10)), None, "another publisher");
        assert_eq!(gather.news(), []);
        assert_eq!(gather.hear(note(1, 0, 80)), Some(90), "the last receipt of all");
        assert_eq!((gather.news(), gather.news()), (vec![(1, 1)], Vec::new()));
    }

    #[test]
    fn messages_outside_of_the_measured_time_count_for_the_loop_alone() {
        let mut gather = NoteCollector::new(2, 1);
        let early = Note { publisher: 0, number: 0, took_ns: None };
        assert_eq!((gather.hear(early), gather.hear(early)), (None, None));
        assert_eq!(gather.news(), [(0, 1)]);
        assert_eq!(gather.hear(Note { publisher: 9, ..early }), None, "nobody's");
    }

    #[test]
    fn a_lost_message_holds_up_nobody_and_is_given_up() {
        let mut gather = NoteCollector::new(2, 1);
        gather.hear(note(0, 0, 1));
        for number in 1..70_000 {
            gather.hear(note(0, number, 1));
            assert_eq!(gather.hear(note(0, number, 2)), Some(2));
        }
        assert!(gather.rows[0].awaited.len() <= AWAITED_MAX);
        gather.hear(note(0, u32::MAX - 1, 1));
        assert!(gather.rows[0].awaited.len() <= 1);
    }

    #[test]
    fn a_note_is_short_on_its_way() {
        let text = serde_json::to_string(&[note(3, 9, 12)]).unwrap();
        assert_eq!(text, "[[3,9,12]]");
        assert_eq!(serde_json::from_str::<Vec<Note>>(&text).unwrap(), [note(3, 9, 12)]);
    }

    proptest! {
        /// Whatever comes in whatever order, a message is through with the note of its last party.
        #[test]
        fn the_last_party_is_known(
            notes in proptest::collection::vec((0_u32..3, 0_u32..40, 0_u64..1000), 0..400),
        ) {
            let mut gather = NoteCollector::new(4, 3);
            let mut known: HashMap<(u32, u32), Vec<u64>> = HashMap::new();
            for (publisher, number, took) in notes {
                let heard = known.entry((publisher, number)).or_default();
                if heard.len() == 4 {
                    continue;
                }
                heard.push(took);
                let whole = (heard.len() == 4).then(|| *heard.iter().max().unwrap());
                prop_assert_eq!(gather.hear(note(publisher, number, took)), whole);
            }
        }
    }
}
