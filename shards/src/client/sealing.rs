//! TLS of a shard's clients, all together: the settings of the next handshake, the memory in which
//! records are made, and the handshakes that wait for another turn.

use std::sync::Arc;

use rustls::ServerConfig;

use super::Clients;
use super::handshakes::Handshakes;
use super::roster::Roster;
use super::state::{Flags, Phase};
use crate::clock::since_ms;
use crate::model::id::Slot;
use crate::net::Net;
use crate::tls::{Fault, RECORD_BYTES, SEALED_BYTES, Session};

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
    /// The server has answered the client's hello.
    pub(crate) is_answered: bool,
    /// Since when the client has waited in the line of handshakes.
    waits_since_ms: Option<u32>,
    /// The time that it has waited there, and by which its deadline is still to be moved.
    excused_ms: u32,
}

/// TLS of all clients of a shard.
#[derive(Default)]
pub(crate) struct Sealing {
    config: Option<Arc<ServerConfig>>,
    /// Room for records: for one, or for the largest message that was sealed at once.
    record: Vec<u8>,
    /// Room for the records of several clients.
    pub(crate) records: Vec<u8>,
    /// Plain bytes that are about to be sealed.
    pub(crate) plain: Vec<u8>,
    /// Plain bytes that the latest client has sent, and what TLS answers it.
    pub(crate) opened: Vec<u8>,
    pub(crate) answer: Vec<u8>,
    pub(crate) handshakes: Handshakes,
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
        Ok(Secured {
            session: Session::new(config)?,
            beginning,
            is_answered: false,
            waits_since_ms: None,
            excused_ms: 0,
        })
    }

    /// Seals plain bytes, which are not empty, and returns their records.
    pub(crate) fn seal(&mut self, session: &mut Session, plain: &[u8]) -> Result<&[u8], Fault> {
        let mut len = 0;
        for (index, plain) in plain.chunks(RECORD_BYTES).enumerate() {
            let room = room(&mut self.record, (index + 1) * SEALED_BYTES);
            len += session.seal(plain, &mut room[len..])?;
        }
        Ok(&self.record[..len])
    }

    /// Returns the record that tells a client that nothing more comes; an empty one if there is
    /// nobody to be told.
    pub(crate) fn farewell(&mut self, session: &mut Session) -> &[u8] {
        let room = room(&mut self.record, SEALED_BYTES);
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
}

/// The first client that speaks TLS has this memory made, and the first large message more of it.
fn room(record: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if record.len() < bytes {
        record.resize(bytes, 0);
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
    /// Returns `true` if the client has said within TLS that nothing more comes from it.
    pub(crate) fn has_ended(&mut self, slot: Slot) -> bool {
        self.roster.state(slot).is_any(Flags::TLS)
            && self.roster.secured(slot).is_some_and(|one| one.session.has_ended())
    }

    /// Puts a client whose next bytes belong to a handshake of TLS in the line of those. Returns
    /// `false` if they do not.
    pub(crate) fn queue_handshake(&mut self, slot: Slot) -> bool {
        let state = self.roster.state(slot);
        if !state.is_any(Flags::TLS) || state.phase() != Phase::Handshake {
            return false;
        }
        let (id, now_ms) = (self.roster.id(slot), self.now.ms());
        let Some(secured) = self.roster.secured(slot) else { return false };
        if secured.session.is_through() {
            return false;
        }
        if secured.waits_since_ms.is_none() {
            secured.waits_since_ms = Some(now_ms);
            self.sealing.handshakes.push(id, secured.is_answered);
        }
        true
    }

    /// Takes the next client out of the line of handshakes, if this turn has time for it.
    pub(crate) fn next_handshake(&mut self) -> Option<Slot> {
        let now_ms = self.now.ms();
        while let Some(id) = self.sealing.handshakes.pop() {
            let Some(slot) = self.roster.slot_of(id) else { continue };
            let Some(secured) = self.roster.secured(slot) else { continue };
            if let Some(since) = secured.waits_since_ms.take() {
                secured.excused_ms += since_ms(now_ms, since);
                return Some(slot);
            }
        }
        None
    }

    /// Returns the time that a client has waited in the line of handshakes since the last such
    /// call; `None` if it waits there now.
    pub(crate) fn take_excuse(&mut self, slot: Slot) -> Option<u32> {
        let Some(secured) = self.roster.secured(slot) else { return Some(0) };
        if secured.waits_since_ms.is_some() {
            return None;
        }
        Some(std::mem::take(&mut secured.excused_ms))
    }
}
