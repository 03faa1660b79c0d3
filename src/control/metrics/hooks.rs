//! The families of hooks, by kind of question, and those of events.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::events::EventCounts;
use crate::hooks::{AllCounts, Figures, Kind};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Hook {
    hook: &'static str,
}

/// One family: its name, its meaning, and its value in the figures of a kind.
type Row = (&'static str, &'static str, fn(&Figures) -> u64);

const COUNTERS: [Row; 5] = [
    ("stentor_hook_requests", "Questions that went to the backend", |of| of.asked),
    ("stentor_hook_failures", "Of these, those without a sound answer in time", |of| of.failed),
    (
        "stentor_hook_held_back",
        "Questions that were not sent because their endpoint had failed too often",
        |of| of.held_back,
    ),
    ("stentor_hook_late", "Questions whose time was over before their turn came", |of| of.late),
    (
        "stentor_hook_breaker_openings",
        "Times that an endpoint was left alone for a while after failures in a row",
        |of| of.opened,
    ),
];

/// The counts of what passes between the server and the application.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) hooks: [(Kind, Figures); 6],
    pub(super) events: Arc<EventCounts>,
}

impl Default for Backend {
    fn default() -> Self {
        Self { hooks: AllCounts::default().figures(), events: Arc::default() }
    }
}

impl Backend {
    /// Writes all families.
    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let label = |kind: Kind| Hook { hook: kind.name() };
        for (name, help, of) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (kind, figures) in &self.hooks {
                let label = label(*kind);
                family
                    .encode_family(&label)?
                    .encode_counter::<NoLabelSet, _, u64>(&of(figures), None)?;
            }
        }
        encode_events(&self.events, encoder)?;
        let help = "Questions that wait for their turn or for an answer";
        let mut family =
            encoder.encode_descriptor("stentor_hook_under_way", help, None, MetricType::Gauge)?;
        for (kind, figures) in &self.hooks {
            let label = label(*kind);
            family.encode_family(&label)?.encode_gauge(&figures.under_way)?;
        }
        let (name, help) = ("stentor_hook_wait", "Time that the answers took");
        let unit = Some(&Unit::Seconds);
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Counter)?;
        for (kind, figures) in &self.hooks {
            #[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are three centuries")]
            let seconds = figures.waited_us as f64 / 1e6;
            let label = label(*kind);
            family.encode_family(&label)?.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
        }
        Ok(())
    }
}

fn encode_events(events: &EventCounts, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    for (name, help, counter) in [
        ("stentor_events", "Events that the application has taken", &events.told),
        ("stentor_event_posts", "Posts of events that it has taken", &events.posts),
        (
            "stentor_event_failures",
            "Posts of events that it has not taken, and that were tried again",
            &events.failures,
        ),
        (
            "stentor_event_drops",
            "Events that were dropped because too many others waited",
            &events.dropped,
        ),
    ] {
        let value = counter.load(Ordering::Relaxed);
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        family.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    let help = "Events that wait to be posted";
    let mut family =
        encoder.encode_descriptor("stentor_events_waiting", help, None, MetricType::Gauge)?;
    family.encode_gauge(&events.waiting.load(Ordering::Relaxed))
}
