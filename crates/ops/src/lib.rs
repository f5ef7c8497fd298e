//! What both programs need to run as a process: placement of tasks, metrics, logs, the state
//! directory, configuration files, the admin socket, the ops listener, signals and drain. Nothing here knows the wire.

pub mod admin;
pub mod called;
pub mod cli;
pub mod config;
pub mod descriptors;
pub mod doctor;
pub mod drain;
pub mod error_kind;
pub mod handover;
mod http_serve;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod ops_listener;
pub mod secret_file;
pub mod signals;
pub mod sockets;
pub mod spawn;
pub mod state_dir;
pub mod systemd;
pub mod watch;
