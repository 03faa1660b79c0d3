//! Replies and pushes as clients of Centrifugo read them in Protobuf.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::id::{ClientId, ShardId, Slot};
use crate::model::message::{Details, Epoch, From, Position};
use crate::model::socket::SocketId;
use crate::sim::reader::read_frames;
use crate::wire::command::ErrorCode;

const CLIENT: ClientId = ClientId { generation: 3, slot: Slot(2), shard: ShardId(1) };

/// The one reply in the one frame that was written.
fn read(out: &BytesMut) -> Reply {
    let (frames, used) = read_frames(out);
    assert_eq!((frames.len(), used, frames[0].opcode), (1, out.len(), 2), "one binary frame");
    let mut rest = &frames[0].payload[..];
    let reply = Reply::decode_length_delimited(&mut rest).unwrap();
    assert!(rest.is_empty(), "one reply");
    reply
}

fn told(event: &Event<'_>) -> Reply {
    let mut out = BytesMut::new();
    write(&mut out, event);
    read(&out)
}

fn made(channel: &str, payload: Payload, tags: Option<&str>) -> Publication {
    let details = Details { tags: tags.map(Arc::from), ..Details::default() };
    Publication {
        channel: channel.into(),
        offset: 7,
        time_ms: 1,
        ingress_ns: 0,
        details: tags.map(|_| Arc::new(details)),
        from: Some(From { client: CLIENT, user: Some("ana".into()) }),
        payload,
    }
}

proptest! {
    /// The publication that is written field by field reads back as what it says, whatever its
    /// size.
    #[test]
    fn publications_read_back(
        channel in "[a-z]{1,40}",
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300),
            proptest::collection::vec(any::<u8>(), 16_300..16_500),
            proptest::collection::vec(any::<u8>(), 65_400..65_600),
        ],
        tagged in any::<bool>(),
    ) {
        let tags = tagged.then_some(r#"{"a":"1","b":"two"}"#);
        let data = Bytes::from(body);
        let mut out = BytesMut::new();
        publication(&mut out, &made(&channel, Payload::Binary(data.clone()), tags));
        let Reply { id, push: Some(push), .. } = read(&out) else { panic!("no push") };
        let publication = push.publication.unwrap();
        prop_assert_eq!((id, push.channel, publication.offset), (0, channel, 7));
        prop_assert_eq!(publication.data, data);
        let info = publication.info.unwrap();
        prop_assert_eq!((info.user, info.client), ("ana".to_owned(), CLIENT.to_string()));
        prop_assert_eq!(publication.tags.len(), if tagged { 2 } else { 0 });
    }
}

#[test]
fn a_publication_of_a_chain_is_told_by_its_difference() {
    let body = |last: &str| Bytes::from("\u{e9}\u{ff}".repeat(50) + last);
    let [one, two] = ["1", "2"].map(|last| made("c", Payload::Binary(body(last)), None));
    let told = |publication, before| {
        let mut out = BytesMut::new();
        chained(&mut out, publication, before);
        read(&out).push.unwrap().publication.unwrap()
    };
    let whole = told(&one, None);
    assert_eq!((whole.delta, whole.data), (false, body("1")));
    let patched = told(&two, Some(&one));
    assert!(patched.delta && patched.data.len() < 20 && patched.info.is_some());
    assert_eq!(fossil_delta::apply(body("1"), patched.data).unwrap(), body("2"));
    let short = made("c", Payload::Binary("x".into()), None);
    assert!(!told(&short, Some(&one)).delta, "a patch would be longer");
}

#[test]
fn a_direct_message_has_no_channel() {
    let mut out = BytesMut::new();
    publication(&mut out, &made("", Payload::Json("{}".into()), None));
    let push = read(&out).push.unwrap();
    assert_eq!(push.message.map(|message| message.data), Some("{}".into()));
    assert_eq!(push.publication, None);
}

#[test]
fn events_answer_the_numbers_of_their_commands() {
    let id = RequestId("5".into());
    let position = Position { epoch: Epoch(0xab), offset: 9 };
    let (channel, data) = ("c", Some("[1]"));
    let (recovered, left_s, patches) = (Some(true), None, true);
    let (can_refresh, keeps_position) = (true, true);
    let seated =
        Seated { channel, position, recovered, left_s, can_refresh, keeps_position, data, patches };
    let reply = told(&Event::Joined { seated, id: Some(&id) });
    let subscribed = reply.subscribe.unwrap();
    assert_eq!((reply.id, &*subscribed.epoch, subscribed.offset), (5, "000000ab", 9));
    assert!(subscribed.recovered && subscribed.was_recovering && subscribed.positioned);
    assert_eq!(&subscribed.data[..], b"[1]");
    assert!(subscribed.delta);
    let added = told(&Event::Added(Seated { recovered: None, ..seated })).push.unwrap();
    let subscribe = added.subscribe.unwrap();
    assert_eq!((&*added.channel, subscribe.offset), ("c", 9));
    assert_eq!(&subscribe.data[..], b"[1]");
    let error = told(&Event::Error { code: ErrorCode::Rate, text: "", id: Some(&id) });
    let said = error.error.unwrap();
    assert_eq!((error.id, said.code, said.temporary), (5, 111, true));
    let (text, is_passing) = ("not now", true);
    let rejected = Event::Rejected { code: 70_000, text, is_passing, id: Some(&id) };
    let said = told(&rejected).error.unwrap();
    assert_eq!((said.code, &*said.message, said.temporary), (70_000, text, is_passing));
    let called = told(&Event::Called { data, id: &id });
    assert_eq!((called.id, &called.rpc.unwrap().data[..]), (5, &b"[1]"[..]));
    let removed = told(&Event::Removed { channel }).push.unwrap().unsubscribe.unwrap();
    assert_eq!((removed.code, &*removed.reason), BY_SERVER_WIDE);
    let mut out = BytesMut::new();
    write(&mut out, &Event::Ping);
    assert_eq!(&out[..], b"\x82\x01\x00", "an empty reply is a ping");
    out.clear();
    write(&mut out, &Event::Heartbeat);
    assert!(out.is_empty(), "it has no such message");
}

#[test]
fn clients_are_told_when_tokens_end() {
    let id = RequestId("5".into());
    let position = Position { epoch: Epoch(0xab), offset: 9 };
    let (channel, recovered, left_s, data) = ("c", None, Some(30), None);
    let (can_refresh, keeps_position, patches) = (true, false, false);
    let seated =
        Seated { channel, position, recovered, left_s, can_refresh, keeps_position, data, patches };
    let own = told(&Event::Joined { seated, id: Some(&id) }).subscribe.unwrap();
    assert_eq!((own.expires, own.ttl), (true, 30));
    let welcome = Welcome {
        client: CLIENT,
        socket: SocketId { run: 0, client: CLIENT },
        user: None,
        channels: &[
            Seated { can_refresh: false, ..seated },
            Seated { channel: "d", recovered: Some(true), ..seated },
        ],
        ping_interval: Duration::from_secs(25),
        pong_timeout: Duration::from_secs(8),
        message_bytes: 65_536,
        is_sparse: false,
        left_s: Some(60),
        data: None,
        id: Some(&id),
        pongs: true,
        session: None,
    };
    let connected = told(&Event::Welcome(welcome)).connect.unwrap();
    assert_eq!((connected.expires, connected.ttl), (true, 60));
    assert!(!connected.subs["c"].expires, "the server has chosen it");
    let second = &connected.subs["d"];
    assert!(second.recovered && second.was_recovering && second.offset == 9);
    assert!(!second.recoverable && !second.positioned, "its positions mean nothing");
    let refreshed = |channel, left_s| told(&Event::Refreshed { channel, left_s, id: Some(&id) });
    let result = refreshed(Some("c"), Some(40)).sub_refresh.unwrap();
    assert_eq!((result.expires, result.ttl), (true, 40));
    let result = refreshed(None, Some(40)).refresh.unwrap();
    assert_eq!((result.expires, result.ttl), (true, 40));
    assert!(!refreshed(Some("c"), None).sub_refresh.unwrap().expires);
    let moved = |left_s| told(&Event::Refreshed { channel: None, left_s, id: None });
    let refresh = |left_s| moved(left_s).push.unwrap().refresh.unwrap();
    assert_eq!((refresh(Some(40)).expires, refresh(Some(40)).ttl), (true, 40));
    assert!(!refresh(None).expires);
    let push = told(&Event::Lapsed { channel: "c" }).push.unwrap();
    let lapsed = push.unsubscribe.unwrap();
    assert_eq!((&*push.channel, lapsed.code), ("c", 2501));
}

const BY_SERVER_WIDE: (u32, &str) = (BY_SERVER.0 as u32, BY_SERVER.1);

#[test]
fn members_are_told_with_what_tokens_say_of_them() {
    let member = Member {
        client: CLIENT,
        user: Some("ana".into()),
        info: Some("{\"n\":1}".into()),
        channel_info: None,
    };
    let id = RequestId("6".into());
    let all = [member];
    let event =
        Event::Members { channel: "c", clients: 1, members: &all, more: false, id: Some(&id) };
    let presence = told(&event).presence.unwrap().presence;
    let info = &presence[&CLIENT.to_string()];
    assert_eq!(
        (&*info.user, &info.conn_info[..], info.chan_info.len()),
        ("ana", &b"{\"n\":1}"[..], 0)
    );
    let join = Event::Presence { joined: true, channel: "c", member: &all[0] };
    let push = told(&join).push.unwrap();
    assert_eq!(push.join.unwrap().info.as_ref(), Some(info));
    assert_eq!(push.leave, None);
}
