//! The server is killed and another starts: thousands of clients come back by themselves, soon, and
//! hear nothing twice.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Server, post};
use crate::swarm::{Event, Swarm};

/// Clients on bare sockets, and clients of the page's library.
const BARE: usize = 4_000;
const LIBRARY: usize = 1_000;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn five_thousand_clients_come_back_after_a_kill() {
    let mut server = Server::start(&["--shards", "2"]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/crowd.mjs");
    let mut library = Command::new("node")
        .arg(script)
        .args([&format!("ws://{}", server.address), &LIBRARY.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(library.stdout.take().unwrap()).lines();

    let target = "/ws?channel=bare";
    let mut bare = Swarm::new(server.address, target, BARE, 3, Duration::from_secs(1));
    assert!(bare.run(PATIENCE, |_, _| {}, |swarm| swarm.open() == BARE), "not all came in");
    assert_eq!(told.next().unwrap().unwrap(), "in");

    // Each publication has a number; each member keeps how often it heard which.
    let mut heard = vec![[0_u8; 256]; BARE];
    let mut said = 0;
    let mut speak = |server: &Server| {
        let body = format!(r#"{{"channel":"bare","data":{said}}}"#);
        assert_eq!(post(server.admin, "/api/publish", &body).0, 200);
        said += 1;
        said - 1
    };
    for _ in 0..5 {
        speak(&server);
    }
    server.signal("KILL");
    let killed = Instant::now();
    server.wait();
    let server = Server::start_on(server.address, &["--shards", "2"]);
    let mut lost = 0;
    let mut note = |index: usize, event: Event<'_>| match event {
        Event::Heard(text) => {
            let number: usize = std::str::from_utf8(text).unwrap().parse().unwrap();
            heard[index][number] += 1;
        }
        Event::Lost => lost += 1,
        Event::Open(_) | Event::Closed(_) => {}
    };
    // First they must notice, and then be back.
    let mut was_out = false;
    let all_back = |swarm: &mut Swarm| {
        was_out |= swarm.open() < BARE / 2;
        was_out && swarm.open() == BARE
    };
    assert!(bare.run(PATIENCE, &mut note, all_back), "{} of {BARE} came back", bare.open());
    let bare_took = killed.elapsed();
    let last = speak(&server);
    let until = Instant::now() + Duration::from_secs(1);
    bare.run(PATIENCE, &mut note, |_| Instant::now() > until);
    assert_eq!(lost, BARE, "each lost one server");

    let back = told.next().unwrap().unwrap();
    let library_took: u64 = back.strip_prefix("back ").unwrap().parse().unwrap();
    eprintln!(
        "all back: {BARE} bare after {bare_took:?}, {LIBRARY} of the library {library_took} ms"
    );
    assert!(bare_took < Duration::from_secs(30), "{bare_took:?}");
    assert!(library_took < 30_000, "{library_took} ms");
    for heard in &heard {
        assert!(heard.iter().all(|times| *times < 2), "something was heard twice");
        assert_eq!(heard[last], 1, "all that are back hear what is said");
    }
    assert_eq!(told.next().unwrap().unwrap(), "done");
    assert!(library.wait().unwrap().success());
}
