//! Messages of clients of Pusher's protocol, and what is written for them.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::pusher(data));
