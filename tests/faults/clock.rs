//! Time that stands still, leaps or runs over evicts nobody who answers: the server stopped and
//! continued, its wall clock stepped, its own clock at the end of its range.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::raw::{self, PONG};
use crate::server::{Server, eventually};

/// More clients with something to say than a shard takes in one look at its sockets.
const CROWD: usize = 1_400;

fn wait(time: Duration) {
    let until = Instant::now() + time;
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

/// The pongs of some clients lie behind what a crowd has said, and the server is stopped for longer
/// than they may take: it must read them before it judges.
#[test]
fn a_server_that_was_stopped_evicts_nobody_who_answered_meanwhile() {
    let flags = ["--shards", "1", "--ping-interval", "1s", "--pong-timeout", "2s"];
    let server = Server::start(&flags);
    let open = |number| raw::open(server.address, "/ws", number);
    let mut crowd: Vec<TcpStream> = (0..CROWD).map(open).collect();
    let speak = |crowd: &mut [TcpStream]| {
        for stream in crowd {
            stream.write_all(&PONG).unwrap();
        }
    };
    let mut late: Vec<TcpStream> = (0..20).map(open).collect();
    // The crowd talks, so that nobody of it is pinged, until all the others are.
    let waiting = Arc::new(AtomicBool::new(true));
    let talker = std::thread::spawn({
        let waiting = Arc::clone(&waiting);
        move || {
            while waiting.load(Ordering::Relaxed) {
                speak(&mut crowd);
                wait(Duration::from_millis(300));
            }
            crowd
        }
    });
    for stream in &mut late {
        assert_eq!(raw::next_frame(stream), Some((0x89, Vec::new())), "a ping");
    }
    server.signal("STOP");
    waiting.store(false, Ordering::Relaxed);
    let mut crowd = talker.join().unwrap();
    speak(&mut crowd);
    for stream in &mut late {
        stream.write_all(&PONG).unwrap();
    }
    wait(Duration::from_millis(2_500));
    server.signal("CONT");
    eventually("it knows that it was away", || server.total("absences_total") > 0);
    assert_eq!(server.by_reason("disconnects", "silent"), 0);
    assert!(late.iter_mut().chain(&mut crowd).all(raw::is_open));
    // From now on nobody says anything: time runs on, and they go.
    let all = (CROWD + late.len()) as u64;
    eventually("the silent go", || server.by_reason("disconnects", "silent") == all);
}

/// A reader that was behind when the server was stopped has not had its time yet.
#[test]
fn a_server_that_was_stopped_gives_slow_readers_their_whole_time() {
    let flags = ["--shards", "1", "--write-timeout", "3s", "--send-buffer-bytes", "16KiB"];
    let server = Server::start(&flags);
    let mut slow = raw::open(server.address, "/ws", 0);
    raw::shrink(&slow);
    let mut talker = Client::plain(server.address, "/ws?echo=false");
    let mut said = 0_usize;
    while server.total("outbox_bytes") < 400_000 {
        talker.send(&"x".repeat(8_000));
        said += 1;
    }
    server.signal("STOP");
    wait(Duration::from_millis(3_500));
    server.signal("CONT");
    eventually("it knows that it was away", || server.total("absences_total") > 0);
    assert_eq!(server.by_reason("disconnects", "stalled"), 0);
    for _ in 0..said {
        let frame = raw::next_frame(&mut slow).map(|(kind, text)| (kind, text.len()));
        assert_eq!(frame, Some((0x81, 8_000)));
    }
}

/// Milliseconds are kept in 32 bits, which run over after 49.7 days. Here they do so three seconds
/// after the start.
#[test]
fn a_clock_that_runs_over_is_no_reason_to_go_or_to_stay() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_sec;
    let offset = i64::from(u32::MAX / 1000) - now - 3;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--time", "--monotonic", &offset.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_stentor"));
    let flags = ["--shards", "1", "--ping-interval", "400ms", "--pong-timeout", "400ms"];
    command.args(flags).args(["--handshake-timeout", "1s"]);
    let server = Server::start_as(command);
    let mut good = raw::open(server.address, "/ws", 0);
    std::thread::spawn(move || {
        while let Some((0x89, _)) = raw::next_frame(&mut good) {
            good.write_all(&PONG).unwrap();
        }
    });
    let began = Instant::now();
    let mut evicted = 0;
    while began.elapsed() < Duration::from_secs(6) {
        let mut silent = raw::open(server.address, "/ws", 0);
        let mut mute = raw::connect(server.address, 0).unwrap();
        let asked = Instant::now();
        assert_eq!(raw::next_frame(&mut silent), Some((0x89, Vec::new())), "a ping");
        let (kind, reason) = raw::next_frame(&mut silent).unwrap();
        assert_eq!((kind, &reason[..2]), (0x88, &3012_u16.to_be_bytes()[..]));
        let silent_for = asked.elapsed();
        eventually("the handshake has taken too long", || !raw::is_open(&mut mute));
        let mute_for = asked.elapsed();
        for (what, took, least) in [("silent", silent_for, 600), ("mute", mute_for, 900)] {
            let most = Duration::from_secs(5);
            assert!(took > Duration::from_millis(least) && took < most, "{what}: {took:?}");
        }
        evicted += 1;
    }
    assert!(evicted > 2, "{evicted}");
    assert_eq!(server.by_reason("disconnects", "silent"), evicted);
    assert_eq!(server.total("clients"), 1, "who answers stays");
}
