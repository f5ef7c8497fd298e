//! Files that are either old or new: written aside, fsynced, renamed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::FILE_MODE;

pub(super) fn write(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    // In the same directory, for a rename within one file system; random, so that two writers do
    // not share it and nobody can put a link there beforehand.
    let aside = directory.join(format!(".{name}.{:016x}", rand::random::<u64>()));
    let written = write_new(&aside, bytes).and_then(|()| fs::rename(&aside, directory.join(name)));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&aside);
    }
    written?;
    sync_directory(directory)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes what was set aside by writers that have died meanwhile. What can not be removed stays: it is in nobody's way.
pub(super) fn tidy(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_aside) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// As [`write()`] calls what it writes. Other hidden files in the directory are somebody else's.
fn is_aside(name: &str) -> bool {
    let random = name.strip_prefix('.').and_then(|name| name.rsplit_once('.')).map(|(_, random)| random);
    random.is_some_and(|random| random.len() == 16 && random.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Makes renames and removals in `directory` survive a power cut.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
