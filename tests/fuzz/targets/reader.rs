//! What a server may send to the load generator, in any pieces.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "parts of the generator, whose rest is not here")]

#[path = "../../../bench/src/frame.rs"]
mod frame;
#[path = "../../../bench/src/fuzz.rs"]
mod fuzz;

#[path = "../../../bench/src/load"]
mod load {
    pub(crate) mod stamp;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::reader(data));
