//! A client's state: its phase and what is true of it meanwhile, as one machine of sixteen bits.
//!
//! The fan-out decides by one comparison of these bits whether a client can be sent to at once.

/// The way of a connection from its first byte to its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The slot is empty.
    Vacant,
    /// The request head is not complete.
    Handshake,
    /// The request waits for the answers of homes and owners.
    Waiting,
    Open,
    /// Our close frame is out or due: nothing may follow it.
    Closing,
    /// Refused: the client may read the answer before the socket goes.
    Lingering,
    /// The 101 is out, and the client has not said yet who it is.
    Upgraded,
    /// It has said so, and waits for the answers of homes and owners.
    Connecting,
}

/// A set of facts that hold beside the phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u16);

/// The bits that hold the phase.
const PHASE: u16 = 0b111;

impl Flags {
    /// The outbox holds something: nothing may be sent past it.
    pub(crate) const BLOCKED: Self = Self(1 << 3);
    /// The client stands in the list of the blocked.
    pub(crate) const LISTED: Self = Self(1 << 4);
    /// The socket was full once: it is watched for room as well.
    pub(crate) const ROOM: Self = Self(1 << 5);
    /// The client's own messages do not come back.
    pub(crate) const NO_ECHO: Self = Self(1 << 6);
    /// The client is a member of more than one channel.
    pub(crate) const MANY: Self = Self(1 << 7);
    /// A publication of the ticks that are leaving is not for this client.
    pub(crate) const EXCEPTED: Self = Self(1 << 8);
    /// A request waits for room in a lane: the socket is not read.
    pub(crate) const HELD: Self = Self(1 << 9);
    /// The client has said more than one turn takes of a client.
    pub(crate) const MORE: Self = Self(1 << 10);
    /// The client had its look in this turn.
    pub(crate) const SERVED: Self = Self(1 << 11);
    /// The peer has ended its direction: nothing rings for the bytes that are still to be read.
    pub(crate) const ENDED: Self = Self(1 << 12);
    /// The client broke a rule: its close frame is due or sent, and its bytes are no longer looked
    /// at.
    pub(crate) const OVER: Self = Self(1 << 13);
    /// The client has lost a message and is to be closed for that: it is told no later one.
    pub(crate) const LOST: Self = Self(1 << 14);
    /// All that passes is sealed by TLS.
    pub(crate) const TLS: Self = Self(1 << 15);

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One client's state. `is_any` asks for at least one of some facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State(u16);

impl State {
    /// The state of an empty slot.
    pub(crate) const VACANT: Self = Self(Phase::Vacant as u16);
    /// The state of a connection that was just accepted.
    pub(crate) const ACCEPTED: Self = Self(Phase::Handshake as u16);

    pub(crate) fn phase(self) -> Phase {
        match self.0 & PHASE {
            0 => Phase::Vacant,
            1 => Phase::Handshake,
            2 => Phase::Waiting,
            3 => Phase::Open,
            4 => Phase::Closing,
            5 => Phase::Lingering,
            6 => Phase::Upgraded,
            _ => Phase::Connecting,
        }
    }

    pub(crate) fn is_open(self) -> bool {
        self.0 & PHASE == Phase::Open as u16
    }

    /// Returns `true` if the 101 is out and our close frame is not due: frames may be sent.
    pub(crate) fn is_upgraded(self) -> bool {
        matches!(self.phase(), Phase::Open | Phase::Upgraded | Phase::Connecting)
    }

    /// Returns `true` if the answers of homes and owners decide about the client.
    pub(crate) fn is_waiting(self) -> bool {
        matches!(self.phase(), Phase::Waiting | Phase::Connecting)
    }

    /// Returns `true` if our close frame is sent or due: nothing else may be sent.
    pub(crate) fn is_closing(self) -> bool {
        self.0 & PHASE == Phase::Closing as u16
    }

    /// Returns `true` if the connection is on its way out.
    pub(crate) fn is_leaving(self) -> bool {
        matches!(self.phase(), Phase::Closing | Phase::Lingering)
    }

    /// Returns `true` if the client is open and none of `special` holds.
    pub(crate) fn is_open_without(self, special: Flags) -> bool {
        self.0 & (PHASE | special.0) == Phase::Open as u16
    }

    /// Returns `true` if at least one of `flags` holds.
    pub(crate) fn is_any(self, flags: Flags) -> bool {
        self.0 & flags.0 != 0
    }

    /// The connection speaks TLS, from its first byte on.
    pub(crate) fn secure(&mut self) {
        debug_assert_eq!(*self, Self::ACCEPTED);
        self.put(Flags::TLS, true);
        self.check();
    }

    /// The connection does not speak TLS after all.
    pub(crate) fn expose(&mut self) {
        debug_assert_eq!(self.phase(), Phase::Handshake);
        self.put(Flags::TLS, false);
        self.check();
    }

    /// The 101 goes out before the client has said who it is.
    pub(crate) fn upgrade(&mut self) {
        debug_assert!(matches!(self.phase(), Phase::Handshake | Phase::Waiting));
        self.go_to(Phase::Upgraded);
        self.check();
    }

    /// The client's facts are complete, and wait for homes and owners. They may have waited for the
    /// application's backend before.
    pub(crate) fn wait(&mut self) {
        if self.is_waiting() {
            return;
        }
        debug_assert!(matches!(self.phase(), Phase::Handshake | Phase::Upgraded));
        let is_upgraded = self.phase() == Phase::Upgraded;
        self.go_to(if is_upgraded { Phase::Connecting } else { Phase::Waiting });
        self.check();
    }

    /// The client is admitted.
    pub(crate) fn open(&mut self, echo: bool) {
        debug_assert!(self.is_waiting());
        self.go_to(Phase::Open);
        self.put(Flags::NO_ECHO, !echo);
        self.check();
    }

    /// The client has given up its seats, and is told nothing but its last word.
    pub(crate) fn close(&mut self) {
        debug_assert!(self.is_upgraded());
        self.go_to(Phase::Closing);
        self.put(Flags::NO_ECHO, false);
        self.check();
    }

    /// The request is refused.
    pub(crate) fn linger(&mut self) {
        debug_assert!(matches!(self.phase(), Phase::Handshake | Phase::Waiting));
        self.go_to(Phase::Lingering);
        self.check();
    }

    /// The outbox holds something. Returns `true` if the client must be put on the list of the
    /// blocked.
    pub(crate) fn block(&mut self) -> bool {
        let listed = self.is_any(Flags::LISTED);
        self.put(Flags::BLOCKED.union(Flags::LISTED), true);
        self.check();
        !listed
    }

    /// The outbox is empty. The client stays on the list until the next sweep.
    pub(crate) fn unblock(&mut self) {
        self.put(Flags::BLOCKED, false);
        self.check();
    }

    /// The client was taken off the list of the blocked.
    pub(crate) fn unlist(&mut self) {
        self.put(Flags::LISTED, false);
        self.check();
    }

    /// The socket is to be watched for room. Returns `true` if it was not so far.
    pub(crate) fn want_room(&mut self) -> bool {
        let before = self.is_any(Flags::ROOM);
        self.put(Flags::ROOM, true);
        self.check();
        !before
    }

    /// A request waits for room in a lane.
    pub(crate) fn hold(&mut self) {
        self.put(Flags::HELD, true);
        self.check();
    }

    /// There may be room again.
    pub(crate) fn release(&mut self) {
        self.put(Flags::HELD, false);
        self.check();
    }

    /// Notes whether something that the client sent waits for another turn.
    pub(crate) fn set_more(&mut self, more: bool) {
        self.put(Flags::MORE, more);
        self.check();
    }

    /// Notes whether the client is a member of several channels.
    pub(crate) fn set_many(&mut self, many: bool) {
        self.put(Flags::MANY, many);
        self.check();
    }

    /// Notes whether a publication of the ticks that are leaving is not for this client.
    pub(crate) fn set_excepted(&mut self, excepted: bool) {
        self.put(Flags::EXCEPTED, excepted);
        self.check();
    }

    /// The client rang. Returns `true` if it had its look in this turn already.
    pub(crate) fn serve(&mut self, ended: bool) -> bool {
        let before = self.is_any(Flags::SERVED);
        self.put(Flags::SERVED, true);
        self.0 |= if ended { Flags::ENDED.0 } else { 0 };
        self.check();
        before
    }

    /// The peer says no more. The client is read to the end whenever it has its look.
    pub(crate) fn end(&mut self) {
        self.0 |= Flags::ENDED.0;
        self.check();
    }

    /// The turn is over.
    pub(crate) fn end_turn(&mut self) {
        self.put(Flags::SERVED, false);
        self.check();
    }

    /// The client broke a rule.
    pub(crate) fn break_rule(&mut self) {
        self.put(Flags::OVER, true);
        self.check();
    }

    /// The client has lost a message, and is to be closed.
    pub(crate) fn lose(&mut self) {
        self.put(Flags::LOST, true);
        self.check();
    }

    fn go_to(&mut self, phase: Phase) {
        self.0 = self.0 & !PHASE | phase as u16;
    }

    fn put(&mut self, flags: Flags, on: bool) {
        self.0 = if on { self.0 | flags.0 } else { self.0 & !flags.0 };
    }

    /// Holds the phase against the flags.
    pub(crate) fn check(self) {
        let of_members = Flags::MANY.union(Flags::NO_ECHO).union(Flags::EXCEPTED);
        let with_words = self.is_upgraded() || self.phase() == Phase::Closing;
        debug_assert!(!self.is_any(Flags::BLOCKED) || self.is_any(Flags::LISTED), "{self:?}");
        debug_assert!(self.is_open() || !self.is_any(of_members), "only members hear: {self:?}");
        let after_the_101 = Flags::HELD.union(Flags::OVER).union(Flags::LOST);
        debug_assert!(with_words || !self.is_any(after_the_101), "{self:?}");
        // A handshake of TLS may wait for its socket before that.
        let may_wait = with_words || self.is_any(Flags::TLS);
        debug_assert!(may_wait || !self.is_any(Flags::BLOCKED), "{self:?}");
        debug_assert!(self.phase() != Phase::Vacant || self == Self::VACANT, "{self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_comparison_finds_the_clients_that_can_be_sent_to() {
        let mut state = State::ACCEPTED;
        let both = Flags::NO_ECHO.union(Flags::MANY);
        assert!(!state.is_open_without(both), "not open");
        state.wait();
        state.open(false);
        assert!(state.is_open_without(Flags::MANY) && !state.is_open_without(both));
        assert!(state.is_any(both) && !state.is_any(Flags::MANY));
    }

    #[test]
    fn a_client_may_be_told_before_it_has_said_who_it_is() {
        let mut state = State::ACCEPTED;
        state.upgrade();
        assert!(state.is_upgraded() && !state.is_open() && !state.is_waiting());
        state.hold();
        state.wait();
        assert!(state.is_upgraded() && state.is_waiting());
        state.open(true);
        assert!(state.is_open() && !state.is_waiting());
        let mut other = State::ACCEPTED;
        other.wait();
        assert!(other.is_waiting() && !other.is_upgraded(), "no 101 is out");
    }

    #[test]
    fn a_client_that_closes_may_wait_on_no_second_list() {
        let mut state = State::ACCEPTED;
        state.wait();
        state.open(true);
        assert!(state.block(), "it was on no list");
        state.close();
        assert!(state.is_closing());
        state.unblock();
        assert!(!state.block(), "it is on the list until it is taken off");
    }
}
