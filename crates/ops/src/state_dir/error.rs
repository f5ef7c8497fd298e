//! What can be wrong with the state directory. Every error names the path.

use std::io;
use std::path::PathBuf;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Nothing says where it is.
    #[error(
        "no place for the state: neither --state, $STATE_DIRECTORY, $XDG_STATE_HOME nor $HOME is set; use --state DIR"
    )]
    Nowhere,
    /// The directory cannot be made.
    #[error("cannot make the state directory {} (from {origin}): {error}{}; use --state DIR for another", .path.display(), hint(.error))]
    Create {
        /// The directory.
        path: PathBuf,
        /// What decided on it.
        origin: &'static str,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {error}{}", .path.display(), hint(.error))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// A file cannot be written or removed; its old content stays.
    #[error("cannot write {}: {error}{}", .path.display(), hint(.error))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
    /// The process is about to end, and another one has taken the directory over.
    #[error("this process is being upgraded: nothing is changed before that is done; try again in a moment")]
    HandedOver,
    /// A fault of the caller: not the name of a file in the directory.
    #[error("{name:?} is not a plain file name")]
    BadName {
        /// The name.
        name: String,
    },
}

/// What an operator can do about what the system said.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room there",
        io::ErrorKind::ReadOnlyFilesystem => "; it must be writable: mount it so",
        io::ErrorKind::PermissionDenied => "; it must belong to the user that this program runs as",
        _ => "",
    }
}
