//! Answers to the control plane, between two turns.

use crate::client::state::Flags;
use crate::clock::since_ms;
use crate::close::CloseReason;
use crate::mesh::parcel::Instruction;
use crate::model::channel::Channel;
use crate::model::id::Slot;
use crate::model::report::{
    ChannelFilter, ChannelInfo, ConnectionInfo, Ending, Listing, Measured, Report,
};
use crate::model::snapshot::Saved;
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::dialect::Dialect;

/// After so many bytes a shard does other work before it saves more.
const SAVE_BYTES: usize = 1 << 20;

/// The most revocations that a shard reads at once.
const REVOCATIONS_A_PAGE: usize = 4096;

impl<N: Net> Shard<N> {
    pub(crate) fn obey(&mut self, instruction: Instruction) {
        match instruction {
            Instruction::Report(reply) => reply.send(self.report()),
            Instruction::Rules { rules, reply } => {
                self.clients.backend_refreshes = rules.hooks().refresh;
                self.rooms.channels.set_rules(rules);
                self.leave_lost_apps();
                reply.send(());
            }
            Instruction::Channels { filter, limit, reply } => {
                reply.send(self.list_channels(&filter, limit));
            }
            Instruction::Connections { listing, limit, reply } => {
                reply.send(self.list_connections(listing, limit));
            }
            Instruction::Latency(reply) => {
                reply.send((self.port.me.index(), self.clients.tally.latency.clone()));
            }
            Instruction::Save { place, all, reply } => {
                reply.send(self.save(all, place, SAVE_BYTES));
            }
            Instruction::Follow { end, epoch, reply } => {
                self.home().follow(end, epoch);
                reply.send(());
            }
            Instruction::Facts(reply) => reply.send(self.facts()),
            Instruction::Revocations { behind, reply } => {
                reply.send(self.trust.revoked.page(behind.as_ref(), REVOCATIONS_A_PAGE));
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
            Instruction::Tls { config, reply } => {
                self.clients.sealing.replace(config);
                reply.send(());
            }
            Instruction::Prover(prover) => self.trust.prover = Some(prover),
            Instruction::Revoke { revocation, reply } => reply.send(self.revoke(&revocation)),
            Instruction::Decide { whom, fate, reply } => {
                reply.send(self.decide_about(&whom, fate));
            }
            Instruction::Drain { successor, reply } => {
                self.begin_drain(successor);
                reply.send(());
            }
            #[cfg(debug_assertions)]
            Instruction::Panic => panic!("a fault on purpose"),
        }
    }

    /// Saves histories from a place on, until there are some bytes.
    pub(crate) fn save(&self, all: bool, place: usize, bytes_min: usize) -> Saved {
        let mut bytes = Vec::new();
        let (records, next) = self.rooms.save((self.port.me, all), place, bytes_min, &mut bytes);
        Saved { bytes, records, next }
    }

    /// Returns the facts that this home and owner knows beside histories.
    pub(crate) fn facts(&mut self) -> Vec<u8> {
        let mut facts = Vec::new();
        self.directory.save(&mut facts);
        self.rooms.save_versions(self.port.me, &mut facts);
        self.home().save_members(&mut facts);
        facts
    }

    /// The last words of a shard.
    pub(crate) fn end(&self) -> Ending {
        let saved = self.clients.config.saves_history.then(|| self.save(false, 0, usize::MAX));
        Ending { report: self.report(), saved: saved.unwrap_or_default() }
    }

    pub(crate) fn report(&self) -> Report {
        let (clients, tally) = (&self.clients, &self.clients.tally);
        let kept = self.rooms.kept_now();
        let (publish_lane_depth, deliver_lane_depth) = self.port.depths();
        let measured = Measured {
            clients: clients.open as u64,
            users: self.directory.users() as u64,
            channels: self.rooms.channels.len() as u64,
            handshakes: (clients.roster.len() - clients.open) as u64,
            outbox_bytes: clients.outboxes.bytes as u64,
            blocked_clients: self.blocked_count() as u64,
            held_clients: self.held.len() as u64,
            publish_lane_depth: publish_lane_depth as u64,
            deliver_lane_depth: deliver_lane_depth as u64,
            history_channels: kept.channels as u64,
            history_publications: kept.publications as u64,
            history_bytes: kept.bytes as u64,
            history_pressed_out: kept.pressed_out,
            history_forgotten: kept.forgotten,
            previous_bytes: self.rooms.channels.previous_bytes() as u64,
            limited_subscriptions: clients.lapses.len() as u64,
            rings: self.port.rings(),
            bridge_refusals: self.port.bridges.refused(),
            forgotten_channels: self.rooms.channels.forgotten(),
            revocations: self.trust.revoked.len() as u64,
            tls_connections: clients.roster.sessions() as u64,
            quick_returns: self.rooms.returns.returned,
            forgotten_revocations: self.trust.revoked.forgotten(),
            busy_microseconds: tally.busy_ns / 1000,
        };
        tally.report(self.port.me.index(), self.core, &measured)
    }

    fn list_channels(&self, filter: &ChannelFilter, limit: usize) -> Vec<ChannelInfo> {
        let channels = &self.rooms.channels;
        match filter {
            ChannelFilter::All => self.list(channels.iter(), limit),
            ChannelFilter::Prefix(prefix) => {
                let begins = |channel: &&Channel| channel.name.starts_with(&**prefix);
                self.list(channels.iter().filter(begins), limit)
            }
            ChannelFilter::Named(names) => {
                let found = names.iter().filter_map(|name| channels.find(name));
                self.list(found.map(|index| channels.get(index)), limit)
            }
        }
    }

    fn list<'a>(
        &self,
        channels: impl Iterator<Item = &'a Channel>,
        limit: usize,
    ) -> Vec<ChannelInfo> {
        let me = self.port.me;
        let is_known = |channel: &&Channel| {
            let order = &channel.order;
            let is_here = order.newest.offset > 0 || order.attendance.is_some();
            !channel.members.is_empty() || channel.home == me && is_here
        };
        let known = channels.filter(is_known).take(limit);
        let told = known.map(|channel| ChannelInfo {
            channel: channel.name.clone(),
            clients: channel.members.len() as u64,
            users: channel.order.attendance.as_ref().map_or(0, |known| known.count()),
            newest: if channel.home == me { channel.order.newest } else { channel.fanned },
        });
        told.collect()
    }

    fn list_connections(&self, listing: Listing, limit: usize) -> Vec<ConnectionInfo> {
        let roster = &self.clients.roster;
        let is_open = |slot: &Slot| roster.state(*slot).is_open();
        let key = |slot: Slot| {
            let client = roster.get(slot)?;
            let queued = client.outbox.as_ref().map_or(0, |outbox| outbox.bytes());
            let age = (u32::MAX - client.since_s) as usize;
            Some((if listing == Listing::Oldest { age } else { queued }, slot))
        };
        let mut slots: Vec<(usize, Slot)> = if listing == Listing::Blocked {
            let listed = self.clients.outboxes.listed.iter();
            let blocked = listed.filter_map(|client| roster.slot_of(*client)).filter(is_open);
            blocked.filter_map(key).filter(|(queued, _)| *queued > 0).collect()
        } else {
            roster.iter().map(|(slot, _)| slot).filter(is_open).filter_map(key).collect()
        };
        slots.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        // A client may be listed twice until the list is cleared of those that have caught up.
        slots.dedup();
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
            dialect: Dialect::name(hot.shape),
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
