//! Names outlive the process: whoever held one when it ended, by `kill -9` too, finds it reserved after the restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ops::state_dir::{StateDir, StateDirError};
use policy::principal::Principal;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::Registry;
use super::name::Name;
use crate::identity::Written;

/// The file in the state directory.
const FILE: &str = "names.json";
/// Changes that come within this time are written down together.
const DEBOUNCE: Duration = Duration::from_millis(20);
/// How long to wait after the disk failed.
const RETRY: Duration = Duration::from_secs(5);

/// What is kept of a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Kept {
    name: Written<Name>,
    principal: Written<Principal>,
    group: String,
    tunnel: String,
}

#[derive(Serialize, Deserialize)]
struct Document {
    names: Vec<Kept>,
}

/// Nobody knows which names were reserved.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// The file can not be read.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// It holds something else.
    #[error("{} is damaged: {error}; restore it, or remove it: whoever comes first gets the names that were reserved", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where and how.
        #[source]
        error: serde_json::Error,
    },
}

impl Registry {
    /// Reserves the names that were held or reserved when the last process on this state directory ended.
    ///
    /// # Errors
    /// [`NamesError`]: without the file, somebody else could take them.
    pub fn restore(&self, state: &StateDir, now: Instant) -> Result<(), NamesError> {
        let Some(bytes) = state.read_optional(FILE)? else { return Ok(()) };
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|error| NamesError::Damaged { file: state.file(FILE), error })?;
        for kept in document.names {
            let labels = self.labels(&kept.tunnel, &kept.group);
            self.reserve(&kept.name.0, kept.principal.0, labels, now);
        }
        Ok(())
    }

    /// Writes the names down whenever they change. Runs until it is dropped; [`Registry::save`] writes the last state.
    pub async fn keep_saved(self: Arc<Self>, state: StateDir) {
        loop {
            self.names().unsaved.notified().await;
            sleep(DEBOUNCE).await;
            let (registry, to) = (self.clone(), state.clone());
            let saved = tokio::task::spawn_blocking(move || registry.save(&to)).await;
            if !matches!(saved, Ok(true)) {
                self.names().unsaved.notify_one();
                sleep(RETRY).await;
            }
        }
    }

    /// Writes the names down now. Blocks for as long as the disk does. Says whether it went well; if not, the log says why.
    pub fn save(&self, state: &StateDir) -> bool {
        let _saving = self.saving.lock();
        if state.is_handed_over() {
            // The process that goes on writes its own.
            return true;
        }
        let document = Document { names: self.kept() };
        let written = serde_json::to_vec(&document)
            .map_err(|error| error.to_string())
            .and_then(|bytes| state.write_atomic(FILE, &bytes).map_err(|error| error.to_string()));
        if let Err(error) = &written {
            tracing::warn!(error, "names can not be kept for a restart");
        }
        written.is_ok()
    }

    fn kept(&self) -> Vec<Kept> {
        let mut names = Vec::new();
        self.names().each(|name, entry| {
            if let Some(principal) = entry.holding.principal() {
                names.push(Kept {
                    name: Written(name.clone()),
                    principal: Written(principal.clone()),
                    group: entry.labels.group.to_string(),
                    tunnel: entry.labels.route.to_string(),
                });
            }
        });
        names.sort_unstable();
        names
    }
}
