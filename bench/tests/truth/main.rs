//! The tool tells the truth: servers with known faults, and the figures that are right for each.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod abandoned;
mod agents;
mod audience;
mod commands;
mod echo;
mod events;
mod forms;
mod returns;
mod server;
mod several;
mod storms;
mod window;

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use server::{CLIENTS, Rule, answer, bench, command, found, hold, ms, run, serve};

fn stalling() -> Rule {
    Box::new(|number, frame| {
        if number == 100 {
            hold(Duration::from_millis(500));
        }
        vec![frame]
    })
}

/// At 100/s a stall of half a second catches fifty messages, and each waits ten milliseconds less
/// than the one before. Of three hundred the tenth part waited 200 ms and more, the hundredth 470.
#[test]
fn a_stall_shows_in_an_open_loop() {
    let run = found(&bench(serve(stalling()), "-r 100/s -d 3s"));
    assert_eq!((&run["totals"]["published"], &run["totals"]["lost"]), (&300.into(), &0.into()));
    for latency in ["delivery", "last"] {
        let (p50, p90) = (ms(&run, latency, "p50_ns"), ms(&run, latency, "p90_ns"));
        let (p99, max) = (ms(&run, latency, "p99_ns"), ms(&run, latency, "max_ns"));
        assert!(p50 < 20.0, "{latency}: {p50}");
        assert!((190.0..260.0).contains(&p90), "{latency}: {p90}");
        assert!((460.0..560.0).contains(&p99), "{latency}: {p99}");
        assert!((499.0..600.0).contains(&max), "{latency}: {max}");
    }
}

/// In a closed loop the same stall is one slow message among thousands: that is what such a loop
/// hides.
#[test]
fn a_stall_hides_in_a_closed_loop() {
    let run = found(&bench(serve(stalling()), "-w 1 -d 3s"));
    assert!(run["totals"]["published"].as_u64().unwrap() > 500, "{}", run["totals"]);
    assert!(ms(&run, "delivery", "p99_ns") < 50.0, "{}", ms(&run, "delivery", "p99_ns"));
    assert!(ms(&run, "delivery", "max_ns") >= 499.0);
}

/// One message in twenty is held for 30 ms: nine in ten are fast, and the 99th percentile is not.
#[test]
fn a_known_delay_is_found_where_it_is() {
    let rule: Rule = Box::new(|number, frame| {
        if number % 20 == 10 {
            hold(Duration::from_millis(30));
        }
        vec![frame]
    });
    let run = found(&bench(serve(rule), "-r 25/s -d 8s"));
    let (p90, p99) = (ms(&run, "delivery", "p90_ns"), ms(&run, "delivery", "p99_ns"));
    assert!(p90 < 20.0, "{p90}");
    assert!((29.9..60.0).contains(&p99), "{p99}");
}

#[test]
fn lost_messages_are_counted() {
    let rule: Rule =
        Box::new(|number, frame| if number % 100 == 50 { Vec::new() } else { vec![frame] });
    let output = bench(serve(rule), "-r 500/s -d 2s --threshold lost==0");
    let run = found(&output);
    assert_eq!(run["totals"]["lost"], 10 * CLIENTS);
    assert_eq!(run["thresholds"][0]["met"], false);
    // On a busy machine the generator may be late, which weighs more than a threshold.
    let valid = run["faults"].as_array().unwrap().is_empty();
    assert_eq!(output.status.code(), Some(if valid { 99 } else { 4 }), "{}", run["faults"]);
}

/// A closed loop waits for what is lost only for a second, and goes on.
#[test]
fn a_loss_does_not_end_a_closed_loop() {
    let rule: Rule = Box::new(|number, frame| if number == 50 { Vec::new() } else { vec![frame] });
    let run = found(&bench(serve(rule), "-w 1 -d 3s"));
    assert_eq!(run["totals"]["lost"], CLIENTS);
    assert!(run["totals"]["published"].as_u64().unwrap() > 200, "{}", run["totals"]);
}

#[test]
fn duplicates_are_counted() {
    let rule: Rule = Box::new(|number, frame| {
        let times = if number % 100 == 50 { 2 } else { 1 };
        vec![frame; times]
    });
    let run = found(&bench(serve(rule), "-r 500/s -d 2s"));
    let totals = &run["totals"];
    assert_eq!((&totals["duplicated"], &totals["lost"]), (&(10 * CLIENTS).into(), &0.into()));
    assert_eq!(totals["deliveries"], 1000 * CLIENTS);
}

#[test]
fn disorder_is_counted() {
    let mut kept: Option<Vec<u8>> = None;
    let rule: Rule = Box::new(move |number, frame| {
        if number % 100 == 50 {
            kept = Some(frame);
            return Vec::new();
        }
        std::iter::once(frame).chain(kept.take()).collect()
    });
    let run = found(&bench(serve(rule), "-r 500/s -d 2s"));
    let totals = &run["totals"];
    assert_eq!((&totals["out_of_order"], &totals["lost"]), (&(10 * CLIENTS).into(), &0.into()));
}

#[test]
fn a_server_that_closes_is_counted_by_code() {
    let rule: Rule =
        Box::new(
            |number, frame| {
                if number == 20 { vec![frame, vec![0x88, 2, 0x0b, 0xc0]] } else { vec![frame] }
            },
        );
    let run = found(&bench(serve(rule), "-r 500/s -d 1s"));
    // It goes on talking behind its close frame; nobody asked it to hang up.
    assert!(run["totals"]["published"].as_u64().unwrap() > 100);
    let nobody = Command::new(env!("CARGO_BIN_EXE_stentor-bench"))
        .args(["fanout", "ws://127.0.0.1:1/ws", "-c", "3", "-d", "1s", "--quiet"])
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(3));
    let text = String::from_utf8_lossy(&nobody.stderr);
    assert!(text.starts_with("stentor-bench: ws://127.0.0.1:1/ws: ") && text.lines().count() == 1);
    assert!(text.contains("refused"), "{text}");
}

#[test]
fn idle_clients_are_there_and_measured() {
    let pid = std::process::id();
    let flags = format!("-d 1500ms --threads 2 --server-pid {pid}");
    let run = found(&run(answer(CLIENTS), "idle", &flags));
    assert_eq!(run["totals"]["connected"], CLIENTS);
    assert_eq!(run["server"]["pid"], pid);
    assert!(run["server"]["rss_bytes"].as_u64().unwrap() > 100_000);
    let seconds = run["series"].as_array().unwrap();
    assert!(seconds.iter().all(|second| second["server_cpu_share"].is_f64()), "{seconds:?}");
    assert_eq!(seconds.len(), 2, "{seconds:?}");
}

/// The receipts until then count, and for the time that was measured.
#[test]
fn an_interrupted_run_ends_early_and_reports_its_receipts_so_far() {
    let child =
        command(serve(Box::new(|_, frame| vec![frame])), "fanout", "--size 64 --warmup 0 -r 1k/s")
            .args(["-d", "1h"])
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
    let pid = child.id().to_string();
    // It is at work as soon as it has run for a while, which it does not before all are there.
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        stat.split(' ').skip(13).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>()
    };
    let until = Instant::now() + Duration::from_mins(1);
    while ticks() < 20 && Instant::now() < until {
        thread::park_timeout(Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let run = found(&output);
    let totals = &run["totals"];
    let (seconds, published) =
        (totals["seconds"].as_f64().unwrap(), totals["published"].as_f64().unwrap());
    assert!((0.2..60.0).contains(&seconds), "{seconds}");
    assert!((published / seconds - 1000.0).abs() < 100.0, "{published} in {seconds} s");
    assert_eq!(totals["lost"], 0, "{totals}");
}

#[test]
fn a_load_is_held_against_the_bare_loop() {
    let rule: Rule = Box::new(|_, frame| vec![frame]);
    let run = found(&bench(serve(rule), "-r 300/s -d 1s --against-limit"));
    assert_eq!(run["limit"]["totals"]["lost"], 0);
    assert_eq!(run["limit"]["totals"]["deliveries"], run["totals"]["deliveries"]);
    assert!(run["limit"]["server"]["cpu_ns_per_delivery"].as_f64().unwrap() > 0.0);
}

#[test]
fn too_few_samples_prove_nothing() {
    let rule: Rule = Box::new(|_, frame| vec![frame]);
    let output = bench(serve(rule), "-r 20/s -d 1s");
    assert_eq!(output.status.code(), Some(4));
    assert!(found(&output)["faults"][0]["what"].as_str().unwrap().contains("too few"));
    let usage = bench(SocketAddr::from(([127, 0, 0, 1], 1)), "--size 10");
    assert_eq!(usage.status.code(), Some(2));
}
