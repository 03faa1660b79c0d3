//! A file of settings with rules of channels.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "parts of the server, whose rest is not here")]

#[path = "../../../src/config.rs"]
mod config;
#[path = "../../../src/exit.rs"]
mod exit;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::fuzz::rules(data));
