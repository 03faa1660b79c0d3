//! The bytes of a connection that speaks TLS, in any pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::tls(data));
