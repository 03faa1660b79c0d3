//! TLS of a shard's clients, all together: the settings of the next handshake, the memory in which
//! records are made, and the handshakes that wait for another turn.

use std::collections::VecDeque;
use std::sync::Arc;

use rustls::ServerConfig;

use super::Clients;
use super::roster::Roster;
use super::state::{Flags, Phase};
use crate::model::id::{ClientId, Slot};
use crate::net::{Net, Ready};
use crate::tls::{Fault, SEALED_BYTES, Session};

/// The steps of handshakes that a turn does. Each takes up to 150 µs, so that a storm of them makes
/// the turns of a shard a millisecond longer.
const STEPS_PER_TURN: usize = 8;

/// Plain bytes beyond this are no longer kept for the next client.
const OPENED_KEPT_BYTES: usize = 256 << 10;

/// The beginning of a connection on a port that speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// A proxy may say first for whom it speaks.
    Introduction,
    /// Nothing of TLS has come.
    Nothing,
    /// Everything that comes is TLS.
    Over,
}

/// The session of one client, with what the shard knows of it beside.
pub(crate) struct Secured {
    pub(crate) session: Session,
    pub(crate) beginning: Beginning,
    /// It is on the list of handshakes that wait.
    waits: bool,
}

/// TLS of all clients of a shard.
#[derive(Default)]
pub(crate) struct Sealing {
    config: Option<Arc<ServerConfig>>,
    /// Room for one record.
    record: Vec<u8>,
    /// Room for the records of several clients.
    pub(crate) records: Vec<u8>,
    /// Plain bytes that are about to be sealed.
    pub(crate) plain: Vec<u8>,
    /// Plain bytes that the latest client has sent, and what TLS answers it.
    pub(crate) opened: Vec<u8>,
    pub(crate) answer: Vec<u8>,
    /// The steps of handshakes in this turn.
    steps: usize,
    waiting: VecDeque<ClientId>,
}

impl Sealing {
    pub(crate) fn new(config: Option<Arc<ServerConfig>>) -> Self {
        Self { config, ..Self::default() }
    }

    /// Later handshakes are done with these settings.
    pub(crate) fn replace(&mut self, config: Arc<ServerConfig>) {
        self.config = Some(config);
    }

    /// The session of the next client.
    pub(crate) fn session(&self) -> Result<Secured, Fault> {
        let config = self.config.as_ref().ok_or(Fault::Unsealed)?;
        let beginning = Beginning::Introduction;
        Ok(Secured { session: Session::new(config)?, beginning, waits: false })
    }

    /// Seals at most one record of plain bytes. Returns the record.
    pub(crate) fn seal(&mut self, session: &mut Session, plain: &[u8]) -> Result<&[u8], Fault> {
        let room = room(&mut self.record);
        let len = session.seal(plain, room)?;
        Ok(&self.record[..len])
    }

    /// Returns the record that tells a client that nothing more comes; an empty one if there is
    /// nobody to be told.
    pub(crate) fn farewell(&mut self, session: &mut Session) -> &[u8] {
        let room = room(&mut self.record);
        let len = session.farewell(room);
        &self.record[..len]
    }

    /// Makes the memory of what a client has sent ready for the next one.
    pub(crate) fn reuse_opened(&mut self, mut opened: Vec<u8>) {
        if opened.capacity() > OPENED_KEPT_BYTES {
            opened = Vec::new();
        }
        opened.clear();
        self.opened = opened;
    }

    /// Counts a step of a handshake.
    pub(crate) fn count_step(&mut self) {
        self.steps += 1;
    }

    /// Returns `true` if handshakes wait for the next turn.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// The first client that speaks TLS has this memory made.
fn room(record: &mut Vec<u8>) -> &mut [u8] {
    if record.is_empty() {
        record.resize(SEALED_BYTES, 0);
    }
    record
}

impl<N: Net> Roster<N> {
    /// Keeps the session of a client that speaks TLS.
    pub(crate) fn put_session(&mut self, slot: Slot, session: Box<Secured>) {
        if self.sessions.len() <= slot.index() {
            self.sessions.resize_with(slot.index() + 1, || None);
        }
        debug_assert!(self.sessions[slot.index()].is_none(), "a client has one session");
        self.sessions[slot.index()] = Some(session);
        self.secured += 1;
    }

    /// The session of a client that speaks TLS.
    pub(crate) fn secured(&mut self, slot: Slot) -> Option<&mut Secured> {
        self.sessions.get_mut(slot.index())?.as_deref_mut()
    }

    /// Takes that session away.
    pub(crate) fn take_session(&mut self, slot: Slot) -> Option<Box<Secured>> {
        let session = self.sessions.get_mut(slot.index())?.take()?;
        self.secured -= 1;
        Some(session)
    }

    /// Returns the number of connections that speak TLS.
    pub(crate) fn sessions(&self) -> usize {
        self.secured
    }
}

impl<N: Net> Clients<N> {
    /// Returns `true` if the next bytes of a client belong to a handshake of TLS.
    fn is_shaking_hands(&mut self, slot: Slot) -> bool {
        let state = self.roster.state(slot);
        state.is_any(Flags::TLS)
            && state.phase() == Phase::Handshake
            && self.roster.secured(slot).is_some_and(|one| !one.session.is_through())
    }

    /// Returns `true` if this turn has done as much for handshakes as it may, and the next bytes of
    /// this client belong to one.
    pub(crate) fn is_handshake_for_later(&mut self, slot: Slot) -> bool {
        self.sealing.steps >= STEPS_PER_TURN && self.is_shaking_hands(slot)
    }

    /// Puts a handshake that is for later on its list. Returns `false` if it is none.
    pub(crate) fn put_off_handshake(&mut self, slot: Slot) -> bool {
        if !self.is_shaking_hands(slot) {
            return false;
        }
        let id = self.roster.id(slot);
        let Some(secured) = self.roster.secured(slot) else { return false };
        if !std::mem::replace(&mut secured.waits, true) {
            self.sealing.waiting.push_back(id);
        }
        true
    }

    /// Adds the handshakes that have waited to the clients that are served in this turn, as many as
    /// there is time for.
    pub(crate) fn take_handshakes(&mut self, ready: &mut Vec<Ready>) {
        self.sealing.steps = 0;
        let mut room = STEPS_PER_TURN;
        while room > 0
            && let Some(id) = self.sealing.waiting.pop_front()
        {
            let Some(slot) = self.roster.slot_of(id) else { continue };
            let Some(secured) = self.roster.secured(slot) else { continue };
            secured.waits = false;
            ready.push(Ready { slot, ended: false });
            room -= 1;
        }
    }
}
