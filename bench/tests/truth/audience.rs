//! Loads whose messages are not for all clients: channels, direct messages, and messages of several
//! lengths, against servers that mix them up now and then.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::server::{by_second, found, read_frame, unmasked, welcome};

const CLIENTS: usize = 12;

/// A server for one run of twelve clients: `route` says which clients hear the message of a number,
/// by what each client had asked for, by who says it and by what is said. The lengths of all
/// messages come out of the channel.
fn serve(
    mut route: impl FnMut(usize, &[String], usize, &str) -> Vec<usize> + Send + 'static,
) -> (SocketAddr, Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (says, hears) = channel();
    thread::spawn(move || {
        let (mut clients, mut targets) = (Vec::<TcpStream>::new(), Vec::new());
        for _ in 0..CLIENTS {
            let (client, head) = welcome(&listener);
            clients.push(client);
            targets.push(head.split(' ').nth(1).unwrap().to_owned());
        }
        let (said, heard) = channel();
        for (client, stream) in clients.iter().enumerate() {
            let (said, mut stream) = (said.clone(), stream.try_clone().unwrap());
            thread::spawn(move || {
                while let Some(payload) = read_frame(&mut stream) {
                    let _ = said.send((client, payload));
                }
            });
        }
        drop(said);
        for (number, (client, payload)) in heard.iter().enumerate() {
            let _ = says.send(payload.len());
            let text = String::from_utf8(payload.clone()).unwrap();
            // The beginning is enough: the stamp is in it.
            let frame = unmasked(&payload[..payload.len().min(125)]);
            for hearer in route(number, &targets, client, &text) {
                let _ = clients[hearer].write_all(&frame);
            }
        }
    });
    (address, hears)
}

/// All clients that asked for the same.
fn alike(targets: &[String], client: usize) -> Vec<usize> {
    (0..targets.len()).filter(|other| targets[*other] == targets[client]).collect()
}

fn fanout(address: SocketAddr, target: &str, flags: &[&str]) -> Output {
    let url = format!("ws://{address}{target}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stentor-bench"));
    command.args(["fanout", &url, "-d", "2s", "--warmup", "0", "--quiet"]);
    command.args(["--json", "/dev/stderr"]).args(flags).output().unwrap()
}

#[test]
fn channels_hear_their_own_and_nothing_else() {
    let (address, _) = serve(|_, targets, client, _| alike(targets, client));
    let flags = ["--channels", "4", "--members", "3", "-P", "2", "-r", "400/s", "--threads", "2"];
    let output = fanout(address, "/ws?channel=c$C", &flags);
    let run = found(&output);
    let totals = &run["totals"];
    assert_eq!((&totals["published"], &totals["deliveries"]), (&800.into(), &2400.into()));
    for none in ["lost", "duplicated", "out_of_order", "strays", "disordered_clients"] {
        assert_eq!(totals[none], 0, "{none}");
    }
    let channels = serde_json::json!({
        "count": 4, "members": 3, "receipts_least": 600, "receipts_most": 600, "short": 0
    });
    assert_eq!(run["channels"], channels);
    assert_eq!((&run["load"]["clients"], &run["load"]["channels"]), (&12.into(), &4.into()));
    assert_eq!((by_second(&run, "published"), by_second(&run, "deliveries")), (800, 2400));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("12 clients in 4 channels") && told.contains("600 to 600"), "{told}");
}

/// One message in a hundred is lost to a channel, and another one goes to all channels.
#[test]
fn losses_of_a_channel_and_leaks_into_others_are_counted() {
    let (address, _) = serve(|number, targets, client, _| match number % 100 {
        30 => Vec::new(),
        60 => (0..targets.len()).collect(),
        _ => alike(targets, client),
    });
    let flags = ["--channels", "4", "--members", "3", "-r", "200/s"];
    let run = found(&fanout(address, "/ws?channel=c$C", &flags));
    let totals = &run["totals"];
    assert_eq!((&totals["lost"], &totals["strays"]), (&(4 * 3).into(), &(4 * 9).into()));
    let short = run["channels"]["short"].as_u64().unwrap();
    assert!((1..=4).contains(&short), "{}", run["channels"]);
    assert!(run["channels"]["receipts_least"].as_u64().unwrap() < 300, "{}", run["channels"]);
}

/// A closed loop in each channel goes on by itself.
#[test]
fn channels_have_windows_of_their_own() {
    let (address, _) = serve(|_, targets, client, _| alike(targets, client));
    let flags = ["--channels", "6", "--members", "2", "-w", "2"];
    let run = found(&fanout(address, "/ws?channel=$C", &flags));
    let totals = &run["totals"];
    assert_eq!((&totals["lost"], &totals["strays"]), (&0.into(), &0.into()));
    assert_eq!(totals["deliveries"], 2 * totals["published"].as_u64().unwrap());
    assert!(totals["published"].as_u64().unwrap() > 500, "{totals}");
}

#[test]
fn direct_messages_are_heard_by_their_addressee_alone() {
    // One in a hundred goes to another one as well, one to another one instead, one nowhere.
    let (address, _) = serve(|number, _, _, text| {
        let to: usize = text.split(':').next().unwrap().parse().unwrap();
        match number % 100 {
            20 => vec![to, (to + 1) % CLIENTS],
            40 => vec![(to + 1) % CLIENTS],
            60 => Vec::new(),
            _ => vec![to],
        }
    });
    let flags = ["-c", "12", "--direct", "--message", "$TO:$MSG", "-P", "3", "-r", "300/s"];
    let run = found(&fanout(address, "/ws?user=u$N", &flags));
    let totals = &run["totals"];
    assert_eq!((&totals["published"], &totals["deliveries"]), (&600.into(), &588.into()));
    assert_eq!((&totals["lost"], &totals["strays"]), (&12.into(), &12.into()));
    assert_eq!(run["load"]["direct"], true);
    assert!(run["latencies"]["last"].is_null(), "one client has no last");
}

#[test]
fn direct_messages_cross_threads() {
    let (address, _) = serve(|_, targets, _, text| {
        // Those of two threads come in any order.
        let user = format!("=u{}", text.split(':').next().unwrap());
        (0..targets.len()).filter(|client| targets[*client].ends_with(&user)).collect()
    });
    let flags =
        ["-c", "12", "--direct", "--message", "$TO:$MSG", "-P", "4", "-w", "2", "--threads", "2"];
    let run = found(&fanout(address, "/ws?user=u$N", &flags));
    let totals = &run["totals"];
    assert_eq!((&totals["lost"], &totals["strays"]), (&0.into(), &0.into()));
    assert_eq!(totals["deliveries"], totals["published"]);
    assert!(totals["published"].as_u64().unwrap() > 500, "{totals}");
}

#[test]
fn lengths_are_mixed_as_asked() {
    let (address, lengths) = serve(|_, targets, _, _| (0..targets.len()).collect());
    let flags = ["-c", "12", "--bytes", "64:0.5,100:0.3,3000:0.2", "-r", "500/s"];
    let run = found(&fanout(address, "/ws", &flags));
    assert_eq!((&run["totals"]["lost"], &run["totals"]["published"]), (&0.into(), &1000.into()));
    assert_eq!(run["load"]["sizes"], "64:0.5,100:0.3,3000:0.2");
    assert_eq!(run["load"]["bytes"], 662);
    let mut seen = BTreeMap::new();
    for length in lengths.try_iter() {
        *seen.entry(length).or_insert(0_i32) += 1;
    }
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), [64, 100, 3000]);
    for (length, right) in [(64, 500), (100, 300), (3000, 200)] {
        assert!((seen[&length] - right).abs() < 70, "{seen:?}");
    }
}
