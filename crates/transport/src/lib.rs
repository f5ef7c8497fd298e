//! The link between the two programs: TLS with pinning, the handshake, sessions and their substreams, and the relay of raw
//! bytes. This is the only crate that knows the multiplexer; above it a [`session::Session`] opens and accepts
//! [`session::Substream`]s.
//!
//! | module | what it is | spec |
//! |---|---|---|
//! | [`tls`] | TLS 1.3 configurations, trust by pin, CA or system roots | `spec/01` |
//! | [`login_key`] | Ed25519 keys of a login | `spec/03` |
//! | [`frames`] | frames over a byte stream, with a maximum and a deadline | `spec/02` |
//! | [`handshake`] | `Hello` and its answer, both ends | `spec/03` |
//! | [`session`] | yamux over TLS, driven by one task | `spec/04` |
//! | [`relay`] | copying both ways until both ends are done | `spec/06` |
//! | [`accept`], [`socket`] | accept loops that never exit; socket options | – |
//! | [`deadline`] | a moment that is cheap to move | – |

pub mod accept;
mod buffer_pool;
pub mod deadline;
pub mod digest;
pub mod frames;
pub mod handshake;
pub mod login_key;
pub mod relay;
pub mod session;
pub mod socket;
pub mod tls;
