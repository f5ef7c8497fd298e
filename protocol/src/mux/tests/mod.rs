//! The whole multiplexer: two ends on a virtual link, or one end and a hostile peer that speaks raw frames.

mod ends;
mod pair;
mod raw;
mod wire;
