//! A real `tunnelc`, from a home that outlives it: the same home is the same client.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::program::{Finished, Program, command};
use crate::wait::{SOON, until};

/// Sessions of a client that was not told how many.
pub const SESSIONS: u64 = 2;

/// A home for one client: its identity lives there.
#[derive(Debug)]
pub struct Home(TempDir);

impl Home {
    /// A new client.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a directory: nothing that happens by default")]
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Another home with the same identity in it.
    #[must_use]
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        let mut folders = vec![(self.state(), copy.state())];
        while let Some((from, to)) = folders.pop() {
            std::fs::create_dir_all(&to).unwrap();
            for entry in std::fs::read_dir(&from).unwrap().map(Result::unwrap) {
                let kind = entry.file_type().unwrap();
                let target = to.join(entry.file_name());
                // What begins with a dot is being written, and gone in a moment.
                if entry.file_name().to_string_lossy().starts_with('.') {
                    continue;
                }
                if kind.is_dir() {
                    folders.push((entry.path(), target));
                } else if kind.is_file() {
                    std::fs::copy(entry.path(), target).unwrap();
                }
            }
        }
        copy
    }

    /// What is given as `--state`.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    /// Writes a file into the home and returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `tunnelc` with these arguments and `--state` of this home, for a test that adds to it.
    #[must_use]
    pub fn prepare(&self, arguments: &[&str]) -> Command {
        let mut tunnelc = command("tunnelc", self.0.path());
        tunnelc.args(arguments).arg("--state").arg(self.state());
        tunnelc
    }

    /// Starts `tunnelc` with these arguments and `--state` of this home.
    #[must_use]
    pub fn start(&self, arguments: &[&str]) -> Program {
        Program::start(self.prepare(arguments))
    }

    /// Runs a `tunnelc` command to its end.
    pub async fn command(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).finished(SOON).await
    }

    /// Starts `tunnelc http`, and waits for the public URL.
    pub async fn http(&self, join: &str, target: impl Display, more: &[&str]) -> Tunnelc {
        Tunnelc::ad_hoc(self, "http", join, &target.to_string(), more).await
    }

    /// Starts `tunnelc tcp`, and waits for the public address.
    pub async fn tcp(&self, join: &str, target: impl Display, more: &[&str]) -> Tunnelc {
        Tunnelc::ad_hoc(self, "tcp", join, &target.to_string(), more).await
    }

    /// Starts `tunnelc run` with this configuration and join string.
    #[must_use]
    pub fn run(&self, join: &str, config: &str) -> Program {
        let file = self.write("tunnelc.toml", config);
        self.start(&["run", "--config", file.to_str().unwrap(), "--join", join])
    }
}

/// A running `tunnelc http` or `tunnelc tcp` with its public place.
#[derive(Debug)]
pub struct Tunnelc {
    /// The process.
    pub program: Program,
    public: Public,
}

/// Where a tunnel can be visited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Public {
    /// The name, without the port.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Tunnelc {
    async fn ad_hoc(home: &Home, verb: &str, join: &str, target: &str, more: &[&str]) -> Self {
        let program = home.start(&[&[verb, target, "--join", join], more].concat());
        let public = public(&program, target, join, SOON).await;
        Self { program, public }
    }

    /// The public host name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.public.host
    }

    /// The public place.
    #[must_use]
    pub fn public(&self) -> &Public {
        &self.public
    }

    /// Where visitors of a TCP tunnel connect, on the loopback.
    #[must_use]
    pub fn tcp(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.public.port))
    }
}

/// Waits until the program prints a public place: the first `HOST:PORT`, with or without a scheme, that is
/// neither its target nor the server it dials.
pub async fn public(program: &Program, target: &str, join: &str, limit: Duration) -> Public {
    let server = join.rsplit_once('@').map_or("", |(_, rest)| rest.split('?').next().unwrap_or(rest));
    let place = async || {
        let said = program.stdout().join("\n");
        said.split(|c: char| c.is_whitespace() || "'\"()<>,".contains(c))
            .filter(|word| !word.starts_with("tunnel://") && !word.contains(target) && !word.contains(server))
            .find_map(|word| {
                let place =
                    word.split_once("://").map_or(word, |(_, rest)| rest).trim_end_matches(['/', '.']);
                let (host, port) = place.rsplit_once(':')?;
                let named = host.contains(|c: char| c.is_ascii_alphabetic()) || host.contains('.');
                named.then_some(Public { host: host.to_owned(), port: port.parse().ok()? })
            })
    };
    until("tunnelc prints the public address", limit, place).await.0
}
