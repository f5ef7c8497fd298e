//! The listening end.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use super::reachable::reachable;

/// A process that does not take a connection for so long is busy, not dead.
const PROBE: Duration = Duration::from_secs(1);

/// A bound admin socket. Dropping it removes the socket file, if it is still this one.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
    /// Whether it is this process's to remove.
    is_ours: bool,
    is_passed_on: Arc<AtomicBool>,
}

/// How the socket gets to the process that takes over.
#[derive(Debug)]
pub struct PassOn {
    listener: OwnedFd,
    is_passed_on: Arc<AtomicBool>,
}

impl PassOn {
    /// The descriptor to pass on.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The other process has it: the file stays when this one ends.
    pub fn done(&self) {
        self.is_passed_on.store(true, Ordering::Relaxed);
    }
}

/// Why the admin socket is not ours.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A running process answers there.
    #[error("another process answers at {}", .path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket is there; it is left alone.
    #[error("{} is in the way: it is not a socket; remove it", .path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be made.
    #[error("cannot listen at {}: {error}", .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl AdminSocket {
    /// Listens at `path`, with mode 0600. A socket that a dead process left behind is replaced.
    ///
    /// # Errors
    /// See [`BindError`].
    pub async fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |error| BindError::Io { path: path.to_owned(), error };
        let (address, _directory) = reachable(path).map_err(failed)?;
        let listener = match UnixListener::bind(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                // A connection to a file that is no socket is refused as well.
                if !fs::symlink_metadata(path).map_err(failed)?.file_type().is_socket() {
                    return Err(BindError::NotASocket { path: path.to_owned() });
                }
                if !is_stale(&address).await {
                    return Err(BindError::InUse { path: path.to_owned() });
                }
                fs::remove_file(path).map_err(failed)?;
                UnixListener::bind(&address)
            }
            bound => bound,
        }
        .map_err(failed)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed)?;
        Self::at(path, listener, true).map_err(failed)
    }

    /// Listens at `path`, where the process that passed on this `listener` did. The file is that process's until this one
    /// serves: when nothing comes of this one, the other goes on there. To be called within a runtime.
    ///
    /// # Errors
    /// [`BindError::Io`].
    pub async fn take_over(path: &Path, listener: OwnedFd) -> Result<Self, BindError> {
        let take = || {
            let listener = std::os::unix::net::UnixListener::from(listener);
            listener.set_nonblocking(true)?;
            Self::at(path, UnixListener::from_std(listener)?, false)
        };
        take().map_err(|error| BindError::Io { path: path.to_owned(), error })
    }

    fn at(path: &Path, listener: UnixListener, is_ours: bool) -> io::Result<Self> {
        let identity = identity(path)?;
        Ok(Self { listener, path: path.to_owned(), identity, is_ours, is_passed_on: Arc::default() })
    }

    /// This process answers here from now on, and nobody before it.
    pub(super) fn own(&mut self) {
        self.is_ours = true;
    }

    /// For the process that takes over.
    ///
    /// # Errors
    /// The kernel's, for want of descriptors.
    pub fn pass_on(&self) -> io::Result<PassOn> {
        let listener = self.listener.as_fd().try_clone_to_owned()?;
        Ok(PassOn { listener, is_passed_on: self.is_passed_on.clone() })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A newer process may have put its own socket there, or have got this one; or an older one goes on with it.
        if self.is_ours
            && !self.is_passed_on.load(Ordering::Relaxed)
            && identity(&self.path).is_ok_and(|it| it == self.identity)
        {
            // One that stays is found stale by the next process.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Nobody listens. Anything but a refusal, such as missing permission, means that somebody may.
async fn is_stale(address: &Path) -> bool {
    let probed = timeout(PROBE, UnixStream::connect(address)).await;
    matches!(probed, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|it| (it.dev(), it.ino()))
}
