//! Every number that a shard reports, in one table: the counters of a shard, its reports, the names
//! in `/api/stats` and `/metrics`, and the page METRICS.md follow from it.

use super::report::Report;

/// The behaviour of a number, and its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberKind {
    /// Rises and falls.
    Gauge,
    /// Bytes that are held now.
    GaugeBytes,
    /// Only rises while the process lives.
    Counter,
    /// Time in microseconds, which only rises.
    CounterMicroseconds,
}

/// One number of a report.
#[derive(Debug)]
pub struct Number {
    /// Its name. That of a counter ends in `_total`, that of a gauge does not.
    pub name: &'static str,
    /// Its behaviour.
    pub kind: NumberKind,
    /// Its meaning.
    pub help: &'static str,
    /// Its value in a report.
    pub of: fn(&Report) -> u64,
}

/// Passes the table to the macro `$to`. A row is a field of [`Report`] with its kind and meaning.
///
/// A `counted` number is a field of the shard's tally as well, and needs nothing else. A `measured`
/// one is read from the parts of the shard when it reports (`stage/report.rs`).
macro_rules! numbers {
    ($to:ident) => {
        $to! {
            measured {
                clients: Gauge, "Clients connected";
                users: Gauge, "Connected users that this shard keeps the list of";
                channels: Gauge, "Channels known to this shard";
                handshakes: Gauge, "Handshakes under way";
                outbox_bytes: GaugeBytes, "Bytes waiting in the outboxes of slow clients";
                blocked_clients: Gauge, "Clients with something in their outbox";
                held_clients: Gauge, "Publishers held back";
                publish_lane_depth: Gauge, "Parcels waiting in the publish lane";
                deliver_lane_depth: Gauge, "Parcels waiting in the deliver lane";
                history_channels: Gauge, "Channels whose history this shard keeps";
                history_publications: Gauge, "Publications kept in those histories";
                history_bytes: GaugeBytes, "Memory of those publications";
                history_pressed_out: Counter,
                    "Publications that left a history because all of them were too large";
                history_forgotten: Counter,
                    "Histories without subscribers forgotten to make room for other channels";
                previous_bytes: GaugeBytes,
                    "Memory of the publications that are kept for the difference of the next ones";
                limited_subscriptions: Gauge, "Subscriptions whose end is set";
                rings: Counter, "Times that this shard woke another one";
                bridge_refusals: Counter,
                    "Parcels for the control plane or another thread that found no room there";
                forgotten_channels: Counter,
                    "Idle channels forgotten, with their offsets, to make room for others";
                revocations: Gauge,
                    "Users and tokens whose tokens are revoked; the same on each shard";
                forgotten_revocations: Counter,
                    "Revocations forgotten to make room for later ones; the same on each shard";
                tls_connections: Gauge, "Connections that speak TLS";
                quick_returns: Counter,
                    "Users that returned to a channel before others were told that they had left";
                busy_microseconds: CounterMicroseconds, "Time that the shard spent in its turns";
            }
            counted {
                accepts: Counter, "Connections accepted";
                accept_pauses: Counter,
                    "Times that accepting paused because no file descriptor was left";
                visitors: Counter, "HTTP requests that are no WebSocket handshake";
                visitors_turned_away: Counter,
                    "HTTP requests that were closed because too many waited";
                emulations: Counter, "Requests that spoke for clients of streams";
                emulations_lost: Counter,
                    "Requests that spoke for nobody: unknown sessions, and clients that had gone";
                messages_in: Counter, "Messages received from clients";
                bytes_in: Counter, "Bytes of the messages received from clients";
                inflated_messages: Counter, "Compressed messages received from clients";
                inflated_bytes_before: Counter, "Bytes of those messages as they came";
                inflated_bytes_after: Counter, "Bytes of them when they were inflated";
                inflated_too_far: Counter,
                    "Compressed messages that were refused because they became too long";
                deflated_messages: Counter,
                    "Messages compressed, each once for all clients of a shard that take it so";
                deflated_bytes_before: Counter, "Bytes of those messages as they were";
                deflated_bytes_after: Counter, "Bytes of them when they were compressed";
                deliveries: Counter, "Frames that left for clients or were put into their outboxes";
                bytes_out: Counter, "Bytes of those frames";
                sends: Counter, "Calls of send that carried those frames";
                ticks: Counter, "Batches of publications that were fanned out";
                tick_publications: Counter, "Publications in those batches";
                publications: Counter, "Publications numbered by this shard";
                dropped: Counter, "Frames that slow clients lost (policy drop)";
                conflated: Counter,
                    "Frames that a newer one replaced for slow clients (policy conflate)";
                unkept_previous: Counter,
                    "Publications from which the next one could not differ for want of room";
                recoveries: Counter, "Clients that came back and were told all that they missed";
                failed_recoveries: Counter,
                    "Clients that came back for more than the history holds";
                recovered_publications: Counter, "Publications told to clients that came back";
                restored_channels: Counter,
                    "Channels that this shard goes on with from an earlier process";
                followed_publications: Counter,
                    "Publications that an engine or a newer process numbered";
                damaged_publications: Counter,
                    "Publications from the engine that could not be read";
                lost_leaders: Counter,
                    "Times that this shard numbered again because the link to that process ended";
                lost_pasts: Counter,
                    "Take-overs in which the older process's histories could not be had";
                pings: Counter, "Pings sent";
                holds: Counter, "Times that a publisher was held back by a full lane";
                stalls: Counter,
                    "Turns in which this shard waited for room to pass publications on";
                absences: Counter, "Times that this shard was stopped or had no core for too long";
                denied: Counter, "Requests that the rules of channels did not allow";
                unanswered_questions: Counter,
                    "Questions for members that another process of a take-over did not answer";
                undebounced: Counter,
                    "Times that a channel had more users than can be waited for";
                rate_limited: Counter, "Messages over a rate limit";
                expired_subscriptions: Counter,
                    "Subscriptions that ended with the token for their channel";
                refreshed_subscriptions: Counter,
                    "Subscriptions that went on with a newer token";
                sent_back: Counter,
                    "Memberships that ended so that the client comes back for what it has lost";
                errors: Counter, "Errors that JSON clients were answered with";
                hook_questions: Counter, "Questions about clients for the application's backend";
                hook_questions_unasked: Counter,
                    "Such questions that found too many others waiting";
                hook_denials: Counter, "Requests of clients that the backend did not allow";
                hook_unanswered: Counter, "Questions that the backend did not answer";
                events_dropped: Counter,
                    "Events for the application that found too many others waiting";
                tls_handshakes: Counter, "Handshakes of TLS that were completed";
                tls_resumptions: Counter, "Those of them that went on from an earlier session";
                tls_faults: Counter,
                    "Connections that TLS ended: handshakes that failed, and broken records";
                turns: Counter, "Turns of the shard's loop";
            }
        }
    };
}
pub(crate) use numbers;

macro_rules! name {
    (Counter $field:ident) => {
        concat!(stringify!($field), "_total")
    };
    (CounterMicroseconds $field:ident) => {
        concat!(stringify!($field), "_total")
    };
    ($gauge:ident $field:ident) => {
        stringify!($field)
    };
}

macro_rules! list {
    (
        measured { $($measured:ident: $kind:ident, $help:literal;)* }
        counted { $($counted:ident: $counter:ident, $meaning:literal;)* }
    ) => {
        /// All of them, in the order in which they are shown.
        pub const NUMBERS: &[Number] = &[
            $(Number {
                name: name!($kind $measured),
                kind: NumberKind::$kind,
                help: $help,
                of: |report| report.$measured,
            },)*
            $(Number {
                name: name!($counter $counted),
                kind: NumberKind::$counter,
                help: $meaning,
                of: |report| report.$counted,
            },)*
        ];
    };
}
numbers!(list);
