//! Where the book is kept: read by every login without a lock, written to disk before anybody sees a change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use arc_swap::{ArcSwap, Guard};
use ops::state_dir::{StateDir, StateDirError};
use parking_lot::Mutex;
use policy::grant::Grants;
use policy::principal::Principal;
use protocol::id::{ClientId, CredentialId};

use super::IdentityError;
use super::book::{Book, BookError};
use super::credentials::{Admit, Credential, Refusal};
use super::keys::Keys;
use super::means::Which;
use super::revocations::Revocations;

/// The file in the state directory.
const FILE: &str = "credentials.json";

/// The book and its file.
#[derive(Debug)]
pub struct Store {
    state: StateDir,
    book: ArcSwap<Book>,
    /// Those of the book, for who is not yet known to be in it.
    keys: ArcSwap<Keys>,
    /// One change at a time; held while the disk writes. What is revoked that the disk does not know yet.
    writing: Mutex<Revocations>,
    used: AtomicBool,
}

/// Why a change did not happen. Nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum Change {
    /// It made no sense.
    #[error(transparent)]
    Book(#[from] BookError),
    /// It could not be kept.
    #[error(transparent)]
    State(#[from] StateDirError),
    /// It could not be written down; a defect of ours.
    #[error("the book can not be written: {0}")]
    Document(String),
}

/// What was revoked. It is in force, whatever the disk says.
#[derive(Debug)]
pub struct Revocation {
    /// The keys that are no more.
    pub gone: Vec<CredentialId>,
    /// Why it is not kept for a restart, if it is not. It is tried again until it is.
    pub unkept: Option<StateDirError>,
}

/// A client that has proved who it is.
#[derive(Debug, Clone)]
pub struct Proved {
    /// The credential it used.
    pub credential: Credential,
    /// What is to be done before it is let in.
    pub admit: Admit,
}

impl Store {
    /// The book of this state directory; empty at the first start.
    ///
    /// # Errors
    /// The file can not be read, or is damaged.
    pub fn load(state: StateDir) -> Result<Self, IdentityError> {
        let book = read(&state)?;
        let keys = Keys::none()?.of(&book);
        Ok(Self {
            state,
            book: ArcSwap::from_pointee(book),
            keys: ArcSwap::from_pointee(keys),
            writing: Mutex::default(),
            used: AtomicBool::new(false),
        })
    }

    /// Reads the book anew, as another process has written it; what is revoked and not kept stays revoked. Blocks for as
    /// long as the disk does.
    ///
    /// # Errors
    /// As [`Store::load`]; the book is as it was.
    pub fn reload(&self) -> Result<(), IdentityError> {
        let revocations = self.writing.lock();
        let mut book = read(&self.state)?;
        let before = self.book.load();
        book.configure(before.configured().map(|(name, grants)| (name.clone(), grants.clone())));
        revocations.apply(&mut book);
        self.show(book);
        Ok(())
    }

    /// Takes the principals of the configuration over.
    pub fn configure(&self, principals: impl IntoIterator<Item = (Principal, Grants)>) {
        let _writing = self.writing.lock();
        let mut book = Book::clone(&self.book.load());
        book.configure(principals);
        self.show(book);
    }

    /// The book as it is.
    pub fn book(&self) -> Guard<Arc<Book>> {
        self.book.load()
    }

    /// Changes the book, on disk first. Blocks for as long as the disk does.
    ///
    /// # Errors
    /// [`Change`]; nothing has changed.
    pub fn change<T>(&self, edit: impl FnOnce(&mut Book) -> Result<T, BookError>) -> Result<T, Change> {
        let mut revocations = self.writing.lock();
        let mut book = Book::clone(&self.book.load());
        let result = edit(&mut book)?;
        self.write(&book, &mut revocations)?;
        self.show(book);
        Ok(result)
    }

    /// Revokes `which` of `name`'s at `now`, at once, though the disk may not take it; to say it again tries that again. Blocks
    /// for as long as the disk does.
    ///
    /// # Errors
    /// [`Change`]; nothing has changed.
    pub fn revoke(&self, name: &str, which: &Which, now: u64) -> Result<Revocation, Change> {
        let mut revocations = self.writing.lock();
        let mut book = Book::clone(&self.book.load());
        let gone = match book.revoke(name, which, now) {
            Ok(gone) => gone,
            Err(error) => revocations.said(name, which).ok_or(error)?,
        };
        let unkept = match self.write(&book, &mut revocations) {
            Ok(()) => None,
            Err(Change::State(StateDirError::HandedOver)) => return Err(StateDirError::HandedOver.into()),
            Err(Change::State(error)) => Some(error),
            Err(error) => return Err(error),
        };
        if unkept.is_some() {
            revocations.add(name, which, now, &gone);
        }
        self.show(book);
        Ok(Revocation { gone, unkept })
    }

    /// Who is revoked and would be let in again after a restart. Blocks for as long as the disk does.
    pub fn unkept(&self) -> BTreeSet<String> {
        self.writing.lock().unkept().map(str::to_owned).collect()
    }

    /// From now on this book. For who holds `writing`.
    fn show(&self, book: Book) {
        self.keys.store(Arc::new(self.keys.load().of(&book)));
        self.book.store(Arc::new(book));
    }

    /// Checks a login: that the holder of `id`'s key signed `message`, and that it may come in as `client`. Who is refused as
    /// [`Refusal::Denied`] can not tell by the time it took whether there is such a credential.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn prove(
        &self,
        id: &CredentialId,
        message: &[u8],
        proof: &[u8; 64],
        client: ClientId,
        now: SystemTime,
    ) -> Result<Proved, Refusal> {
        let checked = self.keys.load().find(id);
        // Both, whatever the first says.
        let is_proved = checked.key.verify(message, proof) & checked.is_own;
        if !is_proved {
            return Err(Refusal::Denied);
        }
        let book = self.book.load();
        // It may have gone, or changed its key, meanwhile.
        let credential = book.credential(id).filter(|it| it.key.0 == checked.key).ok_or(Refusal::Denied)?;
        let admit = credential.admit(client, now)?;
        Ok(Proved { credential: credential.clone(), admit })
    }

    /// Notes that a credential was used; [`Store::keep_used`] writes it down.
    pub fn used(&self, id: &CredentialId, now: SystemTime) {
        self.book.load().used(id, now);
        self.used.store(true, Ordering::Relaxed);
    }

    /// Writes down which credentials were used since the last time, if any were, and what is revoked and not kept yet. Blocks
    /// for as long as the disk does.
    ///
    /// # Errors
    /// The disk's; it is tried again the next time.
    pub fn keep_used(&self) -> Result<(), Change> {
        if self.state.is_handed_over() {
            return Ok(());
        }
        let mut revocations = self.writing.lock();
        if !self.used.swap(false, Ordering::Relaxed) && revocations.unkept().next().is_none() {
            return Ok(());
        }
        let written = self.write(&self.book.load(), &mut revocations);
        written.inspect_err(|_| self.used.store(true, Ordering::Relaxed))
    }

    fn write(&self, book: &Book, revocations: &mut Revocations) -> Result<(), Change> {
        let bytes = book.to_json().map_err(Change::Document)?;
        self.state.write_atomic(FILE, &bytes)?;
        if revocations.kept() {
            tracing::info!("what was revoked while the disk took nothing is kept now");
        }
        Ok(())
    }
}

fn read(state: &StateDir) -> Result<Book, IdentityError> {
    match state.read_optional(FILE)? {
        None => Ok(Book::default()),
        Some(bytes) => {
            Book::from_json(&bytes).map_err(|reason| IdentityError::Book { file: state.file(FILE), reason })
        }
    }
}
