//! Patches of bodies, applied after the letter of Fossil's format.

use crate::wire::patch::patch;

/// A patch is shorter than the body that it stands for, makes exactly that body, and is a text if
/// the body is one.
pub fn patches(data: &[u8]) {
    let Some((&at, bodies)) = data.split_first() else { return };
    // One body is often a small change of the other: both are made of the same bytes.
    let (old, new) = bodies.split_at(bodies.len() * usize::from(at) / 255);
    for (old, new) in [(old, new), (bodies, new), (old, bodies), (bodies, bodies)] {
        for is_text in [false, std::str::from_utf8(new).is_ok()] {
            let Some(patch) = patch(old, new, is_text) else { continue };
            assert!(patch.len() < new.len());
            assert!(!is_text || std::str::from_utf8(&patch).is_ok());
            assert_eq!(apply(old, &patch).as_deref(), Some(new));
        }
    }
}

/// Returns the body that a patch makes; `None` if it is no patch of `old`.
fn apply(old: &[u8], patch: &[u8]) -> Option<Vec<u8>> {
    let mut rest = patch;
    let len = number(&mut rest)?;
    (next(&mut rest)? == b'\n').then_some(())?;
    let mut made = Vec::new();
    loop {
        let count = number(&mut rest)?;
        match next(&mut rest)? {
            b'@' => {
                let from = number(&mut rest)?;
                (next(&mut rest)? == b',').then_some(())?;
                made.extend_from_slice(old.get(from..from + count)?);
            }
            b':' => made.extend_from_slice(rest.split_off(..count)?),
            b';' => {
                let whole = rest.is_empty() && made.len() == len;
                return (whole && sum(&made) as usize == count).then_some(made);
            }
            _ => return None,
        }
    }
}

fn next(rest: &mut &[u8]) -> Option<u8> {
    rest.split_off_first().copied()
}

/// Reads digits of the base 64: figures, capitals, an underscore, small letters, a tilde.
fn number(rest: &mut &[u8]) -> Option<usize> {
    let (mut number, mut digits) = (0, 0);
    while let Some(digit) = rest.first().and_then(|byte| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'Z' => Some(byte - b'A' + 10),
        b'_' => Some(36),
        b'a'..=b'z' => Some(byte - b'a' + 37),
        b'~' => Some(63),
        _ => None,
    }) {
        number = number * 64 + usize::from(digit);
        digits += 1;
        next(rest);
    }
    (1..=6).contains(&digits).then_some(number)
}

fn sum(body: &[u8]) -> u32 {
    let mut sum = 0_u32;
    for (at, byte) in body.iter().enumerate() {
        sum = sum.wrapping_add(u32::from(*byte) << (24 - 8 * (at % 4)));
    }
    sum
}
