//! How long messages are: of one length, or of several, each with its share of all messages.

use serde::{Deserialize, Serialize};

use crate::random::Random;
use crate::units;

/// Shares are told apart to a millionth.
const WHOLE: u32 = 1_000_000;

/// More lengths than this are no mix that a reader understands.
const LENGTHS_MAX: usize = 64;

/// Lengths of messages, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Sizes {
    /// As typed.
    text: String,
    /// Each length, and its share in millionths.
    parts: Vec<(usize, u32)>,
}

impl Sizes {
    /// Reads `128`, or `64,1k:0.2,16k:5%`: lengths without a share have equal parts of the rest.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(',').collect();
        if words.len() > LENGTHS_MAX {
            return Err(format!("{} lengths, at most {LENGTHS_MAX} make a mix", words.len()));
        }
        let mut named = Vec::new();
        for word in words {
            let (length, share) = match word.split_once(':') {
                Some((length, share)) => (length, Some(millionths(units::share(share)?))),
                None => (word, None),
            };
            named.push((units::size(length)?, share));
        }
        let taken: u64 = named.iter().filter_map(|(_, share)| *share).map(u64::from).sum();
        let open = u32::try_from(named.iter().filter(|(_, share)| share.is_none()).count());
        let open = open.unwrap_or(u32::MAX);
        let left = u64::from(WHOLE).checked_sub(taken).and_then(|left| u32::try_from(left).ok());
        let each = match (left, open) {
            (Some(0), 0) => 0,
            (Some(left), 1..) if left >= open => left / open,
            _ => return Err(format!("the shares of {text:?} do not add up to 1")),
        };
        let parts = named.into_iter().map(|(length, share)| (length, share.unwrap_or(each)));
        Ok(Self { text: text.to_owned(), parts: parts.collect() })
    }

    /// The length of the next message.
    pub(crate) fn next(&self, random: &mut Random) -> usize {
        let [first, rest @ ..] = &self.parts[..] else { return 0 };
        if rest.is_empty() {
            return first.0;
        }
        let mut drawn = u32::try_from(random.below(WHOLE as usize)).unwrap_or(0);
        for (length, share) in rest {
            if drawn < *share {
                return *length;
            }
            drawn -= share;
        }
        // The remainder of the division goes to the first one.
        first.0
    }

    /// The least length and the greatest.
    pub(crate) fn bounds(&self) -> (usize, usize) {
        let lengths = || self.parts.iter().map(|(length, _)| *length);
        (lengths().min().unwrap_or(0), lengths().max().unwrap_or(0))
    }

    /// The mean length.
    pub(crate) fn mean(&self) -> u64 {
        let first = self.parts.first().map_or(0, |(length, _)| *length as u64);
        let more: i128 = self
            .parts
            .iter()
            .map(|(length, share)| (*length as i128 - i128::from(first)) * i128::from(*share))
            .sum();
        u64::try_from(i128::from(first) + more / i128::from(WHOLE)).unwrap_or(0)
    }

    /// As typed, where there are several.
    pub(crate) fn mix(&self) -> Option<String> {
        (self.parts.len() > 1).then(|| self.text.clone())
    }
}

fn millionths(share: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it saturates")]
    let millionths = (share * f64::from(WHOLE)).round() as u32;
    millionths
}

impl TryFrom<String> for Sizes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::read(&text)
    }
}

impl From<Sizes> for String {
    fn from(sizes: Sizes) -> Self {
        sizes.text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn lengths_come_with_their_shares() {
        let sizes = Sizes::read("64,1k:0.2,16KiB:5%").unwrap();
        assert_eq!(
            (sizes.bounds(), sizes.mix().as_deref()),
            ((64, 16_384), Some("64,1k:0.2,16KiB:5%"))
        );
        assert_eq!(sizes.mean(), 64 + (960 * 20 + 16_320 * 5) / 100);
        let mut random = Random(7);
        let mut seen = BTreeMap::new();
        for _ in 0..100_000 {
            *seen.entry(sizes.next(&mut random)).or_insert(0) += 1;
        }
        for (length, right) in [(64, 75_000), (1024, 20_000), (16_384, 5_000)] {
            let count: i32 = seen[&length];
            assert!((count - right).abs() < 1000, "{length}: {count}");
        }
    }

    #[test]
    fn one_length_is_no_mix() {
        let sizes = Sizes::read("128").unwrap();
        assert_eq!((sizes.next(&mut Random(1)), sizes.mean(), sizes.mix()), (128, 128, None));
    }

    #[test]
    fn equal_parts_of_the_rest() {
        let sizes = Sizes::read("100,200,300:0.5").unwrap();
        assert_eq!(sizes.parts, [(100, 250_000), (200, 250_000), (300, 500_000)]);
    }

    #[test]
    fn shares_that_do_not_add_up_are_refused() {
        for text in
            ["64:0.5", "64:0.5,128:0.6", "64,128:1", "64:0.5,128:0.5,1k", "", "64,,", "64:x"]
        {
            assert!(Sizes::read(text).is_err(), "{text}");
        }
    }
}
