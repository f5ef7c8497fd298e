//! Searches with the target `substream_head`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::raw::substream_head(data));
