//! Searches with the target `server_reply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::raw::server_reply(data));
