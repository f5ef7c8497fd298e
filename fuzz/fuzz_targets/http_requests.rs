//! Searches with the target `http_requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::http::raw(data));
