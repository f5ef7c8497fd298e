//! The key behind everything that looks random and stays the same: subdomains and picked ports.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use ops::state_dir::StateDir;
use policy::principal::Principal;
use protocol::id::ClientId;

use super::IdentityError;

/// Where the key lives in the state directory: 32 random bytes.
const FILE: &str = "state.key";
/// Length of the key, in bytes.
const LENGTH: usize = 32;

/// A keyed hash over (principal, client, tunnel name): whoever does not have the key can not tell which name a client
/// gets, and whoever copies the id of a client, which is no secret, gets another name than that client does.
#[derive(Clone)]
pub struct StateKey(hmac::Key);

impl StateKey {
    /// The key of this state directory, made at the first start.
    ///
    /// # Errors
    /// The file can not be read or written, or is no key.
    pub fn load_or_create(state: &StateDir) -> Result<Self, IdentityError> {
        if let Some(bytes) = state.read_optional(FILE)? {
            let bytes = <[u8; LENGTH]>::try_from(bytes.as_slice())
                .map_err(|_| IdentityError::NotAKey { file: state.file(FILE), length: LENGTH })?;
            return Ok(Self::new(&bytes));
        }
        let bytes: [u8; LENGTH] = rand::random();
        state.write_atomic(FILE, &bytes)?;
        Ok(Self::new(&bytes))
    }

    fn new(bytes: &[u8; LENGTH]) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, bytes))
    }

    /// What the random subdomain of this tunnel is made of.
    #[must_use]
    pub fn for_host(&self, principal: &Principal, client: ClientId, tunnel: &str) -> [u8; 32] {
        self.hash(b"host\0", principal, client, tunnel)
    }

    /// What decides which ports this tunnel tries, and in which order.
    #[must_use]
    pub fn for_port(&self, principal: &Principal, client: ClientId, tunnel: &str) -> [u8; 32] {
        self.hash(b"port\0", principal, client, tunnel)
    }

    fn hash(&self, purpose: &[u8], principal: &Principal, client: ClientId, tunnel: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(purpose);
        // With its length, so that no principal can end in what another one's client begins with.
        let length = u64::try_from(principal.as_str().len()).unwrap_or(u64::MAX);
        context.update(&length.to_be_bytes());
        context.update(principal.as_str().as_bytes());
        context.update(&client.0);
        context.update(tunnel.as_bytes());
        let tag = context.sign();
        let mut hash = [0; 32];
        // HMAC-SHA256 has 32 bytes; zip says so without a way to fail.
        hash.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        hash
    }
}

impl std::fmt::Debug for StateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StateKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_key_purpose_principal_client_and_name() {
        let key = StateKey::new(&[1; 32]);
        let client = ClientId([7; 16]);
        let [ann, bob] = ["ann", "bob"].map(|name| Principal::parse(name).unwrap());
        let hash = key.for_host(&ann, client, "web");
        assert_eq!(hash, StateKey::new(&[1; 32]).for_host(&ann, client, "web"));
        assert_ne!(hash, StateKey::new(&[2; 32]).for_host(&ann, client, "web"));
        assert_ne!(hash, key.for_port(&ann, client, "web"));
        assert_ne!(hash, key.for_host(&ann, ClientId([8; 16]), "web"));
        assert_ne!(hash, key.for_host(&ann, client, "web2"));
        assert_ne!(hash, key.for_host(&bob, client, "web"));
        assert_ne!(key.for_port(&ann, client, "web"), key.for_port(&bob, client, "web"));
        assert_eq!(format!("{key:?}"), "StateKey(…)");
    }
}
