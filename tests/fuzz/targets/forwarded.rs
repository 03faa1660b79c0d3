//! What proxies write down of whom they speak for.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::forwarded(data));
