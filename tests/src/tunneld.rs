//! A real `tunneld` with a state directory of its own, on ports of its own, which stay its own while it is not there.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::place::nobody;
use crate::program::{Finished, Program, command, folder, inside};
use crate::visitor;
use crate::wait::{SOON, becomes, until};

const TUNNELD: &str = "tunneld";
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// All steps of an upgrade.
const UPGRADE: Duration = Duration::from_secs(90);

/// Where the server listens.
#[derive(Debug, Clone, Copy)]
pub struct Listen {
    /// For clients.
    pub tunnel: SocketAddr,
    /// For visitors.
    pub http: SocketAddr,
    /// For visitors over TLS, if there is such a listener.
    pub https: Option<SocketAddr>,
    /// For operators.
    pub ops: SocketAddr,
}

/// A running server.
#[derive(Debug)]
pub struct Tunneld {
    name: String,
    /// The process.
    pub program: Program,
    home: TempDir,
    listen: Listen,
    manner: Manner,
    /// Those that have taken over from it, and from each other.
    heirs: Vec<Heir>,
}

/// A process that was not started by the test. Dropping it kills it.
#[derive(Debug)]
struct Heir(Pid);

impl Drop for Heir {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = kill_process(self.0, Signal::KILL);
    }
}

/// Variables with their values.
type Environment = Vec<(&'static str, OsString)>;

/// How a server is started.
#[derive(Debug, Default)]
struct Manner {
    flags: Vec<String>,
    /// What is in its environment besides.
    environment: Environment,
    /// What runs it; nothing: nothing does.
    wrapper: Vec<String>,
}

impl Tunneld {
    /// Starts a server as the quick start does, on free loopback ports.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts a server with more flags.
    pub async fn with(flags: &[&str]) -> Self {
        let flags = flags.iter().map(ToString::to_string).collect();
        Self::at(tempfile::tempdir().unwrap(), flags).await
    }

    /// Starts a server whose log says all that there is to say.
    pub async fn traced() -> Self {
        Self::within(vec![("RUST_LOG", "trace".into())]).await
    }

    /// Starts a server with more in its environment.
    pub async fn within(environment: Environment) -> Self {
        let manner = Manner { environment, ..Manner::default() };
        Self::launched(TUNNELD, tempfile::tempdir().unwrap(), LOCALHOST, manner).await
    }

    /// Starts another program that is a server too, with this configuration.
    pub async fn other(name: &str, config: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("tunneld.toml");
        std::fs::write(&path, config).unwrap();
        Self::called(name, home, vec!["--config".to_owned(), path.display().to_string()]).await
    }

    /// Starts a server with the configuration that `write` returns, which may put other files into the folder it is given. The listeners of the quick start
    /// are on free loopback ports all the same.
    pub async fn configured(write: impl FnOnce(&Path) -> String, flags: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let config = write(home.path());
        let path = home.path().join("tunneld.toml");
        std::fs::write(&path, &config).unwrap();
        let mut flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        flags.extend(["--config".to_owned(), path.display().to_string()]);
        Self::at(home, flags).await
    }

    /// The folder that the configuration is in.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    async fn at(home: TempDir, flags: Vec<String>) -> Self {
        Self::called(TUNNELD, home, flags).await
    }

    async fn called(name: &str, home: TempDir, flags: Vec<String>) -> Self {
        Self::launched(name, home, LOCALHOST, Manner { flags, ..Manner::default() }).await
    }

    /// Starts a server that `wrapper` runs, as [`inside`] does. It listens for clients on an address of `tunnel`.
    pub async fn inside(home: TempDir, wrapper: &[String], tunnel: IpAddr, flags: &[&str]) -> Self {
        let flags = flags.iter().map(ToString::to_string).collect();
        let manner = Manner { flags, wrapper: wrapper.to_vec(), ..Manner::default() };
        Self::launched(TUNNELD, home, tunnel, manner).await
    }

    async fn launched(name: &str, home: TempDir, tunnel: IpAddr, manner: Manner) -> Self {
        // Nothing can be bound from here where another network begins.
        let tunnel = if tunnel == LOCALHOST { nobody() } else { SocketAddr::new(tunnel, 0) };
        let listen = Listen { tunnel, http: nobody(), https: None, ops: nobody() };
        let program = launch(name, home.path(), listen, &manner);
        let listen = announced(home.path(), &manner.wrapper).await;
        Self { name: name.to_owned(), program, home, listen, manner, heirs: Vec::new() }
    }

    /// Starts a server from a link to the program in its folder, [`Tunneld::installed_at`], where another one can be put. It has
    /// the configuration that `write` returns.
    pub async fn installed(write: impl FnOnce(&Path) -> String) -> Self {
        let home = tempfile::tempdir().unwrap();
        let at = home.path().join(TUNNELD);
        std::os::unix::fs::symlink(folder().join(TUNNELD), &at).unwrap();
        let config = home.path().join("tunneld.toml");
        std::fs::write(&config, write(home.path())).unwrap();
        let flags = vec!["--config".to_owned(), config.display().to_string()];
        Self::called(&at.display().to_string(), home, flags).await
    }

    /// Where its program is, if it was [`Tunneld::installed`].
    #[must_use]
    pub fn installed_at(&self) -> PathBuf {
        self.home.path().join(TUNNELD)
    }

    /// Puts a script where its program is: what `upgrade` starts from now on.
    pub fn install(&self, script: &str) {
        let (aside, at) = (self.home.path().join("aside"), self.installed_at());
        std::fs::write(&aside, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(aside, at).unwrap();
    }

    /// Puts the program there again.
    pub fn install_again(&self) {
        let aside = self.home.path().join("aside");
        std::os::unix::fs::symlink(folder().join(TUNNELD), &aside).unwrap();
        std::fs::rename(aside, self.installed_at()).unwrap();
    }

    /// Starts another server with a copy of its state: the same key, the same credentials, other ports.
    pub async fn twin(&self) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(state(home.path())).unwrap();
        for entry in std::fs::read_dir(self.state()).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            // What begins with a dot is being written, and gone in a moment.
            if entry.file_type().unwrap().is_file() && name != "lock" && !name.starts_with('.') {
                std::fs::copy(entry.path(), state(home.path()).join(name)).unwrap();
            }
        }
        Self::called(&self.name, home, self.manner.flags.clone()).await
    }

    /// Starts it again on the same state and the same addresses; the old process must be gone.
    pub async fn start_again(&mut self) {
        self.program = launch(&self.name, self.home.path(), self.listen, &self.manner);
        announced(self.home.path(), &self.manner.wrapper).await;
    }

    /// What is in its environment besides from the next start on.
    pub fn set_environment(&mut self, environment: Environment) {
        self.manner.environment = environment;
    }

    /// Kills it as `kill -9` does.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Where it listens.
    #[must_use]
    pub fn listen(&self) -> Listen {
        self.listen
    }

    /// The state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        state(self.home.path())
    }

    /// The join string of the principal `default`.
    #[must_use]
    pub fn join(&self) -> String {
        std::fs::read_to_string(self.state().join("join")).unwrap().trim().to_owned()
    }

    /// Runs a `tunneld` command against this server.
    pub async fn admin(&self, arguments: &[&str]) -> Finished {
        admin(self.home.path(), arguments, &self.manner.wrapper).await
    }

    /// Has another process take over, with `upgrade --json`, and returns what it says.
    ///
    /// # Panics
    ///
    /// When the command fails.
    pub async fn upgrade(&mut self) -> Value {
        let mut tunneld = command(TUNNELD, self.home.path());
        tunneld.arg("--state").arg(self.state()).args(["upgrade", "--json"]);
        let done = start(tunneld, &self.manner.wrapper).finished(UPGRADE).await;
        assert_eq!(done.code, Some(0), "{}", done.text());
        let upgraded: Value = serde_json::from_str(&done.stdout).unwrap();
        self.adopt(upgraded["process"].as_u64().unwrap());
        upgraded
    }

    /// Kills the process with this number, which has taken over, at the end of the test.
    ///
    /// # Panics
    ///
    /// When it is no number of a process.
    pub fn adopt(&mut self, process: u64) {
        self.heirs.push(Heir(Pid::from_raw(i32::try_from(process).unwrap()).unwrap()));
    }

    /// The process that has taken over last.
    #[must_use]
    pub fn heir(&self) -> Option<Pid> {
        self.heirs.last().map(|heir| heir.0)
    }

    /// Makes a principal with grants and returns its join string.
    ///
    /// # Panics
    ///
    /// When the command fails or prints no join string.
    pub async fn invite(&self, name: &str, grants: &[&str]) -> String {
        let done = self.admin(&[&["invite", name], grants].concat()).await;
        assert_eq!(done.code, Some(0), "{}", done.text());
        let quoted = |c: char| c.is_whitespace() || c == '\'' || c == '"';
        let text = done.text();
        text.split(quoted)
            .find(|word| word.starts_with("tunnel://"))
            .unwrap_or_else(|| panic!("{text}"))
            .to_owned()
    }

    /// `status --json`.
    pub async fn status(&self) -> Value {
        let done = self.admin(&["status", "--json"]).await;
        assert_eq!(done.code, Some(0), "{}", done.text());
        serde_json::from_str(&done.stdout).unwrap()
    }

    /// Where a configured ingress listens, in the order of `status`: by listener, then by host.
    pub async fn ingress(&self, number: usize) -> SocketAddr {
        let status = self.status().await;
        let listen = status["ingresses"][number]["listen"].as_str();
        listen.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{}", status["ingresses"]))
    }

    /// `/healthz` of the ops listener.
    pub async fn health(&self) -> Value {
        let answer = visitor::get(self.listen.ops, "localhost", "/healthz").await;
        serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
    }

    /// Sessions of clients, as `/healthz` counts them.
    pub async fn sessions(&self) -> u64 {
        self.health().await["sessions"].as_u64().unwrap()
    }

    /// Waits until that many sessions are there.
    pub async fn has_sessions(&self, count: u64, limit: Duration) -> Duration {
        until(&format!("{count} sessions"), limit, async || (self.sessions().await == count).then_some(()))
            .await
            .1
    }

    /// The sum of a metric over all its labels; 0 if it is not there.
    pub async fn metric(&self, name: &str) -> f64 {
        let answer = visitor::get(self.listen.ops, "localhost", "/metrics").await;
        visitor::metric(&answer.text(), name)
    }

    /// Waits until a metric, its samples with all of these labels together, is `good`. What is counted may be counted a moment
    /// after a visitor has seen it.
    ///
    /// # Panics
    ///
    /// When it does not become so: the message holds the metrics.
    pub async fn counts(&self, name: &str, labels: &[&str], good: impl Fn(f64) -> bool) {
        let what = format!("{name} with {labels:?} is as expected");
        let look = async || {
            let text = visitor::get(self.listen.ops, "localhost", "/metrics").await.text();
            text.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let sum = |lines: &Vec<String>| {
            let labelled = lines.iter().filter(|line| labels.iter().all(|label| line.contains(label)));
            labelled.map(|line| visitor::metric(line, name)).sum()
        };
        becomes(&what, SOON, look, |lines| good(sum(lines))).await;
    }

    /// The status a visitor gets for a path of a host.
    pub async fn visit(&self, host: &str, path: &str) -> u16 {
        visitor::get(self.listen.http, host, path).await.status
    }

    /// Waits until a visit to a host answers 200.
    pub async fn serves(&self, host: &str, limit: Duration) -> Duration {
        let what = format!("{host} answers 200");
        until(&what, limit, async || {
            let answer = visitor::try_get(self.listen.http, host, "/").await;
            answer.is_ok_and(|answer| answer.status == 200).then_some(())
        })
        .await
        .1
    }
}

fn state(home: &Path) -> PathBuf {
    home.join("state")
}

fn launch(program: &str, home: &Path, listen: Listen, manner: &Manner) -> Program {
    let mut tunneld = command(program, home);
    tunneld.envs(manner.environment.iter().map(|(name, value)| (name, value)));
    tunneld.arg("--state").arg(state(home));
    tunneld.args(["--tunnel", &listen.tunnel.to_string(), "--http", &listen.http.to_string()]);
    tunneld.args(["--ops", &listen.ops.to_string()]).args(&manner.flags);
    start(tunneld, &manner.wrapper)
}

async fn admin(home: &Path, arguments: &[&str], wrapper: &[String]) -> Finished {
    let mut tunneld = command(TUNNELD, home);
    tunneld.arg("--state").arg(state(home)).args(arguments);
    start(tunneld, wrapper).finished(SOON).await
}

fn start(tunneld: Command, wrapper: &[String]) -> Program {
    Program::start(if wrapper.is_empty() { tunneld } else { inside(wrapper, &tunneld) })
}

/// Asks the admin socket for the addresses until it answers.
async fn announced(home: &Path, wrapper: &[String]) -> Listen {
    let ask = async || {
        let done = admin(home, &["status", "--json"], wrapper).await;
        let status: Value = serde_json::from_str(&done.stdout).ok()?;
        let address = |name: &str| status["listen"][name].as_str().and_then(|text| text.parse().ok());
        Some(Listen {
            tunnel: address("tunnel")?,
            http: address("http")?,
            https: address("https"),
            ops: address("ops")?,
        })
    };
    until("tunneld tells where it listens", SOON, ask).await.0
}
