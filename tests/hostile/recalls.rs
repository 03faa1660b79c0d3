//! Floods of questions about what was missed: histories without end, clients that only come back,
//! and readers that ask for far more than they read.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::Value;
use socket2::SockRef;

use crate::floods::{ATTACKERS, EACH_BYTES, FLOOD, Flood, Kind, storm_of_connects};
use crate::raw::{connect, head, json, next_frame, status_on, text};
use crate::server::{Server, post};
use crate::siege::Siege;

/// So many messages are missed, of so many bytes each.
pub(crate) const MISSED: usize = 1_000;
pub(crate) const MESSAGE_BYTES: usize = 250;

pub(crate) const KEPT: [&str; 5] =
    ["--recovery", "--history=1000", "--history-bytes=1MiB", "--errors-max", "65536"];

/// Keeps messages in a channel; returns the epoch in which they have the offsets from 1 on.
pub(crate) fn fill(server: &Server, channel: &str, count: usize, bytes: usize) -> String {
    let mut epoch = String::new();
    for number in 0..count {
        let data = format!("{number:08}{}", "x".repeat(bytes - 8));
        let body = format!(r#"{{"channel":"{channel}","data":"{data}"}}"#);
        let (status, answer) = post(server.admin, "/api/publish", &body);
        assert_eq!(status, 200, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        answer["result"]["epoch"].as_str().unwrap().clone_into(&mut epoch);
    }
    epoch
}

/// Reads what was missed. Returns the number of messages that came in their order.
fn read_missed(stream: &mut TcpStream, count: usize) -> usize {
    let in_order = |number: &usize| {
        let Some((first, payload)) = next_frame(stream) else { return false };
        first == 0x81 && payload.starts_with(format!("{number:08}").as_bytes())
    };
    (0..count).take_while(in_order).count()
}

#[test]
fn floods_of_history_requests() {
    let siege = Siege::begin(&KEPT);
    let epoch = fill(&siege.server, "flood", MISSED, MESSAGE_BYTES);
    let flood = |name: &str, kinds: &[(bool, &[&str])]| {
        siege.withstand(name, ATTACKERS as u64 * EACH_BYTES, |server| {
            let open = |_| json(server.address, "/ws?channel=flood");
            let texts = |all: &[&str]| all.iter().flat_map(|one| text(one)).collect::<Vec<u8>>();
            let units: Vec<(bool, Vec<u8>)> =
                kinds.iter().map(|(reads, requests)| (*reads, texts(requests))).collect();
            let kinds =
                units.iter().map(|(reads, unit)| Kind { reads: *reads, ..Kind::read(unit) });
            let units = Flood { kinds: &kinds.collect::<Vec<_>>(), open: &open }.run();
            assert!(units > 50, "{name}: only {units}");
            eprintln!("{name}: {units}");
        });
    };
    let since = format!(r#""since":{{"epoch":"{epoch}","offset":1}}"#);
    let whole = r#"{"type":"history","id":1,"limit":1000}"#;
    flood("whole histories, read and not", &[(true, &[whole]), (false, &[whole])]);
    let reverse = format!(r#"{{"type":"history","id":1,"limit":1000,"reverse":true,{since}}}"#);
    let wrong = r#"{"type":"history","id":1,"since":{"epoch":"00000000","offset":1}}"#;
    let name = "histories backwards from the oldest on, and of an epoch that never was";
    flood(name, &[(true, &[&reverse]), (true, &[wrong])]);
    let (leave, join) = (
        r#"{"type":"leave","channel":"flood"}"#,
        format!(r#"{{"type":"join","channel":"flood",{since}}}"#),
    );
    let both: &[&str] = &[leave, &join];
    flood("joins that recover and leaves, read and not", &[(true, both), (false, both)]);
}

#[test]
fn storms_of_clients_that_come_back_at_full_speed() {
    let siege = Siege::begin(&KEPT);
    let epoch = fill(&siege.server, "flood", MISSED, MESSAGE_BYTES);
    let target = format!("/ws?channel=flood&since={epoch}:0");
    // As many clients as two turns may accept, each with a part of the messages that it missed.
    siege.withstand("recalls and reset", 512 * (64 << 10), |server| {
        let count = storm_of_connects(server.address, &[head(&target, "").as_bytes()]);
        assert!(count > 100, "only {count}");
        eprintln!("recalls and reset: {count}");
    });
    siege.withstand("recalls that are read", ATTACKERS as u64 * EACH_BYTES, |server| {
        let _ = rustix::process::setpriority_process(None, 10);
        let (until, mut count) = (Instant::now() + FLOOD, 0);
        while Instant::now() < until {
            let mut round: Vec<TcpStream> =
                (0..ATTACKERS).map(|_| connect(server.address)).collect();
            for stream in &mut round {
                stream.write_all(head(&target, "").as_bytes()).unwrap();
            }
            for stream in &mut round {
                assert_eq!(status_on(stream), 101);
                assert_eq!(read_missed(stream, MISSED), MISSED);
                SockRef::from(&*stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
                count += 1;
            }
        }
        assert!(count >= ATTACKERS, "only {count}");
        eprintln!("recalls that are read: {count}");
    });
}

/// So many messages of nearly 64 KiB are 64 MiB.
const LARGE: usize = 1_100;
const LARGE_BYTES: usize = 61_000;

/// Asks for everything, and reads nothing of it but the head.
fn ask_for_all(to: SocketAddr, target: &str) -> TcpStream {
    let mut stream = connect(to);
    SockRef::from(&stream).set_recv_buffer_size(16 << 10).unwrap();
    stream.write_all(head(target, "").as_bytes()).unwrap();
    assert_eq!(status_on(&mut stream), 101);
    stream
}

#[test]
fn sixty_four_mebibytes_for_readers_that_do_not_read() {
    let siege = Siege::begin(&[
        "--recovery",
        "--history=2000",
        "--history-bytes=80MiB",
        "--history-total-bytes=96MiB",
        "--message-bytes=128KiB",
    ]);
    let epoch = fill(&siege.server, "large", LARGE, LARGE_BYTES);
    assert!(siege.server.total("history_bytes") > 64 << 20);
    let target = format!("/ws?channel=large&since={epoch}:0");
    siege.withstand("64 MiB each for who does not read", ATTACKERS as u64 * EACH_BYTES, |server| {
        let stopped: Vec<TcpStream> =
            (0..ATTACKERS).map(|_| ask_for_all(server.address, &target)).collect();
        // One beside them that reads has everything, and the kernel's copy of theirs stays small.
        let mut reader = connect(server.address);
        reader.write_all(head(&target, "").as_bytes()).unwrap();
        assert_eq!(status_on(&mut reader), 101);
        assert_eq!(read_missed(&mut reader, LARGE), LARGE);
        drop(stopped);
    });
}
