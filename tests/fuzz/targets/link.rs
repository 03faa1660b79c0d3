//! The messages of the two processes of a take-over, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::link(data));
