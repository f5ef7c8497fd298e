//! Targets for the multiplexer: single frames, a hostile peer, two ends against a model, and one end against the `yamux`
//! crate.
//!
//! What all of them share: every byte of the engine goes past a [`wire::Wire`], which knows the format from the published
//! spec and nothing of the engine, and every byte of a substream comes out of a [`crate::way::Way`], so that any byte out of
//! place is seen.

mod against_crate;
mod couple;
mod crate_end;
mod end;
mod frame;
mod frames;
mod operations;
mod pair;
mod raw;
mod side;
mod theirs;
mod wire;

pub use against_crate::against_crate;
pub use frame::frame;
pub use operations::operations;
pub use raw::raw;
