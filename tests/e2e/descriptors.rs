//! Where descriptors are out, accepting pauses and does not spin, and goes on when there are some
//! again.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::server::{Server, eventually, get};

#[test]
fn accepting_pauses_without_spinning_and_recovers() {
    let server = Server::start_with_nofile(120, &["--shards", "1", "--ping-interval", "0"]);
    let mut first = Client::plain(server.address, "/ws");
    // An open admin connection is kept out of it: descriptors are needed to ask.
    let crowd: Vec<TcpStream> =
        (0..200).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let cpu = server.cpu();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        std::thread::park_timeout(Duration::from_millis(100));
    }
    let spent = server.cpu().saturating_sub(cpu);
    assert!(spent < Duration::from_millis(300), "{spent:?} of CPU in a second without work");
    first.send("those inside are served");
    assert_eq!(first.next_text(), "those inside are served");
    drop(crowd);
    eventually("new clients are welcome", || {
        let mut client = Client::plain(server.address, "/ws?channel=new");
        client.send("x");
        client.next_text() == "x"
    });
    eventually("the pauses are counted", || {
        get(server.admin, "/api/stats").0 == 200 && server.total("accept_pauses_total") > 0
    });
}
