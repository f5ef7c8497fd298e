//! The end-to-end bench: loads over the real programs, and what they cost.
#![expect(
    clippy::unwrap_used,
    reason = "a load that fails is no measurement: it ends the bench, at once and with a message"
)]

pub mod bulk;
pub mod meter;
pub mod requests;
pub mod welch;
