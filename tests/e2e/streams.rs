//! Clients that listen to an HTTP response that never ends: server-sent events without any library.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, raw};
use crate::real_clients;
use crate::server::{Server, eventually, post};

/// A client that reads a response for as long as it comes.
pub(crate) struct Listener {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Listener {
    /// Sends a whole request.
    pub(crate) fn send(to: SocketAddr, request: &str) -> Self {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Asks for events.
    pub(crate) fn events(to: SocketAddr, target: &str, headers: &str) -> Self {
        Self::send(to, &format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n"))
    }

    /// Reads what has come. Returns `false` once the response is over.
    pub(crate) fn look(&mut self) -> bool {
        let mut some = [0; 4096];
        match self.stream.read(&mut some) {
            Ok(0) => false,
            Ok(count) => {
                self.read.extend_from_slice(&some[..count]);
                true
            }
            Err(_) => true,
        }
    }

    /// All that it has read.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Waits until it has read something.
    pub(crate) fn hears(&mut self, text: &str) {
        eventually(text, || {
            self.look();
            self.text().contains(text)
        });
    }

    /// Waits for the end of the response, and returns all of it.
    pub(crate) fn ends(&mut self) -> String {
        eventually("the response ends", || !self.look());
        self.text()
    }
}

/// The value of a header of a response.
fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let lines = response.lines().take_while(|line| !line.is_empty());
    lines
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| *found == name)
        .map(|one| one.1)
}

#[test]
fn streams_events_are_heard_and_missed_ones_told_behind_the_last_id() {
    let server = Server::start(&["--history", "100", "--recovery"]);
    let mut first = Listener::events(server.address, "/sse?channel=room", "");
    first.hears(":0\n\n");
    let response = first.text();
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert_eq!(header(&response, "Content-Type"), Some("text/event-stream; charset=utf-8"));
    let position = header(&response, "Stentor-Position").unwrap().to_owned();
    assert!(response.ends_with(&format!("id: {position}\n\n")), "also before the first event");
    let epoch = position.strip_suffix(":0").unwrap();

    let mut speaker = Client::plain(server.address, "/ws?channel=room");
    speaker.send("one");
    speaker.send("two\nlines");
    first.hears(&format!("id: {epoch}:2\ndata: two\ndata: lines\n\n"));
    drop(first);
    speaker.send("three");
    // Its own words come back when they are kept.
    for word in ["one", "two\nlines", "three"] {
        assert_eq!(speaker.next_text(), word);
    }
    let last = format!("Last-Event-ID: {epoch}:1\r\n");
    let mut again = Listener::events(server.address, "/sse?channel=room", &last);
    again.hears("data: three\n\n");
    let told = again.text();
    assert!(told.contains("event: recovered\ndata: true\n\n"), "{told}");
    assert!(told.contains(&format!("id: {epoch}:2\ndata: two")) && !told.contains("one"), "{told}");
    let elsewhere = format!("/sse?channel=room&since=00000000:9&x={epoch}");
    let mut stranger = Listener::events(server.address, &elsewhere, "");
    stranger.hears("event: recovered\ndata: false\n\n");
}

#[test]
fn streams_are_refused_by_status_and_shared_with_allowed_pages_only() {
    let flags = ["--allowed-origins", "https://app.example", "--require-user"];
    let server = Server::start(&flags);
    let ask = |first: &str, headers: &str| {
        raw(server.address, format!("{first} HTTP/1.1\r\nHost: h\r\n{headers}\r\n").as_bytes())
    };
    let origin = "Origin: https://app.example\r\n";
    let refused = ask("GET /sse", origin);
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let sharing = "Access-Control-Allow-Origin";
    assert_eq!(header(&refused, sharing), Some("https://app.example"), "its page may read why");
    let evil = ask("GET /sse?user=a", "Origin: https://evil.example\r\n");
    assert!(evil.starts_with("HTTP/1.1 403 ") && header(&evil, sharing).is_none(), "{evil}");
    let method = ask("DELETE /sse", "");
    assert!(method.starts_with("HTTP/1.1 405 "), "{method}");
    assert_eq!(header(&method, "Allow"), Some("GET"));
    let asked = ask("OPTIONS /sse", origin);
    assert!(asked.starts_with("HTTP/1.1 204 "), "{asked}");
    assert_eq!(header(&asked, "Access-Control-Allow-Methods"), Some("GET, OPTIONS"));
    let allowed = "Access-Control-Allow-Headers";
    assert!(header(&asked, allowed).is_some_and(|all| all.contains("Authorization")), "{asked}");
    let wishes = |headers: &str| {
        let headers = format!("{origin}Access-Control-Request-Headers: {headers}\r\n");
        let answer = ask("OPTIONS /emulation", &headers);
        header(&answer, allowed).map(str::to_owned)
    };
    assert_eq!(wishes("content-type,x-trace").as_deref(), Some("content-type,x-trace"));
    assert_eq!(wishes("x-trace: <b>"), header(&asked, allowed).map(str::to_owned));
    let mut good = Listener::events(server.address, "/sse?user=ana", origin);
    good.hears("\r\n\r\n");
    assert_eq!(header(&good.text(), sharing), Some("https://app.example"));
}

#[test]
fn streams_are_told_that_the_server_lives_and_why_they_end() {
    let flags = ["--ping-interval", "200ms", "--pong-timeout", "200ms", "--drain-spread", "10ms"];
    let mut server = Server::start(&flags);
    let mut listener = Listener::events(server.address, "/sse?channel=a&user=ana", "");
    listener.hears(":\n\n:\n\n:\n\n:\n\n");
    assert_eq!(server.total("clients"), 1, "nobody waits for its answer");
    let mut talker = Listener::events(server.address, "/sse?channel=a&user=bob", "");
    talker.hears("\r\n\r\n");
    talker.stream.write_all(b"GET /sse HTTP/1.1\r\n\r\n").unwrap();
    let end = talker.ends();
    assert!(end.ends_with("event: close\ndata: {\"code\":1002,\"reason\":\"protocol error\"}\n\n"));
    let body = r#"{"user":"ana"}"#;
    assert_eq!(post(server.admin, "/api/disconnect", body).0, 200);
    let end = listener.ends();
    assert!(end.ends_with("event: close\ndata: {\"code\":3501,\"reason\":\"disconnected\"}\n\n"));
    let mut last = Listener::events(server.address, "/sse", "");
    last.hears("\r\n\r\n");
    server.signal("TERM");
    assert!(
        last.ends().ends_with("event: close\ndata: {\"code\":1001,\"reason\":\"draining\"}\n\n")
    );
    assert!(server.wait().success());
}

/// A request with a body, whole.
pub(crate) fn posted(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// A client of a stream in two ways, and the names under which others speak for it.
fn connected(to: SocketAddr) -> (Listener, Value) {
    let connect = r#"{"id":1,"connect":{}}"#;
    let mut listener = Listener::send(to, &posted("/connection/http_stream", connect));
    listener.hears("}}\n\r\n");
    let text = listener.text();
    let reply = text.lines().find(|line| line.starts_with(r#"{"id":1,"#)).unwrap();
    (listener, serde_json::from_str(reply).unwrap())
}

/// The body of a request that speaks for a client.
fn emulation(reply: &Value, words: &str) -> String {
    let (session, node) = (&reply["connect"]["session"], &reply["connect"]["node"]);
    serde_json::json!({ "session": session, "node": node, "data": words }).to_string()
}

#[test]
fn streams_clients_speak_by_requests_of_their_own_on_any_shard() {
    let server = Server::start(&["--shards", "2"]);
    let (mut listener, reply) = connected(server.address);
    let text = listener.text();
    assert_eq!(header(&text, "Transfer-Encoding"), Some("chunked"), "{text}");
    assert_eq!(header(&text, "X-Accel-Buffering"), Some("no"));
    assert_eq!(reply["connect"]["pong"], true);
    let subscribe = r#"{"id":2,"subscribe":{"channel":"room"}}"#;
    let speak = |words: &str| {
        raw(server.address, posted("/emulation", &emulation(&reply, words)).as_bytes())
    };
    let answer = speak(subscribe);
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    listener.hears(r#"{"id":2,"subscribe":"#);
    // The kernel spreads them over both shards.
    for number in 0..20 {
        let id = number + 3;
        let publish = format!(r#"{{"id":{id},"publish":{{"channel":"room","data":{number}}}}}"#);
        assert!(speak(&publish).starts_with("HTTP/1.1 204 "));
        listener.hears(&format!(r#""pub":{{"data":{number},"#));
        listener.hears(&format!(r#"{{"id":{id},"publish":{{}}}}"#));
    }
    assert_eq!(server.total("emulations_total"), 21);
    assert!(
        server.by_shard("visitors_total").iter().all(|count| *count == 0),
        "all are of the shards"
    );
    // Several commands in one request, in chunks.
    let body = emulation(&reply, "{\"id\":90,\"ping\":{}}\n{\"id\":91,\"ping\":{}}");
    let (first, second) = body.split_at(30);
    let chunks = format!(
        "POST /emulation HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{first}\r\n{:X}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    assert!(raw(server.address, chunks.as_bytes()).starts_with("HTTP/1.1 204 "));
    listener.hears(r#"{"id":91,"ping":{}}"#);
    // What is no command ends the client, in the words of its dialect and then of HTTP.
    assert!(speak("nonsense").starts_with("HTTP/1.1 204 "));
    let end = listener.ends();
    let push = r#"{"push":{"disconnect":{"code":3501,"reason":"bad request"}}}"#;
    assert!(end.ends_with(&format!("{push}\n\r\n0\r\n\r\n")), "{end}");
    assert!(speak(subscribe).starts_with("HTTP/1.1 204 "), "it is gone");
    eventually("that is counted", || server.total("emulations_lost_total") == 1);
}

#[test]
fn streams_refuse_what_speaks_for_nobody() {
    let server = Server::start(&["--handshake-timeout", "500ms", "--message-bytes", "1KiB"]);
    let (_listener, reply) = connected(server.address);
    let node = &reply["connect"]["node"];
    let answer = |request: String| raw(server.address, request.as_bytes());
    let made_up = format!(r#"{{"session":"0-0-0.AAAA","node":{node},"data":"{{}}"}}"#);
    assert!(answer(posted("/emulation", &made_up)).starts_with("HTTP/1.1 204 "));
    assert_eq!((server.total("emulations_total"), server.total("emulations_lost_total")), (0, 1));
    let long = "x".repeat(1100);
    for (request, status) in [
        (posted("/emulation", r#"{"session":"a","node":"other","data":""}"#), 404),
        (posted("/emulation", "{"), 400),
        (posted("/emulation", ""), 400),
        (posted("/emulation", &emulation(&reply, &long)), 413),
        (posted("/connection/http_stream", ""), 400),
        (posted("/connection/http_stream", &long), 413),
        ("GET /connection/sse HTTP/1.1\r\nHost: h\r\n\r\n".into(), 400),
        ("GET /connection/http_stream HTTP/1.1\r\nHost: h\r\n\r\n".into(), 405),
        ("POST /emulation HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n".into(), 413),
        ("POST /emulation HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n".into(), 400),
        ("POST /emulation HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab".into(), 408),
        ("POST /emulation HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n".into(), 400),
    ] {
        let answer = answer(request.clone());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
    let old = posted("/connection/http_stream", r#"{"id":1,"connect":{}}"#);
    let mut old = Listener::send(server.address, &old.replace("HTTP/1.1", "HTTP/1.0"));
    old.hears("\r\n\r\n{\"id\":1,");
    assert_eq!(header(&old.text(), "Transfer-Encoding"), None, "HTTP/1.0 has no chunks");
}

#[test]
fn streams_end_when_nobody_answers_their_pings() {
    let flags = ["--shards", "2", "--ping-interval", "300ms", "--pong-timeout", "600ms"];
    let server = Server::start(&flags);
    let (mut silent, names) = connected(server.address);
    let (mut alive, other) = connected(server.address);
    let uni = posted("/connection/uni_http_stream", "{}");
    let mut deaf = Listener::send(server.address, &uni);
    let speak = |names: &Value, words: &str| {
        raw(server.address, posted("/emulation", &emulation(names, words)).as_bytes())
    };
    let pings = |listener: &Listener| listener.text().matches("\r\n{}\n").count();
    let mut answered = 0;
    eventually("the silent one ends", || {
        alive.look();
        deaf.look();
        if pings(&alive) > answered {
            answered = pings(&alive);
            assert!(speak(&other, "{}").starts_with("HTTP/1.1 204 "));
        }
        !silent.look()
    });
    let push = r#"{"push":{"disconnect":{"code":3012,"reason":"no pong"}}}"#;
    assert!(silent.text().ends_with(&format!("{push}\n\r\n0\r\n\r\n")), "{}", silent.text());
    assert!(answered > 0 && alive.look() && deaf.look(), "the others listen on");
    // Its session is over: whoever speaks for it is not told, and the words are counted.
    let lost = server.total("emulations_lost_total");
    assert!(speak(&names, r#"{"id":2,"ping":{}}"#).starts_with("HTTP/1.1 204 "));
    eventually("that is counted", || server.total("emulations_lost_total") == lost + 1);
    // A client that goes takes its session with it.
    drop(alive);
    eventually("it has gone", || server.total("clients") == 1);
    assert!(speak(&other, "{}").starts_with("HTTP/1.1 204 "));
    eventually("that is counted too", || server.total("emulations_lost_total") == lost + 2);
}

#[test]
fn streams_of_clients_that_only_listen() {
    let server = Server::start(&["--history", "10", "--ping-interval", "300ms"]);
    let request = r#"{"subs":{"news":{}}}"#;
    let mut lines = Listener::send(server.address, &posted("/connection/uni_http_stream", request));
    let target = "/connection/uni_sse?cf_connect=%7B%22subs%22%3A%7B%22news%22%3A%7B%7D%7D%7D";
    let mut events = Listener::events(server.address, target, "");
    let mut socket = Client::plain(server.address, "/connection/uni_websocket");
    socket.send(request);
    lines.hears(r#"{"connect":{"client":""#);
    events.hears(r#"data: {"connect":{"client":""#);
    let connect: Value = serde_json::from_str(&socket.next_text()).unwrap();
    assert!(connect["connect"]["subs"]["news"].is_object(), "{connect}");
    assert!(connect["connect"]["pong"].is_null() && connect["connect"]["session"].is_null());
    let mut speaker = Client::plain(server.address, "/ws?channel=news");
    speaker.send("hello");
    let heard = r#"{"channel":"news","pub":{"data":"hello","offset":1,"#;
    lines.hears(heard);
    events.hears(&format!("data: {heard}"));
    eventually("the socket hears it", || socket.next_text().starts_with(heard));
    // Pings are messages here, and frames besides where there are frames.
    lines.hears("{}\n");
    events.hears("data: {}\n\n");
    assert!(lines.look() && events.look());
    // Behind a carriage return npm eventsource 2 loses an event that comes in the same piece.
    let told = events.text();
    assert!(!told.split_once("\r\n\r\n").unwrap().1.contains('\r'), "{told}");
    let mut late = Client::plain(server.address, "/connection/uni_websocket");
    late.send("nonsense");
    let end = r#"{"disconnect":{"code":3501,"reason":"bad request"}}"#;
    assert_eq!(late.next_text(), end);
    assert_eq!(late.close_code(), Some(3501));
    let mut nobody = Listener::events(server.address, "/connection/uni_sse", "");
    nobody.hears(r#"data: {"connect":{"client":""#);
    // Where there is an answer to the request, that says it.
    for request in [
        posted("/connection/uni_http_stream", "nonsense"),
        posted("/connection/uni_sse", r#"{"subs":[]}"#),
        "GET /connection/uni_sse?cf_connect=nonsense HTTP/1.1\r\nHost: h\r\n\r\n".into(),
    ] {
        let answer = raw(server.address, request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request}: {answer}");
    }
    let refused =
        Client::try_plain(server.address, "/connection/uni_websocket?cf_connect=nonsense");
    assert_eq!(refused.err().map(|(status, _)| status), Some(400));
}

#[test]
fn browser_event_source_recovers_what_it_missed() {
    let server = Server::start(&["--history", "100", "--recovery"]);
    let mut command = real_clients::node("events.mjs");
    let (page, admin) = (server.address.to_string(), server.admin.to_string());
    command.args([page, admin]);
    real_clients::run(command);
}
