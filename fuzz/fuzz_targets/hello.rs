//! Searches with the target `hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::raw::hello(data));
