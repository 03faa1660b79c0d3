//! What one process of a take-over says to the other: frames of their link, and histories.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "parts of the server, whose rest is not here")]

#[path = "../../../src/control"]
mod control {
    pub(crate) mod word;
}
#[path = "../../../src/exit.rs"]
mod exit;
#[path = "../../../src/takeover"]
mod takeover {
    pub(crate) mod frames;
    pub(crate) mod fuzz;
    pub(crate) mod input;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| takeover::fuzz::takeover(data));
