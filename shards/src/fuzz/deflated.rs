//! Bytes of a client that may compress, in any pieces, against the same client without a shim: what
//! is inflated is what was compressed, and bytes that mean nothing harm nobody.

use super::input::{Input, pieces};
use super::world::{MESSAGE_BYTES, World, config};
use crate::rules::Compression;
use crate::sim::client::{Client, Wish};
use crate::sim::reader::Frame;
use crate::sim::words::deflated as pressed;

const OFFER: Wish =
    Wish { channel: Some("lobby"), offers: Some("permessage-deflate"), json: false, ..Wish::JSON };

/// A byte of switches, a list of lengths, then what the client sends after its handshake: as it
/// stands, or as messages that are compressed and perhaps damaged.
///
/// # Panics
/// If a message is not what its client compressed, or others notice anything.
pub fn deflated(data: &[u8]) {
    let mut input = Input::new(data);
    let switches = input.byte();
    let cuts = input.cuts();
    match switches & 3 {
        0 => raw(input.rest, cuts),
        1 => {
            let frame = frame(0xc1 + (switches >> 2 & 1), input.rest);
            raw(&frame, cuts);
        }
        _ => sound(&mut input, cuts, switches & 1 == 1),
    }
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let [high, low] = len.to_be_bytes();
    let head = if len < 126 { vec![first, 0x80 | low] } else { vec![first, 0xfe, high, low] };
    [&head, &[0; 4][..], &payload[..len.into()]].concat()
}

fn messages(client: &Client) -> Vec<Frame> {
    client.frames().into_iter().filter(|frame| frame.opcode < 8).collect()
}

/// Three clients: who says `bytes`, who hears that, and one that nobody disturbs.
/// The world comes with them: its end would end their connections.
fn said(bytes: &[u8], cuts: &[u8]) -> (Client, Client, World) {
    let mut config = config();
    (config.text_ping, config.compression) = (false, Compression::On);
    let mut world = World::new(config);
    let (speaker, listener) = (world.client(OFFER), world.client(OFFER));
    let bystander = world.client(Wish { channel: Some("elsewhere"), ..OFFER });
    let pieces = pieces(bytes, cuts);
    world.say(&speaker, &pieces, || bystander.send(&frame(0xc1, &pressed(b"hi"))));
    let his = messages(&bystander);
    assert!(his.len() == pieces.len() && his.iter().all(|said| said.payload == b"hi"));
    assert!(listener.stayed() && bystander.stayed());
    (speaker, listener, world)
}

/// Bytes that may mean anything end alike in any pieces, or go on.
fn raw(bytes: &[u8], cuts: &[u8]) {
    let outcome = |cuts: &[u8]| {
        let (speaker, listener, _world) = said(bytes, cuts);
        let heard = messages(&listener);
        assert!(heard.iter().all(|one| one.payload.len() <= MESSAGE_BYTES));
        (heard, speaker.is_closed())
    };
    let (whole, split) = (outcome(&[]), outcome(cuts));
    // Invalid text is seen as soon as it is certain, which depends on the pieces.
    assert!(whole == split || whole.1 || split.1, "{whole:?}, and in pieces {split:?}");
}

/// Messages that are compressed arrive as they were. With `is_damaged` one bit is not as it was:
/// those before it arrive.
fn sound(input: &mut Input<'_>, cuts: &[u8], is_damaged: bool) {
    let place = usize::from(input.byte()) << 8 | usize::from(input.byte());
    let mut expected = Vec::new();
    let mut bytes = Vec::new();
    while !input.rest.is_empty() && expected.len() < 8 {
        let (kind, len) = (input.byte(), input.below(200));
        let message = input.take(len).repeat(1 + usize::from(kind >> 6));
        if message.len() > MESSAGE_BYTES {
            continue;
        }
        let compressed = pressed(&message);
        let (begin, end) = compressed.split_at(usize::from(kind & 31).min(compressed.len()));
        match kind >> 5 & 1 {
            0 => bytes.extend(frame(0xc2, &compressed)),
            _ => bytes.extend([frame(0x42, begin), frame(0x8a, b""), frame(0x80, end)].concat()),
        }
        expected.push(message);
    }
    if is_damaged && !bytes.is_empty() {
        let place = place % (bytes.len() * 8);
        bytes[place / 8] ^= 1 << (place % 8);
    }
    let (speaker, listener, _world) = said(&bytes, cuts);
    let heard: Vec<_> = messages(&listener).into_iter().map(|frame| frame.payload).collect();
    assert!(is_damaged || speaker.stayed() && heard == expected);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_bytes_hold(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            deflated(&data);
        }
    }
}
