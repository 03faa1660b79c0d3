//! Users come, go and return, in channels that an app bounds and in others.

use super::*;
use crate::model::id::{ClientId, ShardId, Slot};

const ROOM: ChannelIndex = ChannelIndex(3);

fn member(number: u32, user: &Arc<str>) -> Member {
    let client = ClientId { generation: 0, slot: Slot(number), shard: ShardId(0) };
    Member { client, user: Some(Arc::clone(user)), info: None, channel_info: None }
}

#[test]
fn a_user_is_there_from_its_first_client_until_its_last_one_does_not_return() {
    let (mut returns, mut room) = (Returns::default(), Attendance::default());
    let ann: Arc<str> = "ann".into();
    let at = |number| member(number, &ann);
    assert_eq!(returns.come((ROOM, &mut room), (&ann, &at(1)), None), News::Told);
    assert_eq!(returns.come((ROOM, &mut room), (&ann, &at(2)), None), News::Kept);
    assert_eq!(returns.go((ROOM, &mut room), (&ann, false), (&at(1), 100)), News::Kept);
    assert_eq!(returns.next_due(1000), None, "the second is there");
    assert_eq!(returns.go((ROOM, &mut room), (&ann, false), (&at(2), 100)), News::Kept);
    assert_eq!(returns.come((ROOM, &mut room), (&ann, &at(3)), None), News::Kept);
    assert_eq!((returns.next_due(1000), returns.returned), (None, 1));
    assert_eq!(returns.go((ROOM, &mut room), (&ann, false), (&at(3), 200)), News::Kept);
    assert_eq!(returns.next_due(199), None);
    assert_eq!(returns.next_due(200), Some((ROOM, Arc::clone(&ann))));
    assert_eq!(returns.end((ROOM, &mut room), &ann, 200), Some(at(3)));
    assert!(returns.is_empty() && room.is_empty() && returns.guests() == 0);
    let unknown = returns.go((ROOM, &mut room), (&ann, false), (&at(3), 300));
    assert_eq!(unknown, News::Told, "who was not told to have come is not waited for");
}

#[test]
fn beyond_the_bound_everything_is_told_at_once() {
    let (mut returns, mut room) = (Returns::default(), Attendance::default());
    let users: Vec<Arc<str>> =
        (0..=GUESTS_OF_CHANNEL_MAX).map(|number| format!("u{number}").into()).collect();
    let (last, rest) = users.split_last().unwrap();
    for user in rest {
        assert_eq!(returns.come((ROOM, &mut room), (user, &member(1, user)), None), News::Told);
    }
    returns.go((ROOM, &mut room), (&users[0], false), (&member(1, &users[0]), 100));
    let crowded = returns.come((ROOM, &mut room), (last, &member(2, last)), None);
    assert_eq!(crowded, News::Crowded(vec![member(1, &users[0])]));
    assert!(returns.is_empty() && returns.guests() == 0);
    for user in &users {
        assert_eq!(
            returns.go((ROOM, &mut room), (user, false), (&member(1, user), 100)),
            News::Told
        );
    }
}

#[test]
fn an_app_bounds_its_channel_and_those_beyond_are_not_told() {
    let (mut returns, mut room) = (Returns::default(), Attendance::default());
    let users: Vec<Arc<str>> = ["a", "b", "c"].map(Arc::from).into();
    let at = |number: usize| member(0, &users[number]);
    let expects = |returns: &mut Returns, room: &mut Attendance, number: usize| {
        returns.expect((ROOM, room), (&users[number], at(number)), (2, 0))
    };
    // Both places are kept before anybody has come: a third user finds none.
    assert_eq!([0, 1, 2].map(|n| expects(&mut returns, &mut room, n)), [true, true, false]);
    assert_eq!(room.count(), 0, "nobody is there");
    let come = |returns: &mut Returns, room: &mut Attendance, number: usize| {
        returns.come((ROOM, room), (&users[number], &at(number)), Some(2))
    };
    let news = [0, 0, 2].map(|number| come(&mut returns, &mut room, number));
    assert_eq!(news, [News::Told, News::Kept, News::Kept], "the third has no place");
    assert_eq!((room.count(), returns.guests()), (1, 0));
    let gone = returns.go((ROOM, &mut room), (&users[2], true), (&at(2), 5));
    assert_eq!(gone, News::Kept, "it was not told to have come");
    // The second user does not come: nobody hears of it, and its place is free.
    assert_eq!(returns.next_due(EXPECTED_MS), Some((ROOM, Arc::clone(&users[1]))));
    assert_eq!(returns.end((ROOM, &mut room), &users[1], EXPECTED_MS), None);
    assert!(expects(&mut returns, &mut room, 2) && !expects(&mut returns, &mut room, 1));
    assert_eq!(come(&mut returns, &mut room, 2), News::Told);
    assert_eq!(returns.next_due(u64::MAX), None);
    // A user whose last client goes while another one is on its way is told, and has its place.
    assert!(expects(&mut returns, &mut room, 2));
    returns.go((ROOM, &mut room), (&users[2], true), (&at(2), 5));
    assert_eq!(returns.next_due(5), Some((ROOM, Arc::clone(&users[2]))));
    assert_eq!(returns.end((ROOM, &mut room), &users[2], 5), Some(at(2)));
    assert!(!expects(&mut returns, &mut room, 1), "its place is kept");
    assert_eq!(come(&mut returns, &mut room, 2), News::Told);
    // All that were let in have come: no place is kept for longer than a user is there.
    returns.go((ROOM, &mut room), (&users[2], true), (&at(2), 7));
    assert_eq!(returns.next_due(7), Some((ROOM, Arc::clone(&users[2]))));
    assert_eq!(returns.end((ROOM, &mut room), &users[2], 7), Some(at(2)));
    assert!(expects(&mut returns, &mut room, 1));
}

#[test]
fn a_channel_becomes_large_above_its_names_and_small_well_below_them() {
    let mut crowd = Crowd::new(2);
    let mut steps = Vec::new();
    for members in [8, 9, 16, 9, 8, 7, 6, 8, 9] {
        steps.push((crowd.note(1, members, 8), crowd.is_large));
    }
    let [small, becomes, large] = [(false, false), (true, true), (false, true)];
    let shrinks = (true, false);
    assert_eq!(steps, [small, becomes, large, large, large, shrinks, small, small, becomes]);
    let mut returns = Returns::default();
    returns.note_stale(ROOM, &mut crowd);
    returns.note_stale(ROOM, &mut crowd);
    assert_eq!(returns.take_stale(5000), [ROOM]);
    assert!(crowd.take_stale() && !crowd.take_stale());
    returns.note_stale(ROOM, &mut crowd);
    assert!(returns.take_stale(5999).is_empty());
    assert_eq!(returns.take_stale(6000), [ROOM]);
}
