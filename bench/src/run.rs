//! The record of a run, from which every output is made, and the schema of its JSON.
//!
//! Times are in nanoseconds where a field ends in `_ns`, in seconds where it ends in `_s`. Shares
//! are of one core, from 0. A histogram is stored whole, as the base64 of `HdrHistogram`'s
//! compressed V2 form, in nanoseconds, so that runs can be merged and drawn again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the schema; it grows when a field changes its meaning or goes.
pub(crate) const SCHEMA_VERSION: u32 = 1;

/// One run, whole.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) schema_version: u32,
    /// The subcommand.
    pub(crate) command: String,
    /// As typed, to repeat it.
    pub(crate) command_line: Vec<String>,
    /// The name of the run in charts; the file's name if empty.
    #[serde(default)]
    pub(crate) label: String,
    /// Of this tool.
    pub(crate) version: String,
    pub(crate) seed: u64,
    /// Milliseconds since 1970 at which measuring began, after the warm-up.
    pub(crate) began_unix_ms: u64,
    pub(crate) host: Host,
    pub(crate) target: Target,
    pub(crate) load: Load,
    pub(crate) totals: Totals,
    /// The account of each channel, where there were several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) channels: Option<Channels>,
    /// By name: `delivery` (publish to each receipt), `last` (publish to the last receipt),
    /// `service` (the same as `delivery` from the actual send), `late` (the generator's own
    /// lateness), `handshake`, `echo`, `return` (the end of a client's connection to its return).
    pub(crate) latencies: BTreeMap<String, Latency>,
    /// Of the measured server, if its process is known.
    pub(crate) server: Option<ServerCost>,
    pub(crate) generator: Generator,
    /// The outcome for clients whose connections ended, where they were to come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) returns: Option<Returns>,
    /// The processes that drove the load, where those were several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) agents: Vec<Agent>,
    /// The same load against the bare loop in the same run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<Box<Run>>,
    /// The loads that a search has tried; the rest is a run of its answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) search: Option<Box<Search>>,
    /// One entry a second.
    pub(crate) series: Vec<Second>,
    pub(crate) thresholds: Vec<Verdict>,
    /// Why the run proves nothing; empty for a valid one.
    pub(crate) faults: Vec<Fault>,
}

impl Run {
    /// Returns `true` if someone ended the run early.
    pub(crate) fn was_cut_short(&self) -> bool {
        self.totals.seconds < 0.99 * self.load.seconds
    }
}

/// Where the generator ran.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cores: u32,
    pub(crate) memory_bytes: u64,
    /// Load average of the last minute, before the run.
    pub(crate) load: f64,
    /// Share of all cores' time that the hypervisor took during the run.
    pub(crate) steal: f64,
}

/// The server that was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) url: String,
    /// `tcp` or `tls`.
    pub(crate) transport: String,
    /// The form of a message there: `plain`, the subprotocol, the dialect, or the template.
    pub(crate) dialect: String,
}

/// The load that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) clients: u64,
    pub(crate) publishers: u64,
    /// Payload of each message; where they are of several lengths, the mean.
    pub(crate) bytes: u64,
    /// The lengths and their shares as typed, where they are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sizes: Option<String>,
    /// Channels that the clients and publishers are divided into.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) channels: Option<u64>,
    /// Each message was for one client.
    #[serde(default)]
    pub(crate) direct: bool,
    /// Messages in flight of each publisher, in a closed loop.
    pub(crate) window: Option<u64>,
    /// Publications a second of all publishers together, in an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) seconds: f64,
    pub(crate) warm_up_s: f64,
}

/// Counts of the measured time; disconnects and failures are from the first client on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) seconds: f64,
    pub(crate) published: u64,
    /// Receipts of messages that were meant to leave within the measured time, whenever they came.
    pub(crate) deliveries: u64,
    /// Receipts that came within the measured time, of whatever messages: what rates and costs are
    /// told by. Older records do not know it.
    #[serde(default)]
    pub(crate) deliveries_in_time: Option<u64>,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    /// Receipts that came after a later one of the same publisher.
    pub(crate) out_of_order: u64,
    /// Clients that heard two publishers in another order than the first client did.
    pub(crate) disordered_clients: u64,
    /// Messages that were meant for others: in echoes those of other clients.
    #[serde(default)]
    pub(crate) strays: u64,
    /// Bytes that came within the measured time.
    pub(crate) bytes_in: u64,
    /// Clients that connected.
    pub(crate) connected: u64,
    /// Those of them whose TLS handshake resumed an earlier session of theirs.
    #[serde(default)]
    pub(crate) resumed: u64,
    /// Publications that were due when their publisher had no connection.
    #[serde(default)]
    pub(crate) unsaid: u64,
    /// Pings of the server that were answered.
    #[serde(default)]
    pub(crate) pings: u64,
    /// Clients that the server closed, by close code; `none` without one, and `no close_notify`
    /// where TLS was cut off as well.
    pub(crate) disconnects: BTreeMap<String, u64>,
    /// Connects that failed, by cause.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Publications that the server refused, by its error.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) refused: BTreeMap<String, u64>,
}

/// The account of all channels of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Channels {
    pub(crate) count: u64,
    /// Clients of each that connected.
    pub(crate) members: u64,
    /// Receipts in the channel that had the fewest, and in the one that had the most.
    pub(crate) receipts_least: u64,
    pub(crate) receipts_most: u64,
    /// Channels in which some client did not hear all that was published.
    pub(crate) short: u64,
}

impl Totals {
    /// Receipts of the measured time itself.
    pub(crate) fn in_time(&self) -> u64 {
        self.deliveries_in_time.unwrap_or(self.deliveries)
    }
}

/// How clients came back whose connections had ended, from the run's beginning to its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Returns {
    /// How often a client was there again.
    pub(crate) returned: u64,
    /// Clients that were not back at the end.
    pub(crate) away: u64,
    /// How often a client that was back was told all that it had missed.
    #[serde(default)]
    pub(crate) recovered: u64,
    /// How often a client that was back asked for what it had missed, and the server did not have
    /// all of it.
    #[serde(default)]
    pub(crate) unrecovered: u64,
    /// Receipts that did not come because their client was away, or was cut off while they were on
    /// their way to it, as far as it heard later ones. They are not counted as lost.
    pub(crate) missed: u64,
    /// The longest time for which somebody was away; none where nobody was, or not all are back.
    pub(crate) recovery_s: Option<f64>,
    /// Tries that failed, by cause.
    pub(crate) failures: BTreeMap<String, u64>,
}

/// A distribution.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) min_ns: u64,
    pub(crate) mean_ns: f64,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) p9999_ns: u64,
    pub(crate) max_ns: u64,
    pub(crate) histogram: String,
}

/// The resources that the server's process used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ServerCost {
    pub(crate) pid: u32,
    pub(crate) user_s: f64,
    pub(crate) system_s: f64,
    pub(crate) cpu_share: f64,
    /// Of its busiest thread: what no more than one core can give.
    #[serde(default)]
    pub(crate) busiest_thread_share: f64,
    pub(crate) cpu_ns_per_delivery: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) pss_bytes: u64,
    pub(crate) private_bytes: u64,
    /// The part of it that each client of this run added; none where that is not to be told.
    pub(crate) private_bytes_per_client: Option<f64>,
    /// Why not, and what would tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory_untold: Option<String>,
}

/// The resources that the generator used, and its lateness.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Generator {
    pub(crate) threads: u32,
    /// Processes that drove clients.
    pub(crate) agents: u32,
    /// Of its busiest thread.
    pub(crate) cpu_share: f64,
    pub(crate) cpu_ns_per_receipt: f64,
    /// Of it outside of the kernel: what the tool itself costs, where the rest is the network's.
    #[serde(default)]
    pub(crate) user_ns_per_receipt: f64,
}

/// One of several processes that drove a load together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Agent {
    /// Its number and, unless it was started for the run, its address.
    pub(crate) name: String,
    pub(crate) host: Host,
    /// Clients of it that connected.
    pub(crate) connected: u64,
    pub(crate) threads: u32,
    /// The most files and sockets that it may have open.
    pub(crate) descriptors: u64,
    /// The offset that it added to its clock; 0 on the coordinator's host, whose clock is the
    /// run's.
    pub(crate) clock_offset_ns: i64,
    /// How much more would have been right when the run was over.
    pub(crate) clock_drift_ns: i64,
    /// The most by which its moments may be wrong: half the shortest round trip, and the drift.
    pub(crate) clock_uncertainty_ns: u64,
    /// Messages of which it could not tell that all its clients had heard them: `last` lacks them.
    pub(crate) notes_lost: u64,
}

/// One second of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Second {
    /// Since `began_unix_ms`, where the second begins.
    pub(crate) at_s: f64,
    pub(crate) published: u64,
    pub(crate) deliveries: u64,
    /// Handshakes that were answered in it.
    #[serde(default)]
    pub(crate) connects: u64,
    pub(crate) server_cpu_share: Option<f64>,
    pub(crate) generator_cpu_share: f64,
    /// Of `delivery` (or `echo`, or `handshake`), as in [`Latency::histogram`].
    pub(crate) histogram: String,
}

/// The outcome of one `--threshold`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    /// As typed.
    pub(crate) threshold: String,
    /// The value that was found, in the threshold's unit; `None`: the run has no such figure.
    pub(crate) found: Option<f64>,
    pub(crate) met: bool,
}

/// Why a run proves nothing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fault {
    /// The fault, in a few words.
    pub(crate) what: String,
    /// The remedy.
    pub(crate) remedy: String,
}

/// A search for the greatest load that holds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Search {
    /// The quantity that was raised.
    pub(crate) by: By,
    /// The thresholds that had to hold.
    pub(crate) slos: Vec<String>,
    /// The least load that was tried, and the greatest that would have been.
    pub(crate) start: f64,
    pub(crate) max: f64,
    pub(crate) factor: f64,
    pub(crate) precision: f64,
    /// Of every step; less where fewer decided it.
    pub(crate) repeats: u64,
    /// The greatest load that held.
    pub(crate) held: Option<f64>,
    /// The least load that did not.
    pub(crate) missed: Option<f64>,
    pub(crate) ended: Ended,
    /// Why it ended before it was through: what was wrong, and what would cure it.
    pub(crate) fault: Option<Fault>,
    /// The figures that moved between the two, the first one first.
    pub(crate) moved: Vec<Moved>,
    /// In the order in which they were tried.
    pub(crate) steps: Vec<Step>,
}

/// The quantity that a search raises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    /// Publications a second, of as many clients at every step.
    #[default]
    Rate,
    /// Clients, at the same rate.
    Clients,
}

/// How a search ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// Between what held and what did not.
    #[default]
    Found,
    /// The greatest load that was to be tried held.
    Max,
    /// Not even the least load held.
    None,
    /// At some load the generator was the limit.
    Unproven,
    /// The server could not be reached any more.
    Unreachable,
    /// From outside.
    Interrupted,
}

/// One load of a search.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) load: f64,
    /// `held`, `missed` or `unproven`.
    pub(crate) verdict: String,
    /// The thresholds that were missed, or the faults by which the run proves nothing.
    pub(crate) why: Vec<String>,
    /// Its repeats, whole. One that ended without a record is missing.
    pub(crate) runs: Vec<Run>,
}

/// A figure that was another where the load did not hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Moved {
    pub(crate) figure: String,
    /// The median at the greatest load that held.
    pub(crate) from: f64,
    /// The median at the least load that did not.
    pub(crate) to: f64,
    /// The same in words.
    pub(crate) said: String,
}
