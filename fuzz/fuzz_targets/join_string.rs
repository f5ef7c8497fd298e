//! Searches with the target `join_string`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::raw::join_string(data));
