//! What the integration tests, the demo and the end-to-end bench share: the two real programs as child
//! processes, small real services for them to reach, visitors to reach them, and a link between the
//! programs that can freeze and break.
//!
//! Nothing in here is a product path: a helper that fails says so by panicking in the test that called it,
//! and its tasks live in `JoinSet`s that end with their owner.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture that fails must fail the test that stands on it, at once and with a message"
)]

pub mod authority;
pub mod browser;
pub mod disk;
pub mod fixture;
pub mod fleet;
pub mod frames;
pub mod http2;
pub mod leak;
pub mod link;
pub mod load;
pub mod netns;
pub mod nginx;
pub mod pattern;
pub mod peer;
pub mod place;
pub mod program;
pub mod tls;
pub mod tunnelc;
pub mod tunneld;
pub mod visitor;
pub mod wait;
pub mod wire;
