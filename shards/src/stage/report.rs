//! Answers to the control plane, between two turns.

use crate::client::state::Flags;
use crate::clock::since_ms;
use crate::close::CloseReason;
use crate::mesh::parcel::Instruction;
use crate::model::id::Slot;
use crate::model::report::{ChannelInfo, ConnectionInfo, Report};
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::refusal::Refusal;

impl<N: Net> Shard<N> {
    pub(crate) fn obey(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Report(reply) => reply.send(self.report()),
            Instruction::Channels { limit, reply } => reply.send(self.list_channels(limit)),
            Instruction::Connections { queued, limit, reply } => {
                reply.send(self.list_connections(queued, limit));
            }
            Instruction::Latency(reply) => {
                reply.send((self.port.me.index(), self.clients.tally.latency.clone()));
            }
            Instruction::Disconnect { client, reply } => {
                let slot = self.clients.roster.slot_of(client);
                let open = slot.filter(|slot| self.clients.roster.state(*slot).is_open());
                if let Some(slot) = open {
                    // Marked only: what was numbered before it is in a tick that has not left yet.
                    self.clients.doom(slot, CloseReason::Disconnected);
                }
                reply.send(u64::from(open.is_some()));
            }
            Instruction::Drain { successor } => self.begin_drain(successor),
            #[cfg(debug_assertions)]
            Instruction::Panic => panic!("a fault on purpose"),
        }
    }

    pub(crate) fn report(&self) -> Report {
        let tally = &self.clients.tally;
        let (publish_depth, deliver_depth) = self.port.depths();
        Report {
            shard: self.port.me.index(),
            core: self.core,
            clients_now: self.clients.open as u64,
            users_now: self.directory.users() as u64,
            channels_now: self.rooms.channels.len() as u64,
            handshakes_now: (self.clients.roster.len() - self.clients.open) as u64,
            accepts: tally.accepts,
            accept_pauses: self.clients.tally.accept_pauses,
            visitors: tally.visitors,
            visitors_turned_away: tally.visitors_turned_away,
            refusals: Refusal::LABELS.into_iter().zip(tally.refusals).collect(),
            closes: CloseReason::ALL
                .iter()
                .map(|reason| reason.label())
                .zip(tally.closes)
                .collect(),
            messages_in: tally.messages_in,
            bytes_in: tally.bytes_in,
            deliveries: tally.deliveries,
            bytes_out: tally.bytes_out,
            sends: tally.sends,
            ticks: tally.ticks,
            tick_publications: tally.tick_publications,
            publications: tally.publications,
            outbox_bytes_now: self.clients.outboxes.bytes as u64,
            blocked_now: self.blocked_count() as u64,
            dropped: tally.dropped,
            conflated: tally.conflated,
            pings: tally.pings,
            publish_depth_now: publish_depth as u64,
            deliver_depth_now: deliver_depth as u64,
            rings: self.port.rings(),
            holds: tally.holds,
            held_now: self.held.len() as u64,
            stalls: tally.stalls,
            absences: tally.absences,
            forgotten_channels: self.rooms.channels.forgotten(),
            turns: tally.turns,
            busy_us: tally.busy_ns / 1000,
            rate_limited: tally.rate_limited,
            errors: tally.errors,
        }
    }

    fn list_channels(&self, limit: usize) -> Vec<ChannelInfo> {
        let me = self.port.me;
        let known = self.rooms.channels.iter().filter(|channel| {
            !channel.members.is_empty() || (channel.home == me && channel.order.newest.offset > 0)
        });
        known
            .take(limit)
            .map(|channel| ChannelInfo {
                channel: channel.name.clone(),
                clients: channel.members.len() as u64,
                newest: if channel.home == me { channel.order.newest } else { channel.fanned },
            })
            .collect()
    }

    fn list_connections(&self, queued: bool, limit: usize) -> Vec<ConnectionInfo> {
        let queued_bytes = |slot: Slot| {
            let outbox = self.clients.roster.get(slot).and_then(|client| client.outbox.as_ref());
            outbox.map_or(0, |outbox| outbox.bytes())
        };
        let mut slots: Vec<(usize, Slot)> = self
            .clients
            .roster
            .iter()
            .filter(|(slot, _)| self.clients.roster.state(*slot).is_open())
            .map(|(slot, client)| {
                let age = (u32::MAX - client.since_s) as usize;
                (if queued { queued_bytes(slot) } else { age }, slot)
            })
            .collect();
        slots.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        slots.truncate(limit);
        slots.into_iter().filter_map(|(_, slot)| self.connection(slot)).collect()
    }

    fn connection(&self, slot: Slot) -> Option<ConnectionInfo> {
        let client = self.clients.roster.get(slot)?;
        let hot = self.clients.roster.hot(slot);
        let now_ms = self.clients.now.ms();
        let outbox = client.outbox.as_ref();
        Some(ConnectionInfo {
            client: self.clients.roster.id(slot).to_string(),
            user: client.user.clone(),
            peer: N::peer(&client.stream),
            behind_proxy: self.clients.roster.told_address(slot),
            channels: u32::try_from(client.seats().count()).unwrap_or(u32::MAX),
            dialect: self.clients.dialect(slot).name(),
            queued_bytes: outbox.map_or(0, |outbox| outbox.bytes() as u64),
            stalled_ms: outbox.map_or(0, |outbox| since_ms(now_ms, outbox.moved_ms()).into()),
            quiet_ms: since_ms(now_ms, hot.heard_ms).into(),
            connected_s: self.clients.now.seconds().saturating_sub(client.since_s).into(),
        })
    }

    /// Returns the number of clients with something in their outbox.
    fn blocked_count(&self) -> usize {
        let listed = self.clients.outboxes.listed.iter();
        listed
            .filter_map(|client| self.clients.roster.slot_of(*client))
            .filter(|slot| self.clients.roster.state(*slot).is_any(Flags::BLOCKED))
            .count()
    }
}
