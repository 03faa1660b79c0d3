//! Writes who comes and goes, and who is in a channel.

use std::sync::Arc;

use bytes::BytesMut;

use super::write::{put, put_client, put_display, put_end, put_optional, put_str};
use crate::model::presence::Member;
use crate::wire::event::Event;

pub(super) fn put_event(out: &mut BytesMut, event: &Event<'_>) {
    match *event {
        Event::Presence { joined, channel, member } => {
            put_begin(out, if joined { "joined" } else { "left" }, channel);
            put_client(out, member.client);
            put_who(out, member);
            put(out, "}");
        }
        Event::Crowd { channel, clients, named } => {
            put_begin(out, "crowd", channel);
            put_field(out, "count", clients);
            put_field(out, "named", named);
            put(out, "}");
        }
        Event::Here { channel, clients, users, more, id } => {
            put_begin(out, "who", channel);
            put_field(out, "clients", clients);
            put_users(out, users);
            put_field(out, "more", more);
            put_end(out, id);
        }
        Event::Members { channel, clients, members, more, id } => {
            put_begin(out, "presence", channel);
            put_field(out, "count", clients);
            put_members(out, members);
            put_field(out, "more", more);
            put_end(out, id);
        }
        Event::Numbers { channel, clients, users, exact, id } => {
            put_begin(out, "presence_stats", channel);
            put_field(out, "clients", clients);
            put_field(out, "users", users);
            put_field(out, "exact", exact);
            put_end(out, id);
        }
        _ => debug_assert!(false, "these are written elsewhere"),
    }
}

fn put_begin(out: &mut BytesMut, kind: &str, channel: &str) {
    put(out, "{\"type\":\"");
    put(out, kind);
    put(out, "\",\"channel\":");
    put_str(out, channel);
}

fn put_field(out: &mut BytesMut, name: &str, value: impl std::fmt::Display) {
    put(out, ",\"");
    put(out, name);
    put(out, "\":");
    put_display(out, value);
}

fn put_users(out: &mut BytesMut, users: &[Arc<str>]) {
    put(out, ",\"users\":[");
    for (index, user) in users.iter().enumerate() {
        if index > 0 {
            put(out, ",");
        }
        put_str(out, user);
    }
    put(out, "]");
}

fn put_members(out: &mut BytesMut, members: &[Member]) {
    put(out, ",\"clients\":[");
    for (index, member) in members.iter().enumerate() {
        put(out, if index == 0 { "{\"client\":\"" } else { ",{\"client\":\"" });
        put_display(out, member.client);
        put(out, "\"");
        put_who(out, member);
        put(out, "}");
    }
    put(out, "]");
}

/// The user of a member, and what its token says about it.
fn put_who(out: &mut BytesMut, member: &Member) {
    put(out, ",\"user\":");
    put_optional(out, member.user());
    if let Some(info) = member.info_here() {
        put(out, ",\"info\":");
        put(out, info);
    }
}
