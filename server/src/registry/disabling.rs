//! What the operator has taken out of service: kept in the state directory, and known to every instance that it concerns.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use ops::state_dir::{StateDir, StateDirError};
use parking_lot::Mutex;
use policy::disabled::{Disabled, Note, TooMany, What};
use serde::{Deserialize, Serialize};

use super::Registry;
use crate::identity::Written;
use crate::nearby::Services;

/// The file in the state directory.
const FILE: &str = "disabled.json";
/// Its format.
const VERSION: u32 = 1;

/// Why something is in service, or out of it, as before.
#[derive(Debug, thiserror::Error)]
pub enum DisableError {
    /// The list can not be read: what was taken out of service must not come back by itself.
    #[error("{}: {reason}; restore it from a backup, or remove it and all that was disabled is in service again", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where and how.
        reason: String,
    },
    /// The state directory does not give or take the file.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// The list is full.
    #[error(transparent)]
    TooMany(#[from] TooMany),
}

/// The list, read by every request and every login.
#[derive(Debug, Default)]
pub(super) struct Disabling {
    list: ArcSwap<Disabled>,
    /// One change at a time; held while the disk writes.
    writing: Mutex<()>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u32,
    disabled: Vec<Kept>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    what: Written<What>,
    since: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    called: Option<String>,
}

impl Registry {
    /// What is out of service.
    #[must_use]
    pub fn disabled(&self) -> Guard<Arc<Disabled>> {
        self.disabling.list.load()
    }

    /// Takes what was out of service when the last process on this state directory ended out of it again.
    ///
    /// # Errors
    /// [`DisableError::Damaged`], [`DisableError::State`].
    pub fn restore_disabled(&self, state: &StateDir) -> Result<(), DisableError> {
        let Some(bytes) = state.read_optional(FILE)? else { return Ok(()) };
        let damaged = |reason: String| DisableError::Damaged { file: state.file(FILE), reason };
        let Document { version, disabled } =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if version != VERSION {
            return Err(damaged(format!("it has format {version}, this version reads {VERSION}")));
        }
        let mut list = Disabled::default();
        for Kept { what, since, called } in disabled {
            list.disable(what.0, Note { since, called })?;
        }
        self.put_out(list);
        Ok(())
    }

    /// Takes `what` out of service. Blocks for as long as the disk does. Says whether it was in service until now.
    ///
    /// # Errors
    /// [`DisableError`]; nothing has changed.
    pub fn disable(&self, state: &StateDir, what: What, note: Note) -> Result<bool, DisableError> {
        self.change(state, |list| list.disable(what, note))
    }

    /// Takes `what` into service again. Blocks for as long as the disk does. Says whether it was out of it.
    ///
    /// # Errors
    /// [`DisableError`]; nothing has changed.
    pub fn enable(&self, state: &StateDir, what: &What) -> Result<bool, DisableError> {
        self.change(state, |list| Ok(list.enable(what)))
    }

    fn change(
        &self,
        state: &StateDir,
        edit: impl FnOnce(&mut Disabled) -> Result<bool, TooMany>,
    ) -> Result<bool, DisableError> {
        let _writing = self.disabling.writing.lock();
        let mut list = Disabled::clone(&self.disabled());
        let changed = edit(&mut list)?;
        if changed {
            let kept = |(what, Note { since, called }): (&What, &Note)| Kept {
                what: Written(what.clone()),
                since: *since,
                called: called.clone(),
            };
            let document = Document { version: VERSION, disabled: list.iter().map(kept).collect() };
            let bytes = serde_json::to_vec_pretty(&document).map_err(|error| DisableError::Damaged {
                file: state.file(FILE),
                reason: error.to_string(),
            })?;
            state.write_atomic(FILE, &bytes)?;
            self.put_out(list);
        }
        Ok(changed)
    }

    /// From now on there are these services next to the server. Those of their servers that are out of service stay so: none is
    /// asked before that is known. Under the lock by which the list changes.
    pub fn use_services(&self, services: Services) {
        let _state = self.state.lock();
        stand_by(&services, &self.disabled());
        self.nearby().use_services(services);
    }

    /// Uses this list from now on. Under the lock by which sessions begin, so that each of them has the one or the other.
    fn put_out(&self, list: Disabled) {
        let list = Arc::new(list);
        let state = self.state.lock();
        self.disabling.list.store(list.clone());
        for held in state.instances.values() {
            held.instance.stand_by(list.of(&held.instance.installation()));
        }
        stand_by(&self.nearby().services(), &list);
        drop(state);
        self.names().tick();
    }
}

/// The servers of `services` that `list` names are out of service, and the others are not.
fn stand_by(services: &Services, list: &Disabled) {
    for (name, service) in services.iter() {
        service.disable(|address| list.is_server(name, address));
    }
}
