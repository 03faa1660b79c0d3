//! Introduce: where a connection comes from: its peer, or the client for whom a trusted proxy
//! speaks.

use std::net::IpAddr;

use crate::client::sealing::Beginning;
use crate::config::{Config, ProxyProtocol};
use crate::model::id::Slot;
use crate::net::Net;
use crate::shard::Shard;
use crate::wire::http::Limits;
use crate::wire::proxy::{Introduction, introduction};
use crate::wire::refusal::Refusal;

impl<N: Net> Shard<N> {
    /// Reads what a proxy says of its client before the request, where that is switched on.
    /// Returns the number of bytes consumed, and `None` if the request cannot be read yet or was
    /// refused. It may be called again with the same bytes and more.
    pub(crate) fn introduce(&mut self, slot: Slot, head: &[u8]) -> Option<usize> {
        let required = match self.clients.config.proxy_protocol {
            ProxyProtocol::Off => return Some(0),
            ProxyProtocol::Optional => false,
            ProxyProtocol::Required => true,
        };
        if self.is_introduced(slot) {
            return Some(0);
        }
        let (len, address) = match introduction(head, self.clients.config.head_bytes) {
            Introduction::Client { len, address } => (len, Some(address.ip())),
            Introduction::Itself { len } => (len, None),
            Introduction::Absent if !required => return Some(0),
            Introduction::Absent => {
                return self.refuse_introduction(slot, "the PROXY protocol is expected here");
            }
            Introduction::Broken(why) => return self.refuse_introduction(slot, why),
            Introduction::Partial => {
                if let Some(client) = self.clients.roster.get_mut(slot) {
                    client.brief().head = head.to_vec();
                }
                return None;
            }
        };
        let peer = self.peer(slot);
        if !self.clients.config.trusted_proxies.trusts(peer) {
            let why = "a PROXY header from an address that is no trusted proxy";
            return self.refuse_introduction(slot, why);
        }
        if let Some(address) = address {
            self.clients.roster.tell_address(slot, address);
        }
        Some(len)
    }

    /// Returns `true` for a client that speaks TLS: its proxy has spoken before that.
    fn is_introduced(&mut self, slot: Slot) -> bool {
        let secured = self.clients.roster.secured(slot);
        secured.is_some_and(|secured| secured.beginning != Beginning::Introduction)
    }

    fn refuse_introduction(&mut self, slot: Slot, why: &'static str) -> Option<usize> {
        self.refuse(slot, &Refusal::BadRequest(why));
        None
    }

    /// Returns the settings with which the request of this connection is read.
    pub(crate) fn limits<'a>(&'a self, config: &'a Config, slot: Slot) -> Limits<'a> {
        let proxies = &config.trusted_proxies;
        // The peer's address costs a call into the kernel: it is asked for only where it matters.
        let trusted = !proxies.is_empty() && proxies.trusts(self.client_address(slot));
        Limits {
            head_bytes: config.head_bytes,
            name_bytes: config.name_bytes,
            path_prefix: &config.path_prefix,
            behind: trusted.then_some((proxies, config.forwarded_header)),
            compresses: self.rooms.channels.rules().compress(config.compression),
            takes_tokens: self.trust.prover.is_some(),
            user_from: &config.user_from,
            passed_headers: &self.rooms.channels.rules().hooks().headers,
        }
    }

    /// The address of the client, as far as it is known.
    pub(crate) fn client_address(&self, slot: Slot) -> Option<IpAddr> {
        self.clients.roster.told_address(slot).or_else(|| self.peer(slot))
    }

    fn peer(&self, slot: Slot) -> Option<IpAddr> {
        let client = self.clients.roster.get(slot)?;
        N::peer(&client.stream).map(|address| address.ip().to_canonical())
    }

    /// Returns `true` if the connection has sent a part of a request. Empty lines are none, and
    /// neither is what a proxy says before one.
    pub(crate) fn has_asked(&self, slot: Slot) -> bool {
        let brief = self.clients.roster.get(slot).and_then(|client| client.brief_ref());
        if brief.is_some_and(|brief| brief.posted.is_some()) {
            return true;
        }
        let head = brief.map_or(&[][..], |brief| &brief.head);
        let proxied = self.clients.config.proxy_protocol != ProxyProtocol::Off;
        let begin = match introduction(head, self.clients.config.head_bytes) {
            Introduction::Client { len, .. } | Introduction::Itself { len } if proxied => len,
            Introduction::Partial if proxied => head.len(),
            _ => 0,
        };
        head[begin..].iter().any(|byte| !b"\r\n".contains(byte))
    }
}
