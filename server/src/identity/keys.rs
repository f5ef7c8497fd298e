//! The keys that logins are proved by, found in the same steps whoever asks: how long a refusal takes tells nobody which
//! credentials there are.

use protocol::id::CredentialId;
use transport::digest::sha256;
use transport::login_key::{LoginKey, PublicKey};

use super::IdentityError;
use super::book::Book;

/// The keys of one book.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    /// Goes into every digest, so that nobody else knows whose neighbour an id is.
    salt: [u8; 32],
    /// In the order of the digests. The last has a digest that is behind every other, and nobody's key.
    places: Vec<Place>,
    nobody: Place,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    /// Of the id.
    digest: u128,
    key: PublicKey,
}

/// By what a login with some id is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checked {
    /// The id's own key, or else that of a neighbour: there is as much to do with it.
    pub(super) key: PublicKey,
    /// Whether it is its own. If not, the login is refused whatever comes of the check.
    pub(super) is_own: bool,
}

impl Keys {
    /// Those of nobody.
    pub(super) fn none() -> Result<Self, IdentityError> {
        let key = LoginKey::from_seed(&rand::random())?.public()?;
        let nobody = Place { digest: u128::MAX, key };
        Ok(Self { salt: rand::random(), places: vec![nobody], nobody })
    }

    /// Those of everybody who may log in by `book`.
    pub(super) fn of(&self, book: &Book) -> Self {
        let place = |(id, key): (&CredentialId, PublicKey)| Place { digest: self.digest(id), key };
        let mut places: Vec<Place> = book.login_keys().map(place).chain([self.nobody]).collect();
        places.sort_unstable_by_key(|place| place.digest);
        Self { salt: self.salt, places, nobody: self.nobody }
    }

    /// What a login with `id` is checked by.
    pub(super) fn find(&self, id: &CredentialId) -> Checked {
        let digest = self.digest(id);
        // As many steps for every id, found or not: how many depends on how many places there are.
        let at = self.places.partition_point(|place| place.digest < digest);
        let place = self.places.get(at).unwrap_or(&self.nobody);
        Checked { key: place.key, is_own: place.digest == digest }
    }

    fn digest(&self, id: &CredentialId) -> u128 {
        let mut salted = self.salt.to_vec();
        salted.extend_from_slice(id.as_str().as_bytes());
        let hash = sha256(&salted);
        let half = hash.first_chunk().copied().unwrap_or_default();
        u128::from_be_bytes(half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Which;
    use crate::identity::tests::{Guest, state};

    fn id(text: &str) -> CredentialId {
        CredentialId::parse(text).unwrap()
    }

    #[test]
    fn an_id_has_its_own_key_and_what_is_unknown_that_of_somebody() {
        let none = Keys::none().unwrap();
        let stranger = none.find(&id("stranger"));
        assert!(!stranger.is_own);
        assert_eq!(stranger.key, none.nobody.key);

        let (_temp, state) = state();
        let guest = Guest::new(&state, None, false);
        let keys = none.of(&guest.store.book());
        let own = keys.find(&guest.id);
        assert!(own.is_own);
        assert_eq!(own.key, guest.key.public().unwrap());
        let there = [own.key, none.nobody.key];
        for n in 0..1_000 {
            let other = keys.find(&id(&format!("other-{n}")));
            assert!(!other.is_own && there.contains(&other.key), "{n}");
        }
    }

    #[test]
    fn who_was_revoked_is_as_unknown_as_who_never_was() {
        let (_temp, state) = state();
        let guest = Guest::new(&state, None, false);
        guest.store.change(|book| book.revoke("bob", &Which::Key(guest.id.clone()), 1)).unwrap();
        let keys = Keys::none().unwrap().of(&guest.store.book());
        assert!(!keys.find(&guest.id).is_own);
        assert_eq!(keys.places.len(), 1);
    }
}
