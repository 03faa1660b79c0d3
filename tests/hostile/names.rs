//! JSON and names that mean harm: what is wrong is refused with a reason, what is only odd passes
//! byte for byte.

use std::io::Write;
use std::net::TcpStream;

use serde_json::Value;

use crate::raw::{head, json, next_frame, status, text, upgraded};
use crate::siege::Siege;

/// How many send each case at once.
const ATTACKERS: usize = 10;

fn next_json(stream: &mut TcpStream) -> Value {
    let (first, payload) = next_frame(stream).unwrap();
    assert_eq!(first, 0x81);
    serde_json::from_slice(&payload).unwrap()
}

fn deep(levels: usize) -> String {
    format!("{}1{}", "[".repeat(levels), "]".repeat(levels))
}

fn publish(body: &str) -> String {
    format!(r#"{{"type":"publish","channel":"odd","body":{body}}}"#)
}

/// Requests that are refused, each with its error code.
fn refused() -> Vec<(String, &'static str)> {
    let long = "x".repeat(60_000);
    let mut cases = vec![
        (publish(&deep(30_000)), "malformed"),
        (deep(30_000), "malformed"),
        ("[".repeat(60_000), "malformed"),
        (r#"{"a":"#.repeat(10_000), "malformed"),
        (r#"{"type":"ping","type":"ping"}"#.into(), "malformed"),
        (r#"{"type":"publish","body":1,"body":2}"#.into(), "malformed"),
        (r#"{"type":"join","channel":"a","channel":"b"}"#.into(), "malformed"),
        (r#"{"type":"join","channel":"\ud800"}"#.into(), "malformed"),
        (r#"{"type":"join","channel":"\udc00\ud800"}"#.into(), "malformed"),
        (r#"{"type":"join","channel":1e400}"#.into(), "malformed"),
        (r#"{"type":"ping","presence":1}"#.into(), "malformed"),
        (format!(r#"{{"type":"{long}"}}"#), "unknown_type"),
        (format!(r#"{{"type":"ping","id":{}}}"#, "9".repeat(60_000)), "bad_id"),
        (format!(r#"{{"type":"ping","id":"{long}"}}"#), "bad_id"),
        (r#"{"type":"ping","id":{"a":1}}"#.into(), "bad_id"),
        ("{\"type\":\"ping\"}\u{0}".into(), "malformed"),
    ];
    let names = [
        "",
        r"\u0000",
        r"a\nforged line",
        r"\u001b[31mred",
        r"\u001b]0;title\u0007",
        r"\u0085",
        r"\u2028",
        r"\u202emoc.live",
        r"\u007f",
        &long,
    ];
    for name in names {
        for kind in ["publish", "join", "who"] {
            let request = format!(r#"{{"type":"{kind}","channel":"{name}","body":1}}"#);
            cases.push((request, "bad_name"));
        }
        let direct = format!(r#"{{"type":"direct","user":"{name}","body":1}}"#);
        cases.push((direct, "bad_name"));
    }
    cases
}

#[test]
fn malformed_requests_are_refused_with_a_reason() {
    let siege = Siege::begin(&["--errors-max", "65536"]);
    siege.withstand("wrong JSON and names", ATTACKERS as u64 * (2 << 20), |server| {
        let mut attackers: Vec<TcpStream> =
            (0..ATTACKERS).map(|_| json(server.address, "/ws")).collect();
        for (request, code) in refused() {
            for stream in &mut attackers {
                stream.write_all(&text(&request)).unwrap();
            }
            for stream in &mut attackers {
                let error = next_json(stream);
                assert_eq!(error["type"], "error", "{request:.200}: {error}");
                assert_eq!(error["code"], code, "{request:.200}: {error}");
                // It costs no more to be wrong than to be right.
                assert!(error.to_string().len() < 400, "{error}");
            }
        }
    });
    // By default it is not for long that a client may be wrong.
    let siege = Siege::begin(&[]);
    siege.withstand("clients that are wrong too often", 4 << 20, |server| {
        for _ in 0..50 {
            let mut stream = json(server.address, "/ws");
            stream.write_all(&text("{").repeat(100)).unwrap();
            assert_eq!(crate::raw::close_code(&mut stream), Some(1008));
        }
    });
}

#[test]
fn odd_and_valid_bodies_pass_byte_for_byte() {
    let siege = Siege::begin(&[]);
    let many: Vec<String> = (0..3_000).map(|key| format!(r#""{key}":{key}"#)).collect();
    let bodies = [
        deep(127),
        r#"{"a":1,"a":2,"a":{"a":3}}"#.into(),
        r#""\ud800""#.into(),
        r#"["\udfff\ud800","\u0000"]"#.into(),
        "1e999999999".into(),
        format!("-{}.{}e-{}", "9".repeat(2_000), "1".repeat(2_000), "7".repeat(100)),
        format!("{{{}}}", many.join(",")),
        format!("[{}]", vec!["{}"; 10_000].join(",")),
    ];
    siege.withstand("odd JSON", 4 << 20, |server| {
        let mut sender = json(server.address, "/ws?channel=odd");
        let mut plain = upgraded(server.address, "/ws?channel=odd");
        for body in &bodies {
            sender.write_all(&text(&publish(body))).unwrap();
            let (_, message) = next_frame(&mut sender).unwrap();
            let message = String::from_utf8(message).unwrap();
            assert!(message.ends_with(&format!(",\"body\":{body}}}")), "{message:.300}");
            let (first, heard) = next_frame(&mut plain).unwrap();
            // A string of half a character has no other form than its JSON.
            assert_eq!((first, heard), (0x81, body.clone().into_bytes()), "{body:.100}");
        }
    });
}

#[test]
fn names_in_the_url_are_refused_before_the_101() {
    let siege = Siege::begin(&[]);
    let cases = [
        ("%00".to_owned(), 400),
        ("a%0aforged".to_owned(), 400),
        ("a%0d%0aSet-Cookie:%20x".to_owned(), 400),
        ("%1b%5b31mred".to_owned(), 400),
        ("%c2%85".to_owned(), 400),
        ("%e2%80%ae".to_owned(), 400),
        ("%ff%fe".to_owned(), 400),
        ("%f0%9f".to_owned(), 400),
        ("%zz".to_owned(), 400),
        ("%".to_owned(), 400),
        (String::new(), 400),
        ("x".repeat(65), 400),
        ("%41".repeat(65), 400),
        ("x".repeat(64 << 10), 431),
    ];
    siege.withstand("names in URLs", 4 << 20, |server| {
        for (name, expected) in &cases {
            for kind in ["channel", "user"] {
                let request = head(&format!("/ws?{kind}={name}"), "");
                let got = status(server.address, request.as_bytes());
                assert_eq!(got, *expected, "{kind} {name:.80}");
            }
        }
    });
}
