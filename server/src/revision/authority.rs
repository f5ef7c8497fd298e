//! The one task that decides which configuration is in force.

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ops::config::Lack;
use ops::metrics::{Metrics, ReloadOutcome};
use ops::signals::Hangups;
use ops::systemd::{self, News};
use parking_lot::Mutex;
use policy::part::GroupPart;
use policy::revision::{Again, Author, Counts, Digest, Entry, History, Undo, Undoing, Window};
use tokio::time::{MissedTickBehavior, interval};

use super::api::Applied;
use super::board::Board;
use super::desk::{Apply, Ask, Asked};
use super::diff::parts;
use super::disk::Disk;
use super::file::{InputFile, look};
use super::reader::Reader;
use super::refusal::Refusal;
use super::resolve::{names, unresolved};
use super::runs::{NotProven, Runs, Wishes};
use super::start::{Start, emptied, is_emptied};
use super::store::{Store, digest};
use crate::config::Document;
use crate::identity::unix_seconds;

/// How often the clock and the counts are looked at.
const TICK: Duration = Duration::from_secs(1);

/// What came of a look at the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Looked {
    /// What it says was seen before.
    Old,
    /// It says something new, good or bad.
    News,
}

/// A file that could not be used is tried again after so long: what it needs may be there by then.
const RETRY: Duration = Duration::from_secs(30);

/// Decides which configuration is in force.
pub(crate) struct Authority<R> {
    runs: Arc<R>,
    reader: Reader,
    disk: Disk,
    /// Held while the disk writes, by this task's own work only.
    store: Arc<Mutex<Store>>,
    board: Arc<Board>,
    metrics: Metrics,
    file: Option<InputFile>,
    /// Its time comes when nothing waits to be confirmed any more.
    deferred: bool,
    /// What the file said when it was tried last, good or bad.
    tried: Option<Digest>,
    /// When it is tried again, unless another revision is in force by then.
    pub(super) retry: Option<(Instant, u64)>,
    window: Window,
    undoing: Undoing,
    /// How long a revision is watched.
    span: Duration,
    /// What was in force before the one that is watched.
    before: u64,
    pub(super) began: Instant,
    /// The names of services next to the server.
    names: BTreeSet<(String, u16)>,
    /// What members of groups are handed.
    groups: Vec<(String, GroupPart)>,
    /// When the revision in force is undone unless it is confirmed.
    undo_at: Option<Instant>,
}

impl<R: Runs> Authority<R> {
    /// The authority over what `start` has begun with, which is in use by `runs`.
    pub(crate) fn new(start: Start, runs: Arc<R>, board: Arc<Board>, metrics: Metrics) -> Self {
        let left =
            start.store.history().awaited().map(|awaited| awaited.left(unix_seconds(SystemTime::now())));
        let began = Instant::now();
        let retry = board.pending().and_then(|_| Some((began.checked_add(RETRY)?, board.number())));
        Self {
            runs,
            span: start.document().timeouts.watch,
            names: names(start.document()),
            groups: parts_of_groups(start.document()),
            reader: start.reader,
            disk: Disk::default(),
            store: Arc::new(Mutex::new(start.store)),
            board,
            metrics,
            file: start.file,
            deferred: false,
            tried: start.tried,
            retry,
            window: Window::default(),
            undoing: Undoing::default(),
            before: 0,
            began,
            undo_at: left.and_then(|left| began.checked_add(left)),
        }
    }

    /// Does what is asked for, what the file says and what the clock brings, for ever.
    pub(crate) async fn run(mut self, mut asked: Asked, mut hangups: Hangups) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ask = asked.next() => match ask {
                    Some(ask) => self.answer(ask).await,
                    None => return,
                },
                () = changed(&mut self.file) => {
                    self.look().await;
                }
                () = hangups.next() => {
                    systemd::tell(News::Reloading);
                    self.hang_up().await;
                    systemd::tell(News::Ready);
                }
                _ = ticks.tick() => self.tick().await,
            }
            if self.deferred && self.board.history().awaited().is_none() {
                self.deferred = false;
                self.look().await;
            }
        }
    }

    /// Whoever asked may have gone: what was done is done.
    async fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Apply(apply, reply) => drop(reply.send(self.apply(apply).await)),
            Ask::Prove(apply, reply) => drop(reply.send(self.prove(apply).await)),
            Ask::Confirm(reply) => drop(reply.send(self.confirm().await)),
            Ask::Rollback { to, author, note, wishes, reply } => {
                drop(reply.send(self.roll_back(to, author, note, wishes).await));
            }
            Ask::Text(number, reply) => drop(reply.send(self.text(number).await)),
        }
    }

    /// Puts a text in force. If that fails, nothing has changed.
    pub(super) async fn apply(&mut self, apply: Apply) -> Result<Applied, Refusal> {
        let applied = self.try_apply(apply).await;
        match &applied {
            Ok(applied) if applied.unchanged => {}
            Ok(_) => self.metrics.reload(ReloadOutcome::Applied),
            Err(_) => self.metrics.reload(ReloadOutcome::Failed),
        }
        applied
    }

    async fn try_apply(&mut self, apply: Apply) -> Result<Applied, Refusal> {
        let Apply { text, path, author, note, wishes, confirm } = apply;
        let (history, digest) = (self.board.history(), digest(text.as_bytes()));
        if history.current().is_some_and(|current| current.is_same(&path, digest)) {
            if confirm.is_some() {
                return Err(Refusal::InForce(history.number()));
            }
            if author == Author::File {
                self.commit(history.see(&path, digest), None).await?;
            }
            let (parts, remarks) = (Vec::new(), self.runs.lacks());
            let revision = history.number();
            return Ok(Applied { revision, unchanged: true, parts, remarks, undone_in_seconds: None });
        }
        self.may_replace(confirm)?;
        let document = self.read(path.clone(), text.clone(), Lack::Refused).await?;
        let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let before = history.awaited().map_or(history.number(), |awaited| awaited.back_to);
        let make = |time| {
            let note = note.clone();
            let entry = Entry { digest, length, time, author: author.clone(), path: path.clone(), note };
            Ok(history.accept(entry, confirm))
        };
        let applied = self.put(document, text, wishes, make).await?;
        // There is no going back to what nobody has had in force.
        if before > 0 && !self.span.is_zero() {
            self.before = before;
            self.window.begin(self.began.elapsed(), self.counts(), self.span);
        }
        let Applied { revision, parts, remarks, .. } = &applied;
        let (file, parts) = (path.display(), parts.len());
        tracing::info!(revision, by = %author, %file, note, parts, "a configuration is in force");
        remarks.iter().for_each(|remark| tracing::warn!(revision, "{remark}"));
        Ok(applied)
    }

    /// Whether a text could be put in force.
    async fn prove(&self, apply: Apply) -> Result<(), Refusal> {
        let document = self.read(apply.path, apply.text, Lack::Refused).await?;
        self.resolve(&document).await?;
        let number = self.board.history().next();
        let proven = self.runs.prove(document, number, apply.wishes).await;
        proven.map(drop).map_err(Refusal::Unproven)
    }

    async fn confirm(&mut self) -> Result<u64, Refusal> {
        let next = self.board.history().confirm().ok_or(Refusal::NothingAwaited)?;
        let number = next.number();
        self.commit(next, None).await?;
        self.undo_at = None;
        // Whoever keeps it has seen how it does.
        self.undoing.end();
        tracing::info!(revision = number, "the configuration is confirmed");
        Ok(number)
    }

    /// Puts an earlier text in force once more.
    pub(super) async fn roll_back(
        &mut self,
        to: Option<u64>,
        author: Author,
        note: Option<String>,
        wishes: Wishes,
    ) -> Result<Applied, Refusal> {
        let to = self.board.history().earlier(to)?;
        self.restore(to, author, note, wishes).await
    }

    async fn restore(
        &mut self,
        to: u64,
        author: Author,
        note: Option<String>,
        wishes: Wishes,
    ) -> Result<Applied, Refusal> {
        let history = self.board.history();
        let (text, from) = (self.text(to).await?, history.number());
        let path = history.get(to).map_or_else(PathBuf::new, |revision| revision.path.clone());
        // Where nobody is there to mend a file, what worked a moment ago is not left undone for the want of one.
        let lack = match author {
            Author::Watch | Author::Unconfirmed => Lack::Down,
            _ => Lack::Refused,
        };
        let document = self.read(path, text.clone(), lack).await?;
        let make = |time| Ok(history.restore(to, time, author.clone(), note)?);
        let applied = self.put(document, text, wishes, make).await?;
        self.window.close();
        self.undoing.end();
        self.metrics.reload(ReloadOutcome::RolledBack);
        let revision = applied.revision;
        tracing::warn!(revision, by = %author, "revision {from} is undone: the text of revision {to} is in force again");
        applied.remarks.iter().for_each(|remark| tracing::warn!(revision, "{remark}"));
        Ok(applied)
    }

    /// Proves, keeps, switches: what is in force was always kept before.
    async fn put(
        &mut self,
        document: Document,
        text: String,
        wishes: Wishes,
        make: impl FnOnce(u64) -> Result<History, Refusal>,
    ) -> Result<Applied, Refusal> {
        let history = self.board.history();
        let (span, before) = (document.timeouts.watch, self.text(history.number()).await?);
        let (names, groups) = (self.resolve(&document).await?, parts_of_groups(&document));
        let proven = self.runs.prove(document, history.next(), wishes).await.map_err(Refusal::Unproven)?;
        let next = make(unix_seconds(SystemTime::now()))?;
        let (revision, awaited) = (next.number(), next.awaited());
        let parts = parts(&before, &text);
        self.commit(next, Some(text)).await?;
        let remarks = self.runs.switch(proven);
        (self.span, self.names, self.groups) = (span, names, groups);
        let undone_in = awaited.map(|awaited| Duration::from_secs(awaited.seconds));
        self.undo_at = undone_in.and_then(|span| Instant::now().checked_add(span));
        let undone_in_seconds = awaited.map(|awaited| awaited.seconds);
        Ok(Applied { revision, unchanged: false, parts, remarks, undone_in_seconds })
    }

    /// The names of services that `document` has; those that are new have to be known to somebody.
    async fn resolve(&self, document: &Document) -> Result<BTreeSet<(String, u16)>, Refusal> {
        let names = names(document);
        let wrong = unresolved(names.difference(&self.names).cloned()).await;
        if wrong.is_empty() { Ok(names) } else { Err(Refusal::Unproven(NotProven::usage(wrong.join("\n")))) }
    }

    /// While a word is waited for, only what waits for one too may come.
    fn may_replace(&self, confirm: Option<u64>) -> Result<(), Refusal> {
        match self.undo_at {
            Some(at) if confirm.is_none() => {
                let left = at.saturating_duration_since(Instant::now());
                Err(Refusal::Awaiting { number: self.board.number(), left })
            }
            _ => Ok(()),
        }
    }

    /// SIGHUP: what the file says now; or else what is in force once more, with what the environment and other files say
    /// by now.
    async fn hang_up(&mut self) {
        tracing::info!("SIGHUP: the configuration is read again");
        self.tried = None;
        if self.look().await != Looked::Old {
            return;
        }
        if let Err(refusal) = self.renew().await {
            self.metrics.reload(ReloadOutcome::Failed);
            tracing::warn!("what is in force stays as it is: {}", refusal.line());
        }
    }

    /// The same text, with what it refers to. Members of groups tell parts by the number: if theirs change, so does that.
    async fn renew(&mut self) -> Result<(), Refusal> {
        let history = self.board.history();
        let Some(current) = history.current() else { return Ok(()) };
        let text = self.text(current.number).await?;
        let document = self.read(current.path.clone(), text.clone(), Lack::Refused).await?;
        let groups = parts_of_groups(&document);
        let (revision, remarks) = if groups == self.groups {
            self.resolve(&document).await?;
            let proven = self.runs.prove(document, current.number, Wishes::default()).await;
            let remarks = self.runs.switch(proven.map_err(Refusal::Unproven)?);
            (current.number, remarks)
        } else {
            self.may_replace(None)?;
            let note = Some("what it refers to has changed".to_owned());
            let make = |time| Ok(history.restore(current.number, time, Author::Hangup, note)?);
            let applied = self.put(document, text, Wishes::default(), make).await?;
            (applied.revision, applied.remarks)
        };
        self.metrics.reload(ReloadOutcome::Applied);
        tracing::info!(revision, "the configuration in force was read again");
        remarks.iter().for_each(|remark| tracing::warn!(revision, "{remark}"));
        Ok(())
    }

    /// Looks at the file, and puts it in force if it says something new.
    pub(super) async fn look(&mut self) -> Looked {
        let Some(path) = self.file.as_ref().map(|file| file.path().to_owned()) else { return Looked::Old };
        let looked_at = path.clone();
        let (text, digest) = match self.disk.look(move || look(&looked_at)).await {
            Ok(Ok(found)) => found,
            Ok(Err(error)) => {
                self.tried = None;
                return self.pend(error.line());
            }
            Err(Refusal::Ended) => return Looked::Old,
            Err(refusal) => {
                // Nothing says when it answers again.
                self.retry = Instant::now().checked_add(RETRY).map(|at| (at, self.board.number()));
                return self.pend(refusal.line());
            }
        };
        let history = self.board.history();
        if !history.is_news(&path, digest) {
            self.tried = None;
            self.board.pend(None);
            return Looked::Old;
        }
        if history.awaited().is_some() {
            self.deferred = true;
            let number = history.number();
            return self
                .pend(format!("{} waits until revision {number} is confirmed or undone", path.display()));
        }
        if self.tried.replace(digest) == Some(digest) {
            return Looked::News;
        }
        if is_emptied(&text, history.current().map_or(0, |current| current.length)) {
            return self.pend(emptied(&path));
        }
        let wishes = Wishes::default();
        let apply = Apply { text, path, author: Author::File, note: None, wishes, confirm: None };
        let applied = self.try_apply(apply).await;
        match applied {
            Ok(applied) => {
                self.retry = None;
                self.board.pend(None);
                if !applied.unchanged {
                    self.metrics.reload(ReloadOutcome::Applied);
                }
                Looked::News
            }
            Err(refusal) => {
                self.retry = Instant::now().checked_add(RETRY).map(|at| (at, self.board.number()));
                self.pend(refusal.line())
            }
        }
    }

    /// The file has to wait. Each reason is said, and counts, once.
    fn pend(&self, line: String) -> Looked {
        if self.board.pending().is_none_or(|said| *said != line) {
            self.metrics.reload(ReloadOutcome::Failed);
            let number = self.board.number();
            tracing::warn!("revision {number} stays in force, and not the configuration file: {line}");
        }
        self.board.pend(Some(line));
        Looked::News
    }

    pub(super) async fn tick(&mut self) {
        if let Some((_, number)) = self.retry.take_if(|(at, _)| *at <= Instant::now())
            && number == self.board.number()
        {
            self.tried = None;
            self.look().await;
        }
        let (now, counts, number) = (self.began.elapsed(), self.counts(), self.board.number());
        let failing = self.window.look(now, counts);
        self.window.sample(now, counts, self.span);
        if let Some(failing) = failing {
            self.window.close();
            let (author, why) = (Author::Watch, failing.to_string());
            self.undoing.begin(Undo { number, back_to: self.before, author, why }, now);
        }
        if let Some(unconfirmed) = self.unconfirmed() {
            self.undoing.begin(unconfirmed, now);
        }
        let Some(Undo { back_to, author, why, .. }) = self.undoing.due(number, now) else { return };
        tracing::error!(revision = number, "the configuration is undone: {why}");
        let note = format!("revision {number}: {why}");
        if let Err(refusal) = self.restore(back_to, author, Some(note), Wishes::default()).await {
            let then = match self.undoing.failed(self.began.elapsed()) {
                Again::After(pause) => format!("it is tried again in {} s", pause.as_secs()),
                Again::GivenUp => {
                    "it stays in force; `tunneld config rollback` undoes it once that is mended".to_owned()
                }
            };
            tracing::error!(revision = number, "it can not be undone, and {then}: {}", refusal.line());
        }
    }

    /// What to undo because nobody has confirmed it.
    fn unconfirmed(&self) -> Option<Undo> {
        let history = self.board.history();
        let awaited = history.awaited()?;
        self.undo_at.filter(|at| *at <= Instant::now())?;
        let why = format!("not confirmed in {} s", awaited.seconds);
        Some(Undo { number: history.number(), back_to: awaited.back_to, author: Author::Unconfirmed, why })
    }

    fn counts(&self) -> Counts {
        let counts = self.metrics.watched();
        Counts {
            requests: counts.requests,
            failed: counts.failed,
            probes: counts.probes,
            failed_probes: counts.failed_probes,
        }
    }

    async fn read(&self, path: PathBuf, text: String, lack: Lack) -> Result<Document, Refusal> {
        let reader = self.reader.clone();
        Ok(self.disk.read(move || reader.read(&path, &text, lack)).await??)
    }

    async fn text(&self, number: u64) -> Result<String, Refusal> {
        let history = self.board.history();
        if number != 0 && history.get(number).is_none() {
            return Err(policy::revision::NoSuchRevision::Number(number).into());
        }
        let store = self.store.clone();
        Ok(blocking(move || store.lock().text(number)).await??)
    }

    /// Keeps `next`, and shows it.
    async fn commit(&self, next: History, text: Option<String>) -> Result<(), Refusal> {
        let (store, kept) = (self.store.clone(), next.clone());
        blocking(move || store.lock().commit(kept, text.as_deref())).await??;
        self.board.publish(next);
        Ok(())
    }
}

/// Never, without a file.
async fn changed(file: &mut Option<InputFile>) {
    match file {
        Some(file) => file.changed().await,
        None => std::future::pending().await,
    }
}

fn parts_of_groups(document: &Document) -> Vec<(String, GroupPart)> {
    document.groups.iter().map(|group| (group.name.clone(), group.part.clone())).collect()
}

/// Does what blocks on the state directory where that holds up nobody. Whether it was done has to be known.
fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T, Refusal>> {
    let done = tokio::task::spawn_blocking(work);
    async move { done.await.map_err(|_| Refusal::Ended) }
}

impl<R> std::fmt::Debug for Authority<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("file", &self.file).finish_non_exhaustive()
    }
}
