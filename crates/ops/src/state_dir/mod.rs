//! The state directory (INTERFACE, "Where things are"): where it is, who may use it, and files in
//! it that are either old or new, never half.
//!
//! Everything here blocks for as long as the disk does; the files are small.

mod atomic;
mod error;
mod journal;
mod lock;
mod resolve;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

pub use error::StateDirError;
pub use journal::Journal;
pub use lock::{LockError, Locked};
pub use resolve::Program;

const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

/// The state directory of one program. It need not exist yet.
#[derive(Debug, Clone)]
pub struct StateDir {
    path: PathBuf,
    origin: &'static str,
    /// Held by those who write.
    handed_over: Arc<RwLock<bool>>,
}

impl StateDir {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What decided where it is: `--state`, `$STATE_DIRECTORY`, `/var/lib/tunnel`,
    /// `$XDG_STATE_HOME` or `~/.local/state`.
    pub fn origin(&self) -> &'static str {
        self.origin
    }

    /// The path of a file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A folder in it, which need not exist yet either.
    ///
    /// # Errors
    /// `name` is not a plain file name.
    pub fn folder(&self, name: &str) -> Result<Self, StateDirError> {
        Ok(Self { path: self.plain(name)?, ..self.clone() })
    }

    /// Makes it, and what is missing above it, with mode 0700. One that exists keeps its mode: it
    /// may be shared on purpose, and the files in it are 0600.
    ///
    /// # Errors
    /// It cannot be made, or something else is at its place.
    pub fn create(&self) -> Result<(), StateDirError> {
        DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(&self.path)
            .map_err(|error| StateDirError::Create { path: self.path.clone(), origin: self.origin, error })?;
        let others_write = fs::metadata(&self.path).is_ok_and(|it| it.permissions().mode() & 0o002 != 0);
        if others_write {
            let path = self.path.display();
            tracing::warn!("the state directory {path} is writable by everybody; run: chmod go-w {path}");
        }
        Ok(())
    }

    /// Takes the state directory for this process, until the guard is dropped or the process ends.
    ///
    /// # Errors
    /// Another process holds it ([`LockError::Busy`]; the caller decides what that means), or the
    /// lock file cannot be opened.
    pub fn lock(&self) -> Result<Locked, LockError> {
        lock::take(self.file("lock"))
    }

    /// Takes the state directory over from the process that had it and has passed on its open lock file.
    ///
    /// # Errors
    /// It is the lock of another state directory, or cannot be looked at.
    pub fn take_over(&self, lock: OwnedFd) -> Result<Locked, LockError> {
        Locked::passed(lock, self.file("lock"))
    }

    /// From now on another process writes here: nothing is written any more by this one, through no clone of this. What
    /// is being written is waited for; false, and nothing has changed, if that takes longer than `limit`.
    pub fn hand_over(&self, limit: Duration) -> bool {
        match self.handed_over.try_write_for(limit) {
            Some(mut handed_over) => {
                *handed_over = true;
                true
            }
            None => false,
        }
    }

    /// Nobody else writes here after all.
    pub fn take_back(&self) {
        *self.handed_over.write() = false;
    }

    /// Removes what processes that have died meanwhile were writing. Only for who knows that no other one writes here; what is
    /// being written through clones of this is waited for.
    pub fn tidy(&self) {
        let _writers = self.handed_over.write();
        atomic::tidy(&self.path);
    }

    /// Whether another process writes here.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        *self.handed_over.read()
    }

    /// The content of the file `name`, or `None` if there is no such file.
    ///
    /// # Errors
    /// It is there and cannot be read, or `name` is not a plain file name.
    pub fn read_optional(&self, name: &str) -> Result<Option<Vec<u8>>, StateDirError> {
        let path = self.plain(name)?;
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateDirError::Read { path, error }),
        }
    }

    /// Puts `bytes` into the file `name`, with mode 0600. After a crash at any point the file has
    /// its old content or the new one; when this returns, the new one is on the disk.
    ///
    /// # Errors
    /// It cannot be written (the old content stays), or `name` is not a plain file name.
    pub fn write_atomic(&self, name: &str, bytes: &[u8]) -> Result<(), StateDirError> {
        let path = self.plain(name)?;
        let handed_over = self.handed_over.read();
        if *handed_over {
            return Err(StateDirError::HandedOver);
        }
        atomic::write(&self.path, name, bytes).map_err(|error| StateDirError::Write { path, error })
    }

    /// Removes the file `name`, if it is there, and waits until the disk knows.
    ///
    /// # Errors
    /// It is there and cannot be removed, or `name` is not a plain file name.
    pub fn remove(&self, name: &str) -> Result<(), StateDirError> {
        let path = self.plain(name)?;
        let handed_over = self.handed_over.read();
        if *handed_over {
            return Err(StateDirError::HandedOver);
        }
        match fs::remove_file(&path).and_then(|()| atomic::sync_directory(&self.path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StateDirError::Write { path, error })
            }
            _ => Ok(()),
        }
    }

    /// Names from a peer or a command must not lead out of the directory.
    fn plain(&self, name: &str) -> Result<PathBuf, StateDirError> {
        let mut components = Path::new(name).components();
        match (components.next(), components.next()) {
            (Some(Component::Normal(only)), None) if only == name => Ok(self.file(name)),
            _ => Err(StateDirError::BadName { name: name.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests;
