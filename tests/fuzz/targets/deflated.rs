//! Bytes of a client that may compress, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::deflated(data));
