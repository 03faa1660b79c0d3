//! Relay: a shard takes what the process tells that numbers its publications, and numbers them
//! again when that process is lost.

use std::sync::Arc;

use crate::mesh::bus::BusEnd;
use crate::mesh::link::Out;
use crate::mesh::parcel::Ask;
use crate::model::channel::Subscription;
use crate::model::told::Told;
use crate::net::Net;
use crate::shard::{PARCELS_PER_TURN, Shard};

impl<N: Net> Shard<N> {
    /// Numbers for another process as well from now on.
    pub(crate) fn lead(&mut self, out: Out) {
        self.engine.get_or_insert_default().lead(out);
    }

    /// Has an engine order the publications of this home from now on.
    pub(crate) fn board(&mut self, end: BusEnd) {
        self.home().board(end);
        // What was subscribed to before is subscribed to anew, behind the engine's answer.
        let me = self.port.me;
        let own = self.rooms.channels.iter_mut().filter(|channel| channel.home == me);
        for channel in own.filter(|channel| channel.subscription == Subscription::Live) {
            channel.order.count_out(me);
            channel.subscription = Subscription::Asked;
            self.port.owe(me, Ask::Subscribe { channel: Arc::clone(&channel.name), by: me });
        }
        self.settle();
    }

    /// Returns `true` if there is something to do about the link that waits for nothing.
    pub(crate) fn link_has_work(&self) -> bool {
        self.engine.as_ref().is_some_and(|engine| engine.has_work()) && !self.port.lacks_room()
    }

    /// Takes what has come over the link, and sends what waits for it.
    pub(crate) fn serve_link(&mut self) {
        let Some(engine) = &mut self.engine else { return };
        engine.retry();
        let mut taken = 0;
        while taken < PARCELS_PER_TURN
            && !self.port.lacks_room()
            && let Some(told) = self.engine.as_mut().and_then(|engine| engine.next_told())
        {
            taken += 1;
            match told {
                Told::Over => self.go_on_alone(false),
                Told::Back => self.go_on_alone(true),
                told => self.home().take_told(told),
            }
            self.settle();
            self.fan_out_if_full();
        }
        while taken < PARCELS_PER_TURN
            && !self.port.lacks_room()
            && let Some(told) = self.engine.as_ref().and_then(|engine| engine.next_from_bus())
        {
            taken += 1;
            self.home().take_from_bus(told);
            self.settle();
            self.fan_out_if_full();
        }
        self.home().answer_for_the_lost();
        self.home().forget_lost_follower();
        self.home().answer_overdue();
        self.home().tell_gone();
        self.home().tell_lost_use();
        self.settle();
        self.port.waits_for_link = self.engine.as_ref().is_some_and(|engine| engine.is_full());
        if self.engine.as_ref().is_some_and(|engine| engine.is_alone()) {
            self.engine = None;
        }
    }

    /// The process that numbered is lost: this one does again. It `is_unused` if it has numbered
    /// nothing.
    fn go_on_alone(&mut self, is_unused: bool) {
        let pending = self.home().go_on_alone(is_unused);
        // The members hear of the other offsets first.
        self.settle();
        for ask in pending {
            self.take_ask(ask);
            self.settle();
        }
    }
}
