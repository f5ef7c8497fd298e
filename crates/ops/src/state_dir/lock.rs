//! One process per state directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

use super::FILE_MODE;
use super::error::hint;

/// The state directory is ours while this lives. The kernel releases it when the process ends,
/// however it ends, so there are no stale locks; the file itself stays.
#[derive(Debug)]
pub struct Locked(File);

impl Locked {
    /// The lock that another process had, of the file at `path`; it has passed with the open file.
    pub(super) fn passed(file: OwnedFd, path: PathBuf) -> Result<Self, LockError> {
        let file = File::from(file);
        let same = || {
            let (ours, there) = (file.metadata()?, std::fs::metadata(&path)?);
            Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
        };
        match same() {
            Ok(true) => Ok(Self(file)),
            Ok(false) => Err(LockError::Elsewhere { path }),
            Err(error) => Err(LockError::Io { path, error }),
        }
    }
}

impl AsFd for Locked {
    /// Who has it as well has the lock as well.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Why the state directory is not ours.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("another process uses this state directory ({} is locked); use --state DIR for another", .path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// What was passed on is the lock of another state directory.
    #[error("the process before this one has another state directory than {}; start this one by itself", .path.display())]
    Elsewhere {
        /// The lock file of this one.
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
