//! One client that wants all there is: channels, names, descriptors.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::crowd::CLIENTS;
use crate::raw::{close_code, connect, head, json, next_frame, status, text, upgraded};
use crate::server::{Server, eventually};
use crate::siege::Siege;

/// So many channels are joined by one client.
const CHANNELS: usize = 10_000;

fn join(number: usize) -> Vec<u8> {
    text(&format!(r#"{{"type":"join","channel":"c{number}"}}"#))
}

fn speech(number: usize) -> Vec<u8> {
    text(&format!(r#"{{"type":"publish","channel":"c{number}","body":1}}"#))
}

fn kind_of(frame: Option<(u8, Vec<u8>)>) -> String {
    let (_, payload) = frame.unwrap();
    let value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    value["type"].as_str().unwrap().to_owned()
}

/// Writes in a thread of its own while the caller reads.
fn write_beside(stream: &TcpStream, bytes: Vec<u8>) -> std::thread::JoinHandle<()> {
    let mut stream = stream.try_clone().unwrap();
    std::thread::spawn(move || stream.write_all(&bytes).unwrap())
}

#[test]
fn ten_thousand_channels_of_one_client() {
    let siege = Siege::begin(&["--channels-per-client", "10000", "--outbox-bytes", "8MiB"]);
    // A channel on each of two shards, a seat, and what waits for the client.
    let memory = CHANNELS as u64 * 2_048 + (8 << 20);
    siege.withstand("ten thousand channels", memory, |server| {
        let mut greedy = json(server.address, "/ws");
        let writer = write_beside(&greedy, (0..CHANNELS).flat_map(join).collect());
        for _ in 0..CHANNELS {
            assert_eq!(kind_of(next_frame(&mut greedy)), "joined");
        }
        writer.join().unwrap();
        greedy.write_all(&join(CHANNELS)).unwrap();
        assert_eq!(kind_of(next_frame(&mut greedy)), "error");

        // It hears each of them, also when more speak in one turn than the kernel takes slices.
        let talkers: Vec<TcpStream> = (0..40).map(|_| json(server.address, "/ws")).collect();
        let share = CHANNELS / talkers.len();
        let words: Vec<Vec<u8>> = (0..talkers.len())
            .map(|part| (part * share..(part + 1) * share).flat_map(speech).collect())
            .collect();
        // For a few milliseconds the server stands still, and then has it all at once.
        server.signal("STOP");
        for (mut talker, words) in talkers.iter().zip(&words) {
            talker.write_all(words).unwrap();
        }
        server.signal("CONT");
        for _ in 0..CHANNELS {
            assert_eq!(kind_of(next_frame(&mut greedy)), "message");
        }
        drop((greedy, talkers));
        eventually("its channels are forgotten where it was", || {
            server.by_reason("disconnects", "gone") >= 2
        });
    });
}

#[test]
fn joins_under_way_count_against_the_limit() {
    let siege = Siege::begin(&["--errors-max", "65536"]);
    siege.withstand("joins before any answer", 4 << 20, |server| {
        let mut greedy = json(server.address, "/ws");
        let writer = write_beside(&greedy, (0..2_000).flat_map(join).collect());
        let answers: Vec<String> = (0..2_000).map(|_| kind_of(next_frame(&mut greedy))).collect();
        writer.join().unwrap();
        let joined = answers.iter().filter(|kind| *kind == "joined").count();
        assert_eq!(joined, 128, "--channels-per-client");
    });
}

#[test]
fn names_without_end_are_forgotten() {
    let siege = Siege::begin(&["--channels-per-shard", "4096"]);
    siege.withstand("publications to ever new names", 2 * 4096 * 1024, |server| {
        let mut talker = json(server.address, "/ws");
        for round in 0..20 {
            let speech = |number| {
                text(&format!(r#"{{"type":"publish","channel":"{round}-{number}","body":1}}"#))
            };
            talker.write_all(&(0..2_000).flat_map(speech).collect::<Vec<u8>>()).unwrap();
        }
        talker.write_all(&text(r#"{"type":"ping"}"#)).unwrap();
        assert_eq!(kind_of(next_frame(&mut talker)), "pong");
        assert!(server.total("channels") <= 2 * 4096);
        assert!(server.total("forgotten_channels_total") > 10_000);
    });
    siege.withstand("clients in ever new channels", 4 << 20, |server| {
        for number in 0..2_000 {
            let stream = upgraded(server.address, &format!("/ws?channel=once{number}"));
            drop(stream);
        }
    });
}

/// A history for each name, but of no more names and bytes than the bounds allow.
const NAMESPACES: &str = "[[namespace]]\nname = 'chat'\nhistory_size = 10\nrecovery = true\n";

#[test]
fn namespaces_without_end_are_refused_and_histories_without_end_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    std::fs::write(&file, NAMESPACES).unwrap();
    let siege = Siege::begin(&[
        "--config",
        file.to_str().unwrap(),
        "--channels-per-shard=4096",
        "--history-total-bytes=4MiB",
        "--errors-max=65536",
    ]);
    let before = siege.server.total("channels");
    siege.withstand("names of namespaces that are not there", 4 << 20, |server| {
        let mut talker = json(server.address, "/ws");
        let ask = |number| {
            let name = format!("nobody{number}:x");
            let join = format!(r#"{{"type":"join","channel":"{name}","id":1}}"#);
            let publish = format!(r#"{{"type":"publish","channel":"{name}","body":1,"id":2}}"#);
            [text(&join), text(&publish)].concat()
        };
        let writer = write_beside(&talker, (0..5_000).flat_map(ask).collect());
        for _ in 0..10_000 {
            let (_, payload) = next_frame(&mut talker).unwrap();
            let answer: serde_json::Value = serde_json::from_slice(&payload).unwrap();
            assert_eq!(answer["code"], "unknown_namespace", "{answer}");
        }
        writer.join().unwrap();
        for number in 0..300 {
            let request = head(&format!("/ws?channel=nobody{number}:x"), "");
            assert_eq!(status(server.address, request.as_bytes()), 403);
        }
    });
    assert_eq!(siege.server.total("channels"), before, "an unknown namespace has made some");
    // Of both shards: the channels, and what they keep.
    let memory = 2 * (4096 * 1024 + (4 << 20));
    siege.withstand("histories of ever new names", memory, |server| {
        let mut talker = json(server.address, "/ws");
        let body = "x".repeat(1_000);
        let speech = |number| {
            text(&format!(r#"{{"type":"publish","channel":"chat:{number}","body":"{body}"}}"#))
        };
        for round in 0..10 {
            let all = (round * 2_000..(round + 1) * 2_000).flat_map(speech);
            talker.write_all(&all.collect::<Vec<u8>>()).unwrap();
        }
        talker.write_all(&text(r#"{"type":"ping"}"#)).unwrap();
        assert_eq!(kind_of(next_frame(&mut talker)), "pong");
        assert!(server.total("channels") <= 2 * 4096);
        assert!(server.total("history_bytes") <= 2 * (4 << 20));
    });
    assert!(siege.server.total("history_pressed_out_total") > 10_000);
}

/// Connects without a wait for the server, which has no descriptor left.
fn crowd_in(to: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count)
        .map(|_| {
            let mut stream = connect(to);
            stream.write_all(head("/ws?channel=late", "").as_bytes()).unwrap();
            stream.set_nonblocking(true).unwrap();
            stream
        })
        .collect()
}

fn is_served(stream: &mut TcpStream) -> bool {
    !matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

#[test]
fn descriptors_run_out_and_come_back() {
    let room = u32::try_from(CLIENTS).unwrap() + 200;
    let siege = Siege::of(Server::start_with_nofile(room, &["--shards", "2"]));
    siege.withstand("no descriptors left", 4 << 20, |server| {
        let mut late = crowd_in(server.address, 1_000);
        eventually("some are served", || late.iter_mut().any(is_served));
        std::thread::park_timeout(std::time::Duration::from_secs(1));
        let served = late.iter_mut().filter_map(|stream| is_served(stream).then_some(())).count();
        assert!(served < 200, "{served} found descriptors: the test proves nothing");
        drop(late);
        // A client that comes now is admitted, without a restart.
        let mut next = upgraded(server.address, "/ws?channel=next");
        next.write_all(&text("x")).unwrap();
        assert_eq!(next_frame(&mut next), Some((0x81, b"x".to_vec())));
    });
    assert!(siege.server.total("accept_pauses_total") > 0);
}

#[test]
fn clients_over_the_limit_are_refused() {
    let most = (CLIENTS + 10).to_string();
    let siege = Siege::begin(&["--max-clients", &most]);
    siege.withstand("clients over the limit", 4 << 20, |server| {
        let inside: Vec<TcpStream> =
            (0..10).map(|_| upgraded(server.address, "/ws?channel=in")).collect();
        for _ in 0..300 {
            assert_eq!(status(server.address, head("/ws", "").as_bytes()), 503);
        }
        drop(inside);
        eventually("there is room again", || {
            status(server.address, head("/ws", "").as_bytes()) == 101
        });
    });
    let mut gone = upgraded(siege.server.address, "/ws");
    gone.write_all(&crate::raw::frame(0x88, &[])).unwrap();
    assert_eq!(close_code(&mut gone), None, "a close without a code is answered without one");
}
