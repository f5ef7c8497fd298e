//! By what it is seen that a path leads to something else than before.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a path leads to; none: nothing that can be looked at.
pub(super) type Fingerprint = Option<File>;

/// A file. Whatever changes its content changes the last of these times, also in the same second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    place: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// A directory in which something may happen to the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// Another one may come to be at its path.
    place: (u64, u64),
}

/// What `path` leads to, and the directories in which that can change: that of the path, and that of the file if a link leads
/// to it.
pub(super) fn look_at(path: &Path) -> (Fingerprint, Vec<Directory>) {
    let file = fs::metadata(path).ok().map(|it| File {
        place: (it.dev(), it.ino()),
        size: it.size(),
        modified: (it.mtime(), it.mtime_nsec()),
        changed: (it.ctime(), it.ctime_nsec()),
    });
    let mut directories: Vec<Directory> = Vec::new();
    for path in [Some(path.to_owned()), fs::canonicalize(path).ok()].into_iter().flatten() {
        let Some(parent) = path.parent() else { continue };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let Ok(found) = fs::metadata(parent) else { continue };
        let directory = Directory { path: parent.to_owned(), place: (found.dev(), found.ino()) };
        if !directories.iter().any(|known| known.place == directory.place) {
            directories.push(directory);
        }
    }
    (file, directories)
}
