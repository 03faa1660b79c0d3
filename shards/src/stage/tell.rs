//! One event to one client, or to several of one shape, in their dialect: the only way in which a
//! stage tells a client anything.

use bytes::Bytes;

use crate::client::Clients;
use crate::client::roster::Roster;
use crate::client::state::Flags;
use crate::model::id::{ClientId, Slot};
use crate::model::shape::Form;
use crate::net::{Net, Sent};
use crate::wire::dialect::Dialect;
use crate::wire::event::Event;

impl<N: Net> Clients<N> {
    /// Tells a client something, at once or, while it speaks, with all else that it is told.
    pub(crate) fn tell(&mut self, slot: Slot, event: &Event<'_>) {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        Dialect::write_event(self.roster.hot(slot).shape, &mut frame, event);
        if event.is_about_seat() && !frame.is_empty() {
            self.emit_surely(slot, &frame);
        } else if !frame.is_empty() {
            self.emit(slot, &frame);
        }
        self.scratch = frame;
    }

    /// Tells the same to those clients of one form that `wants` selects. It is encoded once.
    pub(crate) fn tell_each(
        &mut self,
        (form, slots): (Form, &[Slot]),
        event: &Event<'_>,
        wants: impl Fn(&Roster<N>, Slot) -> bool,
    ) {
        let mut frame = std::mem::take(&mut self.scratch);
        frame.clear();
        Dialect::write_event(form.shape, &mut frame, event);
        for &slot in slots {
            if !frame.is_empty() && wants(&self.roster, slot) {
                self.emit(slot, &frame);
            }
        }
        self.scratch = frame;
    }

    /// The slot of a client, if it is still there and can be told something.
    pub(crate) fn listener(&self, client: ClientId) -> Option<Slot> {
        self.roster.slot_of(client).filter(|slot| self.roster.state(*slot).is_open())
    }

    /// Sends an answer to a request that comes before the 101. Bytes of TLS may wait in front of it
    /// then: it leaves behind them. A socket in the clear has room for it, or it is lost.
    pub(crate) fn answer(&mut self, slot: Slot, response: &[u8]) {
        let state = self.roster.state(slot);
        if state.is_any(Flags::BLOCKED) {
            self.queue_always(slot, Bytes::copy_from_slice(response));
            return self.arm(slot);
        }
        if let Sent::Part(sent) = self.transmit(slot, response)
            && state.is_any(Flags::TLS)
        {
            self.begin_outbox(slot, Bytes::copy_from_slice(response), None, sent);
            self.arm(slot);
        }
    }
}
