//! Handshakes of TLS that wait for their next step. They have a part of a turn's time, so that a
//! storm of them delays those who are in by a fraction, however long a turn or a step is.

use std::collections::VecDeque;

use crate::model::id::ClientId;

/// The least time that a turn spends on handshakes, if any wait. A shard that does nothing else
/// takes so short turns that this is most of its time.
const TURN_NS_MIN: u64 = 500_000;

/// The turn of a busy shard becomes longer by this part for handshakes. Those who come cost it a
/// quarter already, and with both a fan-out beside a storm must not take twice as long.
const PART_OF_TURN: u64 = 4;

/// The clients of a shard that shake hands, and the time that this turn has spent on them.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    /// Clients that have had the server's answer to their hello. They come first: what is left
    /// to be done for them is a tenth of what was done.
    answered: VecDeque<ClientId>,
    /// Clients whose hello is still to be answered, at the cost of a signature and a key exchange.
    unanswered: VecDeque<ClientId>,
    /// The time that the last turn took for everything else.
    other_ns: u64,
    spent_ns: u64,
    /// This turn has read a hello.
    has_answered: bool,
}

impl Handshakes {
    /// Adds a client that has sent something more.
    pub(crate) fn push(&mut self, client: ClientId, is_answered: bool) {
        if is_answered {
            self.answered.push_back(client);
        } else {
            self.unanswered.push_back(client);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.answered.is_empty() && self.unanswered.is_empty()
    }

    /// Returns the client that is served next, if this turn has time for it. There is time for one
    /// hello in every turn, whatever others do.
    pub(crate) fn pop(&mut self) -> Option<ClientId> {
        let has_time = self.spent_ns < TURN_NS_MIN.max(self.other_ns / PART_OF_TURN);
        if has_time && let Some(client) = self.answered.pop_front() {
            return Some(client);
        }
        if !has_time && self.has_answered {
            return None;
        }
        self.has_answered = true;
        self.unanswered.pop_front()
    }

    /// Takes note of the time that this turn has spent on handshakes so far.
    pub(crate) fn spend(&mut self, spent_ns: u64) {
        self.spent_ns = spent_ns;
    }

    /// A turn that took `busy_ns` is over.
    pub(crate) fn end_turn(&mut self, busy_ns: u64) {
        self.other_ns = busy_ns.saturating_sub(self.spent_ns);
        (self.spent_ns, self.has_answered) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::{ShardId, Slot};

    const STEP_NS: u64 = 150_000;

    fn client(number: usize) -> ClientId {
        ClientId { generation: 1, slot: Slot::at(number), shard: ShardId(0) }
    }

    /// One turn in which each step takes `step_ns`. Returns the clients that were served.
    fn turn(line: &mut Handshakes, other_ns: u64, step_ns: u64) -> Vec<usize> {
        let (mut served, mut spent_ns) = (Vec::new(), 0);
        while let Some(client) = line.pop() {
            served.push(client.slot.index());
            spent_ns += step_ns;
            line.spend(spent_ns);
        }
        line.end_turn(other_ns + spent_ns);
        served
    }

    #[test]
    fn the_part_of_handshakes_grows_with_the_turn() {
        let mut line = Handshakes::default();
        (0..2_000).for_each(|number| line.push(client(number), false));
        assert_eq!(turn(&mut line, 0, STEP_NS).len(), 4, "half a millisecond, and what is begun");
        for other_ms in [3, 30, 60] {
            turn(&mut line, other_ms * 1_000_000, STEP_NS);
            let spent_ns = turn(&mut line, 0, STEP_NS).len() as u64 * STEP_NS;
            let part_ns = other_ms * 1_000_000 / PART_OF_TURN;
            assert!((part_ns..part_ns + STEP_NS).contains(&spent_ns), "{spent_ns} of {other_ms}");
        }
    }

    #[test]
    fn a_long_step_ends_the_part_of_a_turn() {
        let mut line = Handshakes::default();
        (0..10).for_each(|number| line.push(client(number), false));
        assert_eq!(turn(&mut line, 0, 6_000_000), [0]);
        assert_eq!(turn(&mut line, 0, 6_000_000), [1]);
    }

    #[test]
    fn clients_that_are_nearly_in_come_first_and_hold_up_nobody() {
        let mut line = Handshakes::default();
        line.push(client(0), false);
        (1..100).for_each(|number| line.push(client(number), true));
        // All of the time is theirs, and one hello is read all the same.
        assert_eq!(turn(&mut line, 0, STEP_NS), [1, 2, 3, 4, 0]);
        assert_eq!(turn(&mut line, 0, STEP_NS), [5, 6, 7, 8]);
        assert!(!line.is_empty());
    }
}
