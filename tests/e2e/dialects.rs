//! The load generator's clients of other protocols, against the real server: each hears every
//! message once, in the order of all, and answers the pings of its protocol.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::server::Server;

/// The dialects, by their names in the load generator.
const DIALECTS: [&str; 4] = ["centrifugo", "centrifugo-protobuf", "sse", "pusher"];

/// An app whose namespace publishers of other dialects may know.
const APP: &str = "[[namespace]]\nname = 'bench'\n\
                   [[app]]\nid = 1\nkey = 'bench'\nsecret = 's'\nnamespace = 'bench'\n";

/// Starts a server with that app.
fn start(flags: &[&str]) -> Server {
    let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    std::fs::write(config.path(), APP).unwrap();
    Server::start(&[&["--config", config.path().to_str().unwrap()], flags].concat())
}

/// How the close code of a wrong token is told.
const WRONG_TOKEN: &str = "closed before it was ready: 3500 ";

/// Runs the load generator, which is built beside the server.
fn bench(server: &Server, command: &str, flags: &[&str]) -> Output {
    let path = Path::new(env!("CARGO_BIN_EXE_stentor")).with_file_name("stentor-bench");
    assert!(path.exists(), "{} is missing: build the whole workspace", path.display());
    Command::new(path)
        .args([command, &format!("http://{}", server.address), "--quiet", "--json", "/dev/stderr"])
        .args(flags)
        .output()
        .unwrap()
}

fn record(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn dialects_of_the_load_generator_hear_every_message_once() {
    let server = start(&["--shards", "2"]);
    for dialect in DIALECTS {
        // Two processes share the clients of the first load.
        let shared = ["-c", "20", "-P", "3", "--agents", "2"];
        let in_channels = ["--channels", "5", "--members", "4", "-P", "2"];
        for (audience, agents) in [(&shared[..], 2), (&in_channels, 0)] {
            let load = ["--dialect", dialect, "-r", "100/s", "-d", "1s", "--warmup", "0"];
            let run = record(&bench(&server, "fanout", &[&load[..], audience].concat()));
            let totals = &run["totals"];
            assert!(totals["published"].as_u64() > Some(50), "{dialect}: {totals}");
            assert_eq!(totals["connected"], 20, "{dialect}: {totals}");
            for none in ["lost", "duplicated", "out_of_order", "strays", "disordered_clients"] {
                assert_eq!(totals[none], 0, "{dialect}, {none}: {totals}");
            }
            assert_eq!(totals.get("refused"), None, "{dialect}: {totals}");
            let shares = run["agents"].as_array().map_or(0, Vec::len);
            assert_eq!(shares, agents, "{dialect}: {run}");
        }
    }
}

#[test]
fn dialects_of_the_load_generator_answer_pings() {
    let flags = ["--ping-interval", "1s", "--pong-timeout", "1s"];
    let server = start(&flags);
    for dialect in DIALECTS {
        let run = record(&bench(&server, "idle", &["--dialect", dialect, "-c", "10", "-d", "4s"]));
        let totals = &run["totals"];
        assert_eq!(totals["disconnects"], serde_json::json!({}), "{dialect}");
        // Comments of a stream of events are not answered.
        let pings = totals["pings"].as_u64().unwrap();
        assert_eq!(pings > 10, dialect != "sse", "{dialect}: {pings} pings");
    }
}

/// A client whose token is wrong is told so, and the tool says it in one line.
#[test]
fn dialects_of_the_load_generator_tell_why_they_are_refused() {
    let flags = ["--token-hmac-secret", "0123456789abcdef0123456789abcdef", "--require-user"];
    let server = Server::start(&flags);
    for (flags, told) in [
        (&["--dialect", "centrifugo", "--client-token", "x"][..], WRONG_TOKEN),
        (&["--dialect", "centrifugo-protobuf", "--client-token", "x"], WRONG_TOKEN),
        (&["--dialect", "sse"], "HTTP/1.1 401"),
    ] {
        let output = bench(&server, "connect", &[flags, &["-c", "5", "--rounds", "1"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(told) && said.lines().count() == 1, "{told}: {said}");
    }
}
