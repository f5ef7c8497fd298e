//! Revisions of the configuration (DESIGN 6, "Configuration"): which there are, what was seen of a file, what is to be kept,
//! whether one has to be undone.

mod author;
mod awaited;
mod digest;
mod history;
mod parts;
mod record;
mod undoing;
mod window;

#[cfg(test)]
mod tests;

pub use author::Author;
pub use awaited::Awaited;
pub use digest::{Digest, DigestError};
pub use history::{Entry, History, HistoryError, NoSuchRevision, REVISIONS_MAX, TEXTS_MAX};
pub use parts::{Change, PartChange, changes};
pub use record::{NOTE_MAX, Revision};
pub use undoing::{Again, Undo, Undoing};
pub use window::{Counts, Failing, Window};
