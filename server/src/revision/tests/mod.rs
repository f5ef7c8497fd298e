mod authority;
mod start;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ops::config::Lack;
use ops::metrics::Metrics;
use ops::spawn::{Placement, Spawner};
use ops::state_dir::{Program, StateDir};
use parking_lot::Mutex;
use proxy::plugin::Kinds;

use super::store::{Store, StoreError};
use super::*;
use crate::config::Document;
use crate::settings::Flags;

/// What runs, as far as these tests go: which revision, with which domain.
#[derive(Debug, Default)]
struct Running {
    in_force: Mutex<Vec<(u64, Option<String>)>>,
    /// Why nothing can be proved at the moment.
    broken: Mutex<Option<String>>,
    /// Parts that are proved and neither in use nor given back.
    held: Arc<AtomicUsize>,
}

/// Proved parts.
struct Held(u64, Option<String>, Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.2.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Runs for Running {
    type Proven = Held;

    async fn prove(&self, document: Document, revision: u64, _: Wishes) -> Result<Held, NotProven> {
        if let Some(reason) = self.broken.lock().clone() {
            return Err(NotProven { text: reason, is_usage: false });
        }
        self.held.fetch_add(1, Ordering::SeqCst);
        Ok(Held(revision, document.domain.map(|domain| domain.to_string()), self.held.clone()))
    }

    fn switch(&self, proven: Held) -> Vec<String> {
        self.in_force.lock().push((proven.0, proven.1.clone()));
        vec!["one member is behind".to_owned()]
    }

    fn lacks(&self) -> Vec<String> {
        vec!["a certificate is old".to_owned()]
    }
}

impl Running {
    /// What is in force since something was put in force.
    fn last(&self) -> Option<(u64, String)> {
        self.in_force.lock().last().map(|(number, domain)| (*number, domain.clone().unwrap_or_default()))
    }
}

/// A state directory and a configuration file.
struct Place {
    folder: tempfile::TempDir,
}

/// A server that has come up.
struct Server {
    authority: Authority<Running>,
    runs: Arc<Running>,
    board: Arc<Board>,
    metrics: Metrics,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn state(&self) -> StateDir {
        let state = StateDir::resolve(Program::Tunneld, Some(self.folder.path().join("state")), |_| None);
        let state = state.unwrap();
        state.create().unwrap();
        state
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("tunneld.toml")
    }

    fn write(&self, text: &str) {
        std::fs::write(self.file(), text).unwrap();
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("state/revisions/index.json")
    }

    fn store(&self) -> Result<Store, StoreError> {
        Store::open(&self.state())
    }

    fn start(&self, file: Option<&Path>, now: SystemTime) -> Result<Start, StartError> {
        let mut start = Start::read(&self.state(), reader(), file, now, Lack::Down)?;
        start.keep()?;
        Ok(start)
    }

    /// A server with the file.
    fn up(&self) -> Server {
        self.up_with(Some(&self.file()))
    }

    fn up_with(&self, file: Option<&Path>) -> Server {
        let start = self.start(file, SystemTime::now()).unwrap();
        let metrics = Metrics::new("0");
        let (runs, board) = (Arc::new(Running::default()), start.board(metrics.clone()));
        let authority = Authority::new(start, runs.clone(), board.clone(), metrics.clone());
        Server { authority, runs, board, metrics }
    }
}

fn reader() -> Reader {
    Reader::new(Flags::default(), Kinds::built_in())
}

fn domain(name: &str) -> String {
    format!("domain = \"{name}.example.com\"\n")
}

fn later(seconds: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(seconds)
}

/// Runs `test` where tasks can be.
fn in_runtime(test: impl AsyncFnOnce(Spawner)) {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
    workers.block_on(test(spawner));
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
