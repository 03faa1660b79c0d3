//! SIGTERM with a delay: the server says that it is not ready and serves on, with clients and
//! without, so that whoever sends connects to it has time to see that it should not.

use std::time::{Duration, Instant};

use crate::client::Client;
use crate::server::{Server, eventually, get};

#[test]
fn a_server_serves_on_for_the_delay_though_nobody_is_there() {
    let mut server = Server::start(&["--drain-delay", "2s", "--drain-spread", "100ms"]);
    let began = Instant::now();
    server.signal("TERM");
    eventually("it is not ready", || get(server.address, "/ready").0 == 503);
    assert_eq!(get(server.admin, "/ready").0, 503);
    assert_eq!(get(server.address, "/health").0, 200);
    let mut late = Client::plain(server.address, "/ws");
    late.send("still served");
    assert_eq!(late.next_text(), "still served");
    assert_eq!(late.close_code(), Some(1001));
    assert!(server.wait().success());
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_second_signal_skips_the_delay_and_a_third_the_drain() {
    let mut server = Server::start(&["--drain-delay", "1h", "--drain-spread", "0"]);
    let mut client = Client::plain(server.address, "/ws");
    server.signal("TERM");
    eventually("it is not ready", || get(server.address, "/ready").0 == 503);
    server.signal("TERM");
    assert_eq!(client.close_code(), Some(1001));
    assert!(server.wait().success());

    let mut server = Server::start(&["--drain-delay", "1h", "--drain-spread", "1h"]);
    let client = Client::plain(server.address, "/ws");
    server.signal("TERM");
    eventually("it is not ready", || get(server.address, "/ready").0 == 503);
    server.signal("TERM");
    eventually("it drains", || server.log().iter().any(|line| line.contains("\"draining\"")));
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(128 + 15));
    drop(client);
}
