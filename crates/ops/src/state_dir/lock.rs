//! One process per state directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use super::FILE_MODE;
use super::error::hint;

/// The state directory is ours while this lives. The kernel releases it when the process ends,
/// however it ends, so there are no stale locks; the file itself stays.
#[derive(Debug)]
pub struct Locked(#[expect(dead_code, reason = "the lock is held by the open file")] File);

/// Why the state directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another process uses this state directory ({} is locked); use --state DIR for another", .path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The lock file cannot be opened or locked.
    #[error("cannot lock {}: {error}{}", .path.display(), hint(.error))]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

pub(super) fn take(path: PathBuf) -> Result<Locked, LockError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
    let file = match opened {
        Ok(file) => file,
        Err(error) => return Err(LockError::Io { path, error }),
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Locked(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Busy { path }),
        Err(errno) => Err(LockError::Io { path, error: errno.into() }),
    }
}
