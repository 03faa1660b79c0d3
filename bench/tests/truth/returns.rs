//! Clients that come back by themselves: how often, how soon, and the messages that they heard.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{
    CLIENTS, answered, bench, found, hold, ms, read_frame, run, unmasked, welcome,
};

/// How long nobody is let in.
const OUTAGE: Duration = Duration::from_millis(700);

/// Accepts all clients, whatever their order, each at the place that its request names.
fn all(listener: &TcpListener) -> Vec<TcpStream> {
    let mut clients: Vec<Option<TcpStream>> = (0..CLIENTS).map(|_| None).collect();
    for _ in 0..CLIENTS {
        let (stream, head) = welcome(listener);
        let number = head.lines().find_map(|line| line.strip_prefix("number:")).unwrap();
        clients[number.parse::<usize>().unwrap()] = Some(stream);
    }
    clients.into_iter().flatten().collect()
}

/// Passes `count` messages of the first client on to all, and one more to half of them.
fn pass_on(clients: &mut [TcpStream], count: usize) {
    for number in 0..=count {
        let Some(payload) = read_frame(&mut clients[0]) else { return };
        let hearers = if number < count { CLIENTS } else { CLIENTS / 2 };
        for client in &mut clients[..hearers] {
            if client.write_all(&unmasked(&payload)).is_err() {
                return;
            }
        }
    }
}

/// A server that dies after 100 messages, in the middle of the next one, and another that takes its
/// address after the outage; it says one message twice.
fn mortal() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut clients = all(&listener);
        pass_on(&mut clients, 100);
        drop((clients, listener));
        hold(OUTAGE);
        let listener = TcpListener::bind(address).unwrap();
        let mut clients = all(&listener);
        let first = read_frame(&mut clients[0]).unwrap();
        for client in &mut clients {
            client.write_all(&unmasked(&first)).unwrap();
        }
        clients[3].write_all(&unmasked(&first)).unwrap();
        pass_on(&mut clients, usize::MAX - 1);
        // The publisher's thread has gone; that of others may still be waiting, and loses nobody.
        hold(Duration::from_secs(30));
    });
    address
}

const RETURNING: &str = "-H number:$N --reconnect --backoff 50ms..100ms";

/// Every receipt is accounted for: it came, or its client was away.
#[test]
fn a_death_is_measured() {
    let flags = "-r 100/s -d 4s --threads 2 --threshold recovery<30s";
    let output = bench(mortal(), &format!("{RETURNING} {flags}"));
    let run = found(&output);
    let (totals, returns) = (&run["totals"], &run["returns"]);
    let count = |of: &serde_json::Value| of.as_u64().unwrap();
    assert_eq!((count(&returns["returned"]), count(&returns["away"])), (10, 0), "{returns}");
    let recovery = returns["recovery_s"].as_f64().unwrap();
    assert!((0.7..30.0).contains(&recovery), "{recovery}");
    assert!(ms(&run, "return", "min_ns") >= 600.0 && ms(&run, "return", "count") * 1e6 > 9.0);
    assert!(count(&returns["failures"]["Connection refused (os error 111)"]) >= 10, "{returns}");

    // Messages that were due while the publisher was away were not sent, and the record says so.
    let (published, unsaid) = (count(&totals["published"]), count(&totals["unsaid"]));
    assert_eq!(published + unsaid, 400);
    assert!(unsaid >= 50, "{unsaid}");
    // Half of the clients missed the message that the server died on, and all what lay behind it.
    let (missed, lost) = (count(&returns["missed"]), count(&totals["lost"]));
    assert!(missed >= 5 && missed % 10 == 5, "{missed}");
    assert_eq!((lost, count(&totals["duplicated"])), (0, 1), "{totals}");
    assert_eq!(count(&totals["deliveries"]) + missed, published * 10);
    assert_eq!(count(&totals["disconnects"]["none"]) + reset(totals), 10, "{totals}");
    assert_eq!(run["thresholds"][0]["met"], true, "{}", run["thresholds"]);
    // A busy machine may have made the generator late; nothing else is wrong.
    let faults = run["faults"].as_array().unwrap();
    let is_late = |fault: &serde_json::Value| fault["what"].as_str().unwrap().contains("was late");
    assert!(faults.iter().all(is_late), "{faults:?}");
    assert_eq!(output.status.code(), Some(if faults.is_empty() { 0 } else { 4 }));
}

/// The one that publishes may have said something that the server did not read.
fn reset(totals: &serde_json::Value) -> u64 {
    totals["disconnects"]["reset"].as_u64().unwrap_or(0)
}

/// A closed loop does not wait for what died with the server.
#[test]
fn a_closed_loop_goes_on() {
    let began = Instant::now();
    let run = found(&bench(mortal(), &format!("{RETURNING} -w 1 -d 3s")));
    let published = run["totals"]["published"].as_u64().unwrap();
    assert!(published > 200, "{published} after {:?}", began.elapsed());
    assert_eq!(run["returns"]["returned"], 10);
    assert_eq!(run["totals"]["lost"], 0);
}

/// Silent clients come back too; a server that nobody comes back to leaves nothing to measure.
#[test]
fn silent_clients_come_back_and_an_end_is_an_end() {
    let run_of = |again: bool| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let accept = || answered(&listener);
            let clients: Vec<TcpStream> = (0..CLIENTS).map(|_| accept()).collect();
            hold(Duration::from_millis(300));
            drop(clients);
            if again {
                let _clients: Vec<TcpStream> = (0..CLIENTS).map(|_| accept()).collect();
                hold(Duration::from_secs(30));
            }
        });
        run(address, "idle", "-d 2s --reconnect --backoff 50ms..100ms")
    };
    let back = run_of(true);
    let run = found(&back);
    assert_eq!((&run["returns"]["returned"], &run["returns"]["away"]), (&10.into(), &0.into()));
    assert_eq!(back.status.code(), Some(0), "{}", run["faults"]);
    let gone = run_of(false);
    let run = found(&gone);
    assert_eq!((&run["returns"]["away"], &run["returns"]["recovery_s"]), (&10.into(), &().into()));
    let fault = run["faults"][0]["what"].as_str().unwrap();
    assert!(fault.starts_with("all clients were gone"), "{fault}");
    assert_eq!(gone.status.code(), Some(4));
}
