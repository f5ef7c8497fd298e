//! Which directory it is.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, access};
use rustix::process::geteuid;

use super::{StateDir, StateDirError};

const SYSTEM: &str = "/var/lib/tunnel";

/// Whose state it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The server: the directory itself.
    Tunneld,
    /// The client: `tunnelc/` below it, so that both programs may be given the same place.
    Tunnelc,
}

/// What the choice depends on beside flag and environment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings {
    /// `/var/lib/tunnel` is ours to use: we are root, or it exists and is writable.
    pub(super) system_is_ours: bool,
}

impl Surroundings {
    fn look() -> Self {
        let is_writable = || Path::new(SYSTEM).is_dir() && access(SYSTEM, Access::WRITE_OK).is_ok();
        Self { system_is_ours: geteuid().is_root() || is_writable() }
    }
}

impl StateDir {
    /// Finds it: `flag` (`--state`), else `$STATE_DIRECTORY` (the first, if systemd made several),
    /// else `/var/lib/tunnel` for root or if it is there and writable, else
    /// `$XDG_STATE_HOME/tunnel`, else `~/.local/state/tunnel`. `env` looks up a variable; an empty
    /// one counts as not set.
    ///
    /// # Errors
    /// [`StateDirError::Nowhere`]: nothing says where it is.
    pub fn resolve(
        program: Program,
        flag: Option<PathBuf>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, StateDirError> {
        Self::resolve_in(Surroundings::look(), program, flag, env)
    }

    pub(super) fn resolve_in(
        surroundings: Surroundings,
        program: Program,
        flag: Option<PathBuf>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, StateDirError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        // A relative path would depend on where the program was started (XDG says: ignore it).
        let absolute = |name: &str| env(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let (path, origin) = if let Some(path) = flag {
            (path, "--state")
        } else if let Some(list) = env("STATE_DIRECTORY") {
            (first_of(&list), "$STATE_DIRECTORY")
        } else if surroundings.system_is_ours {
            (PathBuf::from(SYSTEM), SYSTEM)
        } else if let Some(state_home) = absolute("XDG_STATE_HOME") {
            (state_home.join("tunnel"), "$XDG_STATE_HOME")
        } else if let Some(home) = absolute("HOME") {
            (home.join(".local/state/tunnel"), "~/.local/state")
        } else {
            return Err(StateDirError::Nowhere);
        };
        let path = match program {
            Program::Tunneld => path,
            Program::Tunnelc => path.join("tunnelc"),
        };
        Ok(Self { path, origin, handed_over: Arc::default() })
    }
}

/// systemd separates several directories by colons.
fn first_of(list: &OsStr) -> PathBuf {
    let first = list.as_bytes().split(|byte| *byte == b':').find(|part| !part.is_empty());
    PathBuf::from(first.map_or(list, OsStr::from_bytes))
}
