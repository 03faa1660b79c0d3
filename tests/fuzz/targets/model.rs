//! Operation lists on the pure state of a shard.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::model(data));
