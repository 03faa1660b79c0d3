//! Emulate: a client that listens to a stream says everything after its first words by requests on
//! connections of their own, which may come to any shard.

use crate::client::state::Flags;
use crate::close::CloseReason;
use crate::mesh::parcel::Ask;
use crate::model::id::{ClientId, Slot};
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::command::Said;
use crate::wire::dialect::Dialect;
use crate::wire::entry::Entry;
use crate::wire::machine::Machine;
use crate::wire::refusal::Refusal;
use crate::wire::stream::{self, Emulation};

/// The most bytes of words that wait at a client. A client that says more while it is held would
/// be held back by its socket if it had one.
const WAITING_BYTES_MAX: usize = 128 << 10;

impl<N: Net> Shard<N> {
    /// Acts on a request in `slot` that speaks for another client.
    pub(crate) fn emulate(&mut self, slot: Slot, entry: &Entry, body: &[u8]) {
        let message_bytes = self.clients.config.message_bytes;
        let sessions = self.clients.sessions();
        let outcome = match Emulation::read(entry.dialect, body) {
            None => Err(Refusal::BadRequest("an emulation has a session, a node and data")),
            Some(emulation) if emulation.node != sessions.node() => Err(Refusal::NoNode),
            Some(emulation) if emulation.words.len() > message_bytes => Err(Refusal::BodyTooLarge),
            Some(emulation) => {
                let client = sessions.client(&emulation.session);
                self.pass_on(client, emulation.words)
            }
        };
        match outcome {
            Ok(()) => self.answer_and_end(slot, &stream::heard_answer(entry.origin.as_deref())),
            Err(refusal) => self.refuse(slot, &refusal),
        }
    }

    /// Passes words on to the shard of their client. A client that there is not, or not any more,
    /// is told nothing: a stream that has ended says so itself.
    fn pass_on(&mut self, client: Option<ClientId>, words: Said) -> Result<(), Refusal> {
        let Some(client) = client else {
            self.clients.tally.emulations_lost += 1;
            return Ok(());
        };
        // Through the lane also to this shard itself: earlier words may have come to another shard,
        // and lie in the lane still.
        let ask = Ask::Emulate { client, words };
        self.port.try_ask(client.shard, ask).map_err(|_| Refusal::Busy)
    }

    /// Takes words of a client of this shard.
    pub(crate) fn take_emulated(&mut self, client: ClientId, words: Said) {
        let is_emulated = |slot: &Slot| {
            let hot = self.clients.roster.hot(*slot);
            hot.state.is_upgraded() && Dialect::is_emulated(hot.shape)
        };
        let Some(slot) = self.clients.roster.slot_of(client).filter(is_emulated) else {
            self.clients.tally.emulations_lost += 1;
            return;
        };
        self.clients.tally.emulations += 1;
        let now_ms = self.clients.now.ms();
        let hot = self.clients.roster.hot_mut(slot);
        hot.heard_ms = now_ms;
        hot.hear();
        if !hot.state.is_any(Flags::OVER) {
            self.hear_words(slot, words);
        }
    }

    /// Has the session look next at words that came on another way than the client's socket.
    pub(crate) fn hear_words(&mut self, slot: Slot, words: Said) {
        let websocket = self.websocket;
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        let machine = client.machine.get_or_insert_with(|| {
            let spare = self.spare.take();
            spare.unwrap_or_else(|| Box::new(Machine::new(websocket)))
        });
        if !machine.hear(words, WAITING_BYTES_MAX) {
            self.clients.roster.state_mut(slot).break_rule();
            return self.clients.doom(slot, CloseReason::RateLimited);
        }
        // A client that is held goes on with them when there is room.
        if !self.clients.roster.state(slot).is_any(Flags::HELD) {
            self.clients.roster.state_mut(slot).set_more(true);
            self.clients.net.mark_ready(slot);
        }
    }
}
