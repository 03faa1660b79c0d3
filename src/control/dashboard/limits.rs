//! The limits of the host and of the settings, with what is used of each at the moment.

use std::fs;

use serde_json::{Value, json};
use stentor_shards::Report;

use crate::config;
use crate::control::process::Process;
use crate::host::{Host, Needs};

/// Limits as they were read at start, which do not change while the process lives.
#[derive(Debug, Clone)]
pub(in crate::control) struct Limits {
    host: Host,
    needs: Needs,
    outbox_bytes: u64,
    history_bytes: u64,
    channels: u64,
}

/// The use of one limit.
struct Use {
    name: &'static str,
    unit: &'static str,
    used: f64,
    /// `None`: there is no limit.
    max: Option<f64>,
    /// The use grows with the load, so that it says how far the load may grow.
    grows: bool,
}

impl Limits {
    pub(in crate::control) fn of(settings: &config::Settings) -> Self {
        let shards = &settings.shards;
        let count = shards.cores.len().max(1);
        Self {
            host: Host::read(),
            needs: Needs::of(count, shards.ring),
            outbox_bytes: (shards.outbox_total_bytes * count) as u64,
            history_bytes: (shards.history_total_bytes * count) as u64,
            channels: (shards.channels_per_shard * count) as u64,
        }
    }

    /// Returns the use of each limit; `busy` is the time of cores that the shards use.
    pub(super) fn told(&self, reports: &[Report], process: &Process, busy: Option<f64>) -> Value {
        let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
        let cores = wide(self.needs.shards);
        let mut uses = vec![Use {
            name: "CPU time of the shards",
            unit: "cores",
            used: busy.unwrap_or(0.0),
            max: Some(self.host.quota().map_or(cores, |quota| quota.min(cores))),
            grows: true,
        }];
        let mut add = |name, unit, used: Option<u64>, max: Option<u64>, grows| {
            let max = max.filter(|max| *max < u64::MAX).map(wide);
            uses.extend(used.map(|used| Use { name, unit, used: wide(used), max, grows }));
        };
        let open = process.open_descriptors;
        add("Open files (nofile)", "", open, process.descriptors_max, true);
        let resident = process.resident_bytes;
        let memory = resident.map(|resident| self.memory_max(resident));
        add("Memory", "bytes", resident, memory, true);
        let watches = sum(|report| report.clients + report.handshakes) + self.needs.watches();
        add("Watched sockets", "", Some(watches), Some(self.host.watches), true);
        let pages = rustix::param::page_size() as u64;
        let tcp_max = self.host.tcp_mem_pages.checked_mul(pages);
        add("TCP memory of the host", "bytes", tcp_pages().map(|used| used * pages), tcp_max, true);
        let outboxes = sum(|report| report.outbox_bytes);
        add("Outboxes of slow clients", "bytes", Some(outboxes), Some(self.outbox_bytes), false);
        let histories = sum(|report| report.history_bytes);
        add("Histories", "bytes", Some(histories), Some(self.history_bytes), false);
        let channels = sum(|report| report.channels);
        add("Channels, over all shards", "", Some(channels), Some(self.channels), true);
        let locked = self.needs.locked_bytes();
        if locked > 0 {
            let max = Some(self.host.memlock);
            add("Locked memory of the rings", "bytes", Some(locked), max, false);
        }
        uses.iter().map(Use::told).collect()
    }

    /// What this process has and what is left on the host, within the bound of its control groups.
    fn memory_max(&self, resident: u64) -> u64 {
        let left = crate::host::memory_available();
        let bound = self.host.group.memory.as_ref().map_or(u64::MAX, |(bytes, _)| *bytes);
        resident.saturating_add(left).min(bound)
    }
}

impl Use {
    fn told(&self) -> Value {
        json!({
            "limit": self.name,
            "unit": self.unit,
            "used": self.used,
            "max": self.max,
            "grows": self.grows,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people, who read three digits")]
fn wide(number: u64) -> f64 {
    number as f64
}

/// Pages that TCP uses on this host.
fn tcp_pages() -> Option<u64> {
    pages_in(&fs::read_to_string("/proc/net/sockstat").ok()?)
}

fn pages_in(sockstat: &str) -> Option<u64> {
    let line = sockstat.lines().find(|line| line.starts_with("TCP:"))?;
    line.split_whitespace().skip_while(|word| *word != "mem").nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_tcp_are_read() {
        let text = "sockets: used 9\nTCP: inuse 4 orphan 0 tw 0 alloc 6 mem 17\nUDP: inuse 0\n";
        assert_eq!(pages_in(text), Some(17));
        assert_eq!(pages_in("TCP6: inuse 1\n"), None);
    }

    #[test]
    fn every_limit_has_its_use() {
        let mut settings = config::Settings::default();
        settings.shards.cores = vec![0, 1];
        let limits = Limits::of(&settings);
        let reports = [Report { clients: 3, outbox_bytes: 7, ..Report::default() }];
        let told = limits.told(&reports, &crate::control::process::read(), Some(0.5));
        let find = |name: &str| {
            let all = told.as_array().unwrap().iter();
            all.clone().find(|one| one["limit"].as_str().unwrap().contains(name)).unwrap()
        };
        assert_eq!((&find("CPU")["used"], &find("CPU")["unit"]), (&json!(0.5), &json!("cores")));
        assert_eq!(find("Outboxes")["used"], 7.0);
        assert_eq!(find("Watched")["used"], 3.0 + 4.0);
        assert!(find("Memory")["used"].as_f64() < find("Memory")["max"].as_f64());
        assert!(find("nofile")["used"].as_f64() > Some(0.0));
    }
}
