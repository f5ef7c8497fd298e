//! Notices that a file has changed, however it was changed: written, renamed over, reached by a symbolic link that leads
//! elsewhere (as `..data` of a mounted volume), deleted, or put in a directory that is new itself.
//!
//! What the system tells of the directories is a hint to look at once; that the file is looked at every few seconds is the
//! guarantee, also where the system tells nothing.

mod fingerprint;
mod hints;
mod settling;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use fingerprint::{Directory, Fingerprint, look_at};
use hints::Hints;
use settling::{Settling, Step};

/// How often the file is looked at, whatever the system tells.
const POLL: Duration = Duration::from_secs(5);
/// Between two looks, however much happens beside the file.
const GAP: Duration = Duration::from_millis(50);

/// A file that is watched.
#[derive(Debug)]
pub struct FileWatch {
    path: PathBuf,
    poll: Duration,
    hints: Hints,
    settling: Settling<Fingerprint>,
    /// A look that nobody has waited for to the end: there is never a second one beside it.
    looking: Option<JoinHandle<(Fingerprint, Vec<Directory>)>>,
}

impl FileWatch {
    /// Watches the file at `path`, whether there is one or not: what changes from now on is a change. Whoever reads the file
    /// makes this before.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self::with(path, POLL, Hints::of_the_system())
    }

    fn with(path: PathBuf, poll: Duration, mut hints: Hints) -> Self {
        let (found, directories) = look_at(&path);
        hints.follow(directories);
        Self { path, poll, hints, settling: Settling::new(found), looking: None }
    }

    /// Waits until there is something else than before, or nothing any more, and it has stayed so for a moment. Only whoever
    /// reads it can say whether what stands in it is new. Cancel safe.
    pub async fn changed(&mut self) {
        loop {
            // A file system that does not answer must not hold up anything else, nor take a thread more for each try.
            let looking = self.looking.get_or_insert_with(|| {
                let path = self.path.clone();
                spawn_blocking(move || look_at(&path))
            });
            let looked = looking.await;
            self.looking = None;
            let now = Instant::now();
            let step = match looked {
                Ok((found, directories)) => {
                    self.hints.follow(directories);
                    self.settling.look(found, now.into_std())
                }
                // The process ends.
                Err(_) => Step::Wait(self.poll),
            };
            let Step::Wait(at_most) = step else { return };
            let at_most = at_most.min(self.poll);
            tokio::select! {
                () = sleep_until(now + at_most) => {}
                () = self.hints.next() => sleep_until(now + GAP.min(at_most)).await,
            }
        }
    }
}
