//! Join strings: how they are made, and the one of `default` in `STATE/join`.

use std::time::SystemTime;

use ops::state_dir::StateDir;
use policy::principal::Principal;
use protocol::id::CredentialId;
use protocol::join::{HostPort, JoinString, Pin, Secret32};
use transport::login_key::{LoginKey, PublicKey};

use super::credentials::Credential;
use super::default_principal::DEFAULT;
use super::seen::Seen;
use super::store::{Change, Store};
use super::written::Written;
use super::{IdentityError, unix_seconds};

/// The file in the state directory.
const FILE: &str = "join";

/// What all join strings of this server have in common.
#[derive(Debug, Clone)]
pub struct JoinMaker {
    /// Where clients dial.
    pub address: HostPort,
    /// What they check the server's key by.
    pub pin: Pin,
}

impl JoinMaker {
    /// A new credential with the join string that holds its only secret.
    ///
    /// # Errors
    /// The library refuses a random seed, which it does not.
    pub fn invite(
        &self,
        principal: Principal,
        expires: Option<SystemTime>,
        once: bool,
        now: SystemTime,
    ) -> Result<(Credential, JoinString), IdentityError> {
        let id = random_id()?;
        let secret: [u8; 32] = rand::random();
        let key = LoginKey::from_seed(&secret)?.public()?;
        let credential = credential(id.clone(), principal, key, expires.map(unix_seconds), once, now);
        Ok((credential, self.join(id, Secret32::new(secret))))
    }

    /// The join string of `default`: the one of `STATE/join` if its secret is still good, else one with a new secret. The
    /// file is there afterwards, with this server's address and pin. None if `default` was revoked; then neither is the
    /// file.
    ///
    /// # Errors
    /// The state directory does not give or take a file, or the file is damaged: a new secret would shut out whoever has
    /// the old one.
    pub fn keep_default(
        &self,
        state: &StateDir,
        store: &Store,
        now: SystemTime,
    ) -> Result<Option<JoinString>, DefaultError> {
        if !store.book().has_default() {
            Self::forget_default(state)?;
            return Ok(None);
        }
        let id = CredentialId::parse(DEFAULT).map_err(|_| DefaultError::Name)?;
        let principal = Principal::parse(DEFAULT).map_err(|_| DefaultError::Name)?;
        let secret = match kept(state, store, &id)? {
            Some(kept) => kept.secret,
            None => {
                // One that is left over must not outlive a crash beside the new credential.
                Self::forget_default(state)?;
                let secret: [u8; 32] = rand::random();
                let key =
                    LoginKey::from_seed(&secret).and_then(|key| key.public()).map_err(IdentityError::from)?;
                let new = credential(id.clone(), principal, key, None, false, now);
                store.change(|book| {
                    book.set_default(new);
                    Ok(())
                })?;
                Secret32::new(secret)
            }
        };
        let join = self.join(id, secret);
        state.write_atomic(FILE, format!("{join}\n").as_bytes()).map_err(IdentityError::from)?;
        Ok(Some(join))
    }

    /// Removes `STATE/join`.
    ///
    /// # Errors
    /// The file is there and can not be removed.
    pub fn forget_default(state: &StateDir) -> Result<(), IdentityError> {
        Ok(state.remove(FILE)?)
    }

    fn join(&self, credential: CredentialId, secret: Secret32) -> JoinString {
        JoinString { credential, secret, address: self.address.clone(), pins: vec![self.pin] }
    }
}

/// Why `default` has no join string.
#[derive(Debug, thiserror::Error)]
pub enum DefaultError {
    /// Its files.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its credential can not be kept.
    #[error(transparent)]
    Change(#[from] Change),
    /// Its name is none; a defect of ours.
    #[error("{DEFAULT} is no name")]
    Name,
}

/// The path of `STATE/join`.
#[must_use]
pub fn path(state: &StateDir) -> std::path::PathBuf {
    state.file(FILE)
}

/// The join string of `default` that is in the file; none if there is no file, or if its credential is yet to be made.
fn kept(state: &StateDir, store: &Store, id: &CredentialId) -> Result<Option<JoinString>, IdentityError> {
    let damaged = |reason: &str| IdentityError::Join { file: state.file(FILE), reason: reason.to_owned() };
    let Some(bytes) = state.read_optional(FILE)? else { return Ok(None) };
    let text = String::from_utf8(bytes).map_err(|_| damaged("it is no text"))?;
    let kept: JoinString = text.trim_end().parse().map_err(|_| damaged("it is no join string"))?;
    let key = LoginKey::from_seed(kept.secret.expose())?.public()?;
    let book = store.book();
    match book.credential(id) {
        None => Ok(None),
        Some(credential) if kept.credential == *id && key == credential.key.0 => Ok(Some(kept)),
        Some(_) => Err(damaged("its secret is not the one that is known")),
    }
}

fn credential(
    id: CredentialId,
    principal: Principal,
    key: PublicKey,
    expires: Option<u64>,
    once: bool,
    now: SystemTime,
) -> Credential {
    Credential {
        id: Written(id),
        principal: Written(principal),
        key: Written(key),
        created: unix_seconds(now),
        expires,
        once,
        client: None,
        last_used: Seen::default(),
    }
}

/// Ten characters of `a-z` and `2-7`: 50 bits, so that nobody guesses the id of a credential either.
fn random_id() -> Result<CredentialId, IdentityError> {
    const ALPHABET: [char; 32] = [
        'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't',
        'u', 'v', 'w', 'x', 'y', 'z', '2', '3', '4', '5', '6', '7',
    ];
    let random: [u8; 10] = rand::random();
    let id: String = random.iter().filter_map(|byte| ALPHABET.get(usize::from(byte % 32))).collect();
    CredentialId::parse(&id).map_err(IdentityError::CredentialId)
}
