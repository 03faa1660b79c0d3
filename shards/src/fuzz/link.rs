//! The messages of the two processes of a take-over, in any pieces, and the histories and facts
//! before them: no bytes panic, and whatever reads as a message or as facts is the same when it is
//! written again.

use crate::model::facts::{
    Fact, Known, put_granted, put_present, put_used, put_version, put_watched, read_facts,
};
use crate::model::snapshot;
use crate::model::told::Told;

/// A byte of switches, then what the other process sends.
///
/// # Panics
/// If a message differs from its own bytes, or depends on the pieces in which they come.
pub fn link(data: &[u8]) {
    let Some((switches, bytes)) = data.split_first() else { return };
    match switches % 5 {
        0 => drop(snapshot::read(bytes)),
        1 => drop(snapshot::read_part(bytes)),
        2 => {
            if let Ok(revocations) = snapshot::read_revocations(bytes) {
                assert_eq!(snapshot::put_revocations(&revocations), bytes);
            }
        }
        3 => messages(bytes),
        _ => facts(bytes),
    }
}

fn facts(bytes: &[u8]) {
    let written = |facts: &[Fact]| {
        let mut out = Vec::new();
        for Fact(known) in facts {
            match known {
                Known::Granted { claim, clients } => {
                    put_granted(&mut out, claim, clients.iter().copied());
                }
                Known::Version { channel, version } => put_version(&mut out, channel, version),
                Known::Present { channel, clients, member } => {
                    put_present(&mut out, channel, *clients, member);
                }
                Known::Watched { channel } => put_watched(&mut out, channel),
                Known::Used { channel } => put_used(&mut out, channel),
            }
        }
        out
    };
    let Ok(facts) = read_facts(bytes) else { return };
    assert!(facts.len() < bytes.len().max(1), "each has a kind and more");
    let once = written(&facts);
    // A part without a meaning, as a switch that is not known, is not written again.
    let again = read_facts(&once).expect("facts");
    assert_eq!(written(&again), once, "facts that were read are written as they are");
    assert_eq!(again.len(), facts.len());
}

fn messages(mut bytes: &[u8]) {
    while let Ok(Some((told, length))) = Told::read(bytes) {
        assert!((5..=bytes.len()).contains(&length), "a message has a length and a kind");
        for cut in [4, length / 2, length - 1] {
            assert!(matches!(Told::read(&bytes[..cut]), Ok(None)), "a part of a message");
        }
        let mut written = Vec::new();
        told.put(&mut written);
        // A part without a meaning, as a switch that is not known, is not written again.
        let (again, whole) = Told::read(&written).expect("a message").expect("a whole one");
        assert_eq!(whole, written.len());
        let mut twice = Vec::new();
        again.put(&mut twice);
        assert_eq!(twice, written, "a message that was read is written as it is");
        bytes = &bytes[length..];
    }
}
