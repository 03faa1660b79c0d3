//! The PROXY protocol before a request, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::proxy(data));
