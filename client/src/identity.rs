//! Who this client is.

use ops::state_dir::{LockError, Locked, StateDir, StateDirError};
use protocol::id::{ClientId, IdError};

/// The file in the state directory with the client's id.
const CLIENT_ID: &str = "client-id";

/// The id of this client, and whether it will be the same next time.
#[derive(Debug)]
pub struct Identity {
    /// The installation.
    pub client: ClientId,
    /// Whether the state directory is ours.
    pub hold: Hold,
}

/// Whether the state directory is ours.
#[derive(Debug)]
pub enum Hold {
    /// It is, and with it the id in it, for as long as this lives.
    Held(Locked),
    /// Another process has it, with its id: this one is another client.
    Elsewhere,
    /// It cannot be used, for this reason: this process is a client of its own.
    Nowhere(String),
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory that was asked for cannot be used.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// The directory that was asked for cannot be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The file with the id is not one.
    #[error("{path} is damaged ({error}); remove it for a new identity, with new random names and ports")]
    Damaged {
        /// The file.
        path: String,
        /// What is wrong with it.
        error: IdError,
    },
}

impl Identity {
    /// The identity in `state`, made at the first time. A process that does not get the lock is another client, for its
    /// life. A directory that nobody asked for explicitly may be missing or read-only: that costs the stable names only.
    ///
    /// # Errors
    /// The file with the id is damaged, or the directory of `--state` is unusable.
    pub fn claim(state: &StateDir) -> Result<Self, IdentityError> {
        match Self::held(state) {
            Ok(identity) => Ok(identity),
            Err(IdentityError::Lock(LockError::Busy { .. })) => Ok(Self::fresh(Hold::Elsewhere)),
            Err(error @ IdentityError::Damaged { .. }) => Err(error),
            Err(error) if state.origin() == "--state" => Err(error),
            Err(error) => Ok(Self::fresh(Hold::Nowhere(error.to_string()))),
        }
    }

    fn held(state: &StateDir) -> Result<Self, IdentityError> {
        state.create()?;
        let lock = state.lock()?;
        let client = match state.read_optional(CLIENT_ID)? {
            Some(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                let path = || state.file(CLIENT_ID).display().to_string();
                text.trim_end().parse().map_err(|error| IdentityError::Damaged { path: path(), error })?
            }
            None => {
                let client = ClientId(rand::random());
                state.write_atomic(CLIENT_ID, format!("{client}\n").as_bytes())?;
                client
            }
        };
        Ok(Self { client, hold: Hold::Held(lock) })
    }

    fn fresh(hold: Hold) -> Self {
        Self { client: ClientId(rand::random()), hold }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ops::state_dir::Program;

    use super::*;

    fn state(path: &Path) -> StateDir {
        StateDir::resolve(Program::Tunnelc, Some(path.to_owned()), |_| None).unwrap()
    }

    #[test]
    fn the_id_stays_and_a_second_process_is_another_client() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        let first = Identity::claim(&state).unwrap();
        let second = Identity::claim(&state).unwrap();
        assert!(matches!(first.hold, Hold::Held(_)));
        assert!(matches!(second.hold, Hold::Elsewhere));
        assert_ne!(first.client, second.client);
        let id = first.client;
        drop(first);
        assert_eq!(Identity::claim(&state).unwrap().client, id);
    }

    #[test]
    fn a_damaged_id_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let state = state(dir.path());
        state.create().unwrap();
        std::fs::write(state.file(CLIENT_ID), "x").unwrap();
        let error = Identity::claim(&state).unwrap_err().to_string();
        assert!(error.contains("client-id is damaged") && error.contains("remove it"), "{error}");
    }

    #[test]
    fn an_unusable_place_matters_only_if_it_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(matches!(Identity::claim(&state(&file)), Err(IdentityError::State(_))));
        let env = |name: &str| (name == "STATE_DIRECTORY").then(|| file.clone().into_os_string());
        let unasked = StateDir::resolve(Program::Tunnelc, None, env).unwrap();
        assert!(matches!(Identity::claim(&unasked).unwrap().hold, Hold::Nowhere(_)));
    }
}
