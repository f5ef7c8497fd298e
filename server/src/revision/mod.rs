//! Revisions of the configuration (DESIGN 6, "Configuration"): the state directory is the truth, a file is an input.
//!
//! ```text
//! file, SIGHUP ─▶ watch ─┐                            ┌─▶ store: texts, index (fsync)
//! admin socket ─▶ desk ──┴▶ authority: read → prove → ┤
//! clock, watch window ─────▶  (one task)              └─▶ what runs: switch
//! ```
//!
//! What can be decided without looking at anything is in `policy::revision`.

pub mod api;
mod authority;
mod board;
mod desk;
mod diff;
mod disk;
mod file;
mod reader;
mod refusal;
mod resolve;
mod runs;
mod start;
mod store;

#[cfg(test)]
mod tests;

pub(crate) use authority::Authority;
pub(crate) use board::Board;
pub(crate) use desk::{Apply, Desk, desk};
pub(crate) use diff::difference;
pub(crate) use disk::Disk;
pub(crate) use reader::Reader;
pub(crate) use refusal::Refusal;
pub(crate) use resolve::{names, unresolved};
pub(crate) use runs::{NotProven, Runs, Wishes};
pub(crate) use start::{Start, StartError};
pub(crate) use store::Store;
