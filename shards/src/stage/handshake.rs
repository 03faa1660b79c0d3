//! Handshake: from the first byte to a request that can be judged, or out to the control plane. It
//! speaks HTTP only; `admit` decides.

use std::sync::Arc;

use bytes::Bytes;

use crate::client::bodies::Posted;
use crate::client::pending::{Answer, Pending};
use crate::mesh::bridge::{BridgeId, Crossing, Sealed, Visitor};
use crate::model::id::Slot;
use crate::net::Net;
use crate::shard::Shard;
use crate::stage::connect::FirstWords;
use crate::wire::command::Said;
use crate::wire::dialect::Reading;
use crate::wire::entry::Entry;
use crate::wire::http::{self, Parsed, Upgrade};
use crate::wire::refusal::Refusal;
use crate::wire::stream::{self, Purpose, StreamRequest};

/// The fault of a client that only listens, which says nothing later that could be understood.
const NO_REQUEST: &str = "the request to connect is not JSON";

/// Returns `true` unless a client that only listens has said something else than what it wants.
/// Other clients are told so in the words of their dialect.
fn is_request(entry: &Entry, words: &Said) -> bool {
    let reading = Reading { text_ping: false, trim_text: false };
    !entry.dialect.is_deaf() || entry.dialect.read(&mut words.clone(), reading).is_ok()
}

impl<N: Net> Shard<N> {
    /// Takes the next bytes of a request head.
    pub(crate) fn shake_hands(&mut self, slot: Slot, bytes: &[u8]) {
        let head_bytes = self.clients.config.head_bytes;
        let Some(client) = self.clients.roster.get_mut(slot) else { return };
        if let Some(posted) = client.brief_mut().and_then(|brief| brief.posted.take()) {
            return self.take_body(slot, *posted, bytes);
        }
        // The usual request comes in one piece and is parsed where it lies.
        if client.brief_ref().is_none_or(|brief| brief.head.is_empty()) {
            self.judge_head(slot, bytes);
        } else {
            let brief = client.brief();
            brief.head.extend_from_slice(bytes);
            // Without a new line nothing new can be said of it: a head that comes byte by byte is
            // not read again for each of them.
            if bytes.contains(&b'\n') || brief.head.len() >= head_bytes {
                let head = std::mem::take(&mut brief.head);
                self.judge_head(slot, &head);
            }
        }
    }

    fn judge_head(&mut self, slot: Slot, head: &[u8]) {
        let Some(introduced) = self.introduce(slot, head) else { return };
        let (config, request) = (Arc::clone(&self.clients.config), &head[introduced..]);
        let parsed = http::parse(request, &self.limits(&config, slot));
        match parsed {
            Parsed::Partial => {
                if let Some(client) = self.clients.roster.get_mut(slot) {
                    client.brief().head = head.to_vec();
                }
            }
            Parsed::TooLarge => self.refuse(slot, &Refusal::HeadTooLarge),
            Parsed::Bad(reason) => self.refuse(slot, &Refusal::BadRequest(reason)),
            Parsed::Refused(refusal) => self.refuse(slot, &refusal),
            Parsed::Visit => self.hand_over(slot, request),
            Parsed::Upgrade(upgrade) => {
                let Upgrade { head_len, accept, entry, first_words } = *upgrade;
                let rest = Bytes::copy_from_slice(&request[head_len..]);
                if entry.dialect.connects_by_command() {
                    let words = match first_words.map(|words| Said::Text(words.into())) {
                        Some(words) if !is_request(&entry, &words) => {
                            return self.refuse(slot, &Refusal::BadRequest(NO_REQUEST));
                        }
                        Some(words) => FirstWords::Said(words),
                        None => FirstWords::Frames(rest),
                    };
                    return self.upgrade(slot, entry, Some(&accept), words);
                }
                self.ask_for_entry(slot, entry, Some(accept), rest);
            }
            Parsed::Stream(request) => {
                let begin = introduced + request.head_len;
                self.begin_stream(slot, *request, &head[begin..]);
            }
        }
    }

    /// Has a client admitted whose request says who it is.
    fn ask_for_entry(&mut self, slot: Slot, entry: Entry, accept: Option<String>, rest: Bytes) {
        let answer = Answer::Http { accept };
        let mut pending = Pending::new(entry, answer, rest);
        let outcome = self.admit(slot, &mut pending.entry);
        self.conclude(slot, pending, outcome);
    }

    /// Begins with a request for a stream, or one beside a stream. Its body may be incomplete.
    fn begin_stream(&mut self, slot: Slot, request: StreamRequest, bytes: &[u8]) {
        // A server that is full, or drains, goes on listening to those who are in.
        let refusal = match request.purpose {
            Purpose::Listen => self.find_fault(slot, &request.entry),
            Purpose::Emulate | Purpose::Preflight(_) => self.find_foreign(slot, &request.entry),
        };
        if let Some(refusal) = refusal {
            return self.refuse(slot, &refusal);
        }
        if let Some(client) = self.clients.roster.get_mut(slot) {
            // Its page may read why it is refused.
            client.brief().origin.clone_from(&request.entry.origin);
        }
        if request.expects_continue && bytes.is_empty() {
            self.clients.answer(slot, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.take_body(slot, Posted { request, permit: None }, bytes);
    }

    /// Takes the next bytes of a request's body, and acts on the request once it is complete.
    fn take_body(&mut self, slot: Slot, mut posted: Posted, bytes: &[u8]) {
        match posted.request.body.feed(bytes) {
            Err(refusal) => self.refuse(slot, &refusal),
            Ok(Some(_)) => self.act_on(slot, posted.request),
            Ok(None) => {
                if posted.permit.is_none() {
                    posted.permit = self.clients.bodies.permit();
                }
                if posted.permit.is_none() {
                    return self.refuse(slot, &Refusal::Busy);
                }
                if let Some(client) = self.clients.roster.get_mut(slot) {
                    client.brief().posted = Some(Box::new(posted));
                }
            }
        }
    }

    fn act_on(&mut self, slot: Slot, request: StreamRequest) {
        let StreamRequest { purpose, entry, first_words, asked_headers, body, is_post, .. } =
            request;
        match purpose {
            Purpose::Preflight(methods) => {
                let answer = stream::preflight_answer(
                    entry.origin.as_deref(),
                    methods,
                    asked_headers.as_deref(),
                );
                self.answer_and_end(slot, &answer);
            }
            Purpose::Emulate => self.emulate(slot, &entry, &body.content),
            Purpose::Listen if entry.dialect.connects_by_command() => {
                let words = if is_post {
                    entry.dialect.words(body.content)
                } else {
                    // A client that only listens may wish for nothing.
                    let default = entry.dialect.is_deaf().then(|| "{}".to_owned());
                    first_words.or(default).map(|words| Said::Text(words.into()))
                };
                match words.filter(|words| !words.is_blank()) {
                    Some(words) if words.len() > self.clients.config.message_bytes => {
                        self.refuse(slot, &Refusal::BodyTooLarge);
                    }
                    Some(words) if !is_request(&entry, &words) => {
                        self.refuse(slot, &Refusal::BadRequest(NO_REQUEST));
                    }
                    Some(words) => self.upgrade(slot, entry, None, FirstWords::Said(words)),
                    None => self.refuse(slot, &Refusal::BadRequest("the first command is missing")),
                }
            }
            Purpose::Listen => self.ask_for_entry(slot, entry, None, Bytes::new()),
        }
    }

    /// Gives a request that is not an upgrade to the control plane, with what was read of it.
    fn hand_over(&mut self, slot: Slot, head: &[u8]) {
        let secured = self.clients.roster.take_session(slot);
        let Some(client) = self.clients.roster.remove(slot) else { return };
        self.clients.tally.visitors += 1;
        // A handshake may wait for its socket still.
        let outbox = client.outbox.as_ref();
        self.clients.outboxes.bytes -= outbox.map_or(0, |outbox| outbox.bytes());
        let unsent = outbox.map(|outbox| outbox.sealed().to_vec()).unwrap_or_default();
        let sealed = secured.map(|secured| Box::new(Sealed { session: secured.session, unsent }));
        if let Ok(socket) = self.clients.net.hand_over(client.stream) {
            let head = head.to_vec();
            let visitor = Crossing::Visitor(Visitor { socket, head, sealed });
            // Where the control plane has no room the socket closes: the visitor tries again.
            let turned_away = self.port.bridges.send(BridgeId::Control, visitor).is_err();
            self.clients.tally.visitors_turned_away += u64::from(turned_away);
        }
    }
}
