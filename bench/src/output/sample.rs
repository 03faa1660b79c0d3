//! A run made up for tests, every field of it filled.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::hist;
use crate::run::{
    Agent, By, Channels, Ended, Fault, Generator, Host, Latency, Load, Moved, Returns, Run,
    SCHEMA_VERSION, Search, Second, ServerCost, Step, Target, Totals, Verdict,
};

/// A fan-out of three seconds with one receipt lost, held against the bare loop.
pub(crate) fn run() -> Run {
    let mut run = bare("stentor", 1_000_000);
    run.limit = Some(Box::new(bare("raw", 500_000)));
    run.agents = vec![agent()];
    run.thresholds = vec![
        Verdict { threshold: "delivery.p99<20ms".to_owned(), found: Some(3.959_807), met: true },
        Verdict { threshold: "lost==0".to_owned(), found: Some(1.0), met: false },
        Verdict { threshold: "echo.p50<1ms".to_owned(), found: None, met: false },
    ];
    run.search = Some(Box::new(search()));
    run.returns = Some(Returns {
        returned: 9,
        away: 1,
        recovered: 6,
        unrecovered: 3,
        missed: 17,
        recovery_s: None,
        failures: BTreeMap::from([("refused".to_owned(), 12)]),
    });
    run.totals.unsaid = 2;
    run.totals.refused = BTreeMap::from([("error 111: too many requests".to_owned(), 4)]);
    run.load.channels = Some(100);
    run.load.sizes = Some("64,1k:0.2".to_owned());
    run.channels = Some(Channels {
        count: 100,
        members: 100,
        receipts_least: 14_999,
        receipts_most: 15_000,
        short: 1,
    });
    run.faults = vec![Fault {
        what: "the generator was busy: 97 % of a core".to_owned(),
        remedy: "give it more cores with --threads".to_owned(),
    }];
    run
}

/// Three loads: the start held, twice as much did not, and in between the generator was the limit.
pub(crate) fn search() -> Search {
    let step = |load, verdict: &str, why: &[&str], floor_ns| Step {
        load,
        verdict: verdict.to_owned(),
        why: why.iter().map(|why| (*why).to_owned()).collect(),
        runs: vec![bare("stentor", floor_ns)],
    };
    Search {
        by: By::Rate,
        slos: vec!["delivery.p99<20ms".to_owned(), "lost==0".to_owned()],
        start: 50.0,
        max: 1e6,
        factor: 2.0,
        precision: 0.05,
        repeats: 3,
        held: Some(50.0),
        missed: Some(100.0),
        ended: Ended::Unproven,
        fault: Some(Fault {
            what: "the generator was late: p99 9 ms".to_owned(),
            remedy: "give it a core of its own".to_owned(),
        }),
        moved: vec![Moved {
            figure: "server.busiest_thread_share".to_owned(),
            from: 0.62,
            to: 0.99,
            said: "server CPU, busiest thread: 62 % → 99 % of a core".to_owned(),
        }],
        steps: vec![
            step(50.0, "held", &[], 1_000_000),
            step(100.0, "missed", &["delivery.p99<20ms: 35.2 ms"], 9_000_000),
            step(75.0, "unproven", &["the generator was late: p99 9 ms"], 8_000_000),
        ],
    }
}

/// The same without a limit, thresholds and faults; latencies run evenly from `floor_ns` to four
/// times that.
pub(crate) fn bare(label: &str, floor_ns: u64) -> Run {
    let seconds = [0, 1, 2].map(|number| histogram(floor_ns, number));
    let delivery = Latency::of(&hist::merged(&seconds));
    let last = Latency::of(&histogram(floor_ns * 3, 0));
    let service = Latency::of(&histogram(floor_ns, 1));
    let late = Latency::of(&histogram(1000, 0));
    let latencies = [("delivery", delivery), ("last", last), ("service", service), ("late", late)];
    Run {
        schema_version: SCHEMA_VERSION,
        command: "fanout".to_owned(),
        command_line: ["stentor-bench", "fanout", "-c", "10000", "--label", "it's"]
            .map(str::to_owned)
            .to_vec(),
        label: label.to_owned(),
        version: "0.1.0".to_owned(),
        seed: 7,
        began_unix_ms: 1_700_000_000_250,
        host: host(),
        target: Target {
            url: "ws://127.0.0.1:9001/ws".to_owned(),
            transport: "tcp".to_owned(),
            dialect: "plain".to_owned(),
        },
        load: Load {
            clients: 10_000,
            publishers: 1,
            bytes: 128,
            sizes: None,
            channels: None,
            direct: false,
            window: None,
            rate: Some(50.0),
            seconds: 3.0,
            warm_up_s: 5.0,
        },
        totals: totals(),
        channels: None,
        latencies: latencies.map(|(name, latency)| (name.to_owned(), latency)).into(),
        server: Some(server(floor_ns)),
        generator: Generator {
            threads: 2,
            agents: 1,
            cpu_share: 0.614,
            cpu_ns_per_receipt: 402.0,
            user_ns_per_receipt: 61.0,
        },
        agents: Vec::new(),
        limit: None,
        returns: None,
        search: None,
        series: (0_u32..).zip(&seconds).map(second).collect(),
        thresholds: Vec::new(),
        faults: Vec::new(),
    }
}

fn histogram(floor_ns: u64, number: u64) -> Histogram<u64> {
    let mut histogram = hist::empty();
    (0..300).for_each(|step| histogram.saturating_record(floor_ns * (100 + step + number) / 100));
    histogram
}

fn host() -> Host {
    Host {
        name: "bench-1".to_owned(),
        kernel: "Linux 6.12.0".to_owned(),
        cpu: "EPYC 9554".to_owned(),
        cores: 4,
        memory_bytes: 16_000_000_000,
        load: 0.42,
        steal: 0.001,
    }
}

fn agent() -> Agent {
    Agent {
        name: "agent 2 (bench-2:7000)".to_owned(),
        host: Host { name: "bench-2".to_owned(), cores: 8, ..host() },
        connected: 10_000,
        threads: 2,
        descriptors: 20_000,
        clock_offset_ns: -1_250_000,
        clock_drift_ns: -900,
        clock_uncertainty_ns: 61_900,
        notes_lost: 0,
    }
}

fn totals() -> Totals {
    Totals {
        seconds: 3.0,
        published: 150,
        deliveries: 1_499_999,
        deliveries_in_time: Some(1_499_999),
        lost: 1,
        duplicated: 0,
        out_of_order: 0,
        disordered_clients: 0,
        strays: 0,
        bytes_in: 192_000_000,
        connected: 10_000,
        unsaid: 0,
        pings: 0,
        resumed: 0,
        disconnects: BTreeMap::from([("1006".to_owned(), 10), ("none".to_owned(), 2)]),
        failures: BTreeMap::from([("refused".to_owned(), 3)]),
        refused: BTreeMap::new(),
    }
}

fn server(floor_ns: u64) -> ServerCost {
    ServerCost {
        pid: 4711,
        user_s: 0.9,
        system_s: 0.546,
        cpu_share: 0.482,
        busiest_thread_share: 0.31,
        cpu_ns_per_delivery: crate::meter::real(floor_ns) / 1000.0,
        rss_bytes: 48_000_000,
        pss_bytes: 47_000_000,
        private_bytes: 45_000_000,
        private_bytes_per_client: Some(3120.0),
        memory_untold: None,
    }
}

fn second((number, histogram): (u32, &Histogram<u64>)) -> Second {
    Second {
        at_s: number.into(),
        published: 50,
        deliveries: 500_000 - u64::from(number == 1),
        connects: 0,
        server_cpu_share: Some(0.48),
        generator_cpu_share: 0.61,
        histogram: hist::encode(histogram),
    }
}
