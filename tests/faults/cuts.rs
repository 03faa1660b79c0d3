//! Connections are cut at random for some seconds: every client hears each message once and in
//! order. `scripts/recovery.py cut` is the same for a minute and for more clients.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;
use serde_json::Value;

use crate::client::Client;
use crate::proxy::{Proxy, Way};
use crate::server::{Server, eventually, post};

const KEPT: [&str; 7] =
    ["--shards", "2", "--recovery", "--history", "2000", "--history-bytes", "4MiB"];

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// The number of the last message.
const LAST: u64 = 400;

#[test]
fn clients_of_the_library_and_others_lose_nothing_over_cuts() {
    let server = Server::start(&KEPT);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/cut_for.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg(format!("ws://{}", server.address))
        .args(["40", "6", "100", "7"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_str(&said).unwrap();
    assert!(found["cuts"].as_u64().unwrap() > 40, "{said}");
    assert_eq!((&found["good"], &found["published"]), (&40.into(), &601.into()), "{said}");
}

/// Comes back after each cut with the position of the last message that it has heard. Returns the
/// numbers of all messages, and how often it came back.
fn listen(to: SocketAddr, epoch: &Value, last: u64) -> (Vec<u64>, u32) {
    let (mut heard, mut offset, mut returns) = (Vec::new(), 0, 0);
    let deadline = Instant::now() + PATIENCE;
    while heard.last() != Some(&last) {
        assert!(Instant::now() < deadline, "{} of {last} messages", heard.len());
        // The connect may be cut as well, before or after its answer.
        let Ok((mut client, _)) = catch_unwind(|| Client::json(to, "/ws")) else { continue };
        let since = format!(r#"{{"epoch":{epoch},"offset":{offset}}}"#);
        let join = format!(r#"{{"type":"join","channel":"cut","since":{since}}}"#);
        if client.try_send(&join).is_err() {
            continue;
        }
        while heard.last() != Some(&last) {
            let text = match client.try_next() {
                Ok(Message::Text(text)) => text,
                Ok(_) => continue,
                Err(_) => break,
            };
            let told: Value = serde_json::from_str(&text).unwrap();
            match told["type"].as_str() {
                Some("message") => {
                    heard.push(told["body"].as_u64().unwrap());
                    offset = told["offset"].as_u64().unwrap();
                }
                Some("joined") => {
                    assert_eq!(told["recovered"], true, "{told}");
                    returns += 1;
                }
                _ => {}
            }
        }
    }
    (heard, returns)
}

#[test]
fn a_client_that_asks_by_its_position_loses_nothing_over_cuts() {
    let server = Server::start(&KEPT);
    let proxy = Proxy::start(server.address);
    let publish = |number: u64| {
        let body = format!(r#"{{"channel":"cut","data":{number}}}"#);
        let (status, answer) = post(server.admin, "/api/publish", &body);
        assert_eq!(status, 200, "{answer}");
        serde_json::from_str::<Value>(&answer).unwrap()["result"]["epoch"].clone()
    };
    let epoch = publish(0);
    let listeners: Vec<_> = (0..8)
        .map(|_| {
            let (to, epoch) = (proxy.address, epoch.clone());
            thread::spawn(move || listen(to, &epoch, LAST))
        })
        .collect();
    // xorshift, from a seed: a run is repeated as far as the machine lets it be.
    let mut dice = 0x2545_f491_4f6c_dd1d_u64;
    for number in 1..=LAST {
        publish(number);
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        if dice.is_multiple_of(20) {
            proxy.cut();
        }
        // The pace of the messages.
        thread::park_timeout(Duration::from_millis(dice % 20));
    }
    for listener in listeners {
        let (heard, returns) = listener.join().unwrap();
        assert_eq!(heard, (0..=LAST).collect::<Vec<_>>());
        assert!(returns > 5, "cut {returns} times only");
    }
}

/// The next line that says how the subscriber came back.
fn came_back(stderr: &mut impl BufRead) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(stderr.read_line(&mut line).unwrap(), 0, "it has ended");
        if line.contains("recovered: ") {
            return line;
        }
    }
}

#[test]
fn a_subscriber_of_the_command_line_goes_on_where_it_was() {
    let server = Server::start(&KEPT);
    let proxy = Proxy::start(server.address);
    let publish = |number: u32| {
        let body = format!(r#"{{"channel":"cut","data":"{number}"}}"#);
        assert_eq!(post(server.admin, "/api/publish", &body).0, 200);
    };
    // It was not there when this one was published, and begins with the next one.
    publish(1000);
    let mut sub = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["sub", "cut", "--count", "41", "--url", &format!("ws://{}/ws", proxy.address)])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(sub.stderr.take().unwrap());
    eventually("it is there", || server.total("clients") == 1);
    // Returns when it is cut off; nothing comes through before `clear`.
    let cut = || {
        proxy.set(Way::Held, Way::Held);
        proxy.cut();
        eventually("it is away", || server.total("clients") == 0);
    };
    for round in 0..4 {
        (0..5).for_each(|number| publish(10 * round + number));
        cut();
        (5..10).for_each(|number| publish(10 * round + number));
        proxy.clear();
        let told = came_back(&mut stderr);
        assert!(told.contains("recovered: true"), "{told}");
    }
    cut();
    publish(1001);
    assert_eq!(post(server.admin, "/api/history_remove", r#"{"channel":"cut"}"#).0, 200);
    proxy.clear();
    let told = came_back(&mut stderr);
    assert!(told.contains("recovered: false"), "{told}");
    publish(40);
    let output = sub.wait_with_output().unwrap();
    assert!(output.status.success());
    let heard: Vec<u32> =
        String::from_utf8_lossy(&output.stdout).lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(heard, (0..=40).collect::<Vec<_>>());
}

/// Runs the load generator through a proxy that cuts all its clients off three times, and returns
/// its account of their returns and its totals.
fn cut_off(server: &Server, path: &str, flags: &[&str]) -> (Value, Value) {
    let proxy = Proxy::start(server.address);
    let tool = Path::new(env!("CARGO_BIN_EXE_stentor")).with_file_name("stentor-bench");
    assert!(tool.exists(), "{} is missing: build the whole workspace", tool.display());
    let mut load = Command::new(tool)
        .args(["fanout", &format!("ws://{}{path}", proxy.address)])
        .args(["-c", "20", "-P", "5", "-r", "200/s", "--warmup", "0", "-d", "6s"])
        .args(["--reconnect", "--backoff", "400ms..800ms", "--quiet", "--json", "/dev/stderr"])
        .args(flags)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for _ in 0..3 {
        eventually("all are there", || server.total("clients") == 20);
        let before = server.total("publications_total");
        eventually("they publish", || server.total("publications_total") > before + 40);
        proxy.cut();
        eventually("all are away", || server.total("clients") < 20);
    }
    let mut said = String::new();
    load.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    load.wait().unwrap();
    let run: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
    (run["returns"].clone(), run["totals"].clone())
}

#[test]
fn clients_of_the_load_generator_go_on_where_they_were() {
    let server = Server::start(&KEPT);
    let message = r#"{"type":"publish","body":"$MSG"}"#;
    let own = ["--subprotocol", "stentor.v1", "--message", message];
    for (path, flags) in [
        ("/ws?channel=cut", &own[..]),
        ("", &["--dialect", "centrifugo"]),
        ("", &["--dialect", "centrifugo-protobuf"]),
    ] {
        let (returns, totals) = cut_off(&server, path, flags);
        let count = |of: &Value| of.as_u64().unwrap();
        assert!(count(&returns["returned"]) >= 40, "{flags:?}: {returns}");
        assert_eq!(returns["recovered"], returns["returned"], "{flags:?}: {returns}");
        assert_eq!((&returns["unrecovered"], &totals["duplicated"]), (&0.into(), &0.into()));
        // What a publisher said when it was cut off may not have reached the server.
        let missed = count(&returns["missed"]) + count(&totals["lost"]);
        assert!(missed.is_multiple_of(20) && missed <= 20 * 5 * 3, "{flags:?}: {returns} {totals}");
    }
    // Without a history they hear nothing of what was said while they were away.
    let bare = Server::start(&["--shards", "2"]);
    let (returns, _) = cut_off(&bare, "/ws?channel=cut", &own);
    assert!(returns["missed"].as_u64().unwrap() > 20 * 5 * 3, "{returns}");
    // The first ones to come back may have missed nothing.
    let [recovered, not] = ["recovered", "unrecovered"].map(|name| returns[name].as_u64().unwrap());
    assert!(not >= 40 && recovered + not == returns["returned"], "{returns}");
}
