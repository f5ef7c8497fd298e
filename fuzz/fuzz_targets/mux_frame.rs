//! Searches with the target `mux_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::mux::frame(data));
