//! Requests for streams, and those that speak for their clients, in any pieces.

use serde_json::Value;

use super::input::{Input, pieces};
use super::world::{World, config};
use crate::sim::client::Client;
use crate::sim::reader::{read_chunks, read_events, split_head};

/// The request lines that the rest of an input follows.
const FIRST: [&str; 6] = [
    "GET /sse?channel=a HTTP/1.1",
    "POST /connection/http_stream HTTP/1.1",
    "POST /connection/sse HTTP/1.1",
    "POST /connection/uni_http_stream HTTP/1.0",
    "POST /emulation HTTP/1.1",
    "OPTIONS /emulation HTTP/1.1",
];

/// A request line, a list of lengths, and what follows the first header; or words of a client that
/// is in. Every answer is whole, and pieces make no difference to it.
pub fn stream(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.below(FIRST.len() + 1);
    let Some(first) = FIRST.get(kind) else { return speak(input.rest) };
    let cuts = input.cuts();
    let request = [first.as_bytes(), b"\r\nHost: h\r\n", input.rest].concat();
    let whole = status(&request, &[]);
    let split = status(&request, cuts);
    // A head that comes in pieces is looked at when a line ends: the last one may be wrong already.
    let waits = split.is_none() && !request.ends_with(b"\n") && !has_whole_head(&request);
    // A client that says more than its request is closed, before or behind the answer.
    let is_same = whole == split || cuts.is_empty() || waits;
    assert!(is_same, "{cuts:?}: {split:?}, and whole: {whole:?}");
}

/// Returns `true` if there is an empty line.
fn has_whole_head(request: &[u8]) -> bool {
    let ends = |line: &[u8]| line.is_empty() || line == b"\r";
    let mut lines: Vec<&[u8]> = request.split(|byte| *byte == b'\n').collect();
    // Nothing follows the last line break, or no line break the last line.
    lines.pop();
    lines.into_iter().any(ends)
}

/// Returns the status of the answer to a request; `None` if there is none.
fn status(request: &[u8], cuts: &[u8]) -> Option<u16> {
    let mut world = World::new(config());
    let client = world.silent();
    world.say(&client, &pieces(request, cuts), || {});
    if client.outbound().is_empty() && !client.is_closed() {
        // A line that has not ended is looked at when it has; a body may miss more than that.
        return None;
    }
    let heard = client.outbound();
    let heard = heard.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&heard);
    let (head, body) = split_head(heard);
    if head.is_empty() {
        return None;
    }
    let head = std::str::from_utf8(head).expect("an answer is text");
    let status = head[9..12].parse().expect("a status");
    if status != 200 {
        let length = format!("Content-Length: {}\r\n", body.len());
        assert!(status == 204 && body.is_empty() || head.contains(&length), "{head}");
    } else if head.contains("text/event-stream") {
        read_events(body);
    } else if head.contains("x-ndjson") && head.contains("chunked") {
        check_lines(&read_chunks(body).0);
    }
    Some(status)
}

/// A client of a stream is in, and another connection speaks for it.
fn speak(words: &[u8]) {
    let Ok(words) = std::str::from_utf8(words) else { return };
    let mut world = World::new(config());
    let client = world.silent();
    let connect = r#"{"id":1,"connect":{}}"#;
    world.say(&client, &[post("/connection/http_stream", connect).as_bytes()], || {});
    let (lines, _) = lines_of(&client);
    let reply: Value = serde_json::from_str(&lines[0]).expect("a reply");
    let names = &reply["connect"];
    let body = serde_json::json!({
        "session": names["session"], "node": names["node"], "data": words,
    });
    let speaker = world.silent();
    world.say(&speaker, &[post("/emulation", &body.to_string()).as_bytes()], || {});
    assert!(!speaker.outbound().is_empty(), "it is answered");
    let (lines, is_over) = lines_of(&client);
    check_lines(&lines);
    let open = world.shards.all[0].clients.open;
    assert_eq!(open, usize::from(!is_over), "the last chunk is the end");
    let told = lines.iter().any(|line| line.starts_with(r#"{"push":{"disconnect":"#));
    assert_eq!(told, is_over, "why it ends is said");
}

fn lines_of(client: &Client) -> (Vec<String>, bool) {
    read_chunks(split_head(&client.outbound()).1)
}

fn check_lines(lines: &[String]) {
    for line in lines {
        let value: Value = serde_json::from_str(line).expect("each line is JSON");
        assert!(value.is_object());
    }
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{body}")
}
