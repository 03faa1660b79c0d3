//! The families of `/metrics` and what is told of each.

use std::fmt;

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use stentor_shards::{NUMBERS, NumberKind, Report};

use super::apps::Apps;
use super::buckets::bucketed;
use super::engine::Engine;
use super::hooks::Backend;
use super::tls::Tls;
use crate::control::api::OnceCounts;
use crate::control::keyring::Counts as KeyCounts;
use crate::control::numbers::family;
use crate::control::process::Process;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Shard {
    shard: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardReason {
    shard: u32,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

/// All that one scrape tells, to be written out once.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) reports: Vec<Report>,
    pub(super) latencies: Vec<(usize, Histogram<u64>)>,
    pub(super) once: OnceCounts,
    /// Calls that another process of a take-over did not answer.
    pub(super) unanswered: u64,
    /// Those that were done, and those that failed.
    pub(super) reloads: (u64, u64),
    pub(super) keys: KeyCounts,
    pub(super) tls: Tls,
    pub(super) backend: Backend,
    pub(super) engine: Engine,
    pub(super) apps: Apps,
    pub(super) process: Process,
    pub(super) uptime_s: u64,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_numbers(&mut encoder)?;
        let (name, help) = ("stentor_refusals", "Handshakes refused, by reason");
        self.encode_reasons(&mut encoder, name, help, |report| &report.refusals)?;
        let (name, help) = ("stentor_disconnects", "Clients gone, by reason");
        self.encode_reasons(&mut encoder, name, help, |report| &report.closes)?;
        self.encode_latency(&mut encoder)?;
        self.encode_once(&mut encoder)?;
        self.encode_keys(&mut encoder)?;
        self.tls.encode(&mut encoder)?;
        self.backend.encode(&mut encoder)?;
        self.engine.encode(&mut encoder)?;
        self.apps.encode(&mut encoder)?;
        self.encode_server(&mut encoder)?;
        self.encode_process(&mut encoder)
    }
}

fn shard(index: usize) -> Shard {
    Shard { shard: u32::try_from(index).unwrap_or(u32::MAX) }
}

/// Writes a family with one value and no labels.
fn single(
    encoder: &mut DescriptorEncoder<'_>,
    (name, unit): (&str, Option<&Unit>),
    help: &str,
    kind: MetricType,
    value: Value,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, unit, kind)?;
    match (value, kind) {
        (Value::Whole(value), MetricType::Counter) => {
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
        }
        (Value::Part(value), MetricType::Counter) => {
            metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
        }
        (Value::Whole(value), _) => metric.encode_gauge(&value),
        (Value::Part(value), _) => metric.encode_gauge(&value),
    }
}

#[derive(Debug, Clone, Copy)]
enum Value {
    Whole(u64),
    Part(f64),
}

impl Scrape {
    /// Writes all of it as `OpenMetrics` text.
    pub(super) fn write(self) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    #[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are three centuries")]
    fn encode_numbers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for number in NUMBERS {
            let (kind, unit) = match number.kind {
                NumberKind::Gauge => (MetricType::Gauge, None),
                NumberKind::GaugeBytes => (MetricType::Gauge, Some(&Unit::Bytes)),
                NumberKind::Counter => (MetricType::Counter, None),
                NumberKind::CounterMicroseconds => (MetricType::Counter, Some(&Unit::Seconds)),
            };
            let name = family(number);
            let mut metric = encoder.encode_descriptor(&name, number.help, unit, kind)?;
            for report in &self.reports {
                let (labels, value) = (shard(report.shard), (number.of)(report));
                let mut one = metric.encode_family(&labels)?;
                match number.kind {
                    NumberKind::Gauge | NumberKind::GaugeBytes => one.encode_gauge(&value)?,
                    NumberKind::Counter => {
                        one.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
                    }
                    NumberKind::CounterMicroseconds => {
                        let seconds = value as f64 / 1e6;
                        one.encode_counter::<NoLabelSet, _, u64>(&seconds, None)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn encode_reasons(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        counts: fn(&Report) -> &Vec<(&'static str, u64)>,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for report in &self.reports {
            for (reason, count) in counts(report) {
                let labels = ShardReason { shard: shard(report.shard).shard, reason };
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            }
        }
        Ok(())
    }

    fn encode_latency(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Time from the read of a publication to its last send";
        let (name, unit) = ("stentor_fanout", Some(&Unit::Seconds));
        let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
        for (index, latency) in &self.latencies {
            let labels = shard(*index);
            let (sum, buckets) = bucketed(latency);
            let mut one = metric.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(sum, latency.len(), &buckets, None)?;
        }
        Ok(())
    }

    fn encode_once(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut one = |name: &str, help: &str, kind: MetricType, value: u64| {
            single(encoder, (name, None), help, kind, Value::Whole(value))
        };
        one(
            "stentor_idempotency_keys",
            "Idempotency keys of the API that are remembered",
            MetricType::Gauge,
            self.once.keys,
        )?;
        one(
            "stentor_idempotency_replays",
            "Requests that were answered with the result of an earlier one of the same key",
            MetricType::Counter,
            self.once.replays,
        )?;
        one(
            "stentor_idempotency_evictions",
            "Idempotency keys that were forgotten before their time because there were too many",
            MetricType::Counter,
            self.once.evictions,
        )
    }

    fn encode_keys(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut one = |name: &str, help: &str, value: u64| {
            single(encoder, (name, None), help, MetricType::Counter, Value::Whole(value))
        };
        let help = "Times that the key set of tokens was asked for";
        one("stentor_token_key_fetches", help, self.keys.fetches)?;
        let help = "Times that the key set of tokens could not be had, so that the last one stayed";
        one("stentor_token_key_fetch_failures", help, self.keys.failures)
    }

    fn encode_server(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = ("stentor_uptime", Some(&Unit::Seconds));
        let uptime = Value::Whole(self.uptime_s);
        single(encoder, name, "Time since the start", MetricType::Gauge, uptime)?;
        let help = "Lines of the log that could not be written";
        let lost = Value::Whole(crate::log::lines_lost());
        single(encoder, ("stentor_log_lines_lost", None), help, MetricType::Counter, lost)?;
        let (done, failed) = self.reloads;
        let mut counter = |name, help, value| {
            single(encoder, (name, None), help, MetricType::Counter, Value::Whole(value))
        };
        counter("stentor_reloads", "Times that the rules of channels were read again", done)?;
        let help = "Times that they could not be, and stayed as they were";
        counter("stentor_reload_failures", help, failed)?;
        let help = "Calls of the API that the other process of a take-over did not answer";
        counter("stentor_api_calls_unanswered", help, self.unanswered)?;
        let version = Version { version: env!("CARGO_PKG_VERSION") };
        let help = "Always 1; the label says which version runs";
        encoder
            .encode_descriptor("stentor_build_info", help, None, MetricType::Gauge)?
            .encode_family(&version)?
            .encode_gauge(&1_u64)
    }

    /// The families that every exporter has. One that the kernel does not tell is left out.
    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        use MetricType::{Counter, Gauge};
        let Process { cpu_seconds, start_seconds, .. } = self.process;
        let whole = |value: Option<u64>| value.map(Value::Whole);
        let (bytes, seconds) = (Some(&Unit::Bytes), Some(&Unit::Seconds));
        let families = [
            (
                ("process_cpu", seconds),
                "User and system time of all threads",
                Counter,
                cpu_seconds.map(Value::Part),
            ),
            (
                ("process_resident_memory", bytes),
                "Memory that is resident",
                Gauge,
                whole(self.process.resident_bytes),
            ),
            (
                ("process_virtual_memory", bytes),
                "Memory that is mapped",
                Gauge,
                whole(self.process.virtual_bytes),
            ),
            (
                ("process_open_fds", None),
                "File descriptors that are open",
                Gauge,
                whole(self.process.open_descriptors),
            ),
            (
                ("process_max_fds", None),
                "File descriptors that may be open",
                Gauge,
                whole(self.process.descriptors_max),
            ),
            (("process_threads", None), "Threads", Gauge, whole(self.process.threads)),
            (
                ("process_start_time", seconds),
                "Start of the process, since 1970",
                Gauge,
                start_seconds.map(Value::Part),
            ),
        ];
        for (name, help, kind, value) in families {
            if let Some(value) = value {
                single(encoder, name, help, kind, value)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "families_tests.rs"]
mod tests;
