//! What the system tells of directories.

use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::fingerprint::Directory;

/// Hints that something may have happened in some directories.
#[derive(Debug)]
pub(super) struct Hints {
    /// None where the system tells nothing.
    watcher: Option<RecommendedWatcher>,
    directories: Vec<Directory>,
    something: Arc<Notify>,
}

impl Hints {
    /// Those of the system, of no directory yet.
    pub(super) fn of_the_system() -> Self {
        let something = Arc::new(Notify::new());
        let told = something.clone();
        // What happened is looked up; also an error may mean that something was missed.
        let watcher = notify::recommended_watcher(move |_| told.notify_one());
        if let Err(error) = &watcher {
            tracing::debug!(%error, "the system does not tell of changed files, which are looked for instead");
        }
        Self { watcher: watcher.ok(), directories: Vec::new(), something }
    }

    /// None ever.
    #[cfg(test)]
    pub(super) fn none() -> Self {
        Self { watcher: None, directories: Vec::new(), something: Arc::new(Notify::new()) }
    }

    /// Tells of these directories and of no others.
    pub(super) fn follow(&mut self, directories: Vec<Directory>) {
        let Some(watcher) = &mut self.watcher else { return };
        if self.directories == directories {
            return;
        }
        for gone in self.directories.iter().filter(|known| !directories.contains(known)) {
            // A directory that was deleted is not watched any more anyway.
            drop(watcher.unwatch(&gone.path));
        }
        let known = std::mem::take(&mut self.directories);
        for directory in directories {
            // One that can not be watched is tried again with the next look.
            if known.contains(&directory)
                || watcher.watch(&directory.path, RecursiveMode::NonRecursive).is_ok()
            {
                self.directories.push(directory);
            }
        }
    }

    /// Waits for the next. Those that come while nobody waits are one.
    pub(super) async fn next(&self) {
        self.something.notified().await;
    }
}
