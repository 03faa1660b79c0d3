//! A turn for clients of several channels and shapes, and for several requests of one client.

use std::sync::Arc;
use std::time::Duration;

use super::books::check_books;
use super::client::{Client, Wish};
use super::run::Shards;
use crate::config::{Config, DuplicateUser};
use crate::net::SLICES_MAX;
use crate::rules::{ChannelRules, HistoryRules, Marks, Rules};

fn come(shards: &mut Shards, shard: usize, wish: Wish) -> Client {
    let (stream, client) = Client::connect(wish, usize::MAX);
    shards.accept(shard, stream);
    client
}

fn shards(config: impl FnOnce(&mut Config)) -> Shards {
    let mut settings = Config::with_cores(Vec::new());
    config(&mut settings);
    Shards::new(2, settings, 1)
}

/// Returns the number of frames that contain `text`.
fn told(client: &Client, text: &str) -> usize {
    client.frames().iter().filter(|frame| frame.text().contains(text)).count()
}

#[test]
fn ticks_of_more_channels_than_one_send_takes_all_arrive() {
    let many = SLICES_MAX + 6;
    let mut shards = shards(|config| config.channels_per_client = many);
    let json = Wish { json: true, ..Wish::default() };
    let [member, speaker] = [0, 1].map(|shard| come(&mut shards, shard, json));
    let home = |name: &String| shards.all[0].port.mesh.home_of(&**name).index();
    let names = (0..).map(|number| format!("room{number}"));
    let names: Vec<String> = names.filter(|name| home(name) == 1).take(many).collect();
    for name in &names {
        member.ask(&format!(r#"{{"type":"join","channel":"{name}"}}"#));
    }
    shards.come_to_rest(|| {});
    for name in &names {
        speaker.ask(&format!(r#"{{"type":"publish","channel":"{name}","body":"to {name}"}}"#));
    }
    (0..many).for_each(|_| shards.turn(1));
    let before = shards.all[0].clients.tally.sends;
    shards.turn(0);
    let tally = &shards.all[0].clients.tally;
    assert_eq!((tally.sends - before, tally.tick_publications), (2, many as u64));
    for name in &names {
        assert_eq!(told(&member, &format!("\"to {name}\"")), 1);
    }
    check_books(&shards.all);
}

#[test]
fn one_message_reaches_clients_of_every_shape() {
    let mut shards = shards(|config| config.duplicate_user = DuplicateUser::Allow);
    let ann = Wish { user: Some("ann"), ..Wish::default() };
    let shapes = [
        ann,
        Wish { joined: true, ..ann },
        Wish { json: true, ..ann },
        Wish { lines: true, ..ann },
        Wish { json: true, ..ann },
    ];
    let clients = shapes.map(|wish| come(&mut shards, 0, wish));
    let speaker = come(&mut shards, 1, Wish { json: true, ..Wish::default() });
    shards.come_to_rest(|| {});
    speaker.ask(r#"{"type":"direct","user":"ann","body":"for ann alone","id":1}"#);
    shards.come_to_rest(|| {});
    assert_eq!(told(&speaker, "\"clients\":5"), 1, "{:?}", speaker.frames());
    for client in &clients {
        let said = match client.wish {
            Wish { json: true, .. } => "\"body\":\"for ann alone\"",
            _ => "for ann alone",
        };
        assert_eq!(told(client, said), 1, "{:?}", client.wish);
        let bare = client.frames().iter().filter(|frame| frame.text() == "for ann alone").count();
        assert_eq!(bare == 1, !client.wish.json && !client.wish.lines, "{:?}", client.wish);
    }
    check_books(&shards.all);
}

#[test]
fn watchers_of_every_dialect_hear_of_a_newcomer_and_others_do_not() {
    let mut shards = shards(|_| {});
    let json = Wish { json: true, ..Wish::default() };
    let [first, second, other] = [0, 0, 0].map(|shard| come(&mut shards, shard, json));
    shards.come_to_rest(|| {});
    for (client, presence) in [(&first, true), (&second, true), (&other, false)] {
        client.ask(&format!(r#"{{"type":"join","channel":"hall","presence":{presence}}}"#));
        shards.come_to_rest(|| {});
    }
    let newcomer =
        come(&mut shards, 1, Wish { channel: Some("hall"), lines: true, ..Wish::default() });
    shards.come_to_rest(|| {});
    let id = shards.all[1].clients.roster.iter().next().map(|(slot, _)| slot).unwrap();
    let id = format!("\"{}\"", shards.all[1].clients.roster.id(id));
    assert_eq!([&first, &second, &other].map(|client| told(client, &id)), [1, 1, 0]);
    assert!(newcomer.stayed());
}

#[test]
fn a_client_is_answered_in_the_order_of_its_requests() {
    let mut shards = shards(|_| {});
    let mesh = &shards.all[0].port.mesh;
    let mut names = (0..100).map(|number| format!("room{number}"));
    let own = names.find(|name| mesh.home_of(&**name).index() == 0).unwrap();
    let json = Wish { json: true, channel: Some(own.leak()), ..Wish::default() };
    let client = come(&mut shards, 0, json);
    shards.come_to_rest(|| {});
    // One look brings both. The first one is answered by its home, on the same shard.
    client.ask(r#"{"type":"publish","body":1,"id":1}"#);
    client.ask("x");
    shards.turn(0);
    let answers: Vec<String> =
        client.frames().iter().map(|frame| frame.text().to_owned()).collect();
    let place = |kind: &str| answers.iter().position(|answer| answer.contains(kind));
    let [ack, error] = ["\"ack\"", "\"error\""].map(place);
    assert!(ack.is_some() && ack < error, "{answers:?}");
}

/// Also while the shard waits for the home: for its subscription, or for what the client missed.
#[test]
fn a_leave_behind_a_join_always_wins() {
    let mut shards = shards(|config| {
        let history = HistoryRules { size: 9, ttl: Duration::from_mins(1), bytes: 1 << 20 };
        let rules = ChannelRules { history, ..ChannelRules::open("") };
        config.rules = Arc::new(Rules::new(Marks::default(), rules, Vec::new()).unwrap());
    });
    let json = Wish { json: true, ..Wish::default() };
    let home = |name: &String| shards.all[0].port.mesh.home_of(&**name).index();
    let names = (0..).map(|number| format!("room{number}"));
    let names: Vec<String> = names.filter(|name| home(name) == 1).take(2).collect();
    let member = come(&mut shards, 0, json);
    member.ask(&format!(r#"{{"type":"join","channel":"{}"}}"#, names[1]));
    shards.come_to_rest(|| {});
    for name in &names {
        let client = come(&mut shards, 0, json);
        shards.come_to_rest(|| {});
        let since = r#""since":{"epoch":"0","offset":0}"#;
        let join = |id| format!(r#"{{"type":"join","channel":"{name}","id":{id},{since}}}"#);
        client.ask(&join(1));
        client.ask(&format!(r#"{{"type":"leave","channel":"{name}","id":2}}"#));
        shards.come_to_rest(|| {});
        let answers = |kind| told(&client, kind);
        assert_eq!(answers(r#""id":1"#), 1, "the join is answered, too");
        assert_eq!([answers("not_joined"), answers("\"left\""), answers("\"joined\"")], [1, 1, 0]);
        client.ask(&join(3));
        client.ask(&format!(r#"{{"type":"leave","channel":"{name}","id":4}}"#));
        client.ask(&join(5));
        shards.come_to_rest(|| {});
        assert_eq!([answers("not_joined"), answers("\"left\""), answers("\"joined\"")], [2, 2, 1]);
        client.ask(&format!(r#"{{"type":"leave","channel":"{name}","id":6}}"#));
        shards.come_to_rest(|| {});
        assert_eq!(answers("\"left\""), 3);
    }
    check_books(&shards.all);
}
