//! A message of one client reaches every client of the channel unchanged: text as text, bytes as
//! bytes.

use async_tungstenite::tungstenite::Message;

use crate::client::Client;
use crate::server::Server;

#[test]
fn broadcast_hub_text_and_binary_reach_all_the_sender_too() {
    for shards in ["1", "2"] {
        let server = Server::start(&["--shards", shards]);
        let mut clients: Vec<Client> =
            (0..6).map(|_| Client::plain(server.address, "/ws")).collect();
        clients[0].send("häl\nlo");
        for client in &mut clients {
            assert_eq!(client.next(), Message::text("häl\nlo"));
        }
        clients[5].send_binary(&[0, 255, 10]);
        for client in &mut clients {
            assert_eq!(client.next(), Message::binary(vec![0, 255, 10]));
        }
    }
}

#[test]
fn an_upgrade_on_the_root_is_the_same() {
    let server = Server::start(&[]);
    let mut one = Client::plain(server.address, "/");
    let mut other = Client::plain(server.address, "/ws?channel=lobby");
    one.send("x");
    assert_eq!((one.next_text(), other.next_text()), ("x".into(), "x".into()));
}

#[test]
fn without_echo_the_sender_hears_only_others() {
    let server = Server::start(&["--shards", "2"]);
    let mut quiet = Client::plain(server.address, "/ws?echo=false");
    let mut other = Client::plain(server.address, "/ws");
    quiet.send("mine");
    assert_eq!(other.next_text(), "mine");
    other.send("yours");
    assert_eq!(quiet.next_text(), "yours");
}

#[test]
fn empty_and_large_messages_pass() {
    let server = Server::start(&[]);
    let mut client = Client::plain(server.address, "/ws");
    let large = "x".repeat(65_536);
    for text in ["", "a", &large, ""] {
        client.send(text);
        assert_eq!(client.next_text(), text);
    }
}

#[test]
fn queued_messages_are_joined_with_newlines_on_request() {
    let server = Server::start(&[]);
    let mut joined = Client::plain(server.address, "/ws?join=newline");
    let mut single = Client::plain(server.address, "/ws");
    let mut talker = Client::plain(server.address, "/ws?echo=false");
    // One write with several frames is read in one turn, so it is one tick.
    let frames: Vec<u8> = ["a", "b", "c"]
        .iter()
        .flat_map(|text| [0x81, 0x81, 0, 0, 0, 0, text.as_bytes()[0]])
        .collect();
    std::io::Write::write_all(talker.stream(), &frames).unwrap();
    assert_eq!(joined.next_text(), "a\nb\nc");
    for text in ["a", "b", "c"] {
        assert_eq!(single.next_text(), text);
    }
}

#[test]
fn chat_service_newlines_become_spaces_and_ends_are_trimmed() {
    let server = Server::start(&["--trim-text"]);
    let mut client = Client::plain(server.address, "/ws");
    client.send("  two\nlines \r\n");
    assert_eq!(client.next_text(), "two lines");
}

#[test]
fn a_client_cut_in_the_middle_of_a_message_harms_nobody() {
    let server = Server::start(&[]);
    let mut good = Client::plain(server.address, "/ws");
    let mut cut = Client::plain(server.address, "/ws");
    // The beginning of a frame of 100 bytes, and of a fragmented message.
    std::io::Write::write_all(cut.stream(), &[0x01, 0x82, 1, 2, 3, 4, 5, 6, 0x80, 0xe4, 1])
        .unwrap();
    drop(cut);
    crate::server::eventually("one client is left", || server.total("clients") == 1);
    good.send("still here");
    assert_eq!(good.next_text(), "still here");
    assert_eq!(server.by_reason("disconnects", "gone"), 1);
}

#[test]
fn clean_and_unclean_closes_are_told_apart() {
    let server = Server::start(&[]);
    let clean = Client::plain(server.address, "/ws");
    let unclean = Client::plain(server.address, "/ws");
    assert_eq!(clean.goodbye(), None, "a close without a code is answered without one");
    drop(unclean);
    crate::server::eventually("both are counted", || {
        server.by_reason("disconnects", "goodbye") == 1
            && server.by_reason("disconnects", "gone") == 1
    });
}
