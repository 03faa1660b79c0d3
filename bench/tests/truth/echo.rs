//! Figures of servers that echo.

use std::time::Duration;

use crate::server::{CLIENTS, EchoRule, bench_echo, by_second, echo, found, hold, ms};

const HELD: Duration = Duration::from_millis(300);

/// Nothing is wrong.
fn faithful() -> EchoRule {
    Box::new(|_| (Duration::ZERO, 1))
}

fn every_hundredth_held() -> EchoRule {
    Box::new(|number| (if number % 100 == 50 { HELD } else { Duration::ZERO }, 1))
}

/// One message in a hundred is held for 300 ms: 98 in a hundred are fast, and of a thousand the
/// five slowest are among the ten that were held.
const AS_COMPUTED: &str = "--threshold echo.p98<200ms --threshold echo.p99.5>=299.9ms";

/// A client speaks every 50 ms, so later messages pass by what is held.
#[test]
fn a_known_delay_is_found_where_it_is() {
    let flags = format!("-r 200/s -d 5s {AS_COMPUTED}");
    let run = found(&bench_echo(echo(every_hundredth_held(), false), &flags));
    let totals = &run["totals"];
    assert_eq!((&totals["published"], &totals["deliveries"]), (&1000.into(), &1000.into()));
    assert_eq!((&totals["lost"], &totals["strays"]), (&0.into(), &0.into()));
    assert_eq!(totals["out_of_order"], 10);
    for verdict in run["thresholds"].as_array().unwrap() {
        assert_eq!(verdict["met"], true, "{verdict}");
    }
    let (longest, p50) = (ms(&run, "echo", "max_ns"), ms(&run, "echo", "p50_ns"));
    assert!((299.9..2000.0).contains(&longest) && p50 < 50.0, "{p50} {longest}");
    assert_eq!(run["latencies"]["service"]["count"], 1000);
    assert_eq!(run["latencies"]["late"]["count"], 1000);
    assert_eq!(by_second(&run, "deliveries"), 1000);
}

/// In a closed loop the same: one in a hundred, whatever the rate is.
#[test]
fn a_closed_loop_finds_the_same_share() {
    let flags = format!("-w 1 -d 3s --threads 2 {AS_COMPUTED}");
    let run = found(&bench_echo(echo(every_hundredth_held(), false), &flags));
    assert!(run["totals"]["published"].as_u64().unwrap() > 1000, "{}", run["totals"]);
    assert_eq!((&run["totals"]["lost"], &run["totals"]["out_of_order"]), (&0.into(), &0.into()));
    for verdict in run["thresholds"].as_array().unwrap() {
        assert_eq!(verdict["met"], true, "{verdict}");
    }
    let load = &run["load"];
    assert_eq!((&load["window"], &load["publishers"]), (&1.into(), &CLIENTS.into()));
}

/// A message of the last moment counts as any other.
#[test]
fn the_end_of_a_busy_loop_loses_nothing() {
    for _ in 0..5 {
        let run = found(&bench_echo(echo(faithful(), false), "-w 64 -d 100ms"));
        assert_eq!(run["totals"]["lost"], 0, "{}", run["totals"]);
    }
}

/// At 100/s over all clients a stall of half a second catches fifty messages, and each waits ten
/// milliseconds less than the one before. Of three hundred the tenth part waited 200 ms and more.
#[test]
fn a_stall_shows_in_an_open_loop() {
    let mut stalled = false;
    let rule: EchoRule = Box::new(move |number| {
        if number == 100 && !std::mem::replace(&mut stalled, true) {
            hold(Duration::from_millis(500));
        }
        (Duration::ZERO, 1)
    });
    let run = found(&bench_echo(echo(rule, false), "-r 100/s -d 3s"));
    let (p90, p99) = (ms(&run, "echo", "p90_ns"), ms(&run, "echo", "p99_ns"));
    assert!((190.0..260.0).contains(&p90), "{p90}");
    assert!((460.0..560.0).contains(&p99), "{p99}");
}

#[test]
fn lost_messages_are_counted() {
    let rule: EchoRule = Box::new(|number| (Duration::ZERO, usize::from(number % 100 != 50)));
    let output = bench_echo(echo(rule, false), "-r 600/s -d 2s --threshold lost==0");
    let run = found(&output);
    assert_eq!(run["totals"]["lost"], 12);
    assert_eq!(run["totals"]["deliveries"], 1200 - 12);
    let valid = run["faults"].as_array().unwrap().is_empty();
    assert_eq!(output.status.code(), Some(if valid { 99 } else { 4 }), "{}", run["faults"]);
}

/// A client whose message was lost waits a second and goes on; the others do not wait at all.
#[test]
fn a_loss_holds_up_one_client_for_a_second() {
    let rule: EchoRule = Box::new(|number| (Duration::ZERO, usize::from(number != 50)));
    let run = found(&bench_echo(echo(rule, false), "-w 1 -d 3s"));
    assert_eq!(run["totals"]["lost"], 1);
    assert!(run["totals"]["published"].as_u64().unwrap() > 1000, "{}", run["totals"]);
    for second in &run["series"].as_array().unwrap()[..3] {
        assert!(second["deliveries"].as_u64().unwrap() > 100, "{second}");
    }
}

#[test]
fn duplicates_are_counted() {
    let rule: EchoRule = Box::new(|number| (Duration::ZERO, 1 + usize::from(number % 100 == 50)));
    let run = found(&bench_echo(echo(rule, false), "-r 600/s -d 2s"));
    let totals = &run["totals"];
    assert_eq!((&totals["duplicated"], &totals["lost"]), (&12.into(), &0.into()));
    assert_eq!(totals["deliveries"], 1200);
}

/// A broadcast server with one channel for all: only a client's own messages are its echoes.
#[test]
fn messages_of_others_are_strays() {
    let run = found(&bench_echo(echo(faithful(), true), "-r 200/s -d 1s"));
    let totals = &run["totals"];
    assert_eq!((&totals["deliveries"], &totals["lost"]), (&200.into(), &0.into()));
    assert_eq!(totals["strays"], 200 * (CLIENTS - 1));
    assert_eq!(run["latencies"]["echo"]["count"], 200);
}

#[test]
fn outputs_and_exit_codes_are_those_of_any_load() {
    let output = bench_echo(echo(faithful(), false), "-r 600/s -d 2s --threshold echoes_per_s>1");
    let run = found(&output);
    assert_eq!(run["command"], "echo");
    // On a busy machine the generator may be late.
    let valid = run["faults"].as_array().unwrap().is_empty();
    assert_eq!(output.status.code(), Some(if valid { 0 } else { 4 }), "{}", run["faults"]);
    let summary = String::from_utf8_lossy(&output.stdout);
    for text in ["RESULTS  echo  10 clients  600/s × 64 B", "    echo....", "    echoes..."] {
        assert!(summary.contains(text), "{text}: {summary}");
    }
    let few = bench_echo(echo(faithful(), false), "-r 20/s -d 1s");
    assert_eq!(few.status.code(), Some(4));
    let usage = bench_echo(([127, 0, 0, 1], 1).into(), "--size 10");
    assert_eq!(usage.status.code(), Some(2));
    let nobody = bench_echo(([127, 0, 0, 1], 1).into(), "-d 1s");
    assert_eq!(nobody.status.code(), Some(3));
}
