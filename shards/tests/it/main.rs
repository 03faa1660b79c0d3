//! What no unit can show: facts of the runtime that the shards stand on, and the shape of the code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod layers;
#[allow(unsafe_code, reason = "it holds the runtime to what `rt` takes from it")]
mod runtime_facts;
mod tidy;
