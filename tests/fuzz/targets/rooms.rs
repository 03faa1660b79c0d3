//! Operation lists on a whole server, against one plain table.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::rooms(data));
