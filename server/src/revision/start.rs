//! Which configuration a server starts with.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use ops::config::{ConfigError, Lack};
use ops::metrics::Metrics;
use ops::state_dir::StateDir;
use policy::revision::{Author, Digest, Entry};

use super::board::Board;
use super::file::{InputFile, look};
use super::reader::{Reader, Unusable};
use super::refusal::Refusal;
use super::store::{Store, StoreError};
use crate::config::Document;
use crate::identity::unix_seconds;

/// Why there is nothing to start with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The revisions are damaged, or can not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file can not be used, and there is no revision yet.
    #[error("{0}")]
    File(String),
    /// The revision in force can not be used any more.
    #[error(
        "revision {number}, which is in force, can not be used any more:\n{reason}\nput back what it needs, or start with --config FILE and another text"
    )]
    InForce {
        /// Which.
        number: u64,
        /// All that is wrong.
        reason: Unusable,
    },
}

/// What a server starts with. Nothing is kept before it has come up.
#[derive(Debug)]
pub(crate) struct Start {
    pub(super) store: Store,
    pub(super) reader: Reader,
    pub(super) file: Option<InputFile>,
    pub(super) tried: Option<Digest>,
    document: Document,
    /// What the file says, if that is news.
    news: Option<(Entry, String)>,
    /// Why it is not in force, if it is not.
    pending: Option<String>,
}

impl Start {
    /// What to start with: what `file` says, if that is news and can be used, or else the revision in force, of which parts
    /// may be down if `lack` says so. Blocks.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) fn read(
        state: &StateDir,
        reader: Reader,
        file: Option<&Path>,
        now: SystemTime,
        lack: Lack,
    ) -> Result<Self, StartError> {
        let mut store = Store::open(state)?;
        undo_unconfirmed(&mut store, now)?;
        let file = file.map(|path| {
            let unreadable = |error| ConfigError::Read { path: path.to_owned(), error }.to_string();
            InputFile::new(path).map_err(|error| StartError::File(unreadable(error)))
        });
        let mut start = Self {
            store,
            reader,
            file: file.transpose()?,
            tried: None,
            document: Document::default(),
            news: None,
            pending: None,
        };
        if start.take_file(now)? {
            return Ok(start);
        }
        if let Some(current) = start.store.history().current() {
            let (number, path) = (current.number, current.path.clone());
            let text = start.store.text(number)?;
            let read = start.reader.read(&path, &text, lack);
            start.document = read.map_err(|reason| StartError::InForce { number, reason })?;
        }
        Ok(start)
    }

    /// Whether the file says what is to be in force.
    fn take_file(&mut self, now: SystemTime) -> Result<bool, StartError> {
        let Some(file) = &self.file else { return Ok(false) };
        let path = file.path().to_owned();
        let (text, digest) = match look(&path) {
            Ok(found) => found,
            Err(error) => return self.wait(error.to_string(), error.line()),
        };
        self.tried = Some(digest);
        let history = self.store.history();
        if !history.is_news(&path, digest) {
            return Ok(false);
        }
        if history.current().is_some_and(|current| current.is_same(&path, digest)) {
            self.store.commit(self.store.history().see(&path, digest), None)?;
            return Ok(false);
        }
        if is_emptied(&text, history.current().map_or(0, |current| current.length)) {
            return self.wait(emptied(&path), emptied(&path));
        }
        if let Some(awaited) = history.awaited() {
            let left = awaited.left(unix_seconds(now));
            let refusal = Refusal::Awaiting { number: history.number(), left };
            return self.wait(refusal.to_string(), refusal.line());
        }
        match self.reader.read(&path, &text, Lack::Refused) {
            Ok(document) => {
                self.document = document;
                let (time, length) = (unix_seconds(now), u64::try_from(text.len()).unwrap_or(u64::MAX));
                let entry = Entry { digest, length, time, author: Author::File, path, note: None };
                self.news = Some((entry, text));
                Ok(true)
            }
            Err(unusable) => self.wait(unusable.report, unusable.line),
        }
    }

    /// The file has to wait; without a revision there is nothing to do meanwhile.
    fn wait(&mut self, report: String, line: String) -> Result<bool, StartError> {
        match self.store.history().number() {
            0 => Err(StartError::File(report)),
            number => {
                tracing::warn!("revision {number} stays in force, and not the configuration file: {line}");
                self.pending = Some(line);
                Ok(false)
            }
        }
    }

    /// What it says.
    pub(crate) const fn document(&self) -> &Document {
        &self.document
    }

    /// The number of what it says.
    pub(crate) fn number(&self) -> u64 {
        let history = self.store.history();
        if self.news.is_some() { history.next() } else { history.number() }
    }

    /// It has come up: what is news becomes a revision. Blocks.
    ///
    /// # Errors
    /// It can not be kept.
    pub(crate) fn keep(&mut self) -> Result<(), StoreError> {
        if let Some((entry, text)) = self.news.take() {
            let next = self.store.history().accept(entry, None);
            self.store.commit(next, Some(&text))?;
        }
        Ok(())
    }

    /// Says which it is.
    pub(crate) fn tell(&self) {
        let file = self.file.as_ref().map(|file| tracing::field::display(file.path().display()));
        tracing::info!(revision = self.number(), config = file, "the configuration was read");
    }

    /// What everybody may see of it.
    pub(crate) fn board(&self, metrics: Metrics) -> Arc<Board> {
        Board::new(self.store.history().clone(), self.pending.clone(), metrics)
    }
}

/// A revision that nobody has confirmed in time, while no server ran, is undone.
fn undo_unconfirmed(store: &mut Store, now: SystemTime) -> Result<(), StoreError> {
    let (history, now) = (store.history(), unix_seconds(now));
    let Some(awaited) = history.awaited().filter(|awaited| awaited.left(now).is_zero()) else {
        return Ok(());
    };
    let (number, back_to) = (history.number(), awaited.back_to);
    let note = format!("revision {number} was not confirmed in {} s", awaited.seconds);
    // It is kept until nobody can need it any more.
    let Ok(next) = history.restore(back_to, now, Author::Unconfirmed, Some(note)) else { return Ok(()) };
    let text = store.text(back_to)?;
    tracing::warn!("revision {number} was not confirmed: revision {back_to} is in force again");
    store.commit(next, Some(&text))
}

/// An editor or a full disk leaves an empty file behind, which is a configuration too.
pub(super) fn is_emptied(text: &str, before: u64) -> bool {
    text.trim().is_empty() && before > 0
}

pub(super) fn emptied(path: &Path) -> String {
    format!(
        "{} is empty, and is taken for a mistake; `tunneld config rollback 0` leaves the server without a configuration",
        path.display()
    )
}
