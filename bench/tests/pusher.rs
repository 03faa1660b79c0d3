//! Pusher's protocol against a small server of its own: each client signs for the socket id that it
//! was given, and publishers are further clients whose events go to all others.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use serde_json::{Value, json};
use stentor_shards::{Secret, signature};

const CLIENTS: usize = 5;

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// Serves the clients of one run and its publisher, which comes behind them.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut clients: Vec<TcpStream> =
            (0..CLIENTS).map(|at| subscribed(&listener, at)).collect();
        let mut publisher = subscribed(&listener, CLIENTS);
        while let Some(said) = read_frame(&mut publisher) {
            assert_eq!(
                (&said["event"], &said["channel"]),
                (&json!("client-m"), &json!("private-bench"))
            );
            let all = frame(&said.to_string());
            if clients.iter_mut().any(|client| client.write_all(&all).is_err()) {
                break;
            }
        }
    });
    address
}

/// A client that has signed for its socket id.
fn subscribed(listener: &TcpListener, number: usize) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"GET /app/k?protocol=7 "), "{}", String::from_utf8_lossy(&head));
    let id = format!("{number}.1");
    let data = json!({ "socket_id": id, "activity_timeout": 120 }).to_string();
    let data = Value::from(data);
    let first = format!(r#"{{"event":"pusher:connection_established","data":{data}}}"#);
    stream.write_all(&[SWITCHING.as_bytes(), &frame(&first)].concat()).unwrap();
    let said = read_frame(&mut stream).unwrap();
    assert_eq!(said["event"], "pusher:subscribe");
    let text = format!("{id}:private-bench");
    let auth = format!("k:{}", signature(&Secret::new("s"), text.as_bytes()));
    assert_eq!(said["data"], json!({ "channel": "private-bench", "auth": auth }));
    let name = "pusher_internal:subscription_succeeded";
    let in_it = format!(r#"{{"event":"{name}","channel":"private-bench","data":"{{}}"}}"#);
    stream.write_all(&frame(&in_it)).unwrap();
    stream
}

/// The JSON of the next frame of a client, which is masked.
fn read_frame(stream: &mut TcpStream) -> Option<Value> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    let mut length = usize::from(head[1] & 0x7f);
    if length == 126 {
        let mut long = [0; 2];
        stream.read_exact(&mut long).ok()?;
        length = usize::from(u16::from_be_bytes(long));
    }
    let mut rest = vec![0; 4 + length];
    stream.read_exact(&mut rest).ok()?;
    let (mask, payload) = rest.split_at(4);
    let bytes: Vec<u8> =
        payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect();
    // The end of a run is a close frame.
    serde_json::from_slice(&bytes).ok()
}

fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    let mut frame = vec![0x81];
    if length < 126 {
        frame.push(u8::try_from(length).unwrap());
    } else {
        frame.push(126);
        frame.extend(length.to_be_bytes());
    }
    [&frame, text.as_bytes()].concat()
}

#[test]
fn publishers_of_pushers_protocol_are_clients_that_sign() {
    let address = serve();
    let output = Command::new(env!("CARGO_BIN_EXE_stentor-bench"))
        .args(["fanout", &format!("ws://{address}/app/k?protocol=7"), "-c", "5"])
        .args(["--dialect", "pusher", "--app-secret", "s", "--threads", "1", "--quiet"])
        .args(["--size", "64", "-w", "1", "--warmup", "0", "-d", "300ms", "--json", "/dev/stderr"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let run: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let totals = &run["totals"];
    let published = totals["published"].as_u64().unwrap();
    assert!(published > 10, "{totals}");
    assert_eq!(totals["deliveries"], published * CLIENTS as u64, "{totals}");
    assert_eq!((&totals["lost"], &run["target"]["dialect"]), (&json!(0), &json!("pusher")));
}
