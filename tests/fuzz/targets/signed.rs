//! Signed requests of backends.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::signed(data));
