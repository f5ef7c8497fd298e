//! What was revoked while the disk took nothing: in force, and to be said again until it is kept.

use protocol::id::CredentialId;

use super::book::{Book, BookError};
use super::means::Which;

/// How many that are kept by now are remembered, for who says them again.
const KEPT_MAX: usize = 64;

/// All of them, the oldest first. Those that are not kept are as many as the book has lost, at most.
#[derive(Debug, Default)]
pub(super) struct Revocations(Vec<Unkept>);

/// One that the disk did not take at once.
#[derive(Debug)]
struct Unkept {
    name: String,
    which: Which,
    at: u64,
    gone: Vec<CredentialId>,
    is_kept: bool,
}

impl Revocations {
    /// The disk does not know of this one yet.
    pub(super) fn add(&mut self, name: &str, which: &Which, at: u64, gone: &[CredentialId]) {
        let before = self.0.iter_mut().find(|it| it.name == name && it.which == *which);
        if let Some(before) = before {
            (before.at, before.is_kept) = (at, false);
            let new: Vec<_> = gone.iter().filter(|id| !before.gone.contains(id)).cloned().collect();
            before.gone.extend(new);
            return;
        }
        let (name, which, gone) = (name.to_owned(), which.clone(), gone.to_vec());
        self.0.push(Unkept { name, which, at, gone, is_kept: false });
    }

    /// Which keys went when this was said before, if it was.
    pub(super) fn said(&self, name: &str, which: &Which) -> Option<Vec<CredentialId>> {
        let of_name = || self.0.iter().filter(|it| it.name == name);
        let same = of_name().find(|it| it.which == *which).map(|it| it.gone.clone());
        same.or_else(|| match which {
            Which::Key(id) => of_name().any(|it| it.gone.contains(id)).then(|| vec![id.clone()]),
            Which::All | Which::Certificate(_) => None,
        })
    }

    /// Those that the disk does not know of, by name.
    pub(super) fn unkept(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|it| !it.is_kept).map(|it| it.name.as_str())
    }

    /// Says to a book of the disk what is in force all the same.
    pub(super) fn apply(&self, book: &mut Book) {
        for it in self.0.iter().filter(|it| !it.is_kept) {
            // Whoever is not in there needs no shutting out.
            if let Err(error @ BookError::TooMany) = book.revoke(&it.name, &it.which, it.at) {
                tracing::error!(principal = it.name, %error, "what was revoked is in force no more");
            }
        }
    }

    /// The disk knows of all of them; whether it did not before.
    pub(super) fn kept(&mut self) -> bool {
        let is_news = self.unkept().next().is_some();
        self.0.iter_mut().for_each(|it| it.is_kept = true);
        let too_many = self.0.len().saturating_sub(KEPT_MAX);
        self.0.drain(..too_many);
        is_news
    }
}
