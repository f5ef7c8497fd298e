//! Searches with the target `message_values`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::structured::messages(data));
