//! Other people's programs, as visitors and as services: curl, nginx, Python with its packages, Chromium.
//!
//! `make peers` says what is missing and installs the packages. A test that misses one fails: a peer that is
//! not there has proved nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::Program;
use crate::wait::SOON;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A program of the system, with nothing of the caller's environment but the path.
///
/// # Panics
///
/// When it is not installed.
#[must_use]
pub fn command(program: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let found = folders.iter().map(|folder| folder.join(program)).find(|path| path.is_file());
    let found = found.unwrap_or_else(|| panic!("{program} is not there: make peers"));
    let mut command = Command::new(found);
    command.env_clear().env("PATH", path);
    command
}

/// A Python script of `tests/peers`, run with the packages of `make peers`.
///
/// # Panics
///
/// When the packages are not installed.
#[must_use]
pub fn python(script: &str, arguments: &[&str]) -> Command {
    let python = Path::new(ROOT).join("target/peers/bin/python");
    assert!(Path::new(ROOT).join("target/peers/complete").exists(), "no packages for Python: make peers");
    let mut command = Command::new(python);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.arg("-u").arg(Path::new(ROOT).join("tests/peers").join(script)).args(arguments);
    command
}

/// A service that says `listening ADDRESS` when it does. It ends when dropped.
#[derive(Debug)]
pub struct Peer {
    /// The process.
    pub program: Program,
    addr: SocketAddr,
}

impl Peer {
    /// Starts a service that is a Python script, and waits until it listens.
    pub async fn python(script: &str, arguments: &[&str]) -> Self {
        let program = Program::start(python(script, arguments));
        let line = program.says("listening ", SOON).await;
        let addr = line.rsplit(' ').next().and_then(|addr| addr.parse().ok());
        Self { program, addr: addr.unwrap_or_else(|| panic!("{line}")) }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}
