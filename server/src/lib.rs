//! The server of the tunnel: clients log in here, visitors come here, and what they ask for is carried to a client.
//!
//! | module | what it is | DESIGN |
//! |---|---|---|
//! | [`app`] | how everything is put together: read this first | 3 |
//! | [`cli`], [`settings`] | commands and flags | INTERFACE |
//! | [`identity`] | the server's key, principals, credentials, join strings | 4.2, 6 |
//! | [`admission`] | from a connection to a login | 4.2, 6 |
//! | [`registry`] | sessions, and who holds which name | 6 |
//! | [`session`] | the task of one session and its control substream | 4.4 |
//! | [`admin`] | what commands ask of the running server | INTERFACE |

pub mod admin;
pub mod admission;
mod announce;
pub mod app;
pub mod cli;
#[cfg(test)]
mod fakes;
pub mod identity;
mod listeners;
mod pages;
pub mod registry;
pub mod session;
pub mod settings;
mod shutdown;
mod upkeep;
mod visitors;
