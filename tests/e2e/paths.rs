//! Where the endpoint, the page and the probes are found: with slashes too many, and under the path
//! at which a proxy shows the server.

use crate::client::Client;
use crate::server::{Server, get, request};

#[test]
fn doubled_slashes_make_no_difference() {
    let server = Server::start(&[]);
    for target in ["/ws", "/ws/", "//ws", "//ws//?channel=a", "/ws/?channel=a"] {
        let mut client = Client::plain(server.address, target);
        client.hears_nothing_before("here");
    }
    for path in ["/health", "//health", "/ready/", "//stentor.js", "//"] {
        assert_eq!(get(server.address, path).0, 200, "{path}");
    }
    let (status, why) = Client::try_plain(server.address, "/wss").err().unwrap();
    assert_eq!((status, why.as_str()), (404, "no WebSocket at /wss: try /ws"));
}

#[test]
fn all_paths_exist_with_and_without_the_prefix() {
    let server = Server::start(&["--path-prefix", "/chat"]);
    for target in ["/chat/ws", "/chat/ws/", "//chat//ws", "/chat/ws?channel=a", "/ws"] {
        let mut client = Client::plain(server.address, target);
        client.hears_nothing_before("here");
    }
    let page = get(server.address, "/").1;
    assert!(page.contains("<html"), "{page}");
    assert_eq!(get(server.address, "/chat/"), (200, page));
    for path in ["/chat/stentor.js", "/stentor.js", "/chat/health", "/health", "/chat/ready"] {
        assert_eq!(get(server.address, path).0, 200, "{path}");
    }
    assert_eq!(get(server.address, "/chat/ws").0, 426);
    assert_eq!(get(server.address, "/chatter/ws").0, 404);
    // The page's files are found beside it only where its path ends with a slash.
    let moved = crate::client::raw(
        server.address,
        b"GET /chat?a=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    );
    assert!(moved.starts_with("HTTP/1.1 308"), "{moved}");
    assert!(moved.to_ascii_lowercase().contains("location: /chat/?a=1\r\n"), "{moved}");
}

#[test]
fn unknown_paths_are_named_without_harmful_characters() {
    let server = Server::start(&[]);
    let (status, text) = get(server.address, "/nowhere/x");
    assert_eq!(
        (status, text.as_str()),
        (404, "nothing is at /nowhere/x: the page is at /, WebSockets are at /ws\n")
    );
    let (_, text) = get(server.address, "/a\"b'c");
    assert!(text.contains("nothing is at /a?b?c:"), "{text}");
    let accept = "GET /nowhere HTTP/1.1\r\nAccept: application/json";
    let (status, body) = request(server.address, accept, "");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &body["path"]), (404, &"/nowhere".into()));
    assert_eq!(request(server.address, "POST / HTTP/1.1", "x").0, 405);
}
