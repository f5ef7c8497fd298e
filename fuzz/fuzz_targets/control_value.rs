//! Searches with the target `control_value`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::structured::control(data));
