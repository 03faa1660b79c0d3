//! Heed: the ruling of the application's backend is acted on, for the request that waits for it.
//!
//! A client that was held goes on with those that waited for room, in the same turn.

use std::sync::Arc;

use crate::client::app::Shown;
use crate::client::wants::Want;
use crate::close::CloseReason;
use crate::mesh::parcel::Ask;
use crate::mesh::question::{Grant, Ruled, Ruling, Subject};
use crate::mesh::reply::ReplyTo;
use crate::model::channel::JoinRequest;
use crate::model::id::{RequestId, ShardId, Slot};
use crate::model::message::{Details, Publication};
use crate::model::seating::Placement;
use crate::model::verdict::{Dismissal, Rejection};
use crate::net::Net;
use crate::proof::{self, Proof};
use crate::shard::Shard;
use crate::stage::conclude::Admission;
use crate::stage::consult::UNANSWERED_S;
use crate::stage::permit::{Barred, Wish};
use crate::stage::submit::Flow;
use crate::wire::command::ErrorCode;
use crate::wire::entry::Entry;
use crate::wire::event::Event;
use crate::wire::name::check_name;
use crate::wire::refusal::Refusal;

/// The terms on which the backend lets a client into a channel.
fn placement(grant: Grant) -> Placement {
    let Grant { info, data, watches, expires, .. } = grant;
    Placement { since: None, grant: proof::Grant { info, data, watches }, ends: expires }
}

impl<N: Net> Shard<N> {
    /// Asks the backend about a request of an open client, which is held until the ruling comes.
    pub(crate) fn ask_backend(&mut self, slot: Slot, subject: Subject, want: Want) -> Flow {
        self.clients.roster.state_mut(slot).hold();
        let shape = self.clients.roster.hot(slot).shape;
        if let Err(want) = self.consult(slot, shape, subject, want) {
            self.decide_want(slot, want, Ruling::Unanswered);
        }
        Flow::Held
    }

    /// Asks the backend about a publication of an open client.
    pub(crate) fn ask_to_publish(
        &mut self,
        slot: Slot,
        home: ShardId,
        publication: Arc<Publication>,
        id: Option<RequestId>,
    ) -> Flow {
        let channel = Arc::clone(&publication.channel);
        let endpoint = self.rooms.channels.rules_of(&channel).publish_hook.endpoint();
        let body = publication.payload.clone().into();
        let subject = Subject::Publish { channel, endpoint, body };
        self.ask_backend(slot, subject, Want::Publish { home, publication, id })
    }

    /// Takes a ruling to the request that it is about.
    pub(crate) fn heed(&mut self, ruled: Ruled) {
        let Ruled { to, ruling } = ruled;
        let Some(slot) = self.clients.roster.slot_of(to.client) else { return };
        let client = self.clients.roster.get_mut(slot);
        let Some(brief) = client.and_then(|client| client.brief_mut()) else { return };
        let place = brief.asked.iter().position(|asked| asked.request == to.request);
        let Some(place) = place else { return };
        let want = brief.asked.swap_remove(place).want;
        self.clients.told += 1;
        self.decide_want(slot, want, ruling);
    }

    fn decide_want(&mut self, slot: Slot, want: Want, ruling: Ruling) {
        let tally = &mut self.clients.tally;
        tally.hook_denials +=
            u64::from(matches!(ruling, Ruling::Rejected(_) | Ruling::Dismissed(_)));
        tally.hook_unanswered += u64::from(matches!(ruling, Ruling::Unanswered));
        let wants_entry = matches!(want, Want::Entry | Want::EntryChannel(_));
        if wants_entry {
            return self.decide_entry(slot, want, ruling);
        }
        let is_held = !matches!(want, Want::Refresh | Want::Stay { .. });
        match (want, ruling) {
            (Want::Join { channel, join }, Ruling::Granted(grant)) => {
                let Placement { grant, ends, .. } = placement(*grant);
                let end = ends.map(|ends| self.seat_end(&channel, self.second_of(ends), false));
                self.join_as_ruled(slot, &channel, JoinRequest { grant, end, ..join });
            }
            (Want::Join { channel, join }, Ruling::Unanswered) if self.rules_decide() => {
                self.join_by_rules(slot, &channel, join);
            }
            (Want::Publish { home, mut publication, id }, Ruling::Granted(grant)) => {
                let Grant { body, details, .. } = *grant;
                let changed = Arc::make_mut(&mut publication);
                changed.details = Details::as_ruled(changed.details.take(), details);
                if let Some(body) = body {
                    changed.payload = body.into();
                }
                self.publish_as_ruled(slot, Want::Publish { home, publication, id });
            }
            (want @ Want::Publish { .. }, Ruling::Unanswered) if self.rules_decide() => {
                self.publish_by_rules(slot, want);
            }
            (Want::Call { id }, Ruling::Granted(grant)) => {
                let data = grant.data.as_deref();
                self.clients.tell(slot, &Event::Called { data, id: &id });
            }
            (Want::Refresh, ruling) => self.decide_time(slot, ruling),
            (Want::Stay { channel, over_s }, ruling) => {
                self.decide_stay(slot, (&channel, over_s), ruling);
            }
            (_, Ruling::Dismissed(dismissal)) => self.dismiss_as_ruled(slot, dismissal),
            (want, Ruling::Rejected(rejection)) => self.reject(slot, &want, &rejection),
            (want, _) => self.reject(slot, &want, &Rejection::unanswered()),
        }
        let id = self.clients.roster.id(slot);
        let is_going = self.clients.doomed.iter().any(|doomed| doomed.client == id);
        if is_held && !is_going {
            // It stays held until those before it have gone on.
            self.held.push_back(id);
        }
    }

    /// Returns `true` if the rules alone decide where the backend does not answer.
    fn rules_decide(&self) -> bool {
        self.rooms.channels.rules().hooks().rules_decide
    }

    fn join_as_ruled(&mut self, slot: Slot, channel: &Arc<str>, join: JoinRequest) {
        let id = join.id.clone();
        if let Err(why) = self.join_channel(slot, channel, join) {
            self.tell_late_error(slot, (ErrorCode::of(why), &why.to_string()), id.as_ref());
        }
    }

    fn join_by_rules(&mut self, slot: Slot, channel: &Arc<str>, join: JoinRequest) {
        let user = self.clients.roster.get(slot).and_then(|client| client.user.clone());
        let wish = Wish { presence: join.presence, has_token: false };
        match self.permit_subscribe(slot, channel, user.as_deref(), wish) {
            Ok(()) => self.join_as_ruled(slot, channel, join),
            Err(barred) => self.tell_barred(slot, barred, join.id.as_ref()),
        }
    }

    fn publish_as_ruled(&mut self, slot: Slot, want: Want) {
        let Want::Publish { home, publication, id } = want else { return };
        let bytes_max = self.clients.config.message_bytes;
        if publication.bytes() > bytes_max {
            return self.tell_barred(slot, Barred::TooLarge { bytes_max }, id.as_ref());
        }
        self.report_client_event(slot, &publication);
        let client = self.clients.roster.id(slot);
        let reply = id.map_or(ReplyTo::Nobody, |id| ReplyTo::Client(client, id));
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.brief().held = Some((home, Ask::Publish { publication, reply }));
        }
    }

    fn publish_by_rules(&mut self, slot: Slot, want: Want) {
        let Want::Publish { publication, id, .. } = &want else { return };
        match self.rules_let_publish(slot, &publication.channel) {
            Ok(()) => self.publish_as_ruled(slot, want),
            Err(why) => self.tell_barred(slot, why.into(), id.as_ref()),
        }
    }

    /// Sets the time of a client anew, or ends it.
    fn decide_time(&mut self, slot: Slot, ruling: Ruling) {
        if !self.clients.roster.state(slot).is_open() {
            return;
        }
        match ruling {
            Ruling::Granted(grant) if grant.is_expired => {
                self.clients.doom(slot, CloseReason::Expired);
            }
            Ruling::Granted(grant) => {
                if let Some(proof) = self.clients.proof(slot) {
                    let mut proof = Proof::clone(proof);
                    proof.info = grant.info.or(proof.info);
                    proof.meta = grant.meta.or(proof.meta);
                    proof.expires = grant.expires;
                    self.clients.set_proof(slot, proof);
                }
                let over_s = grant.expires.map(|unix_s| self.second_of(unix_s));
                self.clients.set_end(slot, over_s);
            }
            Ruling::Unanswered if self.rules_decide() => {
                let over_s = self.clients.now.seconds().saturating_add(UNANSWERED_S);
                self.clients.set_end(slot, Some(over_s));
            }
            Ruling::Dismissed(dismissal) => self.dismiss_as_ruled(slot, dismissal),
            // Its time ends as it would have ended.
            Ruling::Rejected(_) | Ruling::Unanswered => {}
        }
    }

    /// Sets the time of a client in a channel anew, or ends it.
    fn decide_stay(&mut self, slot: Slot, (channel, over_s): (&str, u32), ruling: Ruling) {
        let Some(index) = self.rooms.channels.find(channel) else { return };
        if self.clients.lapse_of(slot, index) != Some(over_s) {
            // It has left meanwhile, or has another end.
            return;
        }
        match ruling {
            Ruling::Granted(grant) if grant.is_expired => self.lapse(slot, index),
            Ruling::Granted(grant) => {
                if grant.info.is_some() {
                    self.note_shown(slot, index, Shown { user: None, info: grant.info });
                }
                let at_s = grant.expires.map(|unix_s| self.second_of(unix_s));
                let end = at_s.map(|at_s| self.seat_end(channel, at_s, false));
                self.clients.set_lapse(slot, index, end);
            }
            Ruling::Unanswered => self.stay_unasked(slot, index),
            Ruling::Dismissed(dismissal) => self.dismiss_as_ruled(slot, dismissal),
            // Its time ends as it would have ended.
            Ruling::Rejected(_) => {}
        }
    }

    fn reject(&mut self, slot: Slot, want: &Want, rejection: &Rejection) {
        let id = match want {
            Want::Join { join, .. } => join.id.as_ref(),
            Want::Publish { id, .. } => id.as_ref(),
            Want::Call { id } => Some(id),
            Want::Entry | Want::EntryChannel(_) | Want::Refresh | Want::Stay { .. } => None,
        };
        if !self.clients.dialect(slot).has_requests() {
            return self.clients.doom(slot, CloseReason::Denied);
        }
        self.clients.tally.errors += 1;
        let Rejection { code, text, is_passing } = rejection;
        let (code, is_passing) = (*code, *is_passing);
        self.clients.tell(slot, &Event::Rejected { code, text, is_passing, id });
    }

    fn dismiss_as_ruled(&mut self, slot: Slot, dismissal: Dismissal) {
        if let Some(client) = self.clients.roster.get_mut(slot) {
            client.extra().farewell = Some(Box::new(dismissal));
        }
        self.clients.doom(slot, CloseReason::Dismissed);
    }

    fn tell_barred(&mut self, slot: Slot, barred: Barred, id: Option<&RequestId>) {
        if !self.clients.dialect(slot).has_requests() {
            return self.clients.doom(slot, barred.close_reason());
        }
        let (code, text) = barred.error();
        self.tell_late_error(slot, (code, &text), id);
    }

    /// Tells of an error that came so late that it does not count as the client's mistake.
    fn tell_late_error(
        &mut self,
        slot: Slot,
        (code, text): (ErrorCode, &str),
        id: Option<&RequestId>,
    ) {
        self.clients.tally.errors += 1;
        self.clients.tell(slot, &Event::Error { code, text, id });
    }

    /// Goes on with the admission of a client.
    fn decide_entry(&mut self, slot: Slot, want: Want, ruling: Ruling) {
        if !self.clients.roster.state(slot).is_waiting() {
            return;
        }
        let client = self.clients.roster.get_mut(slot);
        let brief = client.and_then(|client| client.brief_mut());
        let Some(mut pending) = brief.and_then(|brief| brief.pending.take()) else { return };
        let outcome = match self.note_ruling(slot, &mut pending.entry, want, ruling) {
            Ok(()) => self.admit(slot, &mut pending.entry),
            Err(refusal) => Admission::Refused(refusal),
        };
        self.conclude(slot, *pending, outcome);
    }

    fn note_ruling(
        &mut self,
        slot: Slot,
        entry: &mut Entry,
        want: Want,
        ruling: Ruling,
    ) -> Result<(), Refusal> {
        if let (Want::EntryChannel(channel), Ruling::Rejected(_)) = (&want, &ruling)
            && entry.wishes(channel)
        {
            // Its client listens to those that are left.
            entry.pass_over(channel);
            return Ok(());
        }
        let presented = entry.presented.get_or_insert_default();
        match (want, ruling) {
            (Want::EntryChannel(channel), Ruling::Granted(grant)) => {
                presented.channels.push((channel, placement(*grant)));
            }
            (Want::EntryChannel(channel), Ruling::Unanswered) if self.rules_decide() => {
                let barred = |why| Refusal::Denied { channel: (*channel).into(), why };
                let (user, wish) = (entry.user.as_deref(), Wish::default());
                if let Err(Barred::Denied(why)) = self.permit_subscribe(slot, &channel, user, wish)
                {
                    return Err(barred(why));
                }
                presented.channels.push((channel, Placement::default()));
            }
            (_, Ruling::Granted(grant)) => {
                presented.is_let_in = true;
                presented.greeting = grant.data;
                if let Some(proof) = grant.proof {
                    let name_bytes = self.clients.config.name_bytes;
                    let mut names = proof.user.iter().chain(&proof.channels);
                    if names.any(|name| check_name(name, name_bytes).is_err()) {
                        return Err(Refusal::Rejected(Rejection::unanswered()));
                    }
                    return self.believe(slot, entry, Proof::clone(&proof));
                }
            }
            (_, Ruling::Unanswered) if self.rules_decide() => presented.is_let_in = true,
            (_, Ruling::Rejected(rejection)) => return Err(Refusal::Rejected(rejection)),
            (_, Ruling::Dismissed(dismissal)) => return Err(Refusal::Dismissed(dismissal)),
            (_, Ruling::Unanswered) => return Err(Refusal::Rejected(Rejection::unanswered())),
        }
        Ok(())
    }
}
