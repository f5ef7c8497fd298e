//! Users and passwords that were verified a moment ago, so that a page with fifty pictures costs one verification.

use std::future::Future;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use quick_cache::sync::Cache;

use super::PluginError;

/// How many are remembered; the rarest are forgotten first.
const REMEMBERED: usize = 1_024;
/// How long a right password is remembered.
const RIGHT: Duration = Duration::from_secs(300);
/// How long a wrong one is.
const WRONG: Duration = Duration::from_secs(10);

/// What stands for a user and a password: their hash under a key that this process made up and never shows.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint([u8; 32]);

#[derive(Clone, Copy)]
struct Verdict {
    accepted: bool,
    until: Instant,
}

/// The memory.
pub(super) struct Recent {
    key: hmac::Key,
    verdicts: Cache<Fingerprint, Verdict>,
    #[cfg(test)]
    misses: std::sync::atomic::AtomicU64,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, &rand::random::<[u8; 32]>()),
            verdicts: Cache::new(REMEMBERED),
            #[cfg(test)]
            misses: Default::default(),
        }
    }

    pub(super) fn fingerprint(&self, user: &str, password: &[u8]) -> Fingerprint {
        let mut context = hmac::Context::with_key(&self.key);
        // A user has no colon in it, so this is one pair only.
        context.update(user.as_bytes());
        context.update(b":");
        context.update(password);
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(context.sign().as_ref()).for_each(|(to, from)| *to = *from);
        Fingerprint(bytes)
    }

    /// What is remembered.
    pub(super) fn get(&self, fingerprint: &Fingerprint) -> Option<bool> {
        let verdict = self.verdicts.get(fingerprint)?;
        if verdict.until > Instant::now() {
            return Some(verdict.accepted);
        }
        self.verdicts.remove_if(fingerprint, |verdict| verdict.until <= Instant::now());
        None
    }

    /// What is remembered, or else what `verify` comes to; whoever asks for the same meanwhile waits for it.
    pub(super) async fn find(
        &self,
        fingerprint: &Fingerprint,
        verify: impl Future<Output = Result<bool, PluginError>>,
    ) -> Result<bool, PluginError> {
        let verdict = async {
            #[cfg(test)]
            self.misses.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let accepted = verify.await?;
            let kept = if accepted { RIGHT } else { WRONG };
            let now = Instant::now();
            Ok(Verdict { accepted, until: now.checked_add(kept).unwrap_or(now) })
        };
        Ok(self.verdicts.get_or_insert_async(fingerprint, verdict).await?.accepted)
    }

    #[cfg(test)]
    pub(super) fn misses(&self) -> u64 {
        self.misses.load(std::sync::atomic::Ordering::Relaxed)
    }
}
