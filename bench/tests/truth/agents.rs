//! Several processes that drive one load report the figures of one process.

use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use crate::server::{CLIENTS, Rule, answer, by_second, echo, found, hold, ms, run};
use crate::several::{BENCH, Process, agent_as, drive, fan, published, same, until};

/// Of every hundred messages one is lost, one comes twice and one after its follower. The publisher
/// is in one process, those that hear it in three.
#[test]
fn faults_are_counted_as_by_one_process() {
    for agents in ["", "--agents 3", "--agents 2 --threads 2"] {
        let mut kept: Option<Vec<u8>> = None;
        let rule: Rule = Box::new(move |number, frame| match number % 100 {
            50 => Vec::new(),
            20 => vec![frame; 2],
            70 => {
                kept = Some(frame);
                Vec::new()
            }
            _ => std::iter::once(frame).chain(kept.take()).collect(),
        });
        let flags = format!("-r 500/s -d 2s {agents}");
        let run = found(&drive(fan(CLIENTS, Duration::ZERO, rule), CLIENTS, &flags));
        let totals = &run["totals"];
        let published = published(&run, 1000);
        // How many of them have this place in their hundred.
        let at = |place: u64| (published + 99 - place) / 100;
        let lost = at(50) + at(70) - at(71);
        for (fault, messages) in [("lost", lost), ("duplicated", at(20)), ("out_of_order", at(71))]
        {
            assert_eq!(totals[fault], messages * CLIENTS as u64, "{agents}: {fault}");
        }
        let heard = published - lost;
        assert_eq!(totals["disordered_clients"], 0);
        assert_eq!(totals["deliveries"], heard * CLIENTS as u64, "{agents}");
        assert_eq!(run["latencies"]["last"]["count"], heard, "{agents}");
        assert_eq!(by_second(&run, "deliveries"), heard * CLIENTS as u64, "{agents}");
    }
}

/// The same in a closed loop, which goes on only when all clients of all processes have heard.
#[test]
fn a_closed_loop_goes_on_across_processes() {
    for agents in ["", "--agents 3"] {
        let rule: Rule = Box::new(|number, frame| {
            let times = if number % 50 == 20 { 2 } else { 1 };
            vec![frame; times]
        });
        let address = fan(CLIENTS, Duration::ZERO, rule);
        let run = found(&drive(address, CLIENTS, &format!("-w 4 -d 2s {agents}")));
        let totals = &run["totals"];
        let published = totals["published"].as_u64().unwrap();
        assert!(published > 20, "{agents}: {published}");
        assert_eq!(totals["lost"], 0, "{agents}");
        let twice = (published + 29) / 50 * CLIENTS as u64;
        assert_eq!(totals["duplicated"], twice, "{agents}: of {published}");
        assert_eq!(run["latencies"]["last"]["count"], published, "{agents}");
    }
}

/// As in one process: of three hundred messages the tenth part waited 200 ms and more, the
/// hundredth 470. Each process has a publisher, and hears those of the others.
#[test]
fn percentiles_come_out_as_computed_by_hand() {
    for agents in ["", "--agents 3"] {
        let rule: Rule = Box::new(|number, frame| {
            if number == 100 {
                hold(Duration::from_millis(500));
            }
            vec![frame]
        });
        let flags = format!("-r 100/s -P 3 -d 3s {agents}");
        let run = found(&drive(fan(CLIENTS, Duration::ZERO, rule), CLIENTS, &flags));
        assert_eq!(run["totals"]["lost"], 0);
        for latency in ["delivery", "last"] {
            let (p50, p90) = (ms(&run, latency, "p50_ns"), ms(&run, latency, "p90_ns"));
            let (p99, max) = (ms(&run, latency, "p99_ns"), ms(&run, latency, "max_ns"));
            assert!(p50 < 100.0, "{agents} {latency}: {p50}");
            assert!((190.0..350.0).contains(&p90), "{agents} {latency}: {p90}");
            assert!((460.0..700.0).contains(&p99), "{agents} {latency}: {p99}");
            assert!((499.0..800.0).contains(&max), "{agents} {latency}: {max}");
        }
        assert_eq!(run["latencies"]["last"]["count"], published(&run, 300));
    }
}

/// Three clients in three processes, each of which hears 20 ms after the one before.
#[test]
fn the_last_receipt_is_that_of_all_processes() {
    let pause = Duration::from_millis(20);
    let run = found(&drive(fan(3, pause, same()), 3, "--agents 3 -P 3 -r 9/s -d 4s"));
    assert_eq!(run["latencies"]["last"]["count"], run["totals"]["published"]);
    assert!(ms(&run, "last", "min_ns") >= 39.9, "{}", ms(&run, "last", "min_ns"));
    assert!(ms(&run, "delivery", "min_ns") < 20.0);
    let flags = "--agents 3 -P 1 -w 1 -d 3s";
    let run = found(&drive(fan(3, pause, same()), 3, flags));
    let published = run["totals"]["published"].as_u64().unwrap();
    // Each waits until the one before has reached everyone, 40 ms later at least.
    assert!((5..=75).contains(&published), "{published}");
}

#[test]
fn storms_idle_clients_and_echoes_are_shared_too() {
    let output = run(answer(2 * CLIENTS), "connect", "--rounds 2 --hold 0 --agents 3");
    let storm = found(&output);
    assert_eq!(storm["totals"]["connected"], 2 * CLIENTS);
    assert_eq!(storm["latencies"]["handshake"]["count"], 2 * CLIENTS);
    assert_eq!((storm["agents"].as_array().unwrap().len(), output.status.code()), (3, Some(0)));
    let idle = found(&run(answer(CLIENTS), "idle", "-d 500ms --agents 2"));
    assert_eq!(idle["totals"]["connected"], CLIENTS);
    let echoes = echo(Box::new(|_| (Duration::ZERO, 1)), false);
    let echoes = found(&run(echoes, "echo", "--size 64 --warmup 0 -r 500/s -d 1s --agents 3"));
    assert_eq!(echoes["totals"]["lost"], 0);
    assert_eq!(echoes["latencies"]["echo"]["count"], published(&echoes, 500));
}

/// Each process has descriptors of its own: together they hold what one cannot.
#[test]
fn agents_together_have_more_clients_than_one_process_may() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let raw = Command::new(BENCH).args(["raw", "--listen", &free.to_string()]).spawn().unwrap();
    let _raw = Process(raw);
    until("the bare loop", || TcpStream::connect(free).is_ok());
    let limited = |agents: &[&str]| {
        let output = Command::new("sh")
            .args(["-c", "ulimit -n 400; exec \"$@\"", "sh", BENCH])
            .args(["fanout", &format!("ws://{free}/ws"), "-c", "1000", "--quiet"])
            .args(["-r", "10/s", "-d", "1s", "--warmup", "0", "--json", "/dev/stderr"])
            .args(agents)
            .output()
            .unwrap();
        found(&output)
    };
    let alone = limited(&[]);
    assert!(alone["totals"]["connected"].as_u64().unwrap() < 400, "{}", alone["totals"]);
    assert!(alone["faults"][0]["what"].as_str().unwrap().contains("Too many open files"));
    let together = limited(&["--agents", "3"]);
    let totals = &together["totals"];
    assert_eq!((&totals["connected"], &totals["lost"]), (&1000.into(), &0.into()), "{totals}");
    assert_eq!(totals["deliveries"], totals["published"].as_u64().unwrap() * 1000);
    let agents = together["agents"].as_array().unwrap();
    let held: u64 = agents.iter().map(|agent| agent["connected"].as_u64().unwrap()).sum();
    assert_eq!(held, 1000);
    assert!(agents.iter().all(|agent| agent["descriptors"] == 400), "{agents:?}");
    assert!(agents.iter().all(|agent| agent["clock_uncertainty_ns"] == 0), "one host's clock");
    assert_eq!(together["generator"]["agents"], 3);
}

/// The interval histograms of all processes and the whole are the same receipts.
#[test]
fn seconds_of_all_processes_make_up_the_whole() {
    let address = fan(CLIENTS, Duration::ZERO, same());
    let run = found(&drive(address, CLIENTS, "--agents 3 -P 3 -r 300/s -d 3s"));
    let receipts = published(&run, 900) * CLIENTS as u64;
    assert_eq!(by_second(&run, "published") * CLIENTS as u64, receipts);
    assert_eq!(by_second(&run, "deliveries"), receipts);
    assert_eq!(run["latencies"]["delivery"]["count"], receipts);
    let seconds = run["series"].as_array().unwrap();
    assert!((3..=4).contains(&seconds.len()), "one entry a second: {}", seconds.len());
}

/// Two agents, one of them with a monotonic clock that is more than an hour ahead, as another
/// host's may be. Both publish and hear each other.
#[test]
fn clocks_of_other_hosts_are_brought_together() {
    let ahead = ["--user", "--map-root-user", "--time", "--monotonic", "5000"];
    let can = Command::new("unshare").args(ahead).arg("true").status();
    if !can.is_ok_and(|status| status.success()) {
        // A host that keeps its users from a clock of their own has no second clock to test with.
        return;
    }
    let mut other = Command::new("unshare");
    other.args(ahead).arg(BENCH);
    let (_other, address) = agent_as(other, &[]);
    let rule: Rule = Box::new(|number, frame| {
        if number == 100 {
            hold(Duration::from_millis(500));
        }
        vec![frame]
    });
    let flags = format!("-r 100/s -P 2 -d 3s --agents 1,{address}");
    let run = found(&drive(fan(CLIENTS, Duration::ZERO, rule), CLIENTS, &flags));
    assert_eq!(run["totals"]["lost"], 0);
    assert_eq!(run["latencies"]["last"]["count"], published(&run, 300));
    for latency in ["delivery", "last", "service"] {
        let (p50, max) = (ms(&run, latency, "p50_ns"), ms(&run, latency, "max_ns"));
        assert!(p50 < 100.0 && (499.0..800.0).contains(&max), "{latency}: {p50} {max}");
    }
    let (p90, p99) = (ms(&run, "delivery", "p90_ns"), ms(&run, "delivery", "p99_ns"));
    assert!((190.0..350.0).contains(&p90) && (460.0..700.0).contains(&p99), "{p90} {p99}");
    let clock = |agent: usize, of: &str| run["agents"][agent][of].as_i64().unwrap();
    assert_eq!((clock(0, "clock_offset_ns"), clock(0, "clock_uncertainty_ns")), (0, 0));
    let off = clock(1, "clock_offset_ns") + 5_000_000_000_000;
    let uncertain = clock(1, "clock_uncertainty_ns");
    assert!(uncertain > 0 && off.abs() <= uncertain, "{off} of {uncertain}");
}
