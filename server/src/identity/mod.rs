//! Who is who: the server's key, and the principals with their credentials.

mod book;
mod certified;
mod credentials;
mod default_principal;
mod join_file;
mod keys;
mod means;
mod principals;
mod revocations;
mod seen;
mod server_key;
mod state_key;
mod store;
mod written;

pub use book::{Book, BookError};
pub use certified::{Certified, Fingerprint, FingerprintError, Issued, UnnamedError};
pub use credentials::{Admit, Credential, Refusal};
pub use default_principal::{DEFAULT, is_default};
pub use join_file::{DefaultError, JoinMaker, path as join_path};
pub use means::{Means, Which};
pub use principals::{GrantError, Granted, NewGrants};
pub use server_key::{NEAR, NewCertificate, ServerKey};
pub use state_key::StateKey;
pub use store::{Change, Proved, Revocation, Store};
pub use written::Written;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use ops::state_dir::StateDirError;

/// Why the server has no identity. Each says which file, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The state directory does not give or take a file.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// A key file has another length.
    #[error("{} must hold {length} bytes; restore it, or remove it and all random names change", .file.display())]
    NotAKey {
        /// The file.
        file: PathBuf,
        /// Its right length.
        length: usize,
    },
    /// A certificate without its key.
    #[error("{} is there but {} is not: restore the key, or remove both and invite all clients anew",
        .certificate.display(), .key.display())]
    KeyMissing {
        /// The file that is missing.
        key: PathBuf,
        /// The file that is there.
        certificate: PathBuf,
    },
    /// A certificate that can not be used with its key.
    #[error("{} can not be used: {reason}; restore it, or remove it and a new one is made for the same key", .file.display())]
    Certificate {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The key that clients know the server by can not be used.
    #[error("{} is damaged: {reason}; restore it from a backup; without one, remove it and {} and invite all clients anew",
        .file.display(), .certificate.display())]
    ServerKey {
        /// The file.
        file: PathBuf,
        /// The certificate that goes with it.
        certificate: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file with the join string of `default` holds none, or an old one.
    #[error("{} is damaged: {reason}; restore it, or remove it: `default` gets a new secret then, and who uses the old one \
        has to join anew", .file.display())]
    Join {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The library made no key or certificate.
    #[error("no certificate can be made: {0}")]
    Generate(rcgen::Error),
    /// The book of principals is damaged.
    #[error("{} is damaged: {reason}; restore it from a backup; without one, remove it and invite all clients anew", .file.display())]
    Book {
        /// The file.
        file: PathBuf,
        /// Where and how.
        reason: String,
    },
    /// A random id that is none; a defect of ours.
    #[error(transparent)]
    CredentialId(protocol::id::IdError),
    /// A login key can not be used.
    #[error(transparent)]
    Key(#[from] transport::login_key::KeyError),
}

/// Seconds since 1970, as everything in the state directory tells the time.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
