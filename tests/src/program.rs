//! One of the real programs as a child process: its output, its signals, its end, and what it used.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::wait::until;

/// The folder with `tunneld` and `tunnelc`: `$TUNNEL_BIN_DIR`, else where this executable was built to.
#[must_use]
pub fn folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("TUNNEL_BIN_DIR") {
        return folder.into();
    }
    let executable = std::env::current_exe().unwrap();
    let folder = executable.parent().unwrap();
    if folder.ends_with("deps") { folder.parent().unwrap().to_owned() } else { folder.to_owned() }
}

/// The command for a program, with nothing of the caller's environment but the path and `TUNNEL_RUNTIME`,
/// and a home of its own.
///
/// # Panics
///
/// When the program has not been built.
#[must_use]
pub fn command(program: &str, home: &Path) -> Command {
    let path = folder().join(program);
    assert!(path.exists(), "{} is not built: make programs", path.display());
    let mut command = Command::new(path);
    command.env_clear().env("HOME", home).env("XDG_STATE_HOME", home.join("xdg")).current_dir(home);
    for kept in ["PATH", "TUNNEL_RUNTIME", "RUST_BACKTRACE"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command
}

/// The same command, run by a program that changes what it sees of the machine: `nsenter -t PID -n`, `unshare -m sh -c …`.
#[must_use]
pub fn inside(wrapper: &[String], plain: &Command) -> Command {
    let Some((first, rest)) = wrapper.split_first() else { panic!("a wrapper is a program") };
    let mut command = Command::new(first);
    command.env_clear().args(rest).arg(plain.get_program()).args(plain.get_args());
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = plain.get_current_dir() {
        command.current_dir(folder);
    }
    command
}

/// What a command that came to its end left.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All of its standard output.
    pub stdout: String,
    /// All of its standard error.
    pub stderr: String,
}

impl Finished {
    /// Both outputs, for looking for a word that may stand in either.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

#[derive(Debug, Clone, Default)]
struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    complete: Arc<AtomicBool>,
}

impl Lines {
    fn follow(&self, source: impl Read + Send + 'static) {
        let lines = self.clone();
        std::thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut line = Vec::new();
            while matches!(source.read_until(b'\n', &mut line), Ok(1..)) {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                lines.lines.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                line.clear();
            }
            lines.complete.store(true, Ordering::Release);
        });
    }

    /// Whether there will be no more: everybody who could write has gone.
    fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    fn all(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A running child. Dropping it kills it; if that happens in a failing test, its output is printed.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Program {
    /// Starts a command with its output captured and no input.
    pub fn start(mut command: Command) -> Self {
        let name =
            Path::new(command.get_program()).file_name().map(OsStr::to_string_lossy).unwrap().into_owned();
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (Lines::default(), Lines::default());
        stdout.follow(child.stdout.take().unwrap());
        stderr.follow(child.stderr.take().unwrap());
        Self { name, child, stdout, stderr }
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The lines on standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.all()
    }

    /// The lines on standard error so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.all()
    }

    /// Everything it has said so far, standard output first.
    #[must_use]
    pub fn said(&self) -> String {
        let mut lines = self.stdout();
        lines.extend(self.stderr());
        lines.join("\n")
    }

    /// Waits for a line that holds `text`, on either output.
    ///
    /// # Panics
    ///
    /// When `limit` passes without it.
    pub async fn says(&self, text: &str, limit: Duration) -> String {
        let find = async || self.said().lines().find(|line| line.contains(text)).map(str::to_owned);
        until(&format!("{} says `{text}`", self.name), limit, find).await.0
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(self.pid(), signal).unwrap();
    }

    /// Ends it with no chance to say goodbye, and waits until the kernel has taken it down.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Whether it is still running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end and returns how it was and how long it took.
    ///
    /// # Panics
    ///
    /// When it is still running after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> (ExitStatus, Duration) {
        let what = format!("{} ends", self.name);
        until(&what, limit, async || self.child.try_wait().unwrap()).await
    }

    /// Waits for its end and returns the exit code and all output.
    pub async fn finished(mut self, limit: Duration) -> Finished {
        let (status, _) = self.ended(limit).await;
        // The readers may be a moment behind the end of the process.
        let complete = async || (self.stdout.is_complete() && self.stderr.is_complete()).then_some(());
        until("output is complete", limit, complete).await;
        Finished { code: status.code(), stdout: self.stdout().join("\n"), stderr: self.stderr().join("\n") }
    }

    /// The most memory it has had resident, in bytes (`VmHWM`).
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        self.status_field("VmHWM:") * 1024
    }

    /// The memory it has resident now, in bytes (`VmRSS`).
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.status_field("VmRSS:") * 1024
    }

    /// Open file descriptors.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Processor time used by all its threads, user and system.
    #[must_use]
    pub fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The second field is the program's name in brackets and may hold anything.
        let after_name = stat.rsplit_once(')').unwrap().1;
        let ticks: u64 =
            after_name.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    fn status_field(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the runner shows it with the failed test")]
            {
                eprintln!("--- {} stdout\n{}", self.name, self.stdout().join("\n"));
                eprintln!("--- {} stderr\n{}", self.name, self.stderr().join("\n"));
            }
        }
    }
}
