//! `/metrics` for Prometheus: the shards' counters, collected when they are asked for and at no
//! other time.

use std::fmt;

use axum::extract::State as Has;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use stentor_shards::Report;

use super::ask::ask;
use super::{State, api, process, stats};

/// Upper bounds of the fan-out latency's buckets, in seconds.
const BUCKETS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 10.0,
];

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

/// What the shards answered, to be written out once.
#[derive(Debug)]
struct Scrape {
    reports: Vec<Report>,
    latencies: Vec<(usize, Histogram<u64>)>,
    uptime_s: u64,
}

/// `GET /metrics`
pub(crate) async fn scrape(Has(state): Has<State>) -> Response {
    let mut reports = match ask(|| state.shards.reports()).await {
        Ok(reports) => reports,
        Err(why) => return api::unanswered(why),
    };
    reports.sort_by_key(|report| report.shard);
    let mut latencies = match ask(|| state.shards.latency()).await {
        Ok(latencies) => latencies,
        Err(why) => return api::unanswered(why),
    };
    latencies.sort_by_key(|(shard, _)| *shard);
    let mut registry = Registry::default();
    let uptime_s = state.began.elapsed().as_secs();
    registry.register_collector(Box::new(Scrape { reports, latencies, uptime_s }));
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.encode_numbers(&mut encoder)?;
        self.encode_reasons(&mut encoder, "stentor_refusals", "Handshakes refused", |report| {
            &report.refusals
        })?;
        self.encode_reasons(&mut encoder, "stentor_disconnects", "Clients gone", |report| {
            &report.closes
        })?;
        self.encode_latency(&mut encoder)?;
        self.encode_process(&mut encoder)
    }
}

fn shard(report: &Report) -> Shard {
    Shard { shard: u32::try_from(report.shard).unwrap_or(u32::MAX) }
}

impl Scrape {
    fn encode_numbers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(first) = self.reports.first() else { return Ok(()) };
        for (place, (name, _)) in stats::numbers(first).into_iter().enumerate() {
            let bare = name.strip_suffix("_total");
            let kind = if bare.is_some() { MetricType::Counter } else { MetricType::Gauge };
            let bare = bare.unwrap_or(name);
            let full = format!("stentor_{bare}");
            let help = bare.replace('_', " ");
            let mut metric = encoder.encode_descriptor(&full, &help, None, kind)?;
            for report in &self.reports {
                let labels = shard(report);
                let (_, value) = stats::numbers(report)[place];
                let mut one = metric.encode_family(&labels)?;
                if matches!(kind, MetricType::Counter) {
                    one.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
                } else {
                    one.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
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
                let labels = ShardReason { shard: shard(report).shard, reason };
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            }
        }
        Ok(())
    }

    fn encode_latency(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "From the read of a publication to its last send, in seconds";
        let name = "stentor_fanout_seconds";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (shard, latency) in &self.latencies {
            let labels = Shard { shard: u32::try_from(*shard).unwrap_or(u32::MAX) };
            let (sum, buckets) = bucketed(latency);
            let mut one = metric.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(sum, latency.len(), &buckets, None)?;
        }
        Ok(())
    }

    fn encode_process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauge = |name: &str, help: &str, value: f64| {
            encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
        };
        let uptime = u32::try_from(self.uptime_s).unwrap_or(u32::MAX);
        gauge("stentor_uptime_seconds", "Since the start", uptime.into())?;
        gauge("process_open_fds", "Open descriptors", process::open_descriptors())?;
        gauge("process_resident_memory_bytes", "Resident memory", process::resident_bytes())?;
        encoder
            .encode_descriptor(
                "process_cpu_seconds",
                "User and system time",
                None,
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&process::cpu_seconds(), None)?;
        let version = Version { version: env!("CARGO_PKG_VERSION") };
        encoder
            .encode_descriptor("stentor_build_info", "The build", None, MetricType::Gauge)?
            .encode_family(&version)?
            .encode_gauge(&1_i64)
    }
}

/// A histogram of microseconds in the buckets of the metric, each with its own count as the encoder
/// wants them.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounds are small constants; a sum in seconds needs no more digits"
)]
fn bucketed(latency: &Histogram<u64>) -> (f64, Vec<(f64, u64)>) {
    let mut below = 0;
    let mut buckets = Vec::with_capacity(BUCKETS.len() + 1);
    for bound in BUCKETS {
        let through = latency.count_between(0, (bound * 1e6) as u64).min(latency.len());
        buckets.push((bound, through.saturating_sub(below)));
        below = below.max(through);
    }
    buckets.push((f64::MAX, latency.len() - below));
    (latency.mean() * latency.len() as f64 / 1e6, buckets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_to_all() {
        let mut latency = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        for us in [10, 60, 300, 20_000, 59_000_000] {
            latency.record(us).unwrap();
        }
        let (sum, buckets) = bucketed(&latency);
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 5);
        assert_eq!((buckets[0].1, buckets[1].1, buckets.last().unwrap().1), (1, 1, 1));
        assert!((sum - 59.02).abs() < 0.2, "{sum}");
    }

    #[test]
    fn a_scrape_is_open_metrics_text() {
        let report = Report { clients_now: 3, refusals: vec![("full", 2)], ..Report::default() };
        let latency = Histogram::<u64>::new_with_bounds(1, 60_000_000, 3).unwrap();
        let scrape = Scrape { reports: vec![report], latencies: vec![(3, latency)], uptime_s: 1 };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(scrape));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "stentor_clients{shard=\"0\"} 3",
            "stentor_accepts_total{shard=\"0\"} 0",
            "stentor_refusals_total{shard=\"0\",reason=\"full\"} 2",
            "stentor_fanout_seconds_bucket{le=\"0.001\",shard=\"3\"} 0",
            "# TYPE stentor_fanout_seconds histogram",
            "# TYPE process_cpu_seconds counter",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }
}
