//! Where revisions are kept: `STATE/revisions/` has a file for each text and `index.json`, which says what counts. A text is
//! written before the index that names it, so that whatever interrupts, the index leads to whole texts.

use std::collections::BTreeSet;
use std::path::PathBuf;

use ops::state_dir::{StateDir, StateDirError};
use policy::revision::{Digest, History, Revision};
use serde::{Deserialize, Serialize};
use transport::digest::sha256;

const FOLDER: &str = "revisions";
const INDEX: &str = "index.json";
const SUFFIX: &str = ".toml";

/// Why revisions can not be read or kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// The state directory does not give or take a file.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// The index is damaged.
    #[error("{}: {reason}; restore the folder from a backup, or move it away: then the configuration file makes revision 1", .file.display())]
    Index {
        /// The file.
        file: PathBuf,
        /// Where and how.
        reason: String,
    },
    /// There are texts, and nothing says which of them counts.
    #[error("{} is missing, and there are revisions beside it; restore the folder from a backup, or move it away: then the configuration file makes revision 1", .file.display())]
    IndexMissing {
        /// The file.
        file: PathBuf,
    },
    /// A text is damaged or gone.
    #[error("revision {number}: {}: {reason}; restore the file from a backup{}", .file.display(), remedy(.in_force))]
    Text {
        /// Which.
        number: u64,
        /// Its file.
        file: PathBuf,
        /// How.
        reason: String,
        /// Whether the server can not do without it.
        in_force: bool,
    },
    /// The index can not be written as JSON; a defect of ours.
    #[error("the index of the revisions can not be written: {0}")]
    Document(String),
}

fn remedy(in_force: &bool) -> &'static str {
    match in_force {
        true => ", or move its folder away: then the configuration file makes revision 1",
        false => "",
    }
}

/// What `index.json` holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    /// Of the history as JSON without spaces: a changed byte is found.
    digest: String,
    history: History,
}

/// The revisions of one state directory, which is locked. Everything blocks for as long as the disk does.
#[derive(Debug)]
pub(crate) struct Store {
    folder: StateDir,
    history: History,
}

impl Store {
    /// The revisions of `state`; none at the first start.
    ///
    /// # Errors
    /// Something is damaged, or can not be read.
    pub(crate) fn open(state: &StateDir) -> Result<Self, StoreError> {
        let folder = state.folder(FOLDER)?;
        folder.create()?;
        let mut store = Self { folder, history: History::default() };
        match store.folder.read_optional(INDEX)? {
            Some(bytes) => {
                let file = store.folder.file(INDEX);
                store.history = decode(&bytes).map_err(|reason| StoreError::Index { file, reason })?;
            }
            None if !store.texts()?.is_empty() => {
                return Err(StoreError::IndexMissing { file: store.folder.file(INDEX) });
            }
            // From now on texts without an index are a loss.
            None => store.write(&History::default())?,
        }
        store.text(store.history.number())?;
        store.tidy();
        Ok(store)
    }

    /// The revision in force of `state` with its text, whoever uses the directory; none if there is none. Changes nothing.
    ///
    /// # Errors
    /// It is damaged, or can not be read.
    pub(crate) fn in_force(state: &StateDir) -> Result<Option<(Revision, String)>, StoreError> {
        let folder = state.folder(FOLDER)?;
        let Some(bytes) = folder.read_optional(INDEX)? else { return Ok(None) };
        let file = folder.file(INDEX);
        let history = decode(&bytes).map_err(|reason| StoreError::Index { file, reason })?;
        let store = Self { folder, history };
        let Some(current) = store.history.current().cloned() else { return Ok(None) };
        let text = store.text(current.number)?;
        Ok(Some((current, text)))
    }

    /// Which there are, as it is on the disk.
    pub(crate) const fn history(&self) -> &History {
        &self.history
    }

    /// The text of one; nothing for no configuration, which is 0.
    ///
    /// # Errors
    /// It is not what was written.
    pub(crate) fn text(&self, number: u64) -> Result<String, StoreError> {
        let Some(revision) = self.history.get(number) else { return Ok(String::new()) };
        let bytes = self.folder.read_optional(&text_file(number))?;
        let wrong = |reason: &str| StoreError::Text {
            number,
            file: self.folder.file(&text_file(number)),
            reason: reason.to_owned(),
            in_force: number == self.history.number(),
        };
        let bytes = bytes.ok_or_else(|| wrong("it is not there"))?;
        if digest(&bytes) != revision.digest {
            return Err(wrong("it is not what was written"));
        }
        String::from_utf8(bytes).map_err(|_| wrong("it is no text"))
    }

    /// Puts `next` in the place of the history, with the text of its newest revision if that is new. When this returns, it
    /// is on the disk.
    ///
    /// # Errors
    /// It can not be kept. Nothing has changed.
    pub(crate) fn commit(&mut self, next: History, text: Option<&str>) -> Result<(), StoreError> {
        let file = text.map(|text| (text_file(next.number()), text));
        if let Some((file, text)) = &file {
            if self.folder.file(file).exists() {
                // Of a process that took over and did not come up: its index must not lead to another text.
                self.write(&self.history)?;
            }
            self.folder.write_atomic(file, text.as_bytes())?;
        }
        if let Err(error) = self.write(&next) {
            // The index may be there all the same, only not for sure: the text stays unless the index before is back. One that
            // no index names means nothing.
            if let Some((file, _)) = file
                && self.write(&self.history).is_ok()
            {
                let _ = self.folder.remove(&file);
            }
            return Err(error);
        }
        self.history = next;
        self.tidy();
        Ok(())
    }

    fn write(&self, history: &History) -> Result<(), StoreError> {
        let broken = |error: serde_json::Error| StoreError::Document(error.to_string());
        let digest = digest(&serde_json::to_vec(history).map_err(broken)?).to_string();
        let index = Index { digest, history: history.clone() };
        let bytes = serde_json::to_vec_pretty(&index).map_err(broken)?;
        Ok(self.folder.write_atomic(INDEX, &bytes)?)
    }

    /// Removes the texts of what is not kept any more, and what a crash has left half written.
    fn tidy(&self) {
        let number = self.history.number();
        let old = |text: &u64| *text < number && self.history.get(*text).is_none();
        let texts = self.texts().unwrap_or_default().into_iter().filter(old).map(text_file);
        for file in texts.chain(self.half_written()) {
            // It is tried again with the next revision.
            if let Err(error) = self.folder.remove(&file) {
                tracing::warn!(%error, "an old revision can not be removed");
            }
        }
    }

    /// The numbers of all texts in the folder.
    fn texts(&self) -> Result<BTreeSet<u64>, StoreError> {
        let number = |name: &String| name.strip_suffix(SUFFIX)?.parse().ok();
        Ok(self.names()?.iter().filter_map(number).collect())
    }

    /// What was being written when the process ended.
    fn half_written(&self) -> Vec<String> {
        let mut names = self.names().unwrap_or_default();
        names.retain(|name| name.starts_with('.'));
        names
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let path = self.folder.path();
        let failed = |error| StateDirError::Read { path: path.to_owned(), error };
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.map_err(failed)?.file_name().into_string().ok());
        }
        Ok(names)
    }
}

fn text_file(number: u64) -> String {
    format!("{number}{SUFFIX}")
}

/// What a text is told by.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest(sha256(bytes))
}

fn decode(bytes: &[u8]) -> Result<History, String> {
    let index: Index = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let written = serde_json::to_vec(&index.history).map_err(|error| error.to_string())?;
    if digest(&written).to_string() != index.digest {
        return Err("it is not what was written".to_owned());
    }
    index.history.check().map_err(|error| error.to_string())?;
    Ok(index.history)
}
