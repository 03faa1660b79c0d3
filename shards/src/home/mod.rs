//! The home of channels and the owner of users: it answers asks, and knows no client's socket.
//!
//! A home numbers the publications of its channels. An owner knows which clients are a user's or
//! come from an address. Their answers travel as parcels, also those to their own shard.

pub(crate) mod number;
pub(crate) mod engine;
pub(crate) mod bus;
mod way;
pub(crate) mod claims;
mod direct;
mod news;
mod history;
mod presence;
mod peers;
mod roll;
mod watchlist;

use crate::client::tally::Tally;
use crate::clock::Now;
use crate::config::Config;
use crate::mesh::Port;
use crate::mesh::parcel::Ask;
use crate::model::directory::Directory;
use crate::model::rooms::Rooms;
use engine::{Engine, FOLLOWER};
use presence::Origin;

/// The parts of a shard that a home works on.
pub(crate) struct Home<'a> {
    pub(crate) config: &'a Config,
    pub(crate) rooms: &'a mut Rooms,
    pub(crate) directory: &'a mut Directory,
    pub(crate) port: &'a mut Port,
    pub(crate) tally: &'a mut Tally,
    /// Other processes that take part in the order; `None` while there are none.
    pub(crate) engine: &'a mut Option<Box<Engine>>,
    pub(crate) now: Now,
}

impl Home<'_> {
    /// Answers one ask as home or owner, which `who` is not for. The caller has checked that this
    /// home is not stalled.
    pub(crate) fn answer(&mut self, ask: Ask) {
        match ask {
            ask @ (Ask::Subscribe { .. } | Ask::History { .. } | Ask::RemoveHistory { .. })
                if self.waits_for_bus(&ask) =>
            {
                self.wait_for_bus(ask);
            }
            Ask::Publish { publication, reply } => self.number(publication, reply),
            Ask::Direct { user, publication, reply } => self.direct(&user, &publication, reply),
            Ask::Subscribe { channel, by } => self.admit_shard(&channel, by),
            Ask::Unsubscribe { channel, by } => self.dismiss_shard(&channel, by),
            Ask::Claim { client, claim } => self.claim(client, claim),
            Ask::Release { client, claim } => self.release(client, claim),
            Ask::Settle { client, user, channel } => self.replace_older(client, user, channel),
            Ask::Replace { channel, clients } => self.send_away(channel, clients),
            Ask::DisconnectUser { user, but, reply } => reply.send(self.disconnect(&user, &but)),
            Ask::ClientsOf { user, reply } => {
                reply.send(self.clients_here(&user));
            }
            Ask::WatchUsers { client, users, on: true } => self.watch_users(client, &users),
            Ask::WatchUsers { client, users, on: false } => self.unwatch_users(client, &users),
            Ask::Watch { channel, by, on } => self.watch(&channel, by, on),
            Ask::Presence(presence) => {
                let origin = Origin::Shard(presence.member.client.shard);
                self.hear_presence(&presence, origin);
            }
            Ask::Roll(roll) => self.take_roll(roll, FOLLOWER),
            Ask::Elsewhere { channel, question, client, request } => {
                self.ask_elsewhere(&channel, question, (client, request));
            }
            Ask::Count { channel, by, members } => {
                self.count(&channel, Origin::Shard(by), members);
            }
            Ask::Recall(recall) => self.recall(&recall),
            Ask::History { channel, since, query, reply } => {
                self.read_history(&channel, since, &query, reply);
            }
            Ask::RemoveHistory { channel, reply } => reply.send(self.remove_history(&channel)),
            Ask::Who { .. } | Ask::Emulate { .. } => {
                debug_assert!(false, "these are about the clients of a shard");
            }
        }
    }
}
