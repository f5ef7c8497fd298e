//! Sessions with other implementations of yamux (`interop`, `python_peer`), and against what went wrong in those
//! (`pitfalls`). The crate is `yamux` 0.14.1. Where it shows a fault at once and every time, a test called `the_crate_…`
//! says so: it proves that the one beside it could fail.
//!
//! | | what goes wrong elsewhere | that it does not here | that it does in the crate |
//! |---|---|---|---|
//! | Y1 | a substream above the limit ends the session | `opening::an_open_above_the_limit_is_refused_and_the_others_go_on`, `opening::a_substream_above_what_is_accepted_is_reset_alone` | `opening::the_crate_ends_the_session_for_an_open_above_its_own_limit`, `opening::the_crate_gives_the_session_up_for_a_substream_above_what_it_accepts` |
//! | Y2 | FIN, RST, death and GO_AWAY read alike | `endings::an_end_a_reset_and_a_death_read_differently_before_and_after_a_half_close`, `endings::a_farewell_because_of_an_error_is_a_death` | `endings::the_crate_reads_all_of_them_as_an_end` |
//! | Y3, #133 | half-close, then drop: the writer waits for ever | `endings::a_substream_that_was_ended_and_then_dropped_is_reset_at_who_still_writes`, `endings::the_writer_of_the_crate_is_not_left_waiting_for_a_reader_that_went` | `endings::the_crate_leaves_the_writer_waiting_for_a_reader_that_went` |
//! | Y4 | 256 opens without an answer block the next; a reset wakes nobody | `opening::substreams_are_opened_without_waiting_for_answers`, `opening::what_is_accepted_is_acknowledged_though_nobody_writes`, `opening::the_crate_opens_as_many_as_it_likes_though_our_services_are_silent`, `opening::the_room_that_a_reset_leaves_is_used_at_once` | `opening::the_crate_waits_for_answers_and_does_not_notice_resets` |
//! | Y5, #227 | an answer to a ping that waits stops all reading | `progress::a_link_that_is_full_one_way_is_read_the_other_way`, `progress::full_links_both_ways_block_nobody`, `progress::full_links_both_ways_with_the_crate_block_nobody` | `progress::the_crate_reads_no_more_while_its_answer_to_a_ping_waits`, `progress::two_of_the_crate_block_each_other_on_a_narrow_link` |
//! | Y6, #232 | one place for a waker, and two who wait | `progress::both_halves_of_a_substream_are_woken_each_for_its_own_reason`, `progress::everyone_who_waits_for_a_session_is_told_of_its_end` | `opening::the_crate_waits_for_answers_and_does_not_notice_resets` |
//! | Y7 | frames that carry next to nothing cost memory and time | `memory::one_byte_frames_are_gathered`, `memory::floods_of_frames_that_carry_nothing_end_the_session`, `memory::a_reader_that_stops_holds_one_window_and_stops_nobody_else`, `memory::a_byte_above_the_window_ends_the_session` | `memory::the_crate_keeps_each_of_them_in_a_buffer_of_its_own`, `memory::the_crate_takes_as_many_as_come` |
//! | Y8 | a protocol error only queues a GO_AWAY | `session::a_breach_closes_the_link_and_nothing_behind_it_counts` | `session::the_crate_says_that_it_gives_up_and_goes_on` |
//! | Y9 | a GO_AWAY cuts what is open | `endings::a_farewell_cuts_nothing_that_is_open`, `endings::what_was_written_before_a_close_of_the_session_arrives`, `python_peer::we_echo_what_it_sends_and_what_is_open_survives_its_go_away` | `endings::the_crate_cuts_everything_at_a_farewell` |
//! | Y10 | a flush reaches only a queue in the process | `endings::a_flush_waits_until_the_bytes_have_left` | `endings::the_crate_calls_flushed_what_never_left` |
//! | Y11 | a panic of the driver leaves the others waiting | `session::a_panic_in_one_session_ends_it_and_no_other`, `session::frames_for_substreams_that_are_no_more_change_nothing` | – |
//! | Y12 | each open looks at all that are open | `opening::substreams_are_opened_without_waiting_for_answers` | – |
//! | Y13 | short frames wait behind bulk | `progress::short_messages_and_pongs_go_ahead_of_bulk`, `progress::credit_goes_ahead_of_bulk` | `progress::the_crate_sends_credit_behind_the_bulk_of_the_same_stream` |
//! | Y14, #216 | a read hangs after the own close | `endings::who_waits_to_read_is_told_of_our_own_close` | `endings::the_crate_does_not_tell_who_waits_to_read_of_its_own_close` |
//! | Y15 | one substream takes all that windows may grow by | `windows::what_one_window_grows_by_leaves_the_others_theirs` | `windows::the_crate_lets_one_stream_take_all_there_is_to_grow_by` |
//! | #117 | a drop loses what was written | `endings::what_was_written_before_a_drop_arrives` | – |
//! | #185 | a SYN that waits for the first write: who is to speak first never does | `opening::the_peer_learns_of_a_substream_at_once_and_may_speak_first` | `opening::the_crate_keeps_a_new_stream_to_itself` |
//!
//! Without a test of the crate: a panic of its driver (Y11) and bytes lost by a drop (#117) can not be brought about every
//! time, the lost wake-up of split streams (#232) is mended in this version, and the cost of an open (Y12) is a matter of
//! time.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test says what it expects by unwrapping")]

mod crate_peer;
mod interop;
mod ours;
mod pitfalls;
mod python_peer;
mod raw;
