//! The configuration file.

use std::io;
use std::path::{Path, PathBuf};

use ops::config::{ConfigError, read_text};
use ops::watch::FileWatch;
use policy::revision::Digest;

use super::store::digest;

/// The file that is an input.
#[derive(Debug)]
pub(crate) struct InputFile {
    path: PathBuf,
    /// Since before it was read.
    watch: FileWatch,
}

impl InputFile {
    /// The file at `path`, which is made complete: it is known by that.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        Ok(Self { watch: FileWatch::new(path.clone()), path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until it is not what it was. Nothing is lost if nobody waits any more.
    pub(crate) async fn changed(&mut self) {
        self.watch.changed().await;
    }
}

/// What stands in the file at `path`. Blocks.
///
/// # Errors
/// It can not be read.
pub(super) fn look(path: &Path) -> Result<(String, Digest), ConfigError> {
    let text = read_text(path)?;
    let digest = digest(text.as_bytes());
    Ok((text, digest))
}
