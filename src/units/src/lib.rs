//! Times, sizes, rates, counts, shares, thresholds and server addresses as people type them: one
//! grammar for the server, the load tool and, by the vectors of `vectors.json`, the planner.
//!
//! A number is digits, with `_` between them where they are many, a fraction and an exponent:
//! `1_000`, `1.5`, `1e6`. A unit follows it, with or without a space. A time without a unit is in
//! seconds.
#![forbid(unsafe_code)]

mod number;
pub mod time;
pub mod quantity;
pub mod threshold;
pub mod url;
#[cfg(test)]
mod vectors;

pub use quantity::{count, rate, share, size};
pub use time::time;
pub use url::Url;
