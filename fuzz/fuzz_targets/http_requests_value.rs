//! Searches with the target `http_requests_value`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::http::values(data));
