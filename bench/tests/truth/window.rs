//! Rates, sums and costs are those of the measured time: not of the warm-up before it, nor of what
//! comes after it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::server::{CLIENTS, Rule, bench, by_second, found, run, serve};

/// Works for a while at each message, and passes it on.
fn working(time: Duration) -> Rule {
    Box::new(move |_, frame| {
        let until = Instant::now() + time;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        vec![frame]
    })
}

fn number(run: &Value, at: &str) -> f64 {
    run.pointer(at).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {at} in {run}"))
}

/// The same load with no warm-up, and with one that is longer than what is measured: whatever the
/// record tells of the one it must tell of the other.
#[test]
fn a_warm_up_changes_no_rate() {
    let of = |warm_up: &str| {
        let pid = std::process::id();
        let flags =
            format!("--size 64 -r 200/s -d 1s --warmup {warm_up} --server-pid {pid} --seed 3");
        found(&run(serve(working(Duration::from_micros(300))), "fanout", &flags))
    };
    let runs = [of("0"), of("2s")];
    for run in &runs {
        assert_eq!(run["totals"]["published"], 200);
        assert_eq!(run["totals"]["deliveries"], 200 * CLIENTS);
        assert_eq!(by_second(run, "published"), 200);
        assert_eq!(by_second(run, "deliveries"), 200 * CLIENTS as u64);
        // A text frame of 64 bytes has a head of two. On a busy machine the last ones come late.
        let (bytes, receipts) = (number(run, "/totals/bytes_in"), 200.0 * 10.0);
        assert!((0.5..1.2).contains(&(bytes / (66.0 * receipts))), "{bytes} bytes");
        let in_time = number(run, "/totals/deliveries_in_time");
        assert!((0.5..1.2).contains(&(in_time / receipts)), "{in_time} in time");
    }
    let costs = [
        "/server/cpu_share",
        "/server/cpu_ns_per_delivery",
        "/generator/cpu_share",
        "/generator/cpu_ns_per_receipt",
    ];
    for cost in costs {
        let [without, with] = [0, 1].map(|place: usize| number(&runs[place], cost));
        // Counted from the beginning it would be three times as much.
        assert!(with < 2.0 * without && without < 2.0 * with, "{cost}: {without} and {with}");
    }
}

/// A server that needs more time than it has goes on when the measured time is over: what comes
/// then is not lost, and is no part of what it did a second.
#[test]
fn receipts_after_the_end_make_no_rate() {
    let output = bench(serve(working(Duration::from_millis(2))), "-r 1k/s -d 1s");
    let run = found(&output);
    assert_eq!((&run["totals"]["deliveries"], &run["totals"]["lost"]), (&10_000.into(), &0.into()));
    let most = 501.0 * 10.0;
    let (in_time, bytes) =
        (number(&run, "/totals/deliveries_in_time"), number(&run, "/totals/bytes_in"));
    assert!((500.0..=most).contains(&in_time), "{in_time} in a second");
    assert!((500.0 * 66.0..=most * 66.0).contains(&bytes), "{bytes} bytes in a second");
    let told = String::from_utf8_lossy(&output.stdout);
    let line = told.lines().find(|line| line.contains("deliveries")).unwrap();
    assert!(line.contains("10,000") && !line.contains("10,000/s"), "{line}");
}

/// The first clients of a process show what each takes; those after them lie in memory that was
/// there.
#[test]
fn memory_is_told_of_a_fresh_process_only() {
    // Each client costs 20 kB, which a second one of its number finds again.
    const SERVER: &str = "import socket, sys\n\
        listener = socket.create_server(('127.0.0.1', 0), backlog=100)\n\
        print(listener.getsockname()[1], flush=True)\n\
        room = []\n\
        accept = b'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo='\n\
        head = b'HTTP/1.1 101 x\\r\\n' + accept + b'\\r\\n\\r\\n'\n\
        while True:\n\
        \x20 held = []\n\
        \x20 for place in range(100):\n\
        \x20   client = listener.accept()[0]\n\
        \x20   if place == len(room): room.append(bytearray(20000))\n\
        \x20   client.recv(4096)\n\
        \x20   client.sendall(head)\n\
        \x20   held.append(client)\n\
        \x20 for client in held:\n\
        \x20   try:\n\
        \x20     while client.recv(4096): pass\n\
        \x20   except OSError: pass\n";
    let mut server =
        Command::new("python3").args(["-c", SERVER]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let said = server.stdout.take().unwrap();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut line).unwrap();
    let url = format!("ws://127.0.0.1:{}/ws", line.trim());
    let pid = server.id().to_string();
    let mut idle = Command::new(env!("CARGO_BIN_EXE_stentor-bench"));
    idle.args(["idle", &url, "-c", "100", "-d", "1s", "--quiet", "--server-pid", &pid]);
    idle.args(["--json", "/dev/stderr", "--threshold", "server.memory_per_client<1M"]);
    let [first, second] = [(); 2].map(|()| idle.output().unwrap());
    server.kill().unwrap();
    server.wait().unwrap();
    let each = number(&found(&first), "/server/private_bytes_per_client");
    assert!((18_000.0..40_000.0).contains(&each), "{each}");
    assert!(found(&first)["server"].get("memory_untold").is_none());
    let run = found(&second);
    assert!(run["server"]["private_bytes_per_client"].is_null(), "{}", run["server"]);
    let why = run["server"]["memory_untold"].as_str().unwrap();
    assert!(why.contains("start it anew"), "{why}");
    let told = String::from_utf8_lossy(&second.stdout);
    assert!(told.contains(why) && !told.contains("per client"), "{told}");
    assert_eq!(second.status.code(), Some(99), "a figure that is not there meets nothing");
}
