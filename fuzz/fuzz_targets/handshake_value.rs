//! Searches with the target `handshake_value`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::structured::handshake(data));
