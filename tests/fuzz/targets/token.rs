//! Tokens, their headers and claims, key sets and keys in PEM.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_auth::fuzz::token(data));
