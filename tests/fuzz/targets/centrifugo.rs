//! Commands of Centrifugo's protocol, and what is written in it.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::centrifugo(data));
