//! Properties of what one process of a take-over says to the other, for the target in `tests/fuzz`.
//! A plain test replays the seeds there, so that the target does not rot.

use std::io::Write;
use std::os::unix::net::UnixStream;

use super::frames::{Heard, first, put_word};
use super::input::{Unread, receive};

/// What is written at once without a reader: far below the buffer of a Unix socket.
const BYTES_MAX: usize = 32 << 10;

/// A byte of switches, then what the other process sends: the frames of the link, or histories.
///
/// # Panics
/// If a word differs from its own bytes, a frame depends on the pieces in which it comes, or there
/// is more to histories than was sent.
pub(crate) fn takeover(data: &[u8]) {
    let Some((switches, bytes)) = data.split_first() else { return };
    if switches % 2 == 0 {
        frames(bytes);
    } else if bytes.len() <= BYTES_MAX {
        histories(bytes);
    }
}

fn frames(mut bytes: &[u8]) {
    while let Ok(Some((heard, length))) = first(bytes) {
        assert!((5..=bytes.len()).contains(&length), "a frame has a length and a kind");
        for cut in [4, length / 2, length - 1] {
            assert!(matches!(first(&bytes[..cut]), Ok(None)), "a part of a frame");
        }
        if let Heard::Word(word) = heard {
            let (mut written, mut twice) = (Vec::new(), Vec::new());
            assert!(put_word(&mut written, &word), "a word that was read can be written");
            let (again, whole) = first(&written).expect("a word").expect("a whole one");
            let Heard::Word(again) = again else { panic!("another kind of frame") };
            assert_eq!(whole, written.len());
            assert!(put_word(&mut twice, &again));
            assert_eq!(twice, written, "a word that was read is written as it is");
        }
        bytes = &bytes[length..];
    }
}

fn histories(bytes: &[u8]) {
    let (mut ours, mut theirs) = UnixStream::pair().expect("a socket for each end");
    ours.write_all(bytes).expect("there is room for so little");
    drop(ours);
    match receive(&mut theirs, bytes.len()) {
        Ok(read) => {
            let past = &read.past;
            let facts = past.channels.len() + past.revocations.len() + past.facts.len();
            assert!(facts + read.keys.len() < bytes.len(), "each takes a byte at least");
        }
        Err(Unread::TooSlow | Unread::OtherVersion) => panic!("nothing is waited for"),
        Err(why) => {
            let why = why.to_string();
            assert!(!why.is_empty() && !why.contains(char::is_control), "{why:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_seed_holds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds/takeover");
        let seeds: Vec<_> = folder.read_dir().unwrap().map(|seed| seed.unwrap().path()).collect();
        assert!(seeds.len() > 5, "{} seeds", seeds.len());
        for path in seeds {
            let data = std::fs::read(&path).unwrap();
            let outcome = std::panic::catch_unwind(|| super::takeover(&data));
            assert!(outcome.is_ok(), "{}", path.display());
        }
    }
}
