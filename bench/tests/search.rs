//! A search finds limits that are known beforehand: servers with a knee, a bound, and a loss, and
//! the answer that is right for each.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The limits of a server.
#[derive(Clone, Copy)]
struct Limits {
    /// The time that a message takes: while the server works on one, the others wait.
    cost: Duration,
    /// Clients that it has room for.
    room: usize,
    /// It loses every message that comes sooner than this after another.
    gap: Duration,
}

const NONE: Limits = Limits { cost: Duration::ZERO, room: usize::MAX, gap: Duration::ZERO };

enum Event {
    Came(usize, TcpStream),
    Said(Vec<u8>, Instant),
    Left(usize),
}

/// A broadcast server for any number of runs, with a thread that reads for each client and one that
/// serves: what arrives is stamped at once, so that a cost is a cost whatever the machine does.
fn serve(limits: Limits) -> SocketAddr {
    serve_and_count(limits).0
}

/// The same, and how many clients have come so far.
fn serve_and_count(limits: Limits) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (says, hears) = channel();
    let came = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&came);
    thread::spawn(move || {
        let here = Arc::new(AtomicUsize::new(0));
        for id in 0.. {
            let Ok((stream, _)) = listener.accept() else { return };
            count.fetch_add(1, Ordering::SeqCst);
            let (says, here) = (says.clone(), Arc::clone(&here));
            thread::spawn(move || admit(stream, id, limits.room, &says, &here));
        }
    });
    thread::spawn(move || {
        let mut clients: BTreeMap<usize, TcpStream> = BTreeMap::new();
        let (mut free, mut last) = (Instant::now(), None::<Instant>);
        for event in hears {
            match event {
                Event::Came(id, stream) => drop(clients.insert(id, stream)),
                Event::Left(id) => drop(clients.remove(&id)),
                Event::Said(frame, at) => {
                    let soon = last.is_some_and(|last| at.duration_since(last) < limits.gap);
                    last = Some(at);
                    free = free.max(at) + limits.cost;
                    while let Some(left) = free.checked_duration_since(Instant::now()) {
                        thread::park_timeout(left);
                    }
                    for client in clients.values_mut().filter(|_| !soon) {
                        // The thread that reads notices clients that have gone.
                        let _ = client.write_all(&frame);
                    }
                }
            }
        }
    });
    (address, came)
}

fn admit(
    mut stream: TcpStream,
    id: usize,
    room: usize,
    says: &Sender<Event>,
    here: &AtomicUsize,
) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    if here.fetch_add(1, Ordering::SeqCst) >= room {
        here.fetch_sub(1, Ordering::SeqCst);
        return stream.write_all(b"HTTP/1.1 503 no room\r\n\r\n").ok();
    }
    stream.write_all(SWITCHING.as_bytes()).ok()?;
    says.send(Event::Came(id, stream.try_clone().ok()?)).ok()?;
    while let Some(frame) = read_frame(&mut stream) {
        says.send(Event::Said(frame, Instant::now())).ok()?;
    }
    here.fetch_sub(1, Ordering::SeqCst);
    says.send(Event::Left(id)).ok()
}

/// The next frame of a client, a short one, as the server sends it on.
fn read_frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 6];
    stream.read_exact(&mut head).ok()?;
    let length = head[1] & 0x7f;
    assert!(head[0] == 0x81 && length < 126, "a short text");
    let mut payload = vec![0; usize::from(length)];
    stream.read_exact(&mut payload).ok()?;
    let plain = payload.iter().zip(head[2..].iter().cycle()).map(|(byte, mask)| byte ^ mask);
    Some([0x81, length].into_iter().chain(plain).collect())
}

fn kept(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("search-{name}.json"))
}

fn command(address: SocketAddr, flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor-bench"));
    command.args(["search", &format!("ws://{address}/ws")]);
    if !flags.contains("--size") {
        command.args(["--size", "64"]);
    }
    command.args(flags.split_whitespace());
    command
}

/// A search, and the record that it left.
fn search(name: &str, address: SocketAddr, flags: &str) -> (Output, Value) {
    let path = kept(name);
    let _ = std::fs::remove_file(&path);
    let output = command(address, flags).arg("--json").arg(&path).output().unwrap();
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (output, serde_json::from_str(&text).unwrap())
}

/// On a busy machine the generator may be late. Then the search must say so, and claim no more than
/// it knows.
fn proved_something(output: &Output, run: &Value, knee: f64) -> bool {
    let (told, found) = (String::from_utf8_lossy(&output.stderr), &run["search"]);
    if output.status.code() != Some(4) {
        return true;
    }
    let why = found["fault"]["what"].as_str().unwrap();
    assert_eq!(found["ended"], "unproven", "{told}");
    assert!(why.contains("the generator was late") || why.contains("ran for"), "{told}");
    assert!(told.lines().last().unwrap().contains(" → "), "{told}");
    assert!(found["held"].as_f64().is_none_or(|held| held <= knee), "{found}");
    false
}

/// A message costs 25 ms, so 40 a second are what there is; in two seconds at 43.5 a second the
/// queue that grows is 160 ms long.
#[test]
fn the_knee_of_a_server_is_found() {
    let address = serve(Limits { cost: Duration::from_millis(25), ..NONE });
    let flags = "--slo p99<185ms --start 30/s --precision 10% -c 50 -d 2s --warmup 0";
    let (output, run) = search("knee", address, flags);
    let (table, found) = (String::from_utf8_lossy(&output.stdout), &run["search"]);
    if !proved_something(&output, &run, 46.0) {
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{table}");
    let (held, missed) = (found["held"].as_f64().unwrap(), found["missed"].as_f64().unwrap());
    assert!((34.0..=46.0).contains(&held), "{table}");
    assert!(missed > held && missed <= 1.1 * held, "{table}");
    assert_eq!((&found["ended"], &found["by"]), (&"found".into(), &"rate".into()));
    // The record shows a run of the answer.
    assert_eq!((&run["load"]["rate"], &run["command"]), (&found["held"], &"search".into()));
    assert_eq!(run["thresholds"][0]["met"], true);
    for step in found["steps"].as_array().unwrap() {
        let (load, runs) = (step["load"].as_f64().unwrap(), step["runs"].as_array().unwrap());
        assert!(runs.len() >= 2 && runs.iter().all(|run| run["load"]["rate"] == load), "{table}");
        assert_eq!(step["verdict"], if load <= held { "held" } else { "missed" }, "{table}");
    }
    let answer = format!("{held}/s hold delivery.p99<185ms, lost==0");
    assert!(table.contains(&answer) && table.contains("moved first: "), "{table}");
    let steps = String::from_utf8_lossy(&output.stderr);
    assert!(steps.contains("step 1  30/s  held") && steps.contains("missed"), "{steps}");
}

/// The server has room for 25 clients and says so to the 26th.
#[test]
fn clients_that_are_refused_are_a_bound() {
    let address = serve(Limits { room: 25, ..NONE });
    let flags = "--slo p50<500ms --by clients --start 10 -r 300/s -d 500ms --warmup 0 \
                 --precision 1% --repeats 1 --threshold search.held>=24";
    let (output, run) = search("room", address, flags);
    if !proved_something(&output, &run, 25.0) {
        return;
    }
    let (table, found) = (String::from_utf8_lossy(&output.stdout), &run["search"]);
    assert_eq!((&found["held"], &found["missed"]), (&25.0.into(), &26.0.into()), "{table}");
    assert_eq!(output.status.code(), Some(0), "{table}");
    assert!(table.contains("moved first: refused connects: 0 → 1 (HTTP/1.1 503"), "{table}");
}

/// Whatever comes within 20 ms of another message is lost, and the rest is as fast as ever: beyond
/// 50 a second it is losses that end the search, whatever was to hold.
#[test]
fn a_loss_is_always_a_miss() {
    let address = serve(Limits { gap: Duration::from_millis(20), ..NONE });
    let flags = "--slo p50<1s --start 20/s --max 100/s --factor 5 --repeats 1 --precision 100% \
                 -c 100 -d 500ms --warmup 0";
    let (output, run) = search("loss", address, flags);
    if !proved_something(&output, &run, 60.0) {
        return;
    }
    let (table, found) = (String::from_utf8_lossy(&output.stdout), &run["search"]);
    assert!(found["missed"].as_f64().unwrap() <= 100.0, "{table}");
    let why = found["steps"][1]["why"][0].as_str().unwrap();
    assert!(why.starts_with("lost==0: "), "{why}");
    assert!(table.contains("moved first: lost: 0 → "), "{table}");
}

#[test]
fn a_bound_that_holds_everywhere_or_nowhere_is_reported() {
    let address = serve(NONE);
    let base = "-c 100 -d 300ms --warmup 0 --repeats 1 --start 50/s --max 60/s";
    let (output, run) = search("max", address, &format!("{base} --slo p50<1s"));
    if proved_something(&output, &run, 60.0) {
        assert_eq!((output.status.code(), &run["search"]["ended"]), (Some(0), &"max".into()));
        assert_eq!(run["search"]["held"], 60.0);
    }
    let (output, run) =
        search("missed", address, &format!("{base} --slo p50<1s --threshold lost>0"));
    if proved_something(&output, &run, 60.0) {
        assert_eq!(output.status.code(), Some(99), "it holds, but a threshold is missed");
    }
    let (output, run) =
        search("none", address, &format!("{base} --slo p50<1s --slo deliveries_per_s>1M"));
    if proved_something(&output, &run, 0.0) {
        assert_eq!((output.status.code(), &run["search"]["ended"]), (Some(99), &"none".into()));
        assert_eq!(
            run["search"]["slos"],
            serde_json::json!(["delivery.p50<1s", "deliveries_per_s>1M", "lost==0"])
        );
        let table = String::from_utf8_lossy(&output.stdout);
        assert!(table.contains("not even the first load holds"), "{table}");
    }
}

#[test]
fn a_search_that_cannot_begin_says_why() {
    let address = serve(NONE);
    for (flags, word) in [
        ("", "--slo"),
        ("--slo p99<20parsecs", "is no bound"),
        ("--slo p99<20ms -w 1", "open loop"),
        ("--slo p99<20ms -r 5/s", "--start and --max"),
        ("--slo p99<20ms --by clients", "-r 20/s"),
        ("--slo p99<20ms --start 50 --max 20", "at 20 at the most"),
        ("--slo p99<20ms -c 10 --start 1/s -d 1s", "10 receipts"),
        ("--slo p99<20ms --precision 0%", "precision"),
        ("--slo p99<20ms --repeats 0", "once"),
    ] {
        let output = command(address, flags).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags}: {told}");
        assert!(told.contains(word), "{flags}: {told}");
    }
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let output = command(nobody, "--slo p99<20ms").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
}

/// Messages that a server does not read wait in the generator, which ends before its memory is
/// full.
#[test]
fn a_server_that_does_not_read_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut clients = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            stream.read_exact(&mut [0; 64]).unwrap();
            stream.write_all(SWITCHING.as_bytes()).unwrap();
            clients.push(stream);
        }
    });
    let flags = "--slo p50<1s -c 5 --size 60000 --start 5k/s -d 10s --warmup 0 --repeats 1";
    let output = command(address, flags).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{told}");
    assert!(told.contains("step 1  5,000/s  missed") && told.contains("does not read"), "{told}");
}

/// Interrupted in its second step it keeps what it has.
#[test]
fn an_interrupted_search_ends_with_its_steps_so_far() {
    let (address, came) = serve_and_count(NONE);
    let path = kept("interrupted");
    let _ = std::fs::remove_file(&path);
    let flags = "--slo p50<1s -c 100 -d 500ms --warmup 0 --repeats 1 --start 20/s";
    let mut child = command(address, flags)
        .arg("--json")
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("step 1 ") {
        line.clear();
        let count = std::io::BufRead::read_line(&mut stderr, &mut line).unwrap();
        assert!(count > 0, "it ended before its first step");
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while came.load(Ordering::SeqCst) <= 100 && line.contains("held") {
        assert!(Instant::now() < deadline, "there is no second step");
        thread::park_timeout(Duration::from_millis(5));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(4), "{rest}");
    let text = std::fs::read_to_string(&path);
    let Ok(text) = text else {
        // The first load may have proved nothing, on a busy machine.
        return assert!(line.contains("unproven"), "{line}{rest}");
    };
    let run: Value = serde_json::from_str(&text).unwrap();
    let found = &run["search"];
    if line.contains("held") {
        assert_eq!((&found["ended"], &found["held"]), (&"interrupted".into(), &20.0.into()));
        assert_eq!(found["steps"].as_array().unwrap().len(), 1, "what was cut short is left out");
        assert!(rest.contains("20/s are known to hold") && rest.contains("interrupted"), "{rest}");
    }
}
