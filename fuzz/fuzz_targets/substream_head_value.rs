//! Searches with the target `substream_head_value`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::structured::substream_head(data));
