//! What commands ask the authority for.

use std::path::PathBuf;

use policy::revision::Author;
use tokio::sync::{mpsc, oneshot};

use super::api::Applied;
use super::refusal::Refusal;
use super::runs::Wishes;

/// Commands that wait for the one before.
const WAITING_MAX: usize = 16;

/// A text that an operator wants in force.
#[derive(Debug)]
pub(crate) struct Apply {
    pub(crate) text: String,
    pub(crate) path: PathBuf,
    pub(crate) author: Author,
    pub(crate) note: Option<String>,
    pub(crate) wishes: Wishes,
    /// Undo it after so many seconds unless it is confirmed.
    pub(crate) confirm: Option<u64>,
}

/// What an answer goes back by.
pub(super) type Reply<T> = oneshot::Sender<Result<T, Refusal>>;

#[derive(Debug)]
pub(super) enum Ask {
    Apply(Apply, Reply<Applied>),
    /// Only look whether it could be.
    Prove(Apply, Reply<()>),
    Confirm(Reply<u64>),
    Rollback {
        to: Option<u64>,
        author: Author,
        note: Option<String>,
        wishes: Wishes,
        reply: Reply<Applied>,
    },
    Text(u64, Reply<String>),
}

/// Where commands hand in what they want. A clone is the same desk.
#[derive(Debug, Clone)]
pub(crate) struct Desk(mpsc::Sender<Ask>);

/// A desk, and what the authority takes from it.
pub(crate) fn desk() -> (Desk, Asked) {
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    (Desk(sender), Asked(receiver))
}

/// What was handed in.
#[derive(Debug)]
pub(crate) struct Asked(mpsc::Receiver<Ask>);

impl Asked {
    /// The next; none once nobody can ask any more.
    pub(super) async fn next(&mut self) -> Option<Ask> {
        self.0.recv().await
    }
}

impl Desk {
    /// Puts a text in force.
    pub(crate) async fn apply(&self, apply: Apply) -> Result<Applied, Refusal> {
        self.ask(|reply| Ask::Apply(apply, reply)).await
    }

    /// Looks whether a text could be put in force.
    pub(crate) async fn prove(&self, apply: Apply) -> Result<(), Refusal> {
        self.ask(|reply| Ask::Prove(apply, reply)).await
    }

    /// Keeps what would undo itself, and says which revision that is.
    pub(crate) async fn confirm(&self) -> Result<u64, Refusal> {
        self.ask(Ask::Confirm).await
    }

    /// Puts an earlier text in force once more.
    pub(crate) async fn rollback(
        &self,
        to: Option<u64>,
        author: Author,
        note: Option<String>,
        wishes: Wishes,
    ) -> Result<Applied, Refusal> {
        self.ask(|reply| Ask::Rollback { to, author, note, wishes, reply }).await
    }

    /// The text of a revision.
    pub(crate) async fn text(&self, number: u64) -> Result<String, Refusal> {
        self.ask(|reply| Ask::Text(number, reply)).await
    }

    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Ask) -> Result<T, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.0.send(make(reply)).await.map_err(|_| Refusal::Ended)?;
        answer.await.map_err(|_| Refusal::Ended)?
    }
}
