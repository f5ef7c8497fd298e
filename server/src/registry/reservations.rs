//! Names outlive the process: whoever held one when it ended, by `kill -9` too, finds it reserved after the restart.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ops::state_dir::StateDir;
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

impl Registry {
    /// Reserves the names that were held or reserved when the last process on this state directory ended. A file that can
    /// not be read costs the reservations, not the start.
    pub fn restore(&self, state: &StateDir, now: Instant) {
        let document = match state.read_optional(FILE) {
            Ok(None) => return,
            Ok(Some(bytes)) => serde_json::from_slice::<Document>(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let document = match document {
            Ok(document) => document,
            Err(error) => {
                let file = state.file(FILE);
                tracing::warn!(file = %file.display(), error, "no names are reserved: the file is damaged");
                return;
            }
        };
        for kept in document.names {
            let labels = self.labels(&kept.tunnel, &kept.group);
            self.reserve(&kept.name.0, kept.principal.0, labels, now);
        }
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
