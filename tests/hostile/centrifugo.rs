//! The kinds of the other hostile tests through Centrifugo's dialect, whose clients say who they
//! are behind their 101: floods before and after that, readers that do not read, and storms of
//! returns.

use std::fmt::Write as _;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use socket2::SockRef;

use crate::floods::{ATTACKERS, EACH_BYTES, Flood, storm_of_connects};
use crate::raw::{close_code, head, next_frame, text, upgraded};
use crate::recalls::{KEPT, MESSAGE_BYTES, MISSED, fill};
use crate::server::Server;
use crate::siege::Siege;
use crate::tokens::{forged, siege_of_es256};

const TARGET: &str = "/connection/websocket";
const CONNECT: &str = r#"{"id":1,"connect":{}}"#;

/// Connections that stop behind their 101.
const SILENT: usize = 400;

/// A client behind the answer to its `connect`.
fn connected(to: SocketAddr, connect: &str) -> TcpStream {
    let mut stream = upgraded(to, TARGET);
    // What the kernel holds of an attacker is performed when it has gone as well: a command may be
    // as short as three bytes.
    SockRef::from(&stream).set_send_buffer_size(64 << 10).unwrap();
    stream.write_all(&text(connect)).unwrap();
    let reply = next_frame(&mut stream).unwrap().1;
    assert!(reply.starts_with(b"{\"id\":1,\"connect\":"), "{}", String::from_utf8_lossy(&reply));
    stream
}

/// Commands as the lines of one message, as often as they fit into 60,000 bytes.
fn lines(commands: &[&str]) -> Vec<u8> {
    let all = commands.join("\n") + "\n";
    text(all.repeat(60_000 / all.len()).trim_end())
}

/// A siege by floods of clients that are connected.
fn flood(siege: &Siege, name: &str, reads: bool, unit: &[u8]) {
    siege.withstand(name, ATTACKERS as u64 * EACH_BYTES, |server| {
        let open = |_| connected(server.address, CONNECT);
        let units = Flood { first: b"", unit, open: &open, reads }.run();
        assert!(units > 1, "{name}: only {units}");
        eprintln!("{name}: {units}");
    });
}

/// Closes of a reason so far.
fn closes(server: &Server, reason: &str) -> u64 {
    server.by_reason("disconnects", reason)
}

#[test]
fn clients_of_centrifugo_that_do_not_connect_in_order() {
    let siege = Siege::begin(&["--handshake-timeout", "1s"]);
    siege.withstand("upgrades without a connect", SILENT as u64 * (4 << 10), |server| {
        let before = closes(server, "stale");
        let mut silent: Vec<TcpStream> =
            (0..SILENT).map(|_| upgraded(server.address, TARGET)).collect();
        for stream in &mut silent {
            assert_eq!(close_code(stream), Some(3502));
        }
        assert_eq!(closes(server, "stale") - before, SILENT as u64);
    });
    for (name, said) in [
        ("publications before a connect", r#"{"id":1,"publish":{"channel":"a","data":1}}"#),
        ("arrays that lie too deep", &"[".repeat(60_000)),
    ] {
        // What two turns may accept, each with a whole message in the machine and out of it.
        siege.withstand(name, 512 * (128 << 10), |server| {
            let before = closes(server, "disorderly");
            let mut first = upgraded(server.address, TARGET);
            first.write_all(&text(said)).unwrap();
            assert_eq!(close_code(&mut first), Some(3501), "{name}");
            let all = [head(TARGET, "").as_bytes(), &text(said)].concat();
            let count = storm_of_connects(server.address, &all);
            assert!(count > 200 && closes(server, "disorderly") > before, "{name}: only {count}");
            eprintln!("{name}: {count}");
        });
    }
    let publications = r#"{"id":2,"publish":{"channel":"a","data":1}}"#;
    siege.withstand("commands behind the head, and reset", 512 * (64 << 10), |server| {
        let commands = lines(&[publications]);
        let all = [head(TARGET, "").as_bytes(), &text(CONNECT), &commands].concat();
        let count = storm_of_connects(server.address, &all);
        assert!(count > 200, "only {count}");
        eprintln!("commands behind the head, and reset: {count}");
    });
}

#[test]
fn floods_of_commands_of_centrifugo() {
    let siege = Siege::begin(&["--errors-max", "65536", "--receive-buffer-bytes", "64KiB"]);
    flood(&siege, "lines of messages that go nowhere", true, &lines(&[r#"{"send":{}}"#]));
    let comings = [
        r#"{"id":2,"subscribe":{"channel":"flood","join_leave":true}}"#,
        r#"{"id":3,"publish":{"channel":"flood","data":{"a":[1]}}}"#,
        r#"{"id":4,"presence":{"channel":"flood"}}"#,
        r#"{"id":5,"unsubscribe":{"channel":"flood"}}"#,
    ];
    flood(&siege, "lines that come, speak, ask and go", true, &lines(&comings));
    let mistakes = [r#"{"id":2,"rpc":{}}"#, r#"{"id":3,"unsubscribe":{"channel":"none"}}"#];
    flood(&siege, "lines of mistakes", true, &lines(&mistakes));
    let names = (0..300).fold(String::new(), |mut all, number| {
        let _ = writeln!(all, r#"{{"id":2,"subscribe":{{"channel":"n{number}"}}}}"#);
        all
    });
    flood(&siege, "channels without end", true, &text(names.trim_end()));
}

#[test]
fn floods_of_returns_of_centrifugo() {
    let siege = Siege::begin(&KEPT);
    let epoch = fill(&siege.server, "flood", MISSED, MESSAGE_BYTES);
    let history = r#"{"id":2,"history":{"channel":"flood","limit":-1}}"#;
    flood(&siege, "lines of histories, not read", false, &lines(&[history]));
    let position = format!(r#""channel":"flood","recover":true,"epoch":"{epoch}","offset":1"#);
    let (come, go) = (
        format!(r#"{{"id":2,"subscribe":{{{position}}}}}"#),
        r#"{"id":3,"unsubscribe":{"channel":"flood"}}"#,
    );
    flood(&siege, "lines that recover and go, not read", false, &lines(&[&come, go]));
    let all = [head(TARGET, "").as_bytes(), &text(CONNECT), &text(&come)].concat();
    siege.withstand("recoveries and reset", 512 * (64 << 10), |server| {
        let count = storm_of_connects(server.address, &all);
        assert!(count > 200, "only {count}");
        eprintln!("recoveries and reset: {count}");
    });
}

#[test]
fn floods_of_tokens_of_centrifugo() {
    let (siege, token) = siege_of_es256();
    let token = &*token;
    for (what, token) in [("valid", token.to_owned()), ("forged", forged(token))] {
        let name = format!("connects with {what} tokens");
        let connect = format!(r#"{{"id":1,"connect":{{"token":"{token}"}}}}"#);
        siege.withstand(&name, 512 * (16 << 10), |server| {
            let mut first = upgraded(server.address, TARGET);
            first.write_all(&text(&connect)).unwrap();
            if what == "valid" {
                let reply = next_frame(&mut first).unwrap().1;
                assert!(reply.starts_with(b"{\"id\":1,\"connect\":"), "{reply:?}");
            } else {
                assert_eq!(close_code(&mut first), Some(3500));
            }
            let all = [head(TARGET, "").as_bytes(), &text(&connect)].concat();
            let count = storm_of_connects(server.address, &all);
            assert!(count > 200, "{name}: only {count}");
            eprintln!("{name}: {count}");
        });
    }
    let join = format!(r#"{{"id":2,"subscribe":{{"channel":"a","token":"{}"}}}}"#, forged(token));
    flood(&siege, "subscriptions with forged tokens", true, &lines(&[&join]));
    assert!(siege.server.log().iter().all(|line| !line.contains("eyJ")), "a token in the log");
}
