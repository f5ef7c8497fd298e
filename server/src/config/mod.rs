//! `tunneld.toml` (INTERFACE; `docs/tunneld.toml.md` lists every key): read in one go, with everything that is wrong
//! reported at once.

mod certificate;
mod document;
mod group;
mod limits;
mod listen;
mod names;
mod passthrough;
mod plugin;
mod principal;
mod routing;
mod rule;
mod service;
mod target;
mod tcp;
mod timeouts;

#[cfg(test)]
mod tests;

pub use certificate::CertificateFiles;
pub use document::{Document, interpret, load};
pub use group::Group;
pub use listen::{AdminListener, Auth, Clients, Listener, Listeners};
pub use ops::config::ConfigError;
pub use passthrough::Passthrough;
pub use principal::Granting;
pub use routing::routing;
pub use tcp::{RelayListen, Relayed, TcpEntrance};
pub use timeouts::Timeouts;

#[cfg(test)]
pub(crate) use document::document;
