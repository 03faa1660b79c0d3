//! Tokens reach no log, whichever way they are shown, good and bad: at `trace`, in both formats.
//! Nor do they come back in statistics, lists of connections or answers.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::Client;
use crate::server::{Server, eventually, get, post};
use crate::tokens::{SECRET, token, upgrade};

/// The tokens of a connection and of a channel, and what a server refuses.
struct Tokens {
    good: String,
    of_room: String,
    bad: Vec<String>,
}

impl Tokens {
    fn new() -> Self {
        let good = token(&["--user", "ana", "--info", "\"of-ana\""]);
        let of_room = token(&["--user", "ana", "--subscription", "$room"]);
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let (head, claims) = signed.split_once('.').unwrap();
        let bad = vec![
            token(&["--user", "ana", "--expires", "0"]),
            format!("{good}x"),
            format!("{head}.{claims}.{}", signature.to_uppercase()),
            format!("{claims}.{head}.{signature}"),
            format!("{good}.{signature}"),
            of_room.clone(),
        ];
        Self { good, of_room, bad }
    }

    fn all(&self) -> impl Iterator<Item = &String> {
        self.bad.iter().chain([&self.good, &self.of_room])
    }

    /// Fails if a text holds a part of a token, or the secret.
    fn are_not_in(&self, what: &str, text: &str) {
        for part in self.all().flat_map(|token| token.split('.')) {
            assert!(!text.contains(part), "{what} holds {part}: {text}");
        }
        assert!(!text.contains(SECRET), "{what}: {text}");
    }
}

/// Shows a token in the request, in each way that there is.
fn show_in_request(tokens: &Tokens, token: &str, to: SocketAddr) {
    let query = format!("/ws?token={token}");
    let cut = format!("/ws?token={token}&channel=%0d");
    let path = format!("/{token}?token={token}");
    for (target, header) in [
        (&*query, "X: y".to_owned()),
        (&*cut, "X: y".to_owned()),
        (&*path, "X: y".to_owned()),
        ("/ws", format!("Authorization: Bearer {token}")),
        ("/ws", format!("Authorization: Basic {token}")),
        ("/ws", format!("Sec-WebSocket-Protocol: stentor.v1, stentor.token.{token}")),
        ("/ws", format!("Sec-WebSocket-Protocol: {token}")),
        (&*query, format!("Authorization: Bearer {token}")),
    ] {
        let answer = upgrade(to, target, &header);
        // A path that is not there is told to the client that asked for it.
        if target.starts_with("/ws") {
            tokens.are_not_in("an answer", &answer);
        }
    }
}

/// Shows a token in the commands of both JSON dialects. Returns all that is answered.
fn show_in_commands(tokens: &Tokens, token: &str, to: SocketAddr) -> String {
    let mut answers = String::new();
    let mut answered = |client: &mut Client, command: &Value| {
        client.send(&command.to_string());
        if let Ok(answer) = client.try_next() {
            answers.push_str(&answer.to_string());
        }
    };
    let (mut native, _) = Client::json(to, &format!("/ws?token={}", tokens.good));
    answered(&mut native, &json!({"type": "refresh", "token": token, "id": 1}));
    let join = json!({"type": "join", "channel": "$room", "token": token, "id": 2});
    answered(&mut native, &join);
    answered(&mut native, &json!({"type": token, "id": 3}));

    let mut first = Client::plain(to, "/connection/websocket");
    answered(&mut first, &json!({"id": 1, "connect": {"token": token}}));
    let mut second = Client::plain(to, "/connection/websocket");
    answered(&mut second, &json!({"id": 1, "connect": {"token": tokens.good}}));
    let subscribe = json!({"id": 2, "subscribe": {"channel": "$room", "token": token}});
    answered(&mut second, &subscribe);
    answered(&mut second, &json!({"id": 3, "refresh": {"token": token}}));
    answered(&mut second, &json!({"id": 4, "connect": {"token": token}}));
    answers
}

#[test]
fn tokens_reach_no_log_whichever_way_they_are_shown() {
    let tokens = Tokens::new();
    for format in ["json", "human"] {
        let flags = ["--token-hmac-secret", SECRET, "--log-level", "trace", "--log-format", format];
        let mut server = Server::start(&flags[..]);
        for token in tokens.all() {
            show_in_request(&tokens, token, server.address);
            let answers = show_in_commands(&tokens, token, server.address);
            // The word of a command that is none may come back to the client that said it.
            assert!(!answers.contains(SECRET), "{answers}");
            let target = format!("/api/{token}");
            for (to, body) in [(server.admin, json!({"token": token})), (server.address, json!(1))]
            {
                post(to, &target, &body.to_string());
                post(to, "/api/revoke", &body.to_string());
            }
        }
        let refused = server.by_reason("refusals", "token");
        assert!(refused > 0, "no bad token was judged");
        for path in ["/metrics", "/api/stats", "/api/connections", "/api/info"] {
            let (status, body) = get(server.admin, path);
            assert_eq!(status, 200, "{path}");
            tokens.are_not_in(path, &body);
        }
        let mut log = server.start_log().to_vec();
        server.signal("TERM");
        server.wait();
        eventually("the last line is here", || {
            log.extend(server.log());
            log.iter().any(|line| line.contains("drained"))
        });
        tokens.are_not_in("the log", &log.join("\n"));
    }
}
