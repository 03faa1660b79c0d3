//! A shard that panics takes the process with it within a second, by the exit code at which the
//! unit file starts it again.

use std::time::{Duration, Instant};

use crate::raw;
use crate::server::{Server, post};

#[test]
fn a_panic_ends_the_process_within_a_second_though_it_is_busy() {
    for shard in 0..2 {
        let mut server = Server::start(&["--shards", "2"]);
        let mut clients: Vec<_> =
            (0..200).map(|number| raw::open(server.address, "/ws", number)).collect();
        let began = Instant::now();
        // The process may be gone before the answer is.
        let _ = post(server.admin, &format!("/api/break/{shard}"), "");
        let status = server.wait();
        let took = began.elapsed();
        assert_eq!(status.code(), Some(70));
        assert!(took < Duration::from_secs(1), "{took:?}");
        assert!(clients.iter_mut().all(|client| raw::next_frame(client).is_none()), "nobody stays");
    }
}

#[test]
fn the_unit_file_starts_it_again_and_not_for_a_wrong_configuration() {
    let unit = include_str!("../../scripts/systemd/stentor.service");
    let setting = |name: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("the unit says nothing of {name}"))
    };
    assert_eq!(setting("Restart"), "on-failure");
    let not: Vec<&str> = setting("RestartPreventExitStatus").split_whitespace().collect();
    assert_eq!(not, ["2", "3", "4", "78"], "usage, configuration, and where another one serves");
    assert_eq!(setting("SuccessExitStatus"), "3", "to be taken over from is no failure");
    assert_eq!(setting("Type"), "notify");
    assert_eq!(setting("RestartSec"), "1");
    assert_eq!(setting("StartLimitIntervalSec"), "0", "it never gives up");
    assert!(setting("ExecStart") == "/usr/bin/stentor serve");
    // Instances are one file under two names, and one user.
    assert_eq!(setting("User"), "stentor");
    assert_eq!(unit.matches('%').count(), 2, "one more file of variables for each instance");
}
