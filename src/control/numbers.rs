//! Every number that a shard reports, once: its name in `/api/stats` and in `/metrics`, its
//! meaning, and where it stands in a report.

use stentor_shards::Report;

/// The behaviour of a number, and its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rises and falls.
    Gauge,
    /// Bytes that are held now.
    GaugeBytes,
    /// Only rises while the process lives.
    Counter,
    /// Time in microseconds, which only rises; `/metrics` has it in seconds.
    CounterMicroseconds,
}

/// One number of a report.
pub(crate) struct Number {
    /// Its key in `/api/stats`. The name of a counter ends in `_total`, that of a gauge does not.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) help: &'static str,
    pub(crate) of: fn(&Report) -> u64,
}

impl Number {
    /// The name of its family in `/metrics`, without the unit and without `_total`.
    pub(crate) fn family(&self) -> String {
        let bare = self.name.strip_suffix("_total").unwrap_or(self.name);
        let unit = match self.kind {
            Kind::GaugeBytes => "_bytes",
            Kind::CounterMicroseconds => "_microseconds",
            Kind::Gauge | Kind::Counter => "",
        };
        format!("stentor_{}", bare.strip_suffix(unit).unwrap_or(bare))
    }
}

const fn gauge(name: &'static str, of: fn(&Report) -> u64, help: &'static str) -> Number {
    Number { name, kind: Kind::Gauge, help, of }
}

const fn counter(name: &'static str, of: fn(&Report) -> u64, help: &'static str) -> Number {
    Number { name, kind: Kind::Counter, help, of }
}

/// All of them, in the order in which they are shown.
pub(crate) const NUMBERS: &[Number] = &[
    gauge("clients", |of| of.clients_now, "Clients connected"),
    gauge("users", |of| of.users_now, "Connected users that this shard keeps the list of"),
    gauge("channels", |of| of.channels_now, "Channels known to this shard"),
    gauge("handshakes", |of| of.handshakes_now, "Handshakes under way"),
    counter("accepts_total", |of| of.accepts, "Connections accepted"),
    counter(
        "accept_pauses_total",
        |of| of.accept_pauses,
        "Times that accepting paused because no file descriptor was left",
    ),
    counter("visitors_total", |of| of.visitors, "HTTP requests that are no WebSocket handshake"),
    counter(
        "visitors_turned_away_total",
        |of| of.visitors_turned_away,
        "HTTP requests that were closed because too many waited",
    ),
    counter("messages_in_total", |of| of.messages_in, "Messages received from clients"),
    counter("bytes_in_total", |of| of.bytes_in, "Bytes of the messages received from clients"),
    counter(
        "deliveries_total",
        |of| of.deliveries,
        "Frames that left for clients or were put into their outboxes",
    ),
    counter("bytes_out_total", |of| of.bytes_out, "Bytes of those frames"),
    counter("sends_total", |of| of.sends, "Calls of send that carried those frames"),
    counter("ticks_total", |of| of.ticks, "Batches of publications that were fanned out"),
    counter("tick_publications_total", |of| of.tick_publications, "Publications in those batches"),
    counter("publications_total", |of| of.publications, "Publications numbered by this shard"),
    Number {
        name: "outbox_bytes",
        kind: Kind::GaugeBytes,
        help: "Bytes waiting in the outboxes of slow clients",
        of: |of| of.outbox_bytes_now,
    },
    gauge("blocked_clients", |of| of.blocked_now, "Clients with something in their outbox"),
    counter("dropped_total", |of| of.dropped, "Frames that slow clients lost (policy drop)"),
    counter(
        "conflated_total",
        |of| of.conflated,
        "Frames that a newer one replaced for slow clients (policy conflate)",
    ),
    counter("pings_total", |of| of.pings, "Pings sent"),
    gauge("publish_lane_depth", |of| of.publish_depth_now, "Parcels waiting in the publish lane"),
    gauge("deliver_lane_depth", |of| of.deliver_depth_now, "Parcels waiting in the deliver lane"),
    counter("rings_total", |of| of.rings, "Times that this shard woke another one"),
    counter("holds_total", |of| of.holds, "Times that a publisher was held back by a full lane"),
    gauge("held_clients", |of| of.held_now, "Publishers held back"),
    counter(
        "stalls_total",
        |of| of.stalls,
        "Turns in which this shard waited for room to pass publications on",
    ),
    counter(
        "absences_total",
        |of| of.absences,
        "Times that this shard was stopped or had no core for too long",
    ),
    counter("rate_limited_total", |of| of.rate_limited, "Messages over a rate limit"),
    counter("errors_total", |of| of.errors, "Errors that JSON clients were answered with"),
    counter(
        "forgotten_channels_total",
        |of| of.forgotten_channels,
        "Idle channels forgotten, with their offsets, to make room for others",
    ),
    counter("turns_total", |of| of.turns, "Turns of the shard's loop"),
    Number {
        name: "busy_microseconds_total",
        kind: Kind::CounterMicroseconds,
        help: "Time that the shard spent in its turns",
        of: |of| of.busy_us,
    },
];

/// The names and values of one report.
pub(crate) fn named(report: &Report) -> impl Iterator<Item = (&'static str, u64)> {
    NUMBERS.iter().map(move |number| (number.name, (number.of)(report)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_decides_the_kind_of_number() {
        let mut seen = std::collections::HashSet::new();
        for number in NUMBERS {
            let counts = matches!(number.kind, Kind::Counter | Kind::CounterMicroseconds);
            assert_eq!(number.name.ends_with("_total"), counts, "{}", number.name);
            assert!(seen.insert(number.family()), "{} is there twice", number.name);
        }
        assert!(seen.contains("stentor_busy") && seen.contains("stentor_outbox"));
    }
}
