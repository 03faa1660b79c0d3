//! Thresholds: `delivery.p99<20ms`, `deliveries_per_s>100k`, `lost==0`.

use crate::quantity::amount;
use crate::time;

/// Operators, the longer of two that begin alike first.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<", Operator::Less),
    (">", Operator::More),
];

/// The comparison of a figure with its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    More,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
}

impl Operator {
    /// As typed.
    pub fn sign(self) -> &'static str {
        OPERATORS.iter().find(|(_, operator)| *operator == self).map_or("", |(sign, _)| sign)
    }

    /// Returns `true` if `found` is on the right side of `bound`.
    #[expect(clippy::float_cmp, reason = "equality is meant for counts, which are whole")]
    pub fn holds(self, found: f64, bound: f64) -> bool {
        match self {
            Self::Less => found < bound,
            Self::AtMost => found <= bound,
            Self::More => found > bound,
            Self::AtLeast => found >= bound,
            Self::Equal => found == bound,
            Self::Unequal => found != bound,
        }
    }
}

/// The kind of a figure, which decides how its bound is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nanoseconds.
    Time,
    /// Things, which may be a mean and so not whole.
    Count,
    /// Things a second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Bytes a second.
    BytesPerSecond,
    /// A part of one, or so many times another.
    Share,
}

impl Kind {
    fn takes(self) -> &'static str {
        match self {
            Self::Time => "a time such as 20ms",
            Self::Count => "a number, or one and k or M",
            Self::PerSecond => "a rate such as 10k/s",
            Self::Bytes => "a size such as 64KiB",
            Self::BytesPerSecond => "a size a second such as 10MB/s",
            Self::Share => "a number, or one and %",
        }
    }

    /// The value in the figure's own unit, and the size of the typed unit in it.
    #[expect(clippy::cast_precision_loss, reason = "times are at most 30 days")]
    fn read(self, text: &str) -> Option<(f64, f64)> {
        match self {
            Self::Time => {
                let (time, unit_ns) = time::read(text).ok()?;
                Some((time.as_nanos() as f64, unit_ns as f64))
            }
            Self::Count => amount::count(text),
            Self::PerSecond => amount::count_per_second(text),
            Self::Bytes => amount::size(text),
            Self::BytesPerSecond => amount::size_per_second(text),
            Self::Share => amount::share(text),
        }
    }
}

/// The bound that a figure is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bound {
    /// In the figure's own unit: nanoseconds, things, bytes, a part of one.
    pub value: f64,
    /// The size of the typed unit in the figure's own.
    pub scale: f64,
}

/// The name of the figure, the operator and the text of the bound.
///
/// # Errors
/// One line: there is no operator.
pub fn split(text: &str) -> Result<(&str, Operator, &str), String> {
    let parts = || {
        let (name, rest) = text.split_at(text.find(['<', '>', '=', '!'])?);
        let (bound, operator) = OPERATORS
            .into_iter()
            .find_map(|(sign, operator)| Some((rest.strip_prefix(sign)?, operator)))?;
        Some((name.trim(), operator, bound.trim()))
    };
    parts().ok_or_else(|| {
        "a figure, one of < <= > >= == != and a bound, as in delivery.p99<20ms".to_owned()
    })
}

/// Reads the bound of the figure that is called `name`.
///
/// # Errors
/// One line: the bound is none of this kind.
pub fn bound(name: &str, kind: Kind, text: &str) -> Result<Bound, String> {
    let (value, scale) = kind
        .read(text)
        .ok_or_else(|| format!("{text:?} is no bound for {name}, which takes {}", kind.takes()))?;
    Ok(Bound { value, scale })
}
