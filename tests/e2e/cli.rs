//! The commands: exit codes, messages on one line, and a round trip of `pub` and `sub`.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::client::Client;
use crate::server::{Server, eventually};
use crate::tokens::{SECRET, token};

fn stentor(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stentor")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn exit_codes_and_one_line_on_stderr() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    std::fs::write(&file, "listen = '127.0.0.1:0'\nping_intervall = '5s'\n").unwrap();
    let file = file.to_str().unwrap();
    for (args, code, part) in [
        (vec!["check"], 0, ""),
        (vec!["--nonsense"], 2, "--nonsense"),
        (vec!["check", "--pong-timeout", "1ms"], 78, "1ms is less than 100ms"),
        (
            vec!["check", "--config", file],
            78,
            ":2:1: unknown key \"ping_intervall\"; did you mean ping_interval?",
        ),
        (vec!["serve", "--shards", "64"], 78, "64 shards asked for"),
        (vec!["serve", "--admin", "0.0.0.0:0"], 78, "set api-key, or use a loopback address"),
        (vec!["serve", "--admin", "[::]:0"], 78, "set api-key, or use a loopback address"),
        (vec!["serve", "--public-api", "true"], 78, "public-api is on: set api-key"),
        (vec!["serve", "--admin", "192.0.2.1:0", "--api-key", ""], 78, "api-key: it is empty"),
        (
            vec!["serve", "--admin", "off", "--listen", "203.0.113.1:1"],
            1,
            "cannot listen on 203.0.113.1:1",
        ),
        (vec!["pub", "x", "y", "--url", "ws://127.0.0.1:1/ws"], 1, "127.0.0.1:1"),
        (vec!["doctor"], 0, ""),
        (vec!["config", "default"], 0, ""),
        (vec!["--help"], 0, ""),
    ] {
        let output = stentor(&args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
        if code == 78 || code == 1 {
            let own = stderr.lines().filter(|line| line.starts_with("stentor: ")).count();
            assert_eq!(own, 1, "{args:?}: {stderr}");
        }
    }
}

#[test]
fn config_show_tells_where_a_value_comes_from() {
    let output = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["config", "show", "--shards", "1"])
        .env("STENTOR_NAME_BYTES", "32")
        .output()
        .unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("shards = 1 # flag"), "{shown}");
    assert!(shown.contains("name_bytes = 32 # environment"), "{shown}");
    assert!(shown.contains("admin = \"127.0.0.1:9002\" # default"), "{shown}");
}

#[test]
fn every_manual_page_shows_the_version() {
    for page in [&[][..], &["pub"], &["doctor"], &["config"]] {
        let output = stentor(&[&["man"], page].concat());
        let shown = text(&output.stdout);
        let head = shown.lines().find(|line| line.starts_with(".TH")).unwrap_or_default();
        assert!(head.contains(env!("CARGO_PKG_VERSION")), "{page:?}: {head}");
    }
}

/// A user in an address is not dropped in silence.
#[test]
fn a_user_in_an_address_is_refused() {
    let output = stentor(&["pub", "lobby", "x", "--url", "ws://ann:secret@127.0.0.1:1/ws"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("not supported") && said.lines().count() == 1, "{said}");
}

#[test]
fn pub_and_sub() {
    let server = Server::start(&[]);
    let url = format!("ws://{}/ws", server.address);
    let sub = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["sub", "news", "--count", "3", "--url", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the subscriber is there", || server.total("clients") == 1);
    assert!(stentor(&["pub", "news", "one", "--url", &url]).status.success());
    let mut publisher = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["pub", "news", "-", "--url", &url])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    publisher.stdin.take().unwrap().write_all(b"two\nthree\n").unwrap();
    assert!(publisher.wait().unwrap().success());
    let output = sub.wait_with_output().unwrap();
    assert_eq!(text(&output.stdout), "one\ntwo\nthree\n");
    assert!(output.status.success());

    let mut json = Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(["sub", "news", "--json", "--count", "1", "--url", &url])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the subscriber is there", || server.total("clients") == 1);
    Client::plain(server.address, "/ws?channel=news&user=bob").send("x");
    let mut line = String::new();
    std::io::Read::read_to_string(&mut json.stdout.take().unwrap(), &mut line).unwrap();
    assert!(line.contains("\"user\":\"bob\"") && line.contains("\"body\":\"x\""), "{line}");
    json.wait().unwrap();
}

#[test]
fn a_token_is_shown_in_a_header_from_a_flag_or_a_file() {
    let server = Server::start(&["--token-hmac-secret", SECRET, "--require-user"]);
    let url = format!("ws://{}/ws", server.address);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let token = token(&["--user", "ana", "--channel", "news"]);
    std::fs::write(&file, format!("{token}\n")).unwrap();
    let file = file.to_str().unwrap();
    let without = stentor(&["pub", "news", "x", "--url", &url]);
    assert!(!without.status.success() && text(&without.stderr).contains("401"));
    let mut sub = Command::new(env!("CARGO_BIN_EXE_stentor"));
    let flags = ["sub", "news", "--count", "1", "--json", "--url", &url, "--token-file", file];
    let sub = sub.args(flags).stdout(Stdio::piped()).spawn().unwrap();
    eventually("it has subscribed", || server.total("clients") == 1);
    // Of somebody else: a second client of ana would replace the first.
    let of_ben = self::token(&["--user", "ben", "--channel", "news"]);
    let published = stentor(&["pub", "news", "one", "--url", &url, "--token", &of_ben]);
    assert!(published.status.success(), "{}", text(&published.stderr));
    let heard = text(&sub.wait_with_output().unwrap().stdout);
    assert!(heard.contains("\"user\":\"ben\"") && heard.contains("one"), "{heard}");
    for (flags, why) in [
        (&["--token-file", "/nowhere/token"][..], "/nowhere/token: "),
        (&["--token", "a\nb"], "the token is not one of a header"),
        (&["--token", &token, "--token-file", file], "cannot be used with"),
    ] {
        let all = [&["pub", "news", "x", "--url", &url][..], flags].concat();
        let output = stentor(&all);
        let said = text(&output.stderr);
        assert!(!output.status.success() && said.contains(why), "{flags:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn two_servers_do_not_keep_their_histories_in_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let keeps = ["--history-file", path];
    let warned = || text(&stentor(&[&["check"][..], &keeps].concat()).stdout);
    assert!(!warned().contains("history-file"), "{}", warned());
    let flags = [&keeps[..], &["--take-over-settle", "0s", "--drain-spread", "0s"]].concat();
    let mut server = Server::start(&flags);
    assert!(warned().contains("warning: history-file: another process"), "{}", warned());
    let all = [&["serve", "--listen", "127.0.0.1:0", "--admin", "off"][..], &keeps].concat();
    let second = stentor(&all);
    let said = text(&second.stderr);
    assert_eq!(second.status.code(), Some(78), "{said}");
    assert!(said.contains("another process keeps its histories there"), "{said}");
    // A process that takes over goes on with the folder, and has it when the older one has gone.
    let newer = Server::start_beside(&server, &flags);
    server.wait();
    assert_eq!(stentor(&all).status.code(), Some(78));
    newer.signal("KILL");
    drop(newer);
    drop(Server::start(&flags));
}
