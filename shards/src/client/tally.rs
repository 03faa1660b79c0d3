//! A shard's counters: plain integers that only their shard touches, copied out on demand.

use hdrhistogram::Histogram;

use crate::close::CloseReason;
use crate::wire::refusal::Refusal;

/// The longest latency that the histogram tells apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// Everything a shard counts.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) accepts: u64,
    /// The number of pauses in accepting because descriptors were out.
    pub(crate) accept_pauses: u64,
    pub(crate) visitors: u64,
    /// Those of them for whom the control plane had no room.
    pub(crate) visitors_turned_away: u64,
    pub(crate) refusals: [u64; Refusal::LABELS.len()],
    pub(crate) closes: [u64; CloseReason::ALL.len()],
    pub(crate) messages_in: u64,
    pub(crate) bytes_in: u64,
    pub(crate) deliveries: u64,
    pub(crate) bytes_out: u64,
    pub(crate) sends: u64,
    pub(crate) ticks: u64,
    pub(crate) tick_publications: u64,
    pub(crate) publications: u64,
    pub(crate) stalls: u64,
    /// The number of absences of the shard for which clients were excused.
    pub(crate) absences: u64,
    pub(crate) turns: u64,
    pub(crate) busy_ns: u64,
    pub(crate) dropped: u64,
    pub(crate) conflated: u64,
    pub(crate) pings: u64,
    pub(crate) holds: u64,
    pub(crate) rate_limited: u64,
    pub(crate) errors: u64,
    /// From the read of a publication to its last send here, in microseconds.
    pub(crate) latency: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            accepts: 0,
            accept_pauses: 0,
            visitors: 0,
            visitors_turned_away: 0,
            refusals: [0; Refusal::LABELS.len()],
            closes: [0; CloseReason::ALL.len()],
            messages_in: 0,
            bytes_in: 0,
            deliveries: 0,
            bytes_out: 0,
            sends: 0,
            ticks: 0,
            tick_publications: 0,
            publications: 0,
            stalls: 0,
            absences: 0,
            turns: 0,
            busy_ns: 0,
            dropped: 0,
            conflated: 0,
            pings: 0,
            holds: 0,
            rate_limited: 0,
            errors: 0,
            latency: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
                .expect("the bounds are constants that the histogram takes"),
        }
    }
}
