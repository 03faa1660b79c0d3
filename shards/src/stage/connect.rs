//! Connect: a client whose dialect has a command for it says who it is after its 101.
//!
//! Its request is answered at once, and the facts that the request shows wait for the command. From
//! then on its admission is that of any other client.

use bytes::Bytes;

use crate::client::pending::{Answer, Pending};
use crate::client::state::Phase;
use crate::close::CloseReason;
use crate::config::UserFrom;
use crate::model::id::Slot;
use crate::net::Net;
use crate::shard::Shard;
use crate::stage::conclude::{Admission, opening};
use crate::stage::submit::Flow;
use crate::wire::command::{Connect, Said};
use crate::wire::entry::{Entry, Wished};
use crate::wire::http::Start;
use crate::wire::name::check_name;
use crate::wire::refusal::Refusal;

/// The first words of a client that says by a command who it is.
#[derive(Debug)]
pub(crate) enum FirstWords {
    /// Frames on its socket, as far as they have come.
    Frames(Bytes),
    /// Words that stood in its request.
    Said(Said),
}

impl<N: Net> Shard<N> {
    /// Answers the request of a client that says later who it is. Its time for that is the rest of
    /// the time for the handshake. `accept` answers the key of a request for a WebSocket.
    pub(crate) fn upgrade(
        &mut self,
        slot: Slot,
        entry: Entry,
        accept: Option<&str>,
        words: FirstWords,
    ) {
        if let Some(refusal) = self.find_fault(slot, &entry) {
            return self.refuse(slot, &refusal);
        }
        let hot = self.clients.roster.hot_mut(slot);
        hot.state.upgrade();
        hot.shape = entry.shape(false);
        let head = opening(accept, &entry, Start::default());
        self.clients.emit(slot, &head);
        let answer = Answer::Event { id: None };
        let pending = Pending::new(entry, answer, Bytes::new());
        self.keep_pending(slot, pending);
        match words {
            FirstWords::Frames(rest) => self.keep_first_words(slot, rest),
            FirstWords::Said(words) => self.hear_words(slot, words),
        }
    }

    /// Takes a client's statement of who it is. Nothing further that it says is looked at before it
    /// is in.
    pub(crate) fn connect(&mut self, slot: Slot, connect: Connect<'_>) -> Flow {
        let is_first = self.clients.roster.phase(slot) == Phase::Upgraded;
        let brief = self.clients.roster.get_mut(slot).and_then(|client| client.brief_mut());
        let pending = brief.filter(|_| is_first).and_then(|brief| brief.pending.take());
        let Some(mut pending) = pending else { return Flow::Over(CloseReason::Disorderly) };
        let outcome = match self.complete(&mut pending.entry, &connect) {
            Ok(()) => self.admit(slot, &mut pending.entry),
            Err(refusal) => Admission::Refused(refusal),
        };
        pending.answer = Answer::Event { id: connect.id };
        self.conclude(slot, *pending, outcome);
        Flow::Later
    }

    /// Adds the facts of the command to those of the request.
    fn complete(&self, entry: &mut Entry, connect: &Connect<'_>) -> Result<(), Refusal> {
        let config = &self.clients.config;
        let check = |name: &str| {
            check_name(name, config.name_bytes).map_err(Refusal::BadRequest).map(|()| name.into())
        };
        if let Some(user) = &connect.user {
            if config.user_from != UserFrom::Url {
                return Err(Refusal::UserRequired(config.user_from.advice()));
            }
            entry.user = Some(check(user)?);
        }
        for (channel, since) in &connect.channels {
            entry.wished.push(Wished { channel: check(channel)?, since: *since });
        }
        // They are looked for by their names.
        entry.wished.sort_unstable_by(|a, b| a.channel.cmp(&b.channel));
        entry.wished.dedup_by(|a, b| a.channel == b.channel);
        let hooks = self.rooms.channels.rules().hooks();
        if hooks.connect {
            let presented = entry.presented.get_or_insert_default();
            presented.data.clone_from(&connect.data);
            let (name, version) = &connect.software;
            presented.software = ((**name).into(), (**version).into());
        }
        if let Some(token) = connect.token.as_ref().filter(|_| self.trust.prover.is_some()) {
            entry.token = Some((**token).into());
        }
        Ok(())
    }
}
