//! SIGTERM in the middle of a fan-out that is as fast as it can be: what was acknowledged
//! before has reached everybody, nobody misses anything in between, and everybody is told
//! goodbye.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::raw;
use crate::server::{Server, eventually};

const READERS: usize = 60;
/// So many of them read nothing until the drain is over its spread: what is theirs waits.
const LATE: usize = 10;
const PUBLISHERS: usize = 4;

/// The messages and the end of one client.
struct Told {
    /// The offsets of the messages, in the order in which they came.
    offsets: Vec<u64>,
    /// The code of the close frame, if there was one.
    close: Option<u16>,
}

/// Reads to the end; `acknowledged` is the highest offset that anybody's publication was answered
/// with.
fn read(mut stream: TcpStream, acknowledged: &AtomicU64, is_over: &AtomicBool) -> Told {
    let mut told = Told { offsets: Vec::new(), close: None };
    while let Some((kind, payload)) = raw::next_frame(&mut stream) {
        if kind == 0x88 {
            told.close = Some(u16::from_be_bytes([payload[0], payload[1]]));
            // As a client should: it says no more, and says goodbye.
            is_over.store(true, Ordering::SeqCst);
            let _ = stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe9]);
            continue;
        }
        let said: Value = serde_json::from_slice(&payload).unwrap();
        let offset = said["offset"].as_u64();
        match said["type"].as_str().unwrap() {
            "message" => told.offsets.push(offset.unwrap()),
            "ack" => {
                acknowledged.fetch_max(offset.unwrap(), Ordering::SeqCst);
            }
            _ => {}
        }
    }
    told
}

#[test]
fn acknowledged_messages_reach_everybody_and_all_get_a_close_frame() {
    let flags = ["--shards", "2", "--drain-spread", "800ms", "--outbox-bytes", "64MiB"];
    let buffers = ["--send-buffer-bytes", "16KiB", "--receive-buffer-bytes", "64KiB"];
    let mut server = Server::start(&[&flags[..], &buffers].concat());
    let acknowledged = Arc::new(AtomicU64::new(0));
    let may_read = Arc::new(AtomicBool::new(false));
    let begin = |number: usize| -> (TcpStream, Arc<AtomicBool>, JoinHandle<Told>) {
        let stream = raw::open_json(server.address, "/ws?channel=flood", number);
        raw::shrink(&stream);
        let may_read = Arc::clone(&may_read);
        let (ours, acknowledged) = (stream.try_clone().unwrap(), Arc::clone(&acknowledged));
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let reader = std::thread::spawn(move || {
            while number < LATE && !may_read.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            read(stream, &acknowledged, &over)
        });
        (ours, is_over, reader)
    };
    let readers: Vec<_> = (0..READERS).map(|number| begin(number).2).collect();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let (mut stream, is_over, reader) = begin(READERS + number);
            let writer = std::thread::spawn(move || {
                let filler = "x".repeat(100);
                for id in 1_u64.. {
                    let text = format!(r#"{{"type":"publish","id":{id},"body":"{filler}"}}"#);
                    let over = is_over.load(Ordering::SeqCst);
                    if over || stream.write_all(&raw::text(&text)).is_err() {
                        return;
                    }
                }
            });
            (reader, writer)
        })
        .collect();
    eventually("it is in full swing", || acknowledged.load(Ordering::SeqCst) > 3_000);
    let before = acknowledged.load(Ordering::SeqCst);
    server.signal("TERM");
    let signalled = Instant::now();
    eventually("the spread is over", || signalled.elapsed() > Duration::from_millis(1_200));
    may_read.store(true, Ordering::SeqCst);

    let mut all: Vec<Told> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    for (reader, writer) in publishers {
        all.push(reader.join().unwrap());
        writer.join().unwrap();
    }
    assert!(server.wait().success());
    let acknowledged = acknowledged.load(Ordering::SeqCst);
    eprintln!("{before} acknowledged before the signal, {acknowledged} in all");
    assert!(acknowledged > before, "it went on while clients were there");
    for (number, told) in all.iter().enumerate() {
        assert_eq!(told.close, Some(1001), "client {number} went untold");
        let (first, last) = (told.offsets[0], told.offsets[told.offsets.len() - 1]);
        let whole: Vec<u64> = (first..=last).collect();
        assert!(told.offsets == whole, "client {number} misses something, or heard it twice");
        assert!(last >= before, "client {number} heard {last}, and {before} was acknowledged");
    }
    // The last one to be told goodbye was there for all that was accepted by then.
    let last = all.iter().filter_map(|told| told.offsets.last()).max();
    assert!(last.is_some_and(|last| *last >= acknowledged), "{last:?} and {acknowledged}");
}
