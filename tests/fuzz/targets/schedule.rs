//! Any interleaving of whole shards and their clients.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::schedule(data));
