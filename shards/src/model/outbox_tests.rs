//! Tests of the outbox: its bounds, and what may be overtaken in it.

use proptest::prelude::*;

use super::*;

#[expect(clippy::unnecessary_wraps, reason = "frames without a channel are others")]
fn at(channel: u32) -> Option<Mark> {
    Some(Mark::publication(ChannelIndex(channel), 1))
}

fn waiting(outbox: &Outbox) -> Vec<u8> {
    outbox.slices().flatten().copied().collect()
}

#[test]
fn a_head_sent_in_part_stays_whole_for_the_client() {
    let mut outbox = Outbox::new(0);
    outbox.push_always(Bytes::from_static(b"first"), at(1));
    outbox.push_always(Bytes::from_static(b"second"), at(1));
    outbox.push_always(Bytes::from_static(b"other"), at(2));
    outbox.advance(2, 7);
    assert_eq!(outbox.moved_ms(), 7);
    let overtaken = outbox.overtake(ChannelIndex(1));
    assert_eq!(overtaken.publications, 1, "the head has begun to leave and must stay");
    assert_eq!(waiting(&outbox), b"rstother");
    assert_eq!(outbox.clear_behind_head(), 1);
    assert_eq!(waiting(&outbox), b"rst");
    outbox.advance(3, 8);
    assert!(outbox.is_empty());
    assert_eq!(outbox.bytes(), 0);
}

#[test]
fn a_frame_that_began_to_leave_past_the_outbox_stays_too() {
    let mut outbox = Outbox::new(0);
    outbox.begin(Bytes::from_static(b"begun"), at(1), 2);
    outbox.push_always(Bytes::from_static(b"next"), at(1));
    assert_eq!(outbox.overtake(ChannelIndex(1)).publications, 1);
    assert_eq!(outbox.clear_behind_head(), 0);
    assert_eq!(waiting(&outbox), b"gun");
}

#[test]
fn what_is_overtaken_is_known_by_its_offsets() {
    let mut outbox = Outbox::new(0);
    let channel = ChannelIndex(1);
    let gap = Mark { channel, span: Span { from: 3, to: 5 }, is_gap: true };
    outbox.push_always(Bytes::from_static(b"gap"), Some(gap));
    outbox.push_always(Bytes::from_static(b"six"), Some(Mark::publication(channel, 6)));
    let overtaken = outbox.overtake(channel);
    let span = Some(Span { from: 3, to: 6 });
    assert_eq!(overtaken, Overtaken { publications: 1, span });
    assert_eq!(outbox.overtake(channel), Overtaken::default());
    outbox.push_always(Bytes::from_static(b"seven"), Some(Mark::publication(channel, 7)));
    outbox.gaps.note(channel, &"room".into(), Span::one(8));
    outbox.detach(channel);
    assert!(outbox.gaps.take(channel).is_none());
    assert_eq!(outbox.overtake(channel), Overtaken::default(), "another membership");
    assert_eq!(waiting(&outbox), b"seven");
}

#[test]
fn a_full_outbox_takes_nothing() {
    let mut outbox = Outbox::new(0);
    let room = 10 + FRAME_COST;
    assert_eq!(outbox.push(Bytes::from_static(b"0123456789a"), at(1), room), Err(Full));
    assert_eq!(outbox.push(Bytes::from_static(b"0123456789"), at(1), room), Ok(()));
    assert_eq!(outbox.push(Bytes::from_static(b"x"), at(1), room), Err(Full));
}

#[derive(Debug, Clone)]
enum Step {
    /// So many bytes of a record, in front of all frames.
    Seal(usize),
    Push(usize, u32),
    Send(usize),
    Overtake(u32),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (1..40_usize).prop_map(Step::Seal),
        (1..40_usize, 0..3_u32).prop_map(|(len, channel)| Step::Push(len, channel)),
        (0..60_usize).prop_map(Step::Send),
        (0..3_u32).prop_map(Step::Overtake),
        Just(Step::Clear),
    ];
    proptest::collection::vec(step, 0..120)
}

proptest! {
    /// Against the simplest equivalent: a list of whole frames and a count of bytes gone from
    /// the first, and the bytes of records in front of them.
    #[test]
    fn it_behaves_like_a_plain_list(steps in steps()) {
        let mut outbox = Outbox::new(0);
        let mut list: VecDeque<(Vec<u8>, u32)> = VecDeque::new();
        let mut gone = 0;
        let mut next = 0_u8;
        let mut sealed: Vec<u8> = Vec::new();
        for step in steps {
            match step {
                Step::Push(len, channel) => {
                    next = next.wrapping_add(1);
                    if outbox.push(vec![next; len].into(), at(channel), 2_000).is_ok() {
                        list.push_back((vec![next; len], channel));
                    }
                }
                Step::Seal(len) => {
                    next = next.wrapping_add(1);
                    sealed.extend(vec![next; len]);
                    outbox.push_sealed(&vec![next; len]);
                }
                // Frames leave behind what is sealed.
                Step::Send(bytes) if !sealed.is_empty() => {
                    let sent = bytes.min(sealed.len());
                    outbox.advance_sealed(sent, 1);
                    sealed.drain(..sent);
                }
                Step::Send(bytes) => {
                    let there: usize = list.iter().map(|(b, _)| b.len()).sum::<usize>() - gone;
                    let sent = bytes.min(there);
                    outbox.advance(sent, 1);
                    gone += sent;
                    while list.front().is_some_and(|(b, _)| b.len() <= gone) {
                        gone -= list.pop_front().map_or(0, |(b, _)| b.len());
                    }
                }
                Step::Overtake(channel) => {
                    let head = (gone > 0).then(|| list.pop_front()).flatten();
                    list.retain(|(_, of)| *of != channel);
                    if let Some(head) = head { list.push_front(head); }
                    outbox.overtake(ChannelIndex(channel));
                }
                Step::Clear => {
                    list.truncate(usize::from(gone > 0));
                    outbox.clear_behind_head();
                }
            }
            let flat: Vec<u8> = list.iter().flat_map(|(b, _)| b.clone()).skip(gone).collect();
            let seen = waiting(&outbox);
            prop_assert!(flat.starts_with(&seen));
            prop_assert_eq!(seen.len(), flat.len());
            prop_assert_eq!(outbox.sealed(), &sealed[..]);
            prop_assert_eq!(outbox.is_empty(), flat.is_empty() && sealed.is_empty());
            // What is sealed must leave, and has no bound of its own here.
            let frames: usize = list.iter().map(|(bytes, _)| bytes.len() + FRAME_COST).sum();
            prop_assert_eq!(outbox.bytes(), frames + sealed.len());
            prop_assert!(frames <= 2_000);
        }
    }
}
