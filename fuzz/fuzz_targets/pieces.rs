//! Searches with the target `pieces`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::raw::pieces(data));
