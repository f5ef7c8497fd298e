//! Searches with the target `service_name`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::raw::service_name(data));
