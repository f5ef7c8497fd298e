//! The new process as long as it has not taken over, and what it answers.

use std::io;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::time::Duration;

use ops::handover::{AsyncLine, Line};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::timeout;

use super::old::UpgradeError;
use super::{New, Program};

/// For every answer but the first.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// A new process that has not taken over. Dropping it ends it.
pub(super) struct Candidate {
    child: Option<Child>,
    pub(super) line: Arc<AsyncLine>,
}

impl Drop for Candidate {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Fails only if it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Candidate {
    /// Starts it.
    pub(super) fn start(program: &Program) -> Result<Self, UpgradeError> {
        let (line, theirs) = Line::pair()?;
        let line = Arc::new(line.into_async()?);
        let path = program.path().to_owned();
        let child = program.start(theirs).map_err(|error| UpgradeError::Start { path, error })?;
        tracing::info!(process = child.id(), program = %program.path().display(), "upgrading");
        Ok(Self { child: Some(child), line })
    }

    /// It has taken over: it is nobody's child, and has this number.
    pub(super) fn release(mut self) -> u32 {
        self.child.take().map_or(0, |child| child.id())
    }

    /// It has taken over, and is to stop nevertheless.
    pub(super) fn ask_to_stop(&self) {
        if let Some(child) = &self.child {
            // Fails only if it has ended.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
        }
    }

    /// Ends it because of `error`. The truer reason: a process that ends closes its line.
    pub(super) async fn why(mut self, error: UpgradeError) -> UpgradeError {
        let is_gone = matches!(&error, UpgradeError::Line(error) if is_closed(error));
        let last = match is_gone {
            true => timeout(ANSWER, answer(&self.line, |_| false)).await.ok(),
            false => None,
        };
        match (last, self.end().await) {
            (Some(Err(refused @ UpgradeError::Refused(_))), _) => refused,
            (_, Some(status)) if is_gone => UpgradeError::Ended(status),
            _ => error,
        }
    }

    /// Ends it, and waits until it writes nothing any more.
    async fn end(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        // Fails only if it has ended. Without its line it has nothing to live for.
        let _ = child.kill();
        let ended = tokio::task::spawn_blocking(move || child.wait());
        timeout(ANSWER, ended).await.ok()?.ok()?.ok()
    }
}

/// Waits for one answer.
pub(super) async fn answer(line: &AsyncLine, is_it: impl Fn(&New) -> bool) -> Result<(), UpgradeError> {
    match line.receive::<New>().await?.map(|message| message.said) {
        Some(said) if is_it(&said) => Ok(()),
        Some(New::Refused { text }) => Err(UpgradeError::Refused(text)),
        Some(_) => Err(UpgradeError::Unexpected),
        None => Err(closed()),
    }
}

/// A step that has a limit.
pub(super) async fn in_time(
    limit: Duration,
    word: &'static str,
    step: impl Future<Output = Result<(), UpgradeError>>,
) -> Result<(), UpgradeError> {
    timeout(limit, step).await.unwrap_or(Err(UpgradeError::Slow { word, limit }))
}

/// It closes its line.
pub(super) fn closed() -> UpgradeError {
    UpgradeError::Line(io::ErrorKind::UnexpectedEof.into())
}

fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
}
