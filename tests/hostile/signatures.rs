//! Requests to apps: floods without the right signature, requests that are repeated, bodies that
//! are too large or never come, and secrets that must not appear anywhere.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::raw::{connect, status};
use crate::server::{Server, eventually, get};
use crate::siege::Siege;
use crate::signed::Backend;

const APP: [&str; 2] = ["--pusher-app", "1:app-key:app-secret"];

/// For how long each of the floods lasts.
const FLOOD: Duration = Duration::from_millis(1_500);

/// The requests of all apps that are answered at once.
const REQUESTS: u64 = 128;

fn posted(target: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n");
    (head + body).into_bytes()
}

fn event(data: &str) -> String {
    format!(r#"{{"name":"n","channel":"room","data":"{data}"}}"#)
}

fn figure(server: &Server, name: &str) -> u64 {
    let (_, body) = get(server.admin, "/api/stats");
    let stats: serde_json::Value = serde_json::from_str(&body).unwrap();
    stats["apps"]["1"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {body}"))
}

#[test]
fn floods_of_wrong_signatures_are_refused_and_harm_nobody() {
    let siege = Siege::begin(&APP);
    let backend = Backend::new(siege.server.address);
    let body = event("1");
    let right = backend.target("POST", "events", "", &body);
    let (target, signature) = right.rsplit_once("auth_signature=").unwrap();
    let wrong = |text: &str| posted(&format!("{target}auth_signature={text}"), &body);
    let requests = [
        wrong(""),
        wrong(&"0".repeat(64)),
        wrong(&signature.to_uppercase()),
        wrong(&signature[..63]),
        wrong(&"f".repeat(4000)),
        posted(&right.replace("/apps/1/", "/apps/2/"), &body),
        posted(&right.replace("auth_key=app-key", "auth_key=app-kez"), &body),
        posted(&format!("{right}&auth_signature={signature}"), &body),
        posted(&format!("{right}&{}", "a=1&".repeat(500)), &body),
        posted("/apps/1/events?%zz=%ff", &body),
        posted(&right, &event("2")),
    ];
    siege.withstand("wrong signatures", 1 << 20, |server| {
        let began = Instant::now();
        while began.elapsed() < FLOOD {
            for request in &requests {
                let status = status(server.address, request);
                assert!(status == 401 || status == 404, "{}", String::from_utf8_lossy(request));
            }
        }
    });
    assert!(figure(&siege.server, "api_refused_total") > 0);
    assert_eq!(figure(&siege.server, "api_events_total"), 0);
}

/// A request may be repeated as long as it is good, as libraries sign two equal ones alike; nothing
/// is kept for it, and a change of it is refused.
#[test]
fn requests_that_are_repeated_keep_nothing() {
    let siege = Siege::begin(&APP);
    let backend = Backend::new(siege.server.address);
    let body = event("1");
    let target = backend.target("POST", "events", "", &body);
    siege.withstand("repeated requests", 1 << 20, |server| {
        let began = Instant::now();
        while began.elapsed() < FLOOD {
            assert_eq!(status(server.address, &posted(&target, &body)), 200);
            assert_eq!(status(server.address, &posted(&target, &event("2"))), 401);
        }
    });
    for ahead_s in [-601, 601] {
        let late = Backend { ahead_s, ..backend };
        let target = late.target("POST", "events", "", &body);
        assert_eq!(status(siege.server.address, &posted(&target, &body)), 401);
    }
}

#[test]
fn bodies_of_signed_requests_are_bounded() {
    let config = tempfile::NamedTempFile::with_suffix(".toml").unwrap();
    let text = "[[app]]\nid = 1\nkey = 'app-key'\nsecret = 'app-secret'\n\
                [[app]]\nid = 2\nkey = 'other'\nsecret = 'hush'\n";
    std::fs::write(config.path(), text).unwrap();
    let siege = Siege::begin(&["--config", config.path().to_str().unwrap()]);
    let backend = Backend::new(siege.server.address);
    let large = event(&"x".repeat(1 << 20));
    let target = backend.target("POST", "events", "", &large);
    siege.withstand("large bodies", 4 << 20, |server| {
        for _ in 0..50 {
            assert_eq!(status(server.address, &posted(&target, &large)), 413);
        }
    });
    // Those that never come keep the places of a bounded number of requests for a bounded time.
    let body = event(&"x".repeat(8 << 10));
    let target = backend.target("POST", "events", "", &body);
    siege.withstand("bodies that do not come", REQUESTS * (64 << 10), |server| {
        let request = posted(&target, &body);
        let half = &request[..request.len() / 2];
        let mut slow: Vec<TcpStream> = (0..200).map(|_| connect(server.address)).collect();
        for stream in &mut slow {
            let _ = stream.write_all(half);
        }
        let is_full = || status(server.address, &request) == 503;
        eventually("they have all places of their app", is_full);
        assert_eq!(get(server.address, "/health").0, 200, "others are served beside them");
        let other = Backend { id: "2", key: "other", secret: "hush", ..backend };
        let target = other.target("POST", "events", "", &body);
        assert_eq!(status(server.address, &posted(&target, &body)), 200, "and other apps");
        let is_free = || status(server.address, &request) == 200;
        eventually("their places are free again", is_free);
    });
}

#[test]
fn the_secret_of_an_app_is_shown_to_nobody() {
    let secret = "this-secret-is-shown-to-nobody";
    let app = format!("1:app-key:{secret}");
    let mut server = Server::start(&["--pusher-app", &app, "--log-level", "trace"]);
    let backend = Backend { secret: "wrong", ..Backend::new(server.address) };
    let mut told = Vec::new();
    for path in ["channels", "nothing"] {
        told.push(backend.get(path, "").1.to_string());
    }
    for path in ["/metrics", "/api/stats", "/api/connections", "/"] {
        told.push(get(server.admin, path).1);
    }
    server.signal("TERM");
    server.wait();
    told.extend(server.log());
    assert!(told.iter().all(|text| !text.contains(secret)), "{told:#?}");
}
