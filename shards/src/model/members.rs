//! The members of a channel on one shard: a list for each shape that any of them wants.

use super::id::{Place, Slot};
use super::shape::Shape;

/// The members of one shape, in no order.
#[derive(Debug, Default)]
struct Group {
    shape: Shape,
    slots: Vec<Slot>,
}

/// All members of a channel on one shard.
///
/// Nearly every channel has members of one shape: its list lies in the channel itself.
#[derive(Debug, Default)]
pub(crate) struct Members {
    first: Group,
    /// Further shapes; no list in here is empty.
    others: Vec<Group>,
}

impl Members {
    /// Returns the number of members.
    pub(crate) fn len(&self) -> usize {
        self.groups().map(|(_, slots)| slots.len()).sum()
    }

    /// Returns `true` if there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.slots.is_empty()
    }

    /// The shapes that members want, each with its members.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (Shape, &[Slot])> {
        std::iter::once(&self.first)
            .filter(|group| !group.slots.is_empty())
            .chain(&self.others)
            .map(|group| (group.shape, &group.slots[..]))
    }

    /// All members, shape by shape.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> {
        self.groups().flat_map(|(_, slots)| slots.iter().copied())
    }

    /// Adds a member and returns its place in the list of its shape.
    pub(crate) fn add(&mut self, slot: Slot, shape: Shape) -> Place {
        if self.first.slots.is_empty() {
            self.first.shape = shape;
        } else if self.group(shape).is_none() {
            self.others.push(Group { shape, slots: Vec::new() });
        }
        let group = self.group(shape).expect("it was made where there was none");
        group.slots.push(slot);
        let place = Place::at(group.slots.len() - 1);
        self.check();
        place
    }

    /// Takes out the member at `place` of its shape. Returns the slot of the member that has its
    /// place now, if another one took it; that member must be told.
    pub(crate) fn take_out(&mut self, place: Place, shape: Shape) -> Option<Slot> {
        let group = self.group(shape).expect("a seat is in a list that is there");
        group.slots.swap_remove(place.index());
        let moved = group.slots.get(place.index()).copied();
        if group.slots.is_empty() {
            self.drop_list(shape);
        }
        self.check();
        moved
    }

    fn group(&mut self, shape: Shape) -> Option<&mut Group> {
        let mut all = std::iter::once(&mut self.first).chain(&mut self.others);
        all.find(|group| group.shape == shape)
    }

    /// Drops the list of `shape`, which has become empty, with its memory.
    fn drop_list(&mut self, shape: Shape) {
        if self.first.shape == shape {
            self.first = self.others.pop().unwrap_or_default();
        } else {
            self.others.retain(|group| group.shape != shape);
        }
        if self.others.is_empty() {
            self.others = Vec::new();
        }
    }

    fn check(&self) {
        debug_assert!(self.others.iter().all(|group| !group.slots.is_empty()));
        debug_assert!(self.others.is_empty() || !self.first.slots.is_empty());
        debug_assert!(self.others.iter().all(|group| group.shape != self.first.shape));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_member_takes_the_place_of_one_that_leaves() {
        let mut members = Members::default();
        let shape = Shape(1);
        for slot in 7..10 {
            members.add(Slot(slot), shape);
        }
        assert_eq!(members.take_out(Place(0), shape), Some(Slot(9)));
        assert_eq!(members.take_out(Place(1), shape), None, "it was the last itself");
        assert_eq!(members.iter().collect::<Vec<_>>(), [Slot(9)]);
    }

    proptest! {
        /// Against the simplest equivalent: a set of pairs.
        #[test]
        fn members_agree_with_a_set(
            steps in proptest::collection::vec((any::<bool>(), 0..4_u8, 0..40_u32), 1..200),
        ) {
            let mut members = Members::default();
            let mut places: BTreeMap<(u8, u32), Place> = BTreeMap::new();
            for (adds, shape, slot) in steps {
                match (adds, places.get(&(shape, slot)).copied()) {
                    (true, None) => {
                        places.insert((shape, slot), members.add(Slot(slot), Shape(shape)));
                    }
                    (false, Some(place)) => {
                        places.remove(&(shape, slot));
                        if let Some(moved) = members.take_out(place, Shape(shape)) {
                            places.insert((shape, moved.0), place);
                        }
                    }
                    _ => {}
                }
                let listed: BTreeSet<(u8, u32)> = members
                    .groups()
                    .flat_map(|(shape, slots)| slots.iter().map(move |slot| (shape.0, slot.0)))
                    .collect();
                prop_assert_eq!(&listed, &places.keys().copied().collect::<BTreeSet<_>>());
                prop_assert_eq!(members.len(), places.len());
                prop_assert_eq!(members.is_empty(), places.is_empty());
                for ((shape, slot), place) in &places {
                    let (_, slots) = members.groups().find(|(of, _)| of.0 == *shape).unwrap();
                    prop_assert_eq!(slots[place.index()].0, *slot);
                }
            }
        }
    }
}
