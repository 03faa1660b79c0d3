//! Servers of Centrifugo's protocol with known faults, in JSON and in Protobuf: what they refuse,
//! lose and repeat is counted, and their pings are answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Output;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::forms::{Form, Said};
use crate::server::{CLIENTS, by_second, found, run, welcome};

/// The payload of the next masked frame, which is of one kind.
fn read_frame(stream: &mut TcpStream, first: u8) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).ok()?;
    assert_eq!((head[0], head[1] & 0x80), (first, 0x80), "masked, and of its kind");
    let mut len = usize::from(head[1] & 0x7f);
    if len == 126 {
        let mut wide = [0; 2];
        stream.read_exact(&mut wide).ok()?;
        len = usize::from(u16::from_be_bytes(wide));
    }
    let mut rest = vec![0; 4 + len];
    stream.read_exact(&mut rest).ok()?;
    let (mask, payload) = rest.split_at(4);
    Some(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask).collect())
}

/// How a server answers the publication of a number: the error, if it is refused, and frames to
/// all.
type Rule = Box<dyn FnMut(usize, &str) -> (Option<(u64, &'static str)>, Vec<Vec<u8>>) + Send>;

/// A server for one run, whose pongs come out of the channel.
fn serve(form: Form, mut rule: Rule) -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (pong, pongs) = channel();
    thread::spawn(move || {
        let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| entered(&listener, form)).collect();
        let (say, said) = channel();
        for (place, client) in clients.iter().enumerate() {
            let (mut client, say) = (client.try_clone().unwrap(), say.clone());
            thread::spawn(move || {
                while let Some(payload) = read_frame(&mut client, form.first_byte()) {
                    for command in form.commands(&payload) {
                        let _ = say.send((place, command));
                    }
                }
            });
        }
        drop(say);
        let mut number = 0;
        for (place, command) in said {
            if command.method == "pong" {
                let _ = pong.send(());
                continue;
            }
            assert_eq!((command.method, command.channel.as_str()), ("publish", "bench"));
            assert_eq!(command.id, number as u64 + 3, "no number is given twice");
            let (error, frames) = rule(number, &command.data);
            number += 1;
            let answer = match error {
                Some((code, text)) => Said::Refused(command.id, code, text),
                None => Said::Done(command.id, "publish"),
            };
            let _ = clients[place].write_all(&form.frame(&[answer]));
            for frame in frames {
                clients.retain_mut(|client| client.write_all(&frame).is_ok());
            }
        }
    });
    (address, pongs)
}

/// The next client, connected and subscribed.
fn entered(listener: &TcpListener, form: Form) -> TcpStream {
    let (mut client, head) = welcome(listener);
    assert!(head.starts_with("GET /connection/websocket HTTP/1.1\r\n"), "{head}");
    let asks = head.contains("Sec-WebSocket-Protocol: centrifuge-protobuf\r\n");
    assert_eq!(asks, form == Form::Protobuf, "{head}");
    let commands = form.commands(&read_frame(&mut client, form.first_byte()).unwrap());
    let told: Vec<_> = commands.iter().map(|one| (one.id, one.method, &*one.channel)).collect();
    assert_eq!(told, [(1, "connect", ""), (2, "subscribe", "bench")]);
    client.write_all(&form.frame(&[Said::Done(1, "connect")])).unwrap();
    client.write_all(&form.frame(&[Said::Done(2, "subscribe")])).unwrap();
    client
}

fn fanout(address: SocketAddr, form: Form, flags: &str) -> Output {
    let flags = format!("{} --size 48 --warmup 0 {flags}", form.flag());
    run_at(address, "fanout", &flags)
}

/// Runs the tool with an address that has no path.
fn run_at(address: SocketAddr, command: &str, flags: &str) -> Output {
    let mut tool = crate::server::command(address, command, "");
    let args: Vec<_> = tool.get_args().map(std::ffi::OsStr::to_owned).collect();
    tool = std::process::Command::new(env!("CARGO_BIN_EXE_stentor-bench"));
    tool.arg(&args[0]).arg(format!("ws://{address}")).args(&args[2..]);
    tool.args(flags.split_whitespace()).output().unwrap()
}

/// Of each hundred messages one is lost, one comes twice in one frame, and two come in one frame
/// with a ping between them.
#[test]
fn losses_repetitions_and_pings_of_centrifugo_are_counted() {
    for form in [Form::Json, Form::Protobuf] {
        let mut kept = String::new();
        let rule: Rule = Box::new(move |number, data| {
            let frames = match number % 100 {
                20 => Vec::new(),
                40 => vec![form.frame(&[Said::Push(data), Said::Push(data)])],
                60 => {
                    data.clone_into(&mut kept);
                    Vec::new()
                }
                61 => vec![form.frame(&[Said::Push(&kept), Said::Ping, Said::Push(data)])],
                _ => vec![form.frame(&[Said::Push(data)])],
            };
            (None, frames)
        });
        let (address, pongs) = serve(form, rule);
        let run = found(&fanout(address, form, "-r 500/s -d 2s"));
        let totals = &run["totals"];
        assert_eq!(totals["published"], 1000, "{form:?}");
        assert_eq!(
            (&totals["lost"], &totals["duplicated"], &totals["out_of_order"]),
            (&(10 * CLIENTS).into(), &(10 * CLIENTS).into(), &0.into()),
            "{form:?}: {totals}"
        );
        assert_eq!(totals["deliveries"], 990 * CLIENTS);
        assert_eq!(by_second(&run, "deliveries"), 990 * CLIENTS as u64);
        assert_eq!(pongs.iter().count(), 10 * CLIENTS, "{form:?}: every ping is answered");
        assert_eq!(totals.get("refused"), None);
        let dialect = form.flag().split(' ').next_back().unwrap();
        assert_eq!(run["target"]["dialect"], dialect);
    }
}

/// A message that the server refuses reaches nobody, and the record says why.
#[test]
fn refused_publications_are_counted_with_their_error() {
    for form in [Form::Json, Form::Protobuf] {
        let rule: Rule = Box::new(move |number, data| match number % 100 {
            50 => (Some((111, "too many requests")), Vec::new()),
            _ => (None, vec![form.frame(&[Said::Push(data)])]),
        });
        let output = fanout(serve(form, rule).0, form, "-r 500/s -d 2s");
        let run = found(&output);
        let totals = &run["totals"];
        assert_eq!(totals["refused"], json!({ "error 111: too many requests": 10 }));
        assert_eq!(totals["lost"], 10 * CLIENTS);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(told.contains("error 111: too many requests 10"), "{told}");
    }
}

/// A server that lets nobody in, by an error or by a close frame.
#[test]
fn clients_that_are_refused_are_not_connected() {
    type Refuse = fn(Form) -> Vec<u8>;
    let cases: [(Refuse, &str); 3] = [
        (|form| form.frame(&[Said::Refused(1, 101, "unauthorized")]), "error 101: unauthorized"),
        (
            |form| {
                form.frame(&[Said::Done(1, "connect"), Said::Refused(2, 103, "permission denied")])
            },
            "error 103: permission denied",
        ),
        (
            |_| b"\x88\x0f\x0d\xacinvalid token".to_vec(),
            "closed before it was ready: 3500 invalid token",
        ),
    ];
    for form in [Form::Json, Form::Protobuf] {
        for (refuse, told) in cases {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            thread::spawn(move || {
                let mut guests = Vec::new();
                loop {
                    let (mut client, _) = welcome(&listener);
                    let _ = read_frame(&mut client, form.first_byte());
                    let _ = client.write_all(&refuse(form));
                    guests.push(client);
                }
            });
            let output = run_at(address, "connect", &format!("{} --rounds 1", form.flag()));
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(3), "{said}");
            assert!(said.contains(told) && said.lines().count() == 1, "{told}: {said}");
        }
    }
}

/// Silent clients answer pings, however long nothing else comes.
#[test]
fn idle_clients_of_centrifugo_answer_pings() {
    for form in [Form::Json, Form::Protobuf] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (answered, pongs) = channel();
        thread::spawn(move || {
            let mut clients: Vec<_> = (0..CLIENTS).map(|_| entered(&listener, form)).collect();
            thread::park_timeout(Duration::from_millis(300));
            for client in &mut clients {
                client.write_all(&form.frame(&[Said::Ping])).unwrap();
                let pong = form.commands(&read_frame(client, form.first_byte()).unwrap());
                answered.send(pong[0].method).unwrap();
            }
        });
        let run = found(&run_at(address, "idle", &format!("{} -d 1500ms", form.flag())));
        assert_eq!(run["totals"]["connected"], CLIENTS);
        assert_eq!(run["totals"]["pings"], CLIENTS, "{form:?}");
        assert_eq!(pongs.iter().filter(|method| *method == "pong").count(), CLIENTS);
    }
}

#[test]
fn flags_that_a_dialect_does_not_take_are_usage_errors() {
    let address: SocketAddr = "127.0.0.1:1".parse().unwrap();
    for (command, flags, told) in [
        ("fanout", "--dialect centrifugo --message {$MSG}", "--message"),
        ("idle", "--dialect centrifugo-protobuf --hello x", "--hello"),
        ("connect", "--channel a", "--channel"),
        ("idle", "--dialect sse --client-token a", "--client-token"),
        ("echo", "--dialect sse", "no echo"),
        ("fanout", "--dialect centrifugo --publish-at /x", "--publish-at"),
        ("fanout", "--dialect nonsense", "centrifugo-protobuf"),
    ] {
        let output = run(address, command, flags);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags}: {said}");
        assert!(said.contains(told), "{flags}: {said}");
    }
}
