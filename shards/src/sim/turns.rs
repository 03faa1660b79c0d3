//! Requests that cost much, of many clients at once, share the turns: no turn is much longer for
//! them, and every client has its part.

use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, Wish};
use super::run::Shards;
use crate::config::Config;
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};

const CLIENTS: usize = 100;

/// The requests of each client.
const REQUESTS: usize = 3;

/// One shard whose channels keep their messages, with a plain client and many JSON clients.
fn crowd() -> (Shards, Client, Vec<Client>) {
    let history = HistoryRules { size: 1000, ttl: Duration::from_mins(5), bytes: 1 << 20 };
    let rules = ChannelRules { history, ..ChannelRules::open("") };
    let mut config = Config::with_cores(Vec::new());
    config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    config.errors_max = 1_000_000;
    let mut shards = Shards::new(1, config, 1);
    let mut come = |json| {
        let wish = Wish { channel: Some("room"), json, ..Wish::default() };
        let (stream, client) = Client::connect(wish, usize::MAX);
        shards.accept(0, stream);
        shards.come_to_rest(|| {});
        client
    };
    let plain = come(false);
    let clients = (0..CLIENTS).map(|_| come(true)).collect();
    (shards, plain, clients)
}

/// Takes what a client got. Returns how often that has `part` in it.
fn take(client: &Client, part: &str) -> usize {
    String::from_utf8_lossy(&client.take_outbound()).matches(part).count()
}

/// Has all clients ask at once, and the plain one between them. A turn answers `most` at most.
fn share_turns(request: &str, most: usize) {
    let (mut shards, plain, clients) = crowd();
    for _ in 0..60 {
        let body = "x".repeat(1000);
        clients[0].ask(&format!(r#"{{"type":"publish","body":"{body}"}}"#));
        shards.come_to_rest(|| {});
    }
    for _ in 0..REQUESTS {
        for client in &clients {
            client.ask(request);
        }
    }
    let (mut told, mut turns) = ([0; CLIENTS], 0);
    take(&plain, "");
    while told.iter().sum::<usize>() < CLIENTS * REQUESTS {
        plain.send_frame(1, b"ping");
        shards.turn(0);
        turns += 1;
        assert_eq!(take(&plain, "pong"), 1, "{request}: others are served in each turn");
        let mut all = 0;
        for (told, client) in told.iter_mut().zip(&clients) {
            let more = take(client, "\"id\":\"this one\"");
            (*told, all) = (*told + more, all + more);
        }
        assert!((1..=most).contains(&all), "{request}: {all} answers in turn {turns}");
        let (least, greatest) = (told.iter().min().unwrap(), told.iter().max().unwrap());
        assert!(greatest - least <= 1, "{request}: {least} to {greatest} in turn {turns}");
    }
    shards.come_to_rest(|| {});
}

#[test]
fn tokens_of_many_clients_are_verified_over_many_turns() {
    let most = 4;
    share_turns(r#"{"type":"join","channel":"a","token":"x","id":"this one"}"#, most);
    share_turns(r#"{"type":"refresh","token":"x","id":"this one"}"#, most);
}

#[test]
fn histories_for_many_clients_are_told_over_many_turns() {
    share_turns(r#"{"type":"history","id":"this one","limit":100}"#, 12);
}

#[test]
fn members_for_many_clients_are_told_over_many_turns() {
    share_turns(r#"{"type":"presence","id":"this one"}"#, 12);
}

#[test]
fn clients_that_end_at_once_leave_over_many_turns() {
    let (mut shards, plain, mut clients) = crowd();
    for client in &mut clients {
        client.finish();
    }
    let mut left = shards.all[0].clients.open;
    while left > 1 {
        plain.send_frame(1, b"ping");
        shards.turn(0);
        assert_eq!(take(&plain, "pong"), 1, "others are served in each turn");
        let open = shards.all[0].clients.open;
        assert!((1..=2).contains(&(left - open)), "{} of {left} left in one turn", left - open);
        left = open;
    }
    shards.come_to_rest(|| {});
}
