//! Commands of Centrifugo's protocol in Protobuf.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stentor_shards::fuzz::protobuf(data));
