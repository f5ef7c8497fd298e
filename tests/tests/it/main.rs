//! Real `tunneld`, real `tunnelc`, real sockets: what the issue and the design promise, by area.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says what it expects by unwrapping")]

mod bad_input;
mod cli;
mod config;
mod drain;
mod ends;
mod floods;
mod hostile;
mod http;
mod https;
mod identity;
mod layering;
mod memory;
mod other_direction;
mod plugins;
mod quick_start;
mod repo;
mod run;
mod services;
mod sessions;
mod stage;
mod tcp;
mod websocket;
