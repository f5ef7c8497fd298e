//! `tunnelc`: runs next to services that the world cannot reach and dials the server that it can (INTERFACE).
//!
//! A process is an [`instance`]: it has tunnels and slots. A [`supervisor`] per slot keeps one [`session`] up; what
//! happens becomes [`events`] for a view or the log. [`app`] wires it together.

pub mod app;
pub mod certificate;
mod cli;
pub mod config;
pub mod events;
pub mod forward;
pub mod groups;
pub mod identity;
pub mod instance;
pub mod join_source;
pub mod login;
pub mod sessions;
pub mod settings;
pub mod source;
pub mod trust;
pub mod tunnel;
pub mod tunnels;

mod admin;
mod course;
mod dial;
mod doctor;
mod forwards;
mod hints;
mod ingress;
mod operations;
mod own;
mod probe;
mod reload;
mod requests;
pub mod rotation;
mod session;
mod slots;
mod supervisor;
mod view;

use std::process::ExitCode;

use proxy::plugin::Kinds;

/// The name of the program.
pub const PROGRAM: &str = "tunnelc";
/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The program and its version, as it tells the server.
pub const AGENT: &str = concat!("tunnelc/", env!("CARGO_PKG_VERSION"));

/// Runs `tunnelc` with the arguments of this process. A program of its own that links further kinds of plugins calls it with
/// those.
pub fn main_with(kinds: &Kinds) -> ExitCode {
    cli::run(std::env::args_os(), kinds).report()
}
