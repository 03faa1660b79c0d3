//! The number that stands before a unit, exact to its last digit.

/// The most digits of a number, those of its fraction included.
const DIGITS_MAX: usize = 18;

/// The greatest exponent.
const EXPONENT_MAX: u32 = 18;

/// A number of zero or more, as typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Number {
    /// All digits, those of the fraction too.
    digits: u128,
    /// The number of them behind the point.
    decimals: u32,
    exponent: u32,
}

impl Number {
    /// Reads the number that `text` begins with, and returns what follows it without the spaces
    /// between.
    pub(crate) fn read(text: &str) -> Option<(Self, &str)> {
        let bytes = text.as_bytes();
        let (mut at, mut count) = (0, 0);
        let (mut digits, mut decimals) = (0_u128, 0);
        let mut is_fraction = false;
        while let Some(&byte) = bytes.get(at) {
            let follows = bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
            match byte {
                b'0'..=b'9' => {
                    count += 1;
                    digits = digits * 10 + u128::from(byte - b'0');
                    decimals += u32::from(is_fraction);
                }
                b'_' if count > 0 && follows && bytes[at - 1].is_ascii_digit() && !is_fraction => {}
                b'.' if count > 0 && follows && !is_fraction => is_fraction = true,
                _ => break,
            }
            if count > DIGITS_MAX {
                return None;
            }
            at += 1;
        }
        if count == 0 {
            return None;
        }
        let (exponent, rest) = exponent(&text[at..])?;
        Some((Self { digits, decimals, exponent }, rest.trim_start()))
    }

    /// So many times `units`, if that is a whole number. A product beyond all bounds is the
    /// greatest number.
    pub(crate) fn times(self, units: u64) -> Option<u128> {
        let all = self.digits.checked_mul(u128::from(units));
        let Some(all) = all.and_then(|all| all.checked_mul(10_u128.pow(self.exponent))) else {
            return Some(u128::MAX);
        };
        let parts = 10_u128.pow(self.decimals);
        all.is_multiple_of(parts).then(|| all / parts)
    }

    /// The nearest floating-point number.
    #[expect(clippy::cast_precision_loss, reason = "at most 18 digits; the nearest is meant")]
    pub(crate) fn value(self) -> f64 {
        // Python divides whole numbers exactly; here both fit their type, so the result is as near.
        format!("{}e{}", self.digits, i64::from(self.exponent) - i64::from(self.decimals))
            .parse()
            .unwrap_or(self.digits as f64)
    }
}

/// The exponent that `text` begins with, zero if none.
fn exponent(text: &str) -> Option<(u32, &str)> {
    let Some(behind) = text.strip_prefix(['e', 'E']) else { return Some((0, text)) };
    let end = behind.find(|char: char| !char.is_ascii_digit()).unwrap_or(behind.len());
    let (digits, rest) = behind.split_at(end);
    if digits.is_empty() {
        return Some((0, text));
    }
    let exponent = digits.parse().ok().filter(|exponent| *exponent <= EXPONENT_MAX)?;
    Some((exponent, rest))
}
