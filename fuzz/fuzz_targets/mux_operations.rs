//! Searches with the target `mux_operations`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::mux::operations(data));
