//! One sample: the numbers of all shards, what has changed since the last one, and the lists of
//! clients and channels that deserve a look.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use stentor_shards::{ChannelFilter, ChannelInfo, ConnectionInfo, Listing, Report};

use super::columns::{rows, since};
use super::ends::Ends;
use super::live::Stopwatch;
use crate::control::ask::{Unanswered, ask};
use crate::control::{State, admin, process, stats};

/// The slowest clients that are shown.
const CLIENTS_SHOWN: usize = 20;

/// The channels that are shown, in each of two orders.
const CHANNELS_SHOWN: usize = 20;

/// The most channels that each shard lists for a sample; with more the lists are not complete.
const CHANNELS_LOOKED_AT: usize = 5_000;

/// The news of a sample.
pub(super) struct Sample {
    /// The column of this sample; the first sample has none, as it has no rates.
    pub(super) column: Option<Value>,
    /// All of it, if somebody watches.
    pub(super) snapshot: Option<Value>,
}

/// The numbers of the last sample.
pub(super) struct Sampler {
    watch: Stopwatch,
    reports: Vec<Report>,
    latency: Option<Histogram<u64>>,
    ends: Ends,
    /// The newest offset of each channel.
    offsets: HashMap<Arc<str>, u64>,
}

impl Sampler {
    pub(super) fn new() -> Self {
        Self {
            watch: Stopwatch::default(),
            reports: Vec::new(),
            latency: None,
            ends: Ends::default(),
            offsets: HashMap::new(),
        }
    }

    /// Asks the shards; with `is_watched` for everything that the page shows.
    pub(super) async fn sample(
        &mut self,
        state: &State,
        is_watched: bool,
    ) -> Result<Sample, Unanswered> {
        // All questions come first: a sample that fails leaves the last one in force.
        let lists = if is_watched { Some(Lists::ask(state).await?) } else { None };
        let reports = stats::reports(state).await?;
        let parts = ask(|| state.shards.latency()).await?;
        let whole = admin::merged(&parts).ok_or(Unanswered::Busy)?;
        let elapsed = self.watch.lap();
        self.ends.take(&reports);
        let latency = since(&whole, self.latency.as_ref());
        let rates = elapsed.map(|elapsed| Rates { elapsed, now: &reports, before: &self.reports });
        let column = rates.as_ref().map(|rates| rates.column(&rows(&latency)));
        let mut snapshot = None;
        if let Some(lists) = lists {
            let mut told = stats::value(state, &reports);
            let busy = rates.as_ref().map(Rates::busy);
            let limits = state.settings.limits.told(&reports, &process::read(), busy);
            told["latency"] = json!({ "last": percentiles(&latency), "all": percentiles(&whole) });
            told["rates"] = rates.as_ref().map_or(Value::Null, Rates::told);
            told["limits"] = limits;
            told["ends"] = self.ends.told();
            told["certificates"] = certificates(state);
            told["column"] = column.clone().unwrap_or_default();
            told["connections"] = lists.slowest(state.settings.is_unix);
            told["channel_lists"] = self.channels(lists.channels, elapsed);
            snapshot = Some(told);
        } else {
            self.offsets = HashMap::new();
        }
        self.reports = reports;
        self.latency = Some(whole);
        Ok(Sample { column, snapshot })
    }

    /// Returns the channels with the most clients and those with the most publications a second.
    fn channels(&mut self, parts: Vec<Vec<ChannelInfo>>, elapsed: Option<Duration>) -> Value {
        let is_cut = parts.iter().any(|part| part.len() >= CHANNELS_LOOKED_AT);
        let merged = merged(parts.into_iter().flatten());
        let seconds = elapsed.map_or(0.0, |elapsed| elapsed.as_secs_f64());
        let mut all: Vec<(Arc<str>, u64, f64)> = merged
            .iter()
            .map(|(name, (clients, offset))| {
                let new = self.offsets.get(name).map_or(0, |before| offset.saturating_sub(*before));
                (Arc::clone(name), *clients, per_second(new, seconds))
            })
            .collect();
        self.offsets = merged.into_iter().map(|(name, (_, offset))| (name, offset)).collect();
        let told = |all: &[(Arc<str>, u64, f64)]| -> Value {
            let shown = all.iter().take(CHANNELS_SHOWN);
            shown
                .map(|(name, clients, rate)| {
                    json!({ "channel": &**name, "clients": clients, "rate": rate })
                })
                .collect()
        };
        all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let by_clients = told(&all);
        all.sort_by(|a, b| b.2.total_cmp(&a.2));
        let by_rate = told(&all);
        json!({ "by_clients": by_clients, "by_rate": by_rate, "truncated": is_cut })
    }
}

/// Returns the clients of each channel on all shards, and its newest offset, which its home knows
/// first.
fn merged(parts: impl Iterator<Item = ChannelInfo>) -> HashMap<Arc<str>, (u64, u64)> {
    let mut merged: HashMap<Arc<str>, (u64, u64)> = HashMap::new();
    for info in parts {
        let (clients, offset) = merged.entry(info.channel).or_default();
        *clients += info.clients;
        *offset = info.newest.offset.max(*offset);
    }
    merged
}

/// The lists of all shards.
struct Lists {
    slowest: Vec<ConnectionInfo>,
    channels: Vec<Vec<ChannelInfo>>,
}

impl Lists {
    async fn ask(state: &State) -> Result<Self, Unanswered> {
        let slowest = ask(|| state.shards.connections(Listing::Blocked, CLIENTS_SHOWN)).await?;
        let channels =
            ask(|| state.shards.channels(&ChannelFilter::All, CHANNELS_LOOKED_AT)).await?;
        Ok(Self { slowest: slowest.into_iter().flatten().collect(), channels })
    }

    /// Returns the clients with the fullest outboxes of all shards.
    fn slowest(&self, is_unix: bool) -> Value {
        let mut all: Vec<&ConnectionInfo> = self.slowest.iter().collect();
        all.sort_by_key(|one| Reverse(one.queued_bytes));
        all.iter().take(CLIENTS_SHOWN).map(|one| stats::connection(one, is_unix)).collect()
    }
}

fn certificates(state: &State) -> Value {
    let all = state.settings.certificates.expiries();
    all.iter().map(|one| json!({ "file": one.file, "end_s": one.end_s })).collect()
}

fn percentiles(latency: &Histogram<u64>) -> Value {
    let at = |quantile| latency.value_at_quantile(quantile);
    json!({
        "count": latency.len(),
        "p50_us": at(0.5),
        "p99_us": at(0.99),
        "p999_us": at(0.999),
        "max_us": latency.max(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "for people, who read three digits")]
fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

/// Two samples, and the time between them.
struct Rates<'a> {
    elapsed: Duration,
    now: &'a [Report],
    before: &'a [Report],
}

impl Rates<'_> {
    fn of(&self, number: fn(&Report) -> u64) -> f64 {
        let sum = |reports: &[Report]| reports.iter().map(number).sum::<u64>();
        self.per_second(sum(self.now).saturating_sub(sum(self.before)))
    }

    fn per_second(&self, count: u64) -> f64 {
        per_second(count, self.elapsed.as_secs_f64())
    }

    /// Returns the time of cores that the shards are busy for.
    fn busy(&self) -> f64 {
        self.of(|report| report.busy_microseconds) / 1e6
    }

    fn told(&self) -> Value {
        let total = json!({
            "busy_cores": self.busy(),
            "accepts": self.of(|report| report.accepts),
            "messages_in": self.of(|report| report.messages_in),
            "publications": self.of(|report| report.publications),
            "deliveries": self.of(|report| report.deliveries),
            "bytes_in": self.of(|report| report.bytes_in),
            "bytes_out": self.of(|report| report.bytes_out),
        });
        let shards: Vec<Value> = self.now.iter().map(|now| self.shard(now)).collect();
        json!({ "total": total, "shards": shards })
    }

    fn shard(&self, now: &Report) -> Value {
        let before = self.before.iter().find(|before| before.shard == now.shard);
        let rate = |number: fn(&Report) -> u64| {
            self.per_second(number(now).saturating_sub(before.map_or(0, number)))
        };
        let mut shard = Map::new();
        shard.insert("shard".into(), now.shard.into());
        shard.insert("busy".into(), (rate(|report| report.busy_microseconds) / 1e6).into());
        shard.insert("turns".into(), rate(|report| report.turns).into());
        shard.insert("deliveries".into(), rate(|report| report.deliveries).into());
        shard.insert("publications".into(), rate(|report| report.publications).into());
        shard.into()
    }

    /// Returns the column of the heat map and of the lines: duration in milliseconds, deliveries
    /// and publications a second, clients, bytes of outboxes, busy cores, and rows of latencies.
    fn column(&self, rows: &[u64]) -> Value {
        let clients: u64 = self.now.iter().map(|report| report.clients).sum();
        let outboxes: u64 = self.now.iter().map(|report| report.outbox_bytes).sum();
        json!([
            u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX),
            self.of(|report| report.deliveries).round(),
            self.of(|report| report.publications).round(),
            clients,
            outboxes,
            (self.busy() * 1e3).round() / 1e3,
            rows,
        ])
    }
}

#[cfg(test)]
mod tests {
    use stentor_shards::Position;

    use super::*;

    #[test]
    fn rates_are_of_the_time_between_two_samples() {
        let report = |shard, deliveries, busy_microseconds| Report {
            shard,
            deliveries,
            busy_microseconds,
            clients: 2,
            ..Report::default()
        };
        let before = [report(0, 100, 0), report(1, 10, 500_000)];
        let now = [report(0, 300, 1_000_000), report(1, 10, 500_000)];
        let rates = Rates { elapsed: Duration::from_secs(2), now: &now, before: &before };
        let told = rates.told();
        assert_eq!(told["total"]["deliveries"], 100.0);
        assert_eq!(told["total"]["busy_cores"], 0.5);
        assert_eq!(
            (&told["shards"][0]["busy"], &told["shards"][1]["busy"]),
            (&0.5.into(), &0.0.into())
        );
        assert_eq!(rates.column(&[1, 2]), json!([2000, 100.0, 0.0, 4, 0, 0.5, [1, 2]]));
    }

    #[test]
    fn clients_of_a_channel_are_those_of_all_shards() {
        let info = |channel: &str, clients, offset| ChannelInfo {
            channel: channel.into(),
            clients,
            users: 0,
            newest: Position { offset, epoch: "5b1c9e04".parse().unwrap() },
        };
        let all = merged([info("a", 1, 5), info("b", 9, 0), info("a", 2, 4)].into_iter());
        assert_eq!((all["a"], all["b"]), ((3, 5), (9, 0)));
    }
}
