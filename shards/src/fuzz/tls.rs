//! The bytes of a connection that speaks TLS, in any pieces: what the session opens must be what
//! the client has said, or the beginning of it, and nothing at all before the handshake is over.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, ServerConfig};

use super::input::{Input, pieces};
use crate::sim::sealed::{ClientEnd, client_config, server_config};
use crate::tls::{RECORD_BYTES, SEALED_BYTES, Session};

/// The settings of both sides, made once.
fn settings() -> &'static (Arc<ServerConfig>, Arc<ClientConfig>) {
    static SETTINGS: OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)> = OnceLock::new();
    SETTINGS.get_or_init(|| (server_config(), client_config()))
}

/// A byte of switches, a list of lengths, then what the connection brings.
///
/// # Panics
/// If a session opens what nobody has sealed, or does not open what was.
pub fn tls(data: &[u8]) {
    let mut input = Input::new(data);
    let switches = input.byte();
    let cuts = input.cuts();
    match switches & 3 {
        0 | 1 => unsealed(input.rest, cuts),
        2 => sealed(input.rest, cuts, None),
        _ => {
            let place = usize::from(input.byte()) << 8 | usize::from(input.byte());
            sealed(input.rest, cuts, Some(place));
        }
    }
}

/// The most memory that a session may keep for a record, or a message, that has come in part.
const KEPT_BYTES_MAX: usize = 2 * (5 + RECORD_BYTES + 2048);

/// The outcome of feeding a session: whether it goes on, and the bytes that it has opened.
fn feed(session: &mut Session, bytes: &[u8], cuts: &[u8]) -> (bool, Vec<u8>, Vec<u8>) {
    let (mut opened, mut answer) = (Vec::new(), Vec::new());
    let goes_on = pieces(bytes, cuts).into_iter().all(|piece| {
        let goes_on = session.feed(&mut piece.to_vec(), &mut opened, &mut answer).is_ok();
        assert!(!goes_on || session.kept_bytes() <= KEPT_BYTES_MAX, "memory of a whole read");
        goes_on
    });
    (goes_on, opened, answer)
}

/// A session and its client's end, once the handshake is over, and the bytes between them. The
/// client's bytes come with these cuts.
fn connected(cuts: &[u8]) -> (Session, ClientEnd, VecDeque<u8>) {
    let (server, client) = settings();
    let (mut inbound, mut heard) = (VecDeque::new(), Vec::new());
    let mut end = ClientEnd::new(Arc::clone(client), &mut inbound);
    let mut session = Session::new(server).unwrap();
    while !session.is_through() {
        let sent: Vec<u8> = inbound.drain(..).collect();
        let (goes_on, opened, answer) = feed(&mut session, &sent, cuts);
        assert!(goes_on && opened.is_empty() && heard.is_empty());
        end.hear(&answer, &mut heard, &mut inbound);
    }
    (session, end, inbound)
}

/// Bytes that no key has sealed open nothing, and end alike in any pieces.
fn unsealed(bytes: &[u8], cuts: &[u8]) {
    let outcome = |cuts: &[u8]| {
        let mut session = Session::new(&settings().0).unwrap();
        let (goes_on, opened, _) = feed(&mut session, bytes, cuts);
        assert!(opened.is_empty() && !session.is_through(), "nobody has done a handshake");
        let mut record = vec![0; SEALED_BYTES];
        assert!(session.seal(b"x", &mut record).is_err());
        assert_eq!(session.farewell(&mut record), 0);
        // It may be asked again all the same.
        let again = session.feed(&mut bytes.to_vec(), &mut Vec::new(), &mut Vec::new());
        assert!(goes_on || again.is_ok(), "an end is told once");
        goes_on
    };
    assert_eq!(outcome(cuts), outcome(&[]), "in pieces of {cuts:?}");
}

/// A client says `words`, and hears them again. With a `place` one bit is damaged on the way there.
fn sealed(words: &[u8], cuts: &[u8], place: Option<usize>) {
    let (mut session, mut end, mut inbound) = connected(cuts);
    let mut heard = Vec::new();
    end.say(words, &mut inbound);
    end.finish(&mut inbound);
    let mut sent: Vec<u8> = inbound.drain(..).collect();
    if let Some(place) = place {
        let place = place % (sent.len() * 8);
        sent[place / 8] ^= 1 << (place % 8);
    }
    let (goes_on, opened, _) = feed(&mut session, &sent, cuts);
    if place.is_some() {
        let is_partial = opened.len() < words.len() || !session.has_ended();
        // The version in a record's head is nobody's business.
        assert!(words.starts_with(&opened) && (is_partial || goes_on), "a damaged record opens");
        return;
    }
    assert!(goes_on && session.has_ended() && opened == words);
    let mut record = vec![0; SEALED_BYTES];
    for part in words.chunks(RECORD_BYTES) {
        let len = session.seal(part, &mut record).unwrap();
        end.hear(&record[..len], &mut heard, &mut inbound);
    }
    assert_eq!(heard, words);
    assert!(session.farewell(&mut record) > 0);
    assert_eq!(session.farewell(&mut record), 0, "once");
    assert!(session.seal(b"x", &mut record).is_err(), "nothing behind the farewell");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A hello as a client sends it, to be damaged.
    fn hello() -> Vec<u8> {
        let mut inbound = VecDeque::new();
        ClientEnd::new(Arc::clone(&settings().1), &mut inbound);
        inbound.into()
    }

    /// A read ends one byte behind the head of a record, and so does the next one, much later.
    #[test]
    fn a_client_that_stops_in_a_record_keeps_no_memory_of_a_read() {
        let (mut session, mut end, mut inbound) = connected(&[]);
        end.say(&vec![b'x'; 100 << 10], &mut inbound);
        let sent: Vec<u8> = inbound.drain(..).collect();
        let (mut opened, mut answer) = (Vec::new(), Vec::new());
        for (piece, kept_bytes_max) in [(&sent[..1], 1), (&sent[1..80_000], RECORD_BYTES + 64)] {
            session.feed(&mut piece.to_vec(), &mut opened, &mut answer).unwrap();
            assert!(session.kept_bytes() <= kept_bytes_max, "{}", session.kept_bytes());
        }
        session.feed(&mut sent[80_000..].to_vec(), &mut opened, &mut answer).unwrap();
        assert_eq!((opened.len(), session.kept_bytes()), (100 << 10, 0));
    }

    proptest! {
        #[test]
        fn any_bytes_hold(data in proptest::collection::vec(any::<u8>(), 0..600)) {
            tls(&data);
        }

        /// Damaged, doubled and cut hellos come further than bytes that mean nothing.
        #[test]
        fn damaged_hellos_hold(
            damages in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4),
            (copies, len, cut) in (1..3_usize, 0..600_usize, any::<u8>()),
        ) {
            let mut bytes = hello().repeat(copies);
            for (place, change) in damages {
                let place = usize::from(place) % bytes.len();
                bytes[place] ^= change;
            }
            bytes.truncate(len.max(1));
            tls(&[&[0, 1, cut][..], &bytes].concat());
        }
    }
}
