//! `tunnelc.toml` (INTERFACE): read in one go, with everything that is wrong reported at once.

mod expand;
mod file;
mod problem;
mod report;
mod section;
mod tunnel;

pub use file::{ConfigError, FileConfig, load};
