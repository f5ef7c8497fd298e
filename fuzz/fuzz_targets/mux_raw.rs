//! Searches with the target `mux_raw`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::mux::raw(data));
