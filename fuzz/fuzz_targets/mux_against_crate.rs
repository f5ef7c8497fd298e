//! Searches with the target `mux_against_crate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::mux::against_crate(data));
