//! All revisions that are kept, and what was seen of files.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Author, Awaited, Digest, Revision};

/// Revisions that are kept.
pub const REVISIONS_MAX: usize = 100;
/// Bytes that the texts of all kept revisions have together.
pub const TEXTS_MAX: u64 = 64 * 1024 * 1024;
/// Files of which it is kept what was seen of them last.
const SEEN_MAX: usize = 16;
/// How the history is written.
const FORMAT: u32 = 1;

/// What was seen of a file last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    path: PathBuf,
    #[serde(with = "crate::written")]
    digest: Digest,
}

/// The revisions, oldest first; the last one is in force. It is a value: what changes it returns another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    format: u32,
    revisions: Vec<Revision>,
    /// Oldest first.
    seen: Vec<Seen>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awaited: Option<Awaited>,
}

/// What becomes a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Of the text.
    pub digest: Digest,
    /// Bytes of the text.
    pub length: u64,
    /// Now, in seconds since 1970.
    pub time: u64,
    /// Who wants it.
    pub author: Author,
    /// Where the text comes from.
    pub path: PathBuf,
    /// What is to be remembered with it.
    pub note: Option<String>,
}

/// There is none of this number, or none at all to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSuchRevision {
    /// It was never there, or is no more.
    #[error("there is no revision {0}; `tunneld config history` lists those that are kept")]
    Number(u64),
    /// Nothing is older.
    #[error("there is no earlier revision to go back to")]
    Earlier,
    /// It is in force.
    #[error("revision {0} is in force already")]
    InForce(u64),
}

/// Why a history that was read can not be one of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Another version wrote it.
    #[error("it has the format {0}, which another version of tunneld wrote")]
    Format(u32),
    /// Numbers that do not rise.
    #[error("its revisions are not in order")]
    Order,
    /// A reference to what is not there.
    #[error("it awaits the confirmation of nothing")]
    Awaited,
    /// More than are ever kept.
    #[error("it has more revisions than are ever kept")]
    Many,
}

impl Default for History {
    fn default() -> Self {
        Self { format: FORMAT, revisions: Vec::new(), seen: Vec::new(), awaited: None }
    }
}

impl History {
    /// Whether this can be ours, for one that was read.
    ///
    /// # Errors
    /// Why it can not.
    pub fn check(&self) -> Result<(), HistoryError> {
        if self.format != FORMAT {
            return Err(HistoryError::Format(self.format));
        }
        if self.revisions.len() > REVISIONS_MAX || self.seen.len() > SEEN_MAX {
            return Err(HistoryError::Many);
        }
        let numbers = self.revisions.iter().map(|revision| revision.number);
        if numbers.clone().any(|number| number == 0) || !numbers.is_sorted_by(|a, b| a < b) {
            return Err(HistoryError::Order);
        }
        let known = |number| number == 0 || self.get(number).is_some();
        match self.awaited {
            Some(awaited) if self.revisions.is_empty() || !known(awaited.back_to) => {
                Err(HistoryError::Awaited)
            }
            _ => Ok(()),
        }
    }

    /// All that are kept, oldest first.
    #[must_use]
    pub fn revisions(&self) -> &[Revision] {
        &self.revisions
    }

    /// The one in force; none: there is no configuration, which is called revision 0.
    #[must_use]
    pub fn current(&self) -> Option<&Revision> {
        self.revisions.last()
    }

    /// The number of the one in force.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.current().map_or(0, |revision| revision.number)
    }

    /// The number of the next one.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.number().saturating_add(1)
    }

    /// The one of this number, if it is kept.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<&Revision> {
        let found = self.revisions.binary_search_by_key(&number, |revision| revision.number).ok()?;
        self.revisions.get(found)
    }

    /// The confirmation that is waited for.
    #[must_use]
    pub const fn awaited(&self) -> Option<Awaited> {
        self.awaited
    }

    /// What was seen of `path` last. Of one that was never a file of ours it is what somebody made a revision of.
    #[must_use]
    pub fn seen(&self, path: &Path) -> Option<Digest> {
        let seen = self.seen.iter().find(|seen| seen.path == path).map(|seen| seen.digest);
        let made = || self.revisions.iter().rfind(|it| it.restores.is_none() && it.path == path);
        seen.or_else(|| made().map(|revision| revision.digest))
    }

    /// Whether a file of this digest at `path` is news.
    #[must_use]
    pub fn is_news(&self, path: &Path, digest: Digest) -> bool {
        self.seen(path) != Some(digest)
    }

    /// With a note of what was seen of `path`.
    #[must_use]
    pub fn see(&self, path: &Path, digest: Digest) -> Self {
        let mut next = self.clone();
        next.seen.retain(|seen| seen.path != path);
        next.seen.push(Seen { path: path.to_owned(), digest });
        let over = next.seen.len().saturating_sub(SEEN_MAX);
        next.seen.drain(..over);
        next
    }

    /// With one more revision, in force from now on. With `confirm` it is undone after so many seconds unless it is
    /// confirmed; a confirmation that is waited for already goes back as far as that one would have.
    #[must_use]
    pub fn accept(&self, entry: Entry, confirm: Option<u64>) -> Self {
        let (time, number) = (entry.time, self.next());
        // Admins apply copies of any name; only what is a file of ours is to be remembered.
        let file = entry.author == Author::File || self.seen.iter().any(|seen| seen.path == entry.path);
        let mut next = if file { self.see(&entry.path, entry.digest) } else { self.clone() };
        let back_to = self.awaited.map_or(self.number(), |awaited| awaited.back_to);
        next.awaited =
            confirm.map(|seconds| Awaited { back_to, until: time.saturating_add(seconds), seconds });
        let Entry { digest, length, time, author, path, note } = entry;
        next.revisions.push(Revision { number, digest, length, time, author, path, restores: None, note });
        next.trim();
        next
    }

    /// Which revision a rollback to `to` would bring back; without a number the newest one that was accepted before what is
    /// in force, says something else and was not undone itself. No configuration at all, 0, has to be asked for.
    ///
    /// # Errors
    /// [`NoSuchRevision`].
    pub fn earlier(&self, to: Option<u64>) -> Result<u64, NoSuchRevision> {
        let current = self.current().ok_or(NoSuchRevision::Earlier)?;
        let Some(to) = to else {
            let before = self.revisions.iter().rev().find(|it| {
                it.restores != Some(0)
                    && !self.was_undone(it)
                    && it.number < current.origin()
                    && !it.is_same(&current.path, current.digest)
            });
            return before.map(|revision| revision.number).ok_or(NoSuchRevision::Earlier);
        };
        let is_it = match self.get(to) {
            Some(revision) => revision.is_same(&current.path, current.digest),
            None if to == 0 => current.restores == Some(0),
            None => return Err(NoSuchRevision::Number(to)),
        };
        if is_it { Err(NoSuchRevision::InForce(current.number)) } else { Ok(to) }
    }

    /// Whether what came next took its place by bringing back something else.
    fn was_undone(&self, revision: &Revision) -> bool {
        self.get(revision.number.saturating_add(1)).is_some_and(|next| next.restores.is_some())
    }

    /// With the text of `to` in force once more, under a new number. What was seen of files stays, and nothing waits for a
    /// confirmation any more.
    ///
    /// # Errors
    /// It is not there.
    pub fn restore(
        &self,
        to: u64,
        time: u64,
        author: Author,
        note: Option<String>,
    ) -> Result<Self, NoSuchRevision> {
        let number = self.next();
        let revision = match to {
            0 => Revision {
                number,
                digest: Digest::EMPTY,
                length: 0,
                time,
                author,
                path: PathBuf::new(),
                restores: Some(0),
                note,
            },
            to => {
                let old = self.get(to).ok_or(NoSuchRevision::Number(to))?.clone();
                Revision { number, time, author, restores: Some(old.origin()), note, ..old }
            }
        };
        let mut next = self.clone();
        next.awaited = None;
        next.revisions.push(revision);
        next.trim();
        Ok(next)
    }

    /// With nothing to wait for; none if nothing was waited for.
    #[must_use]
    pub fn confirm(&self) -> Option<Self> {
        self.awaited.map(|_| Self { awaited: None, ..self.clone() })
    }

    /// Forgets the oldest, as far as there are too many or they are too much; never what is in force, and never what it may
    /// have to go back to.
    fn trim(&mut self) {
        let back_to = self.awaited.map(|awaited| awaited.back_to);
        let latest = self.number();
        let (mut bytes, mut full) = (0_u64, false);
        let mut kept: Vec<Revision> = Vec::with_capacity(self.revisions.len());
        for revision in self.revisions.drain(..).rev() {
            let needed = revision.number == latest || Some(revision.number) == back_to;
            bytes = bytes.saturating_add(revision.length);
            // What is needed later has its place now.
            let later = back_to.is_some_and(|number| number != 0 && number < revision.number);
            let places = REVISIONS_MAX.saturating_sub(usize::from(later));
            full = full || kept.len() >= places || bytes > TEXTS_MAX;
            if needed || !full {
                kept.push(revision);
            }
        }
        kept.reverse();
        self.revisions = kept;
    }
}
