//! The messages of the two processes of a take-over, in any pieces, and the histories before them:
//! no bytes panic, and whatever reads as a message is that message when it is written again.

use crate::model::snapshot;
use crate::model::told::Told;

/// A byte of switches, then what the other process sends.
///
/// # Panics
/// If a message differs from its own bytes, or depends on the pieces in which they come.
pub fn link(data: &[u8]) {
    let Some((switches, bytes)) = data.split_first() else { return };
    match switches % 4 {
        0 => drop(snapshot::read(bytes)),
        1 => drop(snapshot::read_part(bytes)),
        2 => {
            if let Ok(revocations) = snapshot::read_revocations(bytes) {
                assert_eq!(snapshot::put_revocations(&revocations), bytes);
            }
        }
        _ => messages(bytes),
    }
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
