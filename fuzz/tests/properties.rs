//! The multiplexer against its models, and the guard before visitors, with scripts that are new in every run: a short search on any toolchain. What fails
//! is made small and printed.

use proptest::collection::vec;
use proptest::prelude::*;

const CASES: u32 = 1000;
/// Three bytes are one operation.
const SCRIPT_MAX: usize = 1200;

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn two_ends_agree_with_the_model(script in vec(any::<u8>(), 0..SCRIPT_MAX)) {
        fuzz::mux::operations(&script);
    }

    #[test]
    fn one_end_agrees_with_another_implementation(script in vec(any::<u8>(), 0..SCRIPT_MAX)) {
        fuzz::mux::against_crate(&script);
    }

    #[test]
    fn no_bytes_of_a_peer_break_a_bound(bytes in vec(any::<u8>(), 0..SCRIPT_MAX)) {
        fuzz::mux::raw(&bytes);
    }

    #[test]
    fn a_relay_passes_on_what_both_ends_do(script in vec(any::<u8>(), 0..40)) {
        fuzz::relay(&script);
    }

    #[test]
    fn the_guard_takes_a_stream_however_it_is_cut(bytes in vec(any::<u8>(), 0..SCRIPT_MAX)) {
        fuzz::http::raw(&bytes);
    }

    #[test]
    fn the_guard_lets_whole_requests_pass(bytes in vec(any::<u8>(), 0..SCRIPT_MAX)) {
        fuzz::http::values(&bytes);
    }
}
