use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// More than it ever takes.
const PATIENCE: Duration = Duration::from_secs(15);

struct Scene {
    directory: TempDir,
    watch: FileWatch,
}

impl Scene {
    /// Watches `name`, after `make` has put something there. Where the system tells nothing it is looked at often.
    fn new(told: bool, name: &str, make: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        make(directory.path());
        let path = directory.path().join(name);
        let (poll, hints) = match told {
            // A look by the clock would come too late for the test.
            true => (Duration::from_secs(3600), Hints::of_the_system()),
            false => (Duration::from_millis(20), Hints::none()),
        };
        Self { watch: FileWatch::with(path, poll, hints), directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn notices(&mut self, what: &str) {
        assert!(timeout(PATIENCE, self.watch.changed()).await.is_ok(), "{what} is not noticed");
    }
}

fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[tokio::test]
async fn a_file_that_is_written_renamed_over_deleted_and_back_is_noticed() {
    for told in [true, false] {
        let mut it = Scene::new(told, "a.toml", |at| put(&at.join("a.toml"), "1"));
        put(&it.path("a.toml"), "2");
        it.notices("a write").await;
        put(&it.path("a.toml~"), "3");
        fs::rename(it.path("a.toml~"), it.path("a.toml")).unwrap();
        it.notices("a rename").await;
        fs::remove_file(it.path("a.toml")).unwrap();
        it.notices("a deletion").await;
        put(&it.path("a.toml"), "4");
        it.notices("a new file").await;
    }
}

#[tokio::test]
async fn a_link_that_leads_elsewhere_is_noticed() {
    for told in [true, false] {
        // As a mounted volume is: a.toml -> ..data/a.toml, ..data -> ..1
        let mut it = Scene::new(told, "a.toml", |at| {
            for version in ["..1", "..2"] {
                fs::create_dir(at.join(version)).unwrap();
                put(&at.join(version).join("a.toml"), version);
            }
            symlink("..1", at.join("..data")).unwrap();
            symlink("..data/a.toml", at.join("a.toml")).unwrap();
        });
        symlink("..2", it.path("..new")).unwrap();
        fs::rename(it.path("..new"), it.path("..data")).unwrap();
        it.notices("another link").await;
        // Now it is in another directory than before.
        put(&it.path("..2/a.toml"), "more");
        it.notices("a write behind the link").await;
    }
}

#[tokio::test]
async fn a_directory_that_is_new_itself_is_noticed() {
    let mut it = Scene::new(false, "etc/a.toml", |_| {});
    fs::create_dir(it.path("etc")).unwrap();
    put(&it.path("etc/a.toml"), "1");
    it.notices("a file in a new directory").await;
    fs::rename(it.path("etc"), it.path("old")).unwrap();
    fs::create_dir(it.path("etc")).unwrap();
    put(&it.path("etc/a.toml"), "2");
    it.notices("another directory").await;
}

#[tokio::test]
async fn what_happens_beside_the_file_is_no_change() {
    let mut it = Scene::new(true, "a.toml", |at| put(&at.join("a.toml"), "1"));
    for other in 0..50 {
        put(&it.path(&format!("{other}.log")), "x");
    }
    put(&it.path("a.toml"), "2");
    it.notices("a write among others").await;
    let again = timeout(Duration::from_millis(100), it.watch.changed()).await;
    assert!(again.is_err(), "it was noticed before");
}
