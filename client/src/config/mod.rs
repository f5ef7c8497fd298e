//! `tunnelc.toml` (INTERFACE): read in one go, with everything that is wrong reported at once.

mod file;
mod forward;
mod plugin;
mod tunnel;

pub use file::{FileConfig, load};
pub use ops::config::ConfigError;
