//! An answer of OCSP (RFC 6960, 4.2.1) as far as it must be understood to be stapled.

use super::dates::{GENERALIZED_TIME, OCTETS, SEQUENCE, time, value};

const ENUMERATED: u8 = 0x0a;
/// The first and the second optional part of a structure.
const FIRST: u8 = 0xa0;
/// The status of a certificate.
const GOOD: u8 = 0x80;
const REVOKED: u8 = 0xa1;

/// The verdict of an answer on its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: Status,
    /// The last second for which it counts, since 1970; `None` if it names none.
    pub(super) end_s: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Good,
    Revoked,
    Unknown,
}

/// Reads an answer; `None` if it is none, or says that the authority could not answer.
pub(super) fn answer(der: &[u8]) -> Option<Answer> {
    let (status, rest) = tagged(inside(der, SEQUENCE)?, ENUMERATED)?;
    if status != [0] {
        return None;
    }
    let bytes = inside(inside(rest, FIRST)?, SEQUENCE)?;
    // Behind the name of the one kind of answer that there is.
    let (_, _, bytes) = value(bytes)?;
    let data = inside(inside(inside(bytes, OCTETS)?, SEQUENCE)?, SEQUENCE)?;
    // The version and the name of the one who answers stand in front of the time of answering.
    let mut rest = data;
    while value(rest)?.0 != GENERALIZED_TIME {
        rest = value(rest)?.2;
    }
    let (_, rest) = tagged(rest, GENERALIZED_TIME)?;
    let single = inside(inside(rest, SEQUENCE)?, SEQUENCE)?;
    let (_, rest) = tagged(single, SEQUENCE)?;
    let (status, _, rest) = value(rest)?;
    let (_, rest) = tagged(rest, GENERALIZED_TIME)?;
    let end_s = match value(rest) {
        Some((FIRST, end, _)) => Some(time(GENERALIZED_TIME, inside(end, GENERALIZED_TIME)?)?),
        _ => None,
    };
    let status = match status {
        GOOD => Status::Good,
        REVOKED => Status::Revoked,
        _ => Status::Unknown,
    };
    Some(Answer { status, end_s })
}

/// Returns the bytes of a first value that has a tag, and what stands behind it.
fn tagged(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    value(bytes).filter(|(found, ..)| *found == tag).map(|(_, inside, behind)| (inside, behind))
}

fn inside(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    tagged(bytes, tag).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value in DER.
    fn der(tag: u8, inside: &[u8]) -> Vec<u8> {
        let len = inside.len();
        let len = if len < 128 {
            vec![u8::try_from(len).unwrap()]
        } else {
            let len = u16::try_from(len).unwrap().to_be_bytes();
            vec![0x82, len[0], len[1]]
        };
        [&[tag][..], &len, inside].concat()
    }

    fn made(result: u8, status: u8, end: Option<&[u8]>) -> Vec<u8> {
        let end = end.map(|end| der(FIRST, &der(GENERALIZED_TIME, end))).unwrap_or_default();
        let this = der(GENERALIZED_TIME, b"20240101000000Z");
        let single = [der(SEQUENCE, &[5; 70]), der(status, b""), this.clone(), end].concat();
        let responder = der(0xa2, &der(OCTETS, &[7; 20]));
        let data = [responder, this, der(SEQUENCE, &der(SEQUENCE, &single))].concat();
        let basic = [der(SEQUENCE, &data), der(SEQUENCE, b""), der(3, &[0; 65])].concat();
        let kind = der(6, &[0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1]);
        let bytes = [kind, der(OCTETS, &der(SEQUENCE, &basic))].concat();
        let bytes = der(FIRST, &der(SEQUENCE, &bytes));
        der(SEQUENCE, &[der(ENUMERATED, &[result]), bytes].concat())
    }

    #[test]
    fn an_answer_says_until_when_it_counts() {
        let good = made(0, GOOD, Some(b"20240108000000Z"));
        let end_s = Some(1_704_672_000);
        assert_eq!(answer(&good), Some(Answer { status: Status::Good, end_s }));
        let forever = answer(&made(0, GOOD, None)).unwrap();
        assert_eq!(forever.end_s, None);
        let revoked = answer(&made(0, REVOKED, Some(b"20240108000000Z"))).unwrap();
        assert_eq!(revoked.status, Status::Revoked);
        assert_eq!(answer(&made(3, GOOD, None)), None, "try later");
        for len in 0..good.len() {
            assert_eq!(answer(&good[..len]), None, "cut behind {len}");
        }
    }
}
