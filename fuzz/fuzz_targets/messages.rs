//! Searches with the target `messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::raw::messages(data));
