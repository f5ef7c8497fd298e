//! The bodies of the fuzz targets, as plain functions: libFuzzer searches with them (`make fuzz`), and a test replays the
//! committed corpus through them on every toolchain.
//!
//! [`raw`] targets take bytes as a peer would send them: a decoder refuses or accepts, and what it accepts it writes as
//! the same bytes. [`structured`] targets take values: what is encoded is decoded to the same value. [`mux`] targets run
//! whole sessions: against anything, against a model, and against another implementation. [`relay()`] has real sockets.
//! [`http`] is the guard before the requests of visitors.

pub mod http;
pub mod mux;
pub mod raw;
mod relay;
mod size;
pub mod structured;
mod way;

pub use relay::relay;

/// A target: takes whatever the fuzzer has.
pub type Target = fn(&[u8]);

/// Every target, by the name of its binary and of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("control", raw::control),
    ("frame", raw::frame),
    ("hello", raw::hello),
    ("join_string", raw::join_string),
    ("messages", raw::messages),
    ("pieces", raw::pieces),
    ("server_reply", raw::server_reply),
    ("service_name", raw::service_name),
    ("substream_head", raw::substream_head),
    ("control_value", structured::control),
    ("handshake_value", structured::handshake),
    ("message_values", structured::messages),
    ("name_value", structured::names),
    ("substream_head_value", structured::substream_head),
    ("mux_frame", mux::frame),
    ("mux_raw", mux::raw),
    ("mux_operations", mux::operations),
    ("mux_against_crate", mux::against_crate),
    ("relay", relay),
    ("http_requests", http::raw),
    ("http_requests_value", http::values),
];
