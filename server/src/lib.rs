//! The server of the tunnel: clients log in here, visitors come here, and what they ask for is carried to a client.
//!
//! | module | what it is | DESIGN |
//! |---|---|---|
//! | [`app`] | how everything is put together: read this first | 3 |
//! | [`cli`], [`settings`], [`config`] | commands, flags and the file | INTERFACE |
//! | [`live`] | the configuration in use, and how another one takes its place | 6 |
//! | [`revision`] | which configuration is in force, and which were | 6 |
//! | [`certificates`] | what visitors over TLS are shown | 8 |
//! | [`identity`] | the server's key, principals, credentials, join strings | 4.2, 6 |
//! | [`admission`] | from a connection to a login | 4.2, 6 |
//! | [`registry`] | sessions, and who holds which name | 6 |
//! | [`session`] | the task of one session and its control substream | 4.4 |
//! | [`nearby`] | services next to the server | 6, "The other direction" |
//! | `upgrade` | another process of the program takes over | 6, "Drain and upgrade" |
//! | [`admin`] | what commands ask of the running server | INTERFACE |

pub mod admin;
pub mod admission;
mod announce;
pub mod app;
pub mod certificates;
pub mod cli;
pub mod config;
mod doctor;
mod entrances;
#[cfg(test)]
mod fakes;
pub mod identity;
mod listeners;
pub mod live;
pub mod nearby;
mod pages;
pub mod registry;
pub mod revision;
pub mod session;
pub mod settings;
mod shutdown;
mod upgrade;
mod upkeep;
mod visitors;

/// Runs `tunneld` with the arguments of this process. A program of its own that links further kinds of plugins calls it
/// with those (`examples/plugin-agents` is one).
pub fn main_with(kinds: &proxy::plugin::Kinds) -> std::process::ExitCode {
    cli::main(std::env::args_os(), kinds).report()
}
