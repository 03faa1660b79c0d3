//! The members of a channel on one shard: a list for each form that any of them wants.

use super::id::{Place, Slot};
use super::shape::{Chain, Form, Shape, Window};

/// The members of one form, in no order.
#[derive(Debug, Default)]
struct Group {
    form: Form,
    slots: Vec<Slot>,
}

/// All members of a channel on one shard.
///
/// Nearly every channel has members of one form: its list lies in the channel itself.
#[derive(Debug, Default)]
pub(crate) struct Members {
    first: Group,
    /// Further forms; no list in here is empty.
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

    /// Returns `true` if any of them takes patches.
    pub(crate) fn take_patches(&self) -> bool {
        self.groups().any(|(form, _)| form.takes_patches())
    }

    /// The forms that members want, each with its members.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (Form, &[Slot])> {
        std::iter::once(&self.first)
            .filter(|group| !group.slots.is_empty())
            .chain(&self.others)
            .map(|group| (group.form, &group.slots[..]))
    }

    /// All members, form by form.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> {
        self.groups().flat_map(|(_, slots)| slots.iter().copied())
    }

    /// Adds a member and returns its place in the list of its form.
    pub(crate) fn add(&mut self, slot: Slot, form: Form) -> Place {
        if self.first.slots.is_empty() {
            self.first.form = form;
        } else if self.group(form).is_none() {
            self.others.push(Group { form, slots: Vec::new() });
        }
        let group = self.group(form).expect("it was made where there was none");
        group.slots.push(slot);
        let place = Place::at(group.slots.len() - 1);
        self.check();
        place
    }

    /// Takes out a member of a shape, which stands at `place` of a list. Returns the slot of the
    /// member that has its place now, if another one took it; that member must be told.
    ///
    /// One that takes patches does not know whether it is fresh or linked, and one with a window
    /// not whether it is within: members are moved all together.
    pub(crate) fn take_out(&mut self, slot: Slot, place: Place, first: Form) -> Option<Slot> {
        let is_its = |group: &&mut Group| {
            let form = group.form;
            (form.shape, form.takes_patches()) == (first.shape, first.takes_patches())
                && group.slots.get(place.index()) == Some(&slot)
        };
        let group = self.all().find(is_its).expect("a seat is in a list that is there");
        group.slots.swap_remove(place.index());
        let moved = group.slots.get(place.index()).copied();
        let form = group.form;
        if group.slots.is_empty() {
            self.drop_list(form);
        }
        self.check();
        moved
    }

    /// All members that take patches have heard the newest publication, and are linked from here
    /// on. `moved` is told the members that have another place now.
    pub(crate) fn link(&mut self, mut moved: impl FnMut(Slot, Place)) {
        loop {
            let fresh = self.all().find(|group| group.form.chain == Chain::Fresh);
            let Some(form) = fresh.map(|group| group.form) else { break };
            self.reform(form, form.at(Chain::Linked), &mut moved);
        }
        self.check();
    }

    /// A window has begun, and all members of a shape that take part in it have heard its first
    /// publications. `moved` is told the members that have another place now.
    pub(crate) fn gather(&mut self, shape: Shape, mut moved: impl FnMut(Slot, Place)) {
        let apart = Form::first(shape, false).in_window(Window::Apart);
        self.reform(apart, apart.in_window(Window::Within), &mut moved);
        self.check();
    }

    /// All members of a form have another one from here on.
    fn reform(&mut self, from: Form, to: Form, moved: &mut impl FnMut(Slot, Place)) {
        let has_others = self.group(to).is_some();
        let Some(group) = self.group(from) else { return };
        if !has_others {
            group.form = to;
            return;
        }
        let slots = std::mem::take(&mut group.slots);
        self.drop_list(from);
        let Some(group) = self.group(to) else { return };
        for slot in slots {
            group.slots.push(slot);
            moved(slot, Place::at(group.slots.len() - 1));
        }
    }

    /// Returns the number of members of a form.
    pub(crate) fn count(&self, form: Form) -> usize {
        self.groups().find(|group| group.0 == form).map_or(0, |(_, slots)| slots.len())
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Group> {
        std::iter::once(&mut self.first)
            .filter(|group| !group.slots.is_empty())
            .chain(&mut self.others)
    }

    fn group(&mut self, form: Form) -> Option<&mut Group> {
        let mut all = std::iter::once(&mut self.first).chain(&mut self.others);
        all.find(|group| group.form == form)
    }

    /// Drops the list of `form`, which has become empty, with its memory.
    fn drop_list(&mut self, form: Form) {
        if self.first.form == form {
            self.first = self.others.pop().unwrap_or_default();
        } else {
            self.others.retain(|group| group.form != form);
        }
        if self.others.is_empty() {
            self.others = Vec::new();
        }
    }

    fn check(&self) {
        debug_assert!(self.others.iter().all(|group| !group.slots.is_empty()));
        debug_assert!(self.others.is_empty() || !self.first.slots.is_empty());
        debug_assert!(self.others.iter().all(|group| group.form != self.first.form));
        debug_assert!(self.groups().all(|(form, _)| form.chain != Chain::Whole));
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
