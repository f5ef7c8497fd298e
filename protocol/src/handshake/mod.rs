//! The first words on a TLS connection, before any multiplexing (`spec/03-handshake.md`).
//!
//! The client sends one [`Hello`]; the server answers with one [`ServerReply`]. After a [`Welcome`] the next byte is yamux.

mod features;
mod hello;
mod peer_limits;
pub mod proof;
mod reject;
mod reply;
mod version;
mod welcome;

pub use features::{Features, UnknownCriticalFeatures};
pub use hello::Hello;
pub use peer_limits::PeerLimits;
pub use proof::{CERTIFICATE, EXPORTER_LABEL, login_message};
pub use reject::{Reject, RejectCode};
pub use reply::ServerReply;
pub use version::{ALPN, VERSION, VersionMismatch, VersionRange, negotiate};
pub use welcome::Welcome;
