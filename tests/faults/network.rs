//! What the server does when the path to a client is late, slow, damaged, held back, cut or
//! ended in one direction, while another client on a sound path is served as ever.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::proxy::{Proxy, Way};
use crate::raw;
use crate::server::{Server, eventually};

fn setting(flags: &[&str]) -> (Server, Proxy, Client) {
    let server = Server::start(&[&["--shards", "2"], flags].concat());
    let proxy = Proxy::start(server.address);
    let witness = Client::plain(server.address, "/ws");
    (server, proxy, witness)
}

#[test]
fn a_late_path_keeps_order_and_client() {
    let flags = ["--ping-interval", "300ms", "--pong-timeout", "1s"];
    let (server, proxy, mut witness) = setting(&flags);
    let mut far = Client::plain(proxy.address, "/ws");
    let delay = Duration::from_millis(150);
    proxy.set(Way::Late(delay), Way::Late(delay));
    let began = Instant::now();
    for number in 0..100 {
        far.send(&format!("far {number}"));
    }
    for number in 0..100 {
        assert_eq!(witness.next_text(), format!("far {number}"));
        assert_eq!(far.next_text(), format!("far {number}"));
    }
    assert!(began.elapsed() >= delay * 2, "the proxy delays nothing: {:?}", began.elapsed());
    // Pings and pongs are as late, and nobody is taken for silent.
    while server.total("pings_total") < 4 {
        far.stream().set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let _ = (far.try_next(), witness.stream().set_nonblocking(true), witness.try_next());
    }
    assert_eq!(server.total("clients"), 2);
}

#[test]
fn a_cut_in_the_middle_of_a_message_publishes_none_of_it_and_frees_the_user() {
    let (server, proxy, mut witness) = setting(&["--on-duplicate-user", "refuse"]);
    let mut far = raw::open(proxy.address, "/ws?user=far", 0);
    far.write_all(&[0x81, 0x84, 0, 0, 0, 0, b'f', b'u']).unwrap();
    assert_eq!(Client::try_plain(server.address, "/ws?user=far").err().unwrap().0, 409);
    proxy.cut();
    eventually("the server knows", || server.by_reason("disconnects", "gone") == 1);
    eventually("its user is free", || Client::try_plain(server.address, "/ws?user=far").is_ok());
    witness.hears_nothing_before("all well");
}

#[test]
fn a_half_closed_client_has_left_and_its_earlier_messages_count() {
    let (server, proxy, mut witness) = setting(&[]);
    let mut far = Client::plain(proxy.address, "/ws");
    for text in ["one", "two", "three"] {
        far.send(text);
    }
    for text in ["one", "two", "three"] {
        assert_eq!(witness.next_text(), text);
    }
    proxy.end_of_client();
    eventually("the server lets it go", || server.by_reason("disconnects", "gone") == 1);
    let (close, texts) = far.closed();
    assert_eq!((close, texts), (None, 3), "without a word, and after all that was its");
    witness.hears_nothing_before("all well");
}

#[test]
fn a_client_that_hears_nothing_more_may_speak_until_it_goes() {
    let (server, proxy, mut witness) = setting(&[]);
    let mut far = Client::plain(proxy.address, "/ws");
    proxy.end_of_server();
    far.send("still speaking");
    assert_eq!(witness.next_text(), "still speaking");
    assert_eq!(far.closed().0, None);
    drop(far);
    eventually("the server lets it go", || server.by_reason("disconnects", "gone") == 1);
}

#[test]
fn a_slow_path_ends_its_own_client_only() {
    let flags = ["--outbox-bytes", "256KiB", "--send-buffer-bytes", "16KiB"];
    let (server, proxy, mut witness) = setting(&flags);
    let mut talker = Client::plain(server.address, "/ws?echo=false");
    let mut far = Client::plain(proxy.address, "/ws");
    proxy.set(Way::Clear, Way::Slow(20_000));
    let mut slowest = Duration::ZERO;
    let text = "x".repeat(8_000);
    for _ in 0..200 {
        let began = Instant::now();
        talker.send(&text);
        assert_eq!(witness.next_text().len(), text.len());
        slowest = slowest.max(began.elapsed());
    }
    assert!(slowest < Duration::from_secs(2), "the witness waits for the slow one: {slowest:?}");
    eventually("it is too slow", || server.by_reason("disconnects", "slow") == 1);
    let kept = server.total("outbox_bytes");
    assert!(kept < 16 << 10, "the rest of a message and the close frame: {kept}");
    proxy.clear();
    let (close, texts) = far.closed();
    assert_eq!(close.map(|close| u16::from(close.code)), Some(3008));
    assert!(texts < 200, "whole messages, then the close: {texts}");
}

#[test]
fn damaged_bytes_end_their_own_client_only() {
    let (server, proxy, mut witness) = setting(&["--channels-per-shard", "100000"]);
    // Through the whole of a connection, its request included, and through open ones.
    for (round, every) in [(0, 97), (1, 211), (2, 1_009)] {
        proxy.set(Way::Corrupt(every), Way::Clear);
        for number in 0..40 {
            let target = format!("/ws?channel=damaged{round}");
            let mut far = raw::connect(proxy.address, number).unwrap();
            far.write_all(raw::head(&target, "").as_bytes()).unwrap();
            let word = [&[0x81, 0xb2, 0, 0, 0, 0][..], &[b'x'; 50]].concat();
            let _ = far.write_all(&word.repeat(200));
        }
        proxy.cut();
        proxy.clear();
        let mut open: Vec<_> = (0..40)
            .map(|number| raw::open(proxy.address, &format!("/ws?channel=open{round}"), number))
            .collect();
        proxy.set(Way::Corrupt(every), Way::Clear);
        for far in &mut open {
            let word = [&[0x81, 0xb2, 0, 0, 0, 0][..], &[b'x'; 50]].concat();
            let _ = far.write_all(&word.repeat(200));
        }
        eventually("what is damaged is noticed", || {
            let noticed = ["protocol", "utf8"].map(|why| server.by_reason("disconnects", why));
            noticed.iter().sum::<u64>() >= 40 * (round + 1)
        });
        drop(open);
        proxy.cut();
    }
    eventually("the others have gone", || server.total("clients") == 1);
    witness.hears_nothing_before("all well");
}

#[test]
fn a_path_that_holds_everything_back_is_noticed_in_time() {
    let flags = ["--ping-interval", "300ms", "--pong-timeout", "300ms"];
    let (server, proxy, witness) = setting(&flags);
    drop(witness);
    let mut far = Client::plain(proxy.address, "/ws");
    proxy.set(Way::Held, Way::Held);
    let began = Instant::now();
    eventually("the server knows", || server.by_reason("disconnects", "silent") == 1);
    assert!(began.elapsed() > Duration::from_millis(250), "{:?}", began.elapsed());
    proxy.clear();
    assert_eq!(far.close_code(), Some(3012), "it is told as soon as it can be");
}
