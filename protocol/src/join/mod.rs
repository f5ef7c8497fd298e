//! The join string: where a server is, whom to trust and what to log in with, in one line
//! (`spec/01-transport-and-tls.md`).

mod error;
mod host_port;
mod join_string;
mod pin;
mod secret;

pub use error::JoinError;
pub use host_port::{HostPort, HostPortError};
pub use join_string::JoinString;
pub use pin::{Pin, PinError};
pub use secret::{Secret32, SecretError};
