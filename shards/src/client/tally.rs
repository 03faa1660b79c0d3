//! A shard's counters: plain integers that only their shard touches, copied out on demand.

use hdrhistogram::Histogram;

use crate::close::CloseReason;
use crate::model::counters::numbers;
use crate::model::report::{Measured, Report};
use crate::wire::refusal::Refusal;

/// The longest latency that the histogram tells apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

macro_rules! tally {
    (
        measured { $($measured:ident: $kind:ident, $help:literal;)* }
        counted { $($counted:ident: $counter:ident, $meaning:literal;)* }
    ) => {
        /// Everything a shard counts.
        #[derive(Debug)]
        pub(crate) struct Tally {
            $(#[doc = concat!($meaning, ".")] pub(crate) $counted: u64,)*
            pub(crate) refusals: [u64; Refusal::LABELS.len()],
            pub(crate) closes: [u64; CloseReason::ALL.len()],
            /// Time spent in turns, in nanoseconds.
            pub(crate) busy_ns: u64,
            /// From the read of a publication to its last send here, in microseconds.
            pub(crate) latency: Histogram<u64>,
        }

        impl Tally {
            pub(crate) fn new() -> Self {
                Self {
                    $($counted: 0,)*
                    refusals: [0; Refusal::LABELS.len()],
                    closes: [0; CloseReason::ALL.len()],
                    busy_ns: 0,
                    latency: Histogram::new_with_bounds(1, LATENCY_MAX_US, 3)
                        .expect("the bounds are constants that the histogram takes"),
                }
            }

            /// Puts the counts and what else was measured into the report of a shard on a core.
            pub(crate) fn report(&self, shard: usize, core: usize, measured: &Measured) -> Report {
                let closes = CloseReason::ALL.iter().map(|reason| reason.label());
                Report {
                    shard,
                    core,
                    refusals: Refusal::LABELS.into_iter().zip(self.refusals).collect(),
                    closes: closes.zip(self.closes).collect(),
                    $($measured: measured.$measured,)*
                    $($counted: self.$counted,)*
                }
            }
        }
    };
}
numbers!(tally);
