//! Webhooks: the backend of an app is told what happens in its channels, signed, in order, again
//! until it has taken it; and an endpoint that is down keeps nobody waiting.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stentor_auth::hmac_sha256_hex;

use crate::backend::{Asked, Backend, Reply};
use crate::client::Client;
use crate::real_clients::{node, run};
use crate::server::{Server, eventually, get, post};

const APP: &str = "events_delay = '10ms'\n[[namespace]]\nname = 'shop'\n\
    [[app]]\nid = 1\nkey = 'app-key'\nsecret = 'app-secret'\nnamespace = 'shop'\n";

fn webhook(backend: &Backend, more: &str) -> String {
    format!("[[app.webhook]]\nurl = '{}'\n{more}\n", backend.url("/hook"))
}

fn start(text: &str) -> (tempfile::TempDir, String, Server) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml").to_string_lossy().into_owned();
    fs::write(&file, text).unwrap();
    let server = Server::start(&["--shards", "2", "--config", &file]);
    (folder, file, server)
}

fn taken() -> Backend {
    Backend::start(|_| Reply::Json(json!({})))
}

fn events(asked: &Asked) -> Vec<Value> {
    asked.body["events"].as_array().unwrap_or_else(|| panic!("{}", asked.text)).clone()
}

fn figure(server: &Server, name: &str) -> u64 {
    let (_, body) = get(server.admin, "/api/stats");
    let stats: Value = serde_json::from_str(&body).unwrap();
    stats["apps"]["1"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {body}"))
}

fn come(server: &Server, channel: &str) -> Client {
    Client::plain(server.address, &format!("/ws?channel={channel}"))
}

#[test]
fn channels_in_use_are_told_with_a_signature() {
    let backend = taken();
    let hook = webhook(&backend, "headers = 'X-Own: a'");
    let (_folder, _, server) = start(&format!("{APP}{hook}"));
    let client = come(&server, "shop:news");
    let asked = backend.next();
    assert_eq!(events(&asked), [json!({ "name": "channel_occupied", "channel": "news" })]);
    assert!(asked.body["time_ms"].as_u64().unwrap() > 1_600_000_000_000, "{}", asked.text);
    let header = |name: &str| asked.headers[name].clone();
    assert_eq!((header("x-pusher-key"), header("x-own")), ("app-key".into(), "a".into()));
    let signature = hmac_sha256_hex(b"app-secret", asked.text.as_bytes());
    assert_eq!(header("x-pusher-signature"), signature);
    // npm's library, which checks it as well.
    let told = json!({ "headers": asked.headers, "body": asked.text }).to_string();
    let mut command = node("pusher_webhook.mjs");
    command.arg(told);
    run(command);

    let begin = Instant::now();
    drop(client);
    let asked = backend.next();
    assert_eq!(events(&asked), [json!({ "name": "channel_vacated", "channel": "news" })]);
    assert!(begin.elapsed() >= Duration::from_secs(3), "not before it can be back");
    // Neither channels of others are told, nor those that were left for a moment.
    drop(come(&server, "shop:b"));
    let _client = come(&server, "shop:b");
    drop(come(&server, "lobby"));
    assert_eq!(events(&backend.next())[0]["channel"], "b");
    assert!(backend.rest().is_empty());
    assert_eq!(figure(&server, "webhook_events_total"), 3);
}

#[test]
fn an_endpoint_hears_what_it_asks_for() {
    let (all, some) = (taken(), taken());
    let hooks = webhook(&all, "")
        + &webhook(
            &some,
            "channel_prefix = 'a'\nchannel_suffix = '-x'\nevents = 'channel_occupied'",
        );
    let (_folder, _, server) = start(&format!("{APP}{hooks}"));
    let _clients: Vec<Client> =
        ["shop:a-x", "shop:b-x", "shop:a-y"].map(|channel| come(&server, channel)).into();
    let mut told = Vec::new();
    while told.len() < 3 {
        told.extend(events(&all.next()));
    }
    assert_eq!(events(&some.next()), [json!({ "name": "channel_occupied", "channel": "a-x" })]);
    assert!(some.rest().is_empty());
}

#[test]
fn an_endpoint_that_is_down_is_told_later_and_keeps_nobody_waiting() {
    let is_up = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_up);
    let down = Backend::start(move |_| {
        if seen.load(Ordering::Relaxed) {
            Reply::Json(json!({}))
        } else {
            Reply::Other(503, String::new())
        }
    });
    let up = taken();
    let hooks = webhook(&down, "") + &webhook(&up, "");
    let (_folder, _, server) = start(&format!("{APP}{hooks}"));
    let mut clients: Vec<Client> = Vec::new();
    for n in 0..20 {
        clients.push(come(&server, &format!("shop:c{n}")));
        // Its own messages are not slower for it.
        clients[n].send("x");
        assert_eq!(clients[n].next_text(), "x");
    }
    let names = |backend: &Backend| {
        let mut told: Vec<String> = Vec::new();
        while told.len() < 20 {
            let asked = backend.next();
            for event in events(&asked) {
                let name = event["channel"].as_str().unwrap().to_owned();
                // A post that was not taken comes again as it was.
                if !told.contains(&name) {
                    told.push(name);
                }
            }
        }
        told
    };
    let in_order: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let mut heard = names(&up);
    heard.sort_by_key(|name| name[1..].parse::<u32>().unwrap());
    assert_eq!(heard, in_order);
    eventually("posts have failed", || figure(&server, "webhook_failures_total") >= 2);
    is_up.store(true, Ordering::Relaxed);
    let mut heard = names(&down);
    heard.sort_by_key(|name| name[1..].parse::<u32>().unwrap());
    assert_eq!(heard, in_order);
    eventually("all were told", || figure(&server, "webhook_events_total") == 40);
    assert_eq!(figure(&server, "webhook_drops_total"), 0);
}

#[test]
fn events_that_nobody_takes_are_dropped_and_counted() {
    let backend = Backend::start(|_| Reply::Hangup);
    let hook = webhook(&backend, "");
    let (_folder, file, server) =
        start(&format!("webhook_retry = 0\nevents_queue = 5\nevents_batch = 1\n{APP}{hook}"));
    let mut clients: Vec<Client> = vec![come(&server, "shop:a")];
    eventually("it is given up", || figure(&server, "webhook_drops_total") == 1);
    assert!(figure(&server, "webhook_failures_total") >= 1);
    // With patience they wait, five of them at most.
    let patient = format!("events_queue = 5\nevents_batch = 1\n{APP}{hook}");
    fs::write(&file, patient).unwrap();
    assert_eq!(post(server.admin, "/api/reload", "{}").0, 200);
    clients.extend((0..10).map(|n| come(&server, &format!("shop:c{n}"))));
    eventually("the others are dropped", || figure(&server, "webhook_drops_total") == 1 + 10 - 6);
    // Without the webhook nobody is left who could take them.
    fs::write(&file, APP).unwrap();
    assert_eq!(post(server.admin, "/api/reload", "{}").0, 200);
    eventually("none waits any more", || figure(&server, "webhook_drops_total") == 1 + 10);
}

#[test]
fn a_reload_puts_other_webhooks_in_force() {
    let (first, second) = (taken(), taken());
    let (_folder, file, server) = start(&format!("{APP}{}", webhook(&first, "")));
    let _one = come(&server, "shop:a");
    assert_eq!(events(&first.next())[0]["channel"], "a");
    let changed = APP.replace("app-secret", "other");
    fs::write(&file, format!("{changed}{}", webhook(&second, ""))).unwrap();
    assert_eq!(post(server.admin, "/api/reload", "{}").0, 200);
    let _two = come(&server, "shop:b");
    let asked = second.next();
    assert_eq!(events(&asked)[0]["channel"], "b");
    let signature = hmac_sha256_hex(b"other", asked.text.as_bytes());
    assert_eq!(asked.headers["x-pusher-signature"], signature);
    assert!(first.rest().is_empty());
}

#[test]
fn real_clients_npm_pusher_and_pusher_js_together() {
    // The script's own endpoint, which its process opens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let kinds = "channel_occupied,channel_vacated,member_added,member_removed,cache_miss,\
                 client_event,subscription_count";
    let text = format!(
        "events_delay = '10ms'\n[[app]]\nid = 1\nkey = 'app-key'\nsecret = 'app-secret'\n\
         subscription_count = true\n\
         [[app.webhook]]\nurl = 'http://{free}/'\nevents = '{kinds}'\n"
    );
    let (_folder, _, server) = start(&text);
    let mut command = node("pusher_both.mjs");
    command.args([server.address.to_string(), free.port().to_string()]);
    run(command);
    let stats: Value = serde_json::from_str(&get(server.admin, "/api/stats").1).unwrap();
    let figures = &stats["apps"]["1"];
    assert_eq!(figures["client_events_total"], 1);
    assert!(figures["connections_total"].as_u64().unwrap() >= 8, "{figures}");
    assert_eq!(figures["webhook_drops_total"], 0);
}
