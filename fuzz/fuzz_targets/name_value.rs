//! Searches with the target `name_value`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::structured::names(data));
