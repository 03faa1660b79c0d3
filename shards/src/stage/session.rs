//! Session: an open client's bytes become messages, and these, by its dialect, commands.

use crate::close::CloseReason;
use crate::model::bucket::Bucket;
use crate::model::id::Slot;
use crate::net::Net;
use crate::shard::Shard;
use crate::stage::submit::{Flow, Weight};
use crate::wire::command::{Command, ErrorCode, Mistake, Said};
use crate::wire::dialect::Reading;
use crate::wire::machine::{Machine, Memory, Step};

/// The bytes that the machine is given before a look at how much work they were. So few in unit
/// tests that the simulation's clients meet it.
const SLICE_BYTES: usize = if cfg!(any(test, fuzzing)) { 64 } else { 1 << 10 };

/// After so many frames of one client the others have their turn.
pub(super) const FRAMES_PER_TURN: u32 = if cfg!(any(test, fuzzing)) { 2 } else { 128 };

impl<N: Net> Shard<N> {
    /// Acts on every message that `input` completes. Returns the number of bytes taken: a client
    /// that is held, or has said enough for one turn, leaves a rest.
    pub(crate) fn feed(&mut self, slot: Slot, input: &[u8]) -> usize {
        let Some(client) = self.clients.roster.get_mut(slot) else { return input.len() };
        let mut machine = client
            .machine
            .take()
            .or_else(|| self.spare.take())
            .unwrap_or_else(|| Box::new(Machine::new(self.websocket)));
        let mut out = std::mem::take(&mut self.control_out);
        out.clear();
        let frames = machine.frames();
        // Where the message begins that `input` leaves open, if it begins there at all.
        let mut begun = machine.at_boundary().then_some(0);
        let mut taken = 0;
        let mut all_heard;
        debug_assert_eq!(self.clients.speaker.slot, None, "nobody speaks while another does");
        self.clients.speaker.slot = Some(slot);
        let mut flow = loop {
            let slice = &input[taken..input.len().min(taken + SLICE_BYTES)];
            let ahead = machine.look_ahead(slice);
            let sound = &slice[..ahead.sound()];
            let mut memory = Memory { input: sound, out };
            let flow = self.listen(slot, &mut machine, &mut memory);
            out = memory.out;
            let consumed = sound.len() - memory.input.len();
            begun = match machine.note(ahead, sound, consumed) {
                0 => begun,
                at => Some(taken + at),
            };
            taken += consumed;
            all_heard = matches!(flow, Flow::On);
            if let Some(fault) = machine.fault() {
                // Nobody looks at what follows; what came before is said first.
                taken = input.len();
                break if all_heard { Flow::Over(fault) } else { flow };
            }
            if !all_heard || taken == input.len() {
                break flow;
            }
            if machine.frames().wrapping_sub(frames) >= FRAMES_PER_TURN {
                break Flow::Later;
            }
        };
        self.clients.send_replies();
        self.clients.speaker.slot = None;
        if !machine.at_boundary() {
            let hopeful = machine.follow(&input[begun.unwrap_or(0)..taken], begun.is_some());
            // Messages that the machine has read and not returned yet come before the end.
            if !hopeful && all_heard && matches!(flow, Flow::On | Flow::Later) {
                flow = Flow::Over(CloseReason::Utf8);
            }
        }
        self.give_back(slot, machine, flow, out);
        taken
    }

    /// Acts on the messages in `memory` until it is used up or the client must wait.
    fn listen(&mut self, slot: Slot, machine: &mut Machine, memory: &mut Memory<'_>) -> Flow {
        let before = machine.frames();
        loop {
            let flow = match machine.step(memory) {
                Step::Message(mut said) => {
                    if let Some(left) = self.clients.dialect(slot).split(&mut said) {
                        machine.put_back(left);
                    }
                    let (flow, weight) = self.take_message(slot, said);
                    // Not only after the look: a client is answered in the order of its requests,
                    // and the next one may have to wait for what this one causes.
                    self.settle();
                    self.weigh(slot, flow, weight)
                }
                Step::Control => Flow::On,
                Step::Wanting => return Flow::On,
                Step::Over(reason) => return Flow::Over(reason),
            };
            if !matches!(flow, Flow::On) {
                return flow;
            }
            if machine.frames().wrapping_sub(before) >= FRAMES_PER_TURN && machine.has_left() {
                return Flow::Later;
            }
        }
    }

    fn take_message(&mut self, slot: Slot, mut said: Said) -> (Flow, Weight) {
        if !self.clients.roster.state(slot).is_upgraded() {
            // Its close frame is still to come; what it says before that is said to nobody.
            return (Flow::On, Weight::Light);
        }
        let bytes = said.len();
        let tally = &mut self.clients.tally;
        tally.messages_in += 1;
        tally.bytes_in += bytes as u64;
        let dialect = self.clients.dialect(slot);
        if !self.is_within_rate(slot, bytes) {
            self.clients.tally.rate_limited += 1;
            if !dialect.has_requests() {
                return (Flow::Over(CloseReason::RateLimited), Weight::Light);
            }
            let mistake = Mistake::new(ErrorCode::Rate, "too many messages", None);
            return (self.tell_mistake(slot, &mistake), Weight::Light);
        }
        if dialect.is_deaf() && self.clients.roster.state(slot).is_open() {
            return (Flow::On, Weight::Light);
        }
        let config = &self.clients.config;
        let reading = Reading { text_ping: config.text_ping, trim_text: config.trim_text };
        let is_open = self.clients.roster.state(slot).is_open();
        match dialect.read(&mut said, reading) {
            Ok(command) if is_open || matches!(command, Command::Connect(_)) => {
                self.perform(slot, command)
            }
            Ok(_) => (Flow::Over(CloseReason::Disorderly), Weight::Light),
            Err(mistake) => (self.tell_mistake(slot, &mistake), Weight::Light),
        }
    }

    /// Puts the machine where it is needed next, and what it answered on the wire.
    fn give_back(&mut self, slot: Slot, machine: Box<Machine>, flow: Flow, out: Vec<u8>) {
        if matches!(flow, Flow::Over(CloseReason::Goodbye)) {
            self.say_goodbye(slot, &out);
            self.control_out = out;
            return;
        }
        if !out.is_empty() && self.clients.roster.state(slot).is_upgraded() {
            self.clients.emit(slot, &out);
        }
        self.control_out = out;
        match flow {
            Flow::On if machine.is_idle() => self.spare = Some(machine),
            Flow::On | Flow::Held => self.keep_machine(slot, machine),
            Flow::Later => {
                self.keep_machine(slot, machine);
                self.clients.roster.state_mut(slot).set_more(true);
                self.clients.net.mark_ready(slot);
            }
            Flow::Over(reason) => {
                // Marked only: what it said before it broke a rule is in a tick that has not left
                // yet, and is heard by all, itself included.
                self.clients.roster.state_mut(slot).break_rule();
                self.clients.end_if_over(slot);
                self.clients.doom(slot, reason);
            }
        }
    }

    fn keep_machine(&mut self, slot: Slot, machine: Box<Machine>) {
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.machine = Some(machine);
        }
    }

    /// Frees the memory of limits of which a client has taken nothing lately.
    pub(crate) fn forget_full_buckets(&mut self, slot: Slot) {
        let (config, now_ms) = (&self.clients.config, self.clients.now.ms());
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        let Some(brief) = client.brief_mut() else { return };
        let limits = [
            (&mut brief.messages, config.messages_per_second, config.messages_per_second),
            (&mut brief.bytes, config.bytes_per_second, config.bytes_per_second),
            (&mut brief.errors, config.errors_max, 1),
        ];
        for (bucket, depth, rate) in limits {
            bucket.take_if(|bucket| bucket.is_full(depth, rate, now_ms));
        }
        brief.events.take_if(|(rate, bucket)| bucket.is_full(*rate, *rate, now_ms));
        brief.rates.retain(|known| {
            let rate = known.rules.messages_per_second.unwrap_or_default();
            !known.bucket.is_full(rate, rate, now_ms)
        });
        if brief.rates.is_empty() {
            brief.rates = Vec::new();
        }
        client.shed();
    }

    fn is_within_rate(&mut self, slot: Slot, bytes: usize) -> bool {
        let config = &self.clients.config;
        let (messages, rate) = (config.messages_per_second, config.bytes_per_second);
        if messages == 0 && rate == 0 {
            return true;
        }
        let now_ms = self.clients.now.ms();
        let Some(client) = self.clients.roster.get_mut(slot) else { return true };
        let brief = client.brief();
        let mut within = true;
        if messages > 0 {
            let bucket = brief.messages.get_or_insert_with(|| Bucket::full(messages, now_ms));
            within &= bucket.take(1, messages, now_ms);
        }
        if rate > 0 {
            let bucket = brief.bytes.get_or_insert_with(|| Bucket::full(rate, now_ms));
            within &= bucket.take(bytes as u64, rate, now_ms);
        }
        within
    }
}
