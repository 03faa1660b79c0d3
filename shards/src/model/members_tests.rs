//! The members of a channel against a set of pairs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::shape::Shape;

fn plain(shape: u8) -> Form {
    Form::first(Shape(shape), false)
}

#[test]
fn the_last_member_takes_the_place_of_one_that_leaves() {
    let mut members = Members::default();
    let form = plain(1);
    for slot in 7..10 {
        members.add(Slot(slot), form);
    }
    assert_eq!(members.take_out(Slot(7), Place(0), form), Some(Slot(9)));
    assert_eq!(members.take_out(Slot(8), Place(1), form), None, "it was the last itself");
    assert_eq!(members.iter().collect::<Vec<_>>(), [Slot(9)]);
}

#[test]
fn the_first_members_that_are_linked_keep_their_places() {
    let mut members = Members::default();
    let fresh = Form::first(Shape(1), true);
    members.add(Slot(1), fresh);
    members.add(Slot(2), fresh);
    members.link(|slot, _| panic!("{slot:?} stays where it is"));
    assert_eq!(members.groups().next(), Some((fresh.at(Chain::Linked), &[Slot(1), Slot(2)][..])));
    members.add(Slot(3), fresh);
    let mut moved = Vec::new();
    members.link(|slot, place| moved.push((slot, place)));
    assert_eq!(moved, [(Slot(3), Place(2))]);
    assert_eq!(members.groups().count(), 1);
}

/// One change of a channel's members.
#[derive(Debug, Clone, Copy)]
enum Step {
    Add(u8, bool, u32),
    TakeOut(u8, bool, u32),
    Link,
}

fn step() -> impl Strategy<Value = Step> {
    let member = || (0..3_u8, any::<bool>(), 0..40_u32);
    prop_oneof![
        4 => member().prop_map(|(shape, patches, slot)| Step::Add(shape, patches, slot)),
        3 => member().prop_map(|(shape, patches, slot)| Step::TakeOut(shape, patches, slot)),
        1 => Just(Step::Link),
    ]
}

#[test]
fn members_that_wait_for_a_window_join_those_within() {
    let apart = plain(3).in_window(Window::Apart);
    let within = plain(3).in_window(Window::Within);
    let mut members = Members::default();
    members.add(Slot(9), plain(3));
    assert_eq!([1, 2].map(|slot| members.add(Slot(slot), apart)), [Place(0), Place(1)]);
    members.gather(Shape(3), |slot, _| panic!("{slot:?} has kept its place"));
    assert_eq!([within, apart, plain(3)].map(|form| members.count(form)), [2, 0, 1]);
    assert_eq!(members.add(Slot(4), apart), Place(0));
    let mut moved = Vec::new();
    members.gather(Shape(4), |_, _| panic!("another shape"));
    members.gather(Shape(3), |slot, place| moved.push((slot, place)));
    assert_eq!(moved, [(Slot(4), Place(2))]);
    assert_eq!(members.take_out(Slot(1), Place(0), plain(3)), Some(Slot(4)));
    assert_eq!([within, apart].map(|form| members.count(form)), [2, 0]);
}

proptest! {
    /// A set of members with their places and whether they are linked says the same.
    #[test]
    fn members_agree_with_a_set(steps in proptest::collection::vec(step(), 1..200)) {
        let mut members = Members::default();
        let mut known: BTreeMap<(u8, bool, u32), (Place, bool)> = BTreeMap::new();
        for step in steps {
            match step {
                // A slot is a member once, in one form.
                Step::Add(shape, patches, slot)
                    if known.keys().all(|(_, _, other)| *other != slot) =>
                {
                    let place = members.add(Slot(slot), Form::first(Shape(shape), patches));
                    known.insert((shape, patches, slot), (place, false));
                }
                Step::TakeOut(shape, patches, slot) => {
                    let Some((place, linked)) = known.remove(&(shape, patches, slot)) else {
                        continue;
                    };
                    let form = Form::first(Shape(shape), patches);
                    if let Some(moved) = members.take_out(Slot(slot), place, form) {
                        known.insert((shape, patches, moved.0), (place, linked));
                    }
                }
                Step::Link => {
                    let mut moved = BTreeMap::new();
                    members.link(|slot, place| {
                        moved.insert(slot.0, place);
                    });
                    for ((_, patches, slot), (place, linked)) in &mut known {
                        *linked |= patches;
                        *place = moved.get(slot).copied().unwrap_or(*place);
                    }
                }
                Step::Add(..) => {}
            }
            let listed: BTreeSet<(u8, bool, u32)> = members
                .groups()
                .flat_map(|(form, slots)| {
                    slots.iter().map(move |slot| (form.shape.0, form.takes_patches(), slot.0))
                })
                .collect();
            prop_assert_eq!(&listed, &known.keys().copied().collect::<BTreeSet<_>>());
            prop_assert_eq!(members.len(), known.len());
            prop_assert_eq!(members.is_empty(), known.is_empty());
            prop_assert_eq!(members.take_patches(), known.keys().any(|(_, patches, _)| *patches));
            for ((shape, patches, slot), (place, linked)) in &known {
                let form = Form::first(Shape(*shape), *patches);
                let form = if *linked { form.at(Chain::Linked) } else { form };
                let (_, slots) = members.groups().find(|(of, _)| *of == form).unwrap();
                prop_assert_eq!(slots[place.index()].0, *slot);
            }
        }
    }
}
