//! The kinds of the other hostile tests through Centrifugo's dialects, JSON and Protobuf side by
//! side, whose clients say who they are behind their 101: floods before and after that, readers
//! that do not read, and storms of returns.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use socket2::SockRef;

use crate::floods::{ATTACKERS, EACH_BYTES, Flood, Kind, storm_of_connects};
use crate::raw::{close_code, connect as connect_to, next_frame, status_on};
use crate::recalls::{KEPT, MESSAGE_BYTES, MISSED, fill};
use crate::server::Server;
use crate::siege::Siege;
use crate::tokens::{forged, siege_of_es256};
use crate::words::{
    Command, FORMS, Field, Form, Value, channel, connect, publish, subscribe, unsubscribe,
};

const TARGET: &str = "/connection/websocket";

/// The bytes of a client in a form.
type Said<'a> = &'a dyn Fn(Form) -> Vec<u8>;

/// Connections that stop behind their 101.
const SILENT: usize = 400;

/// A client behind its 101.
fn upgraded(form: Form, to: SocketAddr) -> TcpStream {
    let mut stream = connect_to(to);
    stream.write_all(form.head(TARGET).as_bytes()).unwrap();
    assert_eq!(status_on(&mut stream), 101);
    stream
}

/// A client behind the answer to its `connect`.
fn connected(form: Form, to: SocketAddr) -> TcpStream {
    let mut stream = upgraded(form, to);
    // What the kernel holds of an attacker is performed when it has gone as well: a command may be
    // as short as three bytes.
    SockRef::from(&stream).set_send_buffer_size(64 << 10).unwrap();
    stream.write_all(&form.message(&[connect(&[])])).unwrap();
    let reply = next_frame(&mut stream).unwrap().1;
    assert!(form.is_connected(&reply), "{}", String::from_utf8_lossy(&reply));
    stream
}

/// A siege by floods of clients that are connected, half of them in each form.
fn flood(siege: &Siege, name: &str, reads: bool, commands: &[Command<'_>]) {
    let units = FORMS.map(|form| form.flood(commands));
    let kinds = [0, 1].map(|at| Kind { reads, ..Kind::read(&units[at]) });
    siege.withstand(name, ATTACKERS as u64 * EACH_BYTES, |server| {
        let open = |at| connected(FORMS[at % 2], server.address);
        let units = Flood { kinds: &kinds, open: &open }.run();
        assert!(units > 1, "{name}: only {units}");
        eprintln!("{name}: {units}");
    });
}

/// A siege by connections that say one thing each, and are reset.
fn storm(siege: &Siege, name: &str, memory_bytes: u64, said: &[Vec<u8>]) {
    let said: Vec<&[u8]> = said.iter().map(Vec::as_slice).collect();
    siege.withstand(name, memory_bytes, |server| {
        let count = storm_of_connects(server.address, &said);
        assert!(count > 100, "{name}: only {count}");
        eprintln!("{name}: {count}");
    });
}

/// The bytes of a client from its request on, in each form.
fn from_the_head(frames: impl Fn(Form) -> Vec<u8>) -> Vec<Vec<u8>> {
    FORMS.map(|form| [form.head(TARGET).into_bytes(), frames(form)].concat()).to_vec()
}

/// Closes of a reason so far.
fn closes(server: &Server, reason: &str) -> u64 {
    server.by_reason("disconnects", reason)
}

#[test]
fn clients_of_centrifugo_that_do_not_connect_in_order() {
    let siege = Siege::begin(&["--handshake-timeout", "1s"]);
    siege.withstand("upgrades without a connect", SILENT as u64 * (4 << 10), |server| {
        let before = closes(server, "stale");
        let mut silent: Vec<TcpStream> =
            (0..SILENT).map(|at| upgraded(FORMS[at % 2], server.address)).collect();
        for stream in &mut silent {
            assert_eq!(close_code(stream), Some(3502));
        }
        assert_eq!(closes(server, "stale") - before, SILENT as u64);
    });
    let early = |form: Form| form.message(&[publish("a", "1")]);
    // Arrays in JSON, and groups in Protobuf, which only readers that skip them meet.
    let deep = |form: Form| match form {
        Form::Json => form.frame(&vec![b'['; 60_000]),
        Form::Protobuf => {
            form.frame(&[b"\xe0\xd4\x03".to_vec(), b"\xa3\x01".repeat(30_000)].concat())
        }
    };
    let twice = |form: Form| form.message(&[connect(&[]), connect(&[])]);
    let said: [(&str, Said<'_>); 3] = [
        ("publications before a connect", &early),
        ("arrays and groups that lie too deep", &deep),
        ("a second connect", &twice),
    ];
    for (name, said) in said {
        let before = closes(&siege.server, "disorderly");
        for form in FORMS {
            let mut first = upgraded(form, siege.server.address);
            first.write_all(&said(form)).unwrap();
            assert_eq!(close_code_behind(&mut first), Some(3501), "{name}, {form:?}");
        }
        assert_eq!(closes(&siege.server, "disorderly"), before + 2, "{name}");
    }
    // What two turns may accept, each with a whole message in the machine and out of it.
    let both = [from_the_head(early), from_the_head(deep)].concat();
    storm(&siege, "what is no connect, and reset", 512 * (128 << 10), &both);
    let commands =
        |form: Form| [form.message(&[connect(&[])]), form.flood(&[publish("a", "1")])].concat();
    storm(
        &siege,
        "commands behind the head, and reset",
        512 * (64 << 10),
        &from_the_head(commands),
    );
}

/// The close code behind whatever comes before it.
fn close_code_behind(stream: &mut TcpStream) -> Option<u16> {
    loop {
        let (first, payload) = next_frame(stream)?;
        if first == 0x88 {
            return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        }
    }
}

#[test]
fn floods_of_commands_of_centrifugo() {
    let siege = Siege::begin(&["--errors-max", "65536", "--receive-buffer-bytes", "64KiB"]);
    let send = Command { id: 0, method: ("send", 12), fields: Vec::new() };
    flood(&siege, "messages that go nowhere", true, &[send]);
    let presence = Command { id: 5, method: ("presence", 8), fields: vec![channel("flood")] };
    let comings = [
        subscribe(&[channel("flood"), ("join_leave", 11, Value::Yes)]),
        publish("flood", r#"{"a":[1]}"#),
        presence,
        unsubscribe("flood"),
    ];
    flood(&siege, "clients that come, speak, ask and go", true, &comings);
    let rpc = Command { id: 6, method: ("rpc", 13), fields: Vec::new() };
    flood(&siege, "mistakes", true, &[rpc, unsubscribe("none")]);
    let names: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    let names: Vec<Command<'_>> = names.iter().map(|name| subscribe(&[channel(name)])).collect();
    flood(&siege, "channels without end", true, &names);
}

#[test]
fn floods_of_returns_of_centrifugo() {
    let siege = Siege::begin(&KEPT);
    let epoch = fill(&siege.server, "flood", MISSED, MESSAGE_BYTES);
    let limit = ("limit", 7, Value::Number(-1));
    let history = Command { id: 5, method: ("history", 10), fields: vec![channel("flood"), limit] };
    flood(&siege, "histories, not read", false, &[history]);
    let position: [Field<'_>; 4] = [
        channel("flood"),
        ("recover", 3, Value::Yes),
        ("epoch", 6, Value::Text(&epoch)),
        ("offset", 7, Value::Number(1)),
    ];
    let come = subscribe(&position);
    let both = [come.clone(), unsubscribe("flood")];
    flood(&siege, "clients that recover and go, not read", false, &both);
    let returns = |form: Form| {
        [form.message(&[connect(&[])]), form.message(std::slice::from_ref(&come))].concat()
    };
    storm(&siege, "recoveries and reset", 512 * (64 << 10), &from_the_head(returns));
}

/// A `connect` with a token, in each form.
fn with(token: &str) -> impl Fn(Form) -> Vec<u8> {
    move |form| form.message(&[connect(&[("token", 1, Value::Text(token))])])
}

#[test]
fn floods_of_tokens_of_centrifugo() {
    let (siege, token) = siege_of_es256();
    let (token, forged) = (&*token, forged(&token));
    for form in FORMS {
        let mut stream = upgraded(form, siege.server.address);
        stream.write_all(&with(token)(form)).unwrap();
        let reply = next_frame(&mut stream).unwrap().1;
        assert!(form.is_connected(&reply), "{form:?}: {reply:?}");
        let mut stream = upgraded(form, siege.server.address);
        stream.write_all(&with(&forged)(form)).unwrap();
        assert_eq!(close_code(&mut stream), Some(3500), "{form:?}");
    }
    let both = [from_the_head(with(token)), from_the_head(with(&forged))].concat();
    storm(&siege, "connects with tokens, valid and forged", 512 * (16 << 10), &both);
    let join = subscribe(&[channel("a"), ("token", 2, Value::Text(&forged))]);
    flood(&siege, "subscriptions with forged tokens", true, &[join]);
    assert!(siege.server.log().iter().all(|line| !line.contains("eyJ")), "a token in the log");
}
