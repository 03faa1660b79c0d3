//! A file of settings with rules of channels.
#![no_main]
#![allow(dead_code, unreachable_pub, reason = "parts of the server, whose rest is not here")]

// Within a module of that path, so that the files beside `config.rs` are found where they lie.
#[path = "../../../src"]
mod server {
    pub(crate) mod config;
    pub(crate) mod exit;
}

use server::{config, exit};

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::fuzz::rules(data));
