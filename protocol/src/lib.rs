//! What is on the wire: bytes in, values out. No sockets, no clock, no tasks.
//!
//! The text in `spec/` is the contract; this crate is one implementation of it. Every message is a [`frame`]: a type, a
//! length and a payload. Decoders check lengths before they allocate, reject trailing bytes and name what was wrong
//! ([`codec::DecodeError`]); encoders return an error instead of truncating ([`codec::EncodeError`]).
//!
//! | module | spec chapter | where on the wire |
//! |---|---|---|
//! | [`frame`], [`codec`] | 02 | everywhere |
//! | [`handshake`] | 03 | directly on TLS, once |
//! | [`control`] | 05 | the first substream of the client |
//! | [`request`] | 06 | the first frames of every other substream |
//! | [`exchange`] | 07 | the rest of an HTTP substream |
//! | [`mux`] | 04 | below all substreams: yamux |
//! | [`join`] | 01 | never: how a client is told where to go and whom to trust |
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::arithmetic_side_effects)
)]

#[cfg(any(test, feature = "arbitrary"))]
mod arbitrary;
pub mod code;
pub mod codec;
pub mod control;
pub mod exchange;
pub mod frame;
pub mod handshake;
pub mod id;
pub mod join;
pub mod limits;
pub mod mux;
pub mod request;
#[cfg(test)]
mod round_trip;
pub mod service_name;
pub mod text;
