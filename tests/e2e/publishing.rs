//! `stentor pub` and `stentor sub` from end to end: every line arrives or is told, a subscriber
//! comes back by itself, and a reader that goes ends it quietly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::accept_hdr;
use async_tungstenite::tungstenite::handshake::server::{Request, Response};
use async_tungstenite::tungstenite::http::HeaderValue;

use crate::client::Client;
use crate::server::{Server, eventually, post};

fn stentor(args: &[&str], url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
    command.args(args).args(["--url", url]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn url(server: &Server) -> String {
    format!("ws://{}/ws", server.address)
}

/// Publishes lines and returns exit code and standard error.
fn publish(args: &[&str], url: &str, input: &[u8]) -> (Option<i32>, String) {
    let mut child = stentor(args, url).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // It may end before it has read everything.
        let _ = stdin.write_all(&input);
    });
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    writer.join().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn one_line(stderr: &str, part: &str) {
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.starts_with("stentor: ") && stderr.contains(part), "{stderr}");
}

/// A subscriber that is there.
fn subscribe(server: &Server, args: &[&str]) -> (Child, BufReader<ChildStdout>) {
    let before = server.total("clients");
    let mut child = stentor(args, &url(server)).spawn().unwrap();
    eventually("the subscriber is there", || server.total("clients") == before + 1);
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

fn next(out: &mut impl BufRead) -> String {
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn every_line_is_published_whatever_it_says() {
    let server = Server::start(&[]);
    let (mut sub, out) = subscribe(&server, &["sub", "news", "--count", "2006"]);
    let mut input = b"before\nping\n{\"heartbeat\":true}\n\n\"quoted\\ \xc3\xa4\r\n".to_vec();
    for number in 0..2000 {
        input.extend(format!("{number}\n").bytes());
    }
    input.extend(b"no end");
    assert_eq!(publish(&["pub", "news"], &url(&server), &input), (Some(0), String::new()));
    let heard: Vec<String> = out.lines().map(Result::unwrap).collect();
    assert_eq!(heard[..5], ["before", "ping", "{\"heartbeat\":true}", "", "\"quoted\\ ä"]);
    let numbers: Vec<String> = (0..2000).map(|number| number.to_string()).collect();
    assert_eq!(heard[5..2005], numbers);
    assert_eq!(heard[2005], "no end");
    assert!(sub.wait().unwrap().success());
}

#[test]
fn lines_that_cannot_be_published_are_told_and_the_rest_goes() {
    let server = Server::start(&["--message-bytes", "1KiB"]);
    let (mut sub, out) = subscribe(&server, &["sub", "news", "--count", "2"]);
    let mut input = b"first\n".to_vec();
    input.extend(vec![b'x'; 300_000]);
    input.extend(b"\n\xff\xfe\nlast\n");
    let (code, stderr) = publish(&["pub", "news", "-"], &url(&server), &input);
    assert_eq!(code, Some(1));
    one_line(&stderr, "2 of 4 lines were published, 2 were not: line 2 is too large for the 1024");
    assert_eq!(out.lines().map(Result::unwrap).collect::<Vec<_>>(), ["first", "last"]);
    assert!(sub.wait().unwrap().success());
    let long = "y".repeat(1000);
    let (code, stderr) = publish(&["pub", "news", &long], &url(&server), b"");
    assert_eq!(code, Some(1));
    one_line(&stderr, "0 of 1 line was published, 1 was not: line 1 is too large");
}

#[test]
fn lines_that_the_server_refuses_are_counted() {
    let server = Server::start(&["--messages-per-second", "5"]);
    let lines = "x\n".repeat(100);
    let (code, stderr) = publish(&["pub", "news"], &url(&server), lines.as_bytes());
    assert_eq!(code, Some(1));
    one_line(&stderr, " of 100 lines were published, ");
    assert!(
        stderr.contains("rate, ") && stderr.contains("closed by the server: 1008 "),
        "{stderr}"
    );
    let words = stderr.split([' ', ',']);
    let numbers: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    let [taken, all, refused, unknown, 1008] = numbers[..] else { panic!("{stderr}") };
    // Lines of a later read are behind the close frame: nobody answers those.
    assert!(taken < 20 && refused > 20 && taken + refused + unknown == all, "{stderr}");
    // The last acknowledgements of another shard may be behind the close frame.
    let published = server.total("publications_total");
    assert!((taken..=taken + unknown).contains(&published), "{published}: {stderr}");
    let (code, stderr) = publish(&["pub", "a\u{7}b", "x"], &url(&server), b"");
    assert_eq!(code, Some(1));
    one_line(&stderr, "bad_name");
}

#[test]
fn a_server_that_ends_the_connection_is_quoted() {
    let server = Server::start(&["--on-duplicate-user", "refuse"]);
    let (_sub, _out) = subscribe(&server, &["sub", "news", "--user", "a"]);
    let (code, stderr) = publish(&["pub", "news", "--user", "a"], &url(&server), b"x\n");
    assert_eq!(code, Some(1));
    one_line(&stderr, "409");

    let mut publisher = stentor(&["pub", "news", "--user", "b"], &url(&server))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = publisher.stdin.take().unwrap();
    input.write_all(b"one\n").unwrap();
    eventually("the line is published", || server.total("publications_total") == 1);
    assert_eq!(post(server.admin, "/api/disconnect", r#"{"user":"b"}"#).0, 200);
    let output = publisher.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    one_line(&stderr, "1 of 1 line was published, 0 was not; closed by the server: 3501 ");
    assert!(stderr.contains("standard input was not read to its end"), "{stderr}");
    drop(input);
}

#[test]
fn a_subscriber_comes_back_by_itself_and_prints_nothing_twice() {
    let mut server = Server::start(&["--drain-spread", "0"]);
    let (mut sub, mut out) = subscribe(&server, &["sub", "news", "--count", "2"]);
    let (once, _out) = subscribe(&server, &["sub", "news", "--once"]);
    Client::plain(server.address, "/ws?channel=news").send("one");
    assert_eq!(next(&mut out), "one");
    server.signal("TERM");
    assert!(server.wait().success());
    let ended = once.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    one_line(&String::from_utf8(ended.stderr).unwrap(), "closed by the server: 1001 draining");

    let server = Server::start_on(server.address, &[]);
    eventually("it is back", || server.total("clients") == 1);
    Client::plain(server.address, "/ws?channel=news").send("two");
    assert_eq!(next(&mut out), "two");
    assert!(sub.wait().unwrap().success());
    let mut told = String::new();
    sub.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(
        told.contains("1001 draining; coming back\n") && told.contains("recovered: false"),
        "{told}"
    );
}

#[test]
fn a_subscriber_that_was_sent_away_for_good_says_so() {
    let server = Server::start(&[]);
    let (sub, _out) = subscribe(&server, &["sub", "news", "--user", "eve"]);
    assert_eq!(post(server.admin, "/api/disconnect", r#"{"user":"eve"}"#).0, 200);
    let output = sub.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    one_line(&String::from_utf8(output.stderr).unwrap(), "closed by the server: 3501 ");
}

#[test]
fn a_reader_that_goes_ends_a_subscriber_quietly() {
    let server = Server::start(&[]);
    let (mut sub, out) = subscribe(&server, &["sub", "news"]);
    drop(out);
    let mut status = None;
    eventually("it ends without a message that fails", || {
        status = sub.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success());
    let mut told = String::new();
    sub.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert_eq!(told, "");
}

#[test]
#[expect(clippy::result_large_err, reason = "the handshake's refusal is the library's type")]
fn a_server_that_pings_without_end_costs_a_subscriber_no_memory() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/ws", listener.local_addr().unwrap());
    let mut sub = stentor(&["sub", "news"], &url).spawn().unwrap();
    let stream = listener.accept().unwrap().0;
    let mut socket = accept_hdr(stream, |_: &Request, mut answer: Response| {
        let protocol = HeaderValue::from_static("stentor.v1");
        answer.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        Ok(answer)
    })
    .unwrap();
    // Nobody reads the pongs.
    let ping = [&[0x89, 125][..], &[b'x'; 125]].concat();
    let pings = ping.repeat(8192);
    for _ in 0..64 {
        socket.get_mut().write_all(&pings).unwrap();
    }
    socket.get_mut().write_all(b"\x81\x1e{\"type\":\"message\",\"body\":\"ok\"}").unwrap();
    assert_eq!(next(&mut BufReader::new(sub.stdout.take().unwrap())), "ok");
    let status = std::fs::read_to_string(format!("/proc/{}/status", sub.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 32 << 10, "{kib} KiB after 64 MiB of pings");
    sub.kill().unwrap();
    sub.wait().unwrap();
}

/// Both families of `localhost` are tried; the server has one of them.
#[test]
fn all_addresses_of_a_name_are_tried() {
    for host in ["127.0.0.1", "[::1]"] {
        let Ok(there) = TcpListener::bind(format!("{host}:0")) else { continue };
        let address: SocketAddr = there.local_addr().unwrap();
        let mut named = ("localhost", address.port()).to_socket_addrs().unwrap();
        if !named.any(|found| found == address) {
            continue;
        }
        drop(there);
        let server = Server::start_on(address, &[]);
        let (began, port) = (Instant::now(), server.address.port());
        let named = format!("WS://localhost:{port}/ws");
        assert_eq!(publish(&["pub", "news", "x"], &named, b""), (Some(0), String::new()), "{host}");
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(server.total("publications_total"), 1);
    }
}

/// In a network namespace whose IPv6 sockets take IPv6 only, unless they say otherwise.
#[test]
fn all_addresses_are_those_of_both_families_whatever_the_kernel_is_set_to() {
    let script = r#"
        ip link set lo up || exit 77
        echo 1 >/proc/sys/net/ipv6/bindv6only || exit 77
        STENTOR_API_KEY=k "$0" --listen :9001 --admin :9002 --shards 1 2>/dev/null &
        server=$!
        for at in 127.0.0.1/9001 ::1/9001 127.0.0.1/9002 ::1/9002; do
            until exec 3<>/dev/tcp/$at; do
                [ $SECONDS -lt 15 ] && kill -0 $server || { echo "nobody at $at"; break; }
                read -t 0.05 <> <(:)
            done 2>/dev/null
        done
        kill $server
        wait $server
    "#;
    let mut command = Command::new("unshare");
    command.args(["--net", "--user", "--map-root-user", "bash", "-c", script]);
    let output = command.arg(env!("CARGO_BIN_EXE_stentor")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if matches!(output.status.code(), Some(1 | 77)) && said.is_empty() {
        eprintln!("skipped: no network namespaces for this user");
        return;
    }
    assert_eq!((said.as_str(), output.status.code()), ("", Some(0)));
}

#[test]
fn a_server_listens_by_name_and_by_port() {
    for listen in ["localhost:0", ":0", "0"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        command.args(["check", "--listen", listen, "--admin", "localhost:0", "--shards", "1"]);
        assert!(command.output().unwrap().status.success(), "{listen}");
    }
    // All of this host is open to others: the API asks for a key there, whatever form says it.
    for admin in [":0", "0", "*:0"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stentor"));
        let output = command.args(["check", "--admin", admin]).output().unwrap();
        assert_eq!(output.status.code(), Some(78), "{admin}");
        one_line(&String::from_utf8(output.stderr).unwrap(), "set api-key");
    }
}
