//! Requests for streams, and those that speak for their clients.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::stream(data));
