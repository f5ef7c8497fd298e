//! What visitors over TLS are shown: the certificates of the configuration, chosen by the name they ask for, read again when
//! their files change.

mod pair;
mod watch;

#[cfg(test)]
mod tests;

pub use pair::{CertificateError, Pair, load};
pub(crate) use watch::watch;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use policy::host::Host;
use policy::host_pattern::HostPattern;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::CertificateFiles;
use pair::Stamp;

/// What visitors may speak over TLS, best first.
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

/// The certificates in use; the first is shown to whoever asks for no name, or for one that none is for.
pub struct Certificates {
    shown: ArcSwap<Shown>,
    /// The files as they were when they were last looked at, good or bad. Held while something else is shown.
    seen: Mutex<Vec<Stamp>>,
}

/// What is shown, in the order of the configuration.
#[derive(Default)]
struct Shown {
    files: Vec<CertificateFiles>,
    pairs: Vec<Arc<Pair>>,
}

/// What came of looking at the files again.
#[derive(Debug)]
pub enum Refreshed {
    /// They were changed, and are in use.
    Applied(CertificateFiles),
    /// They were changed, and what is there now can not be used: the one before stays.
    Kept(CertificateError),
}

impl Certificates {
    /// Reads all of them.
    ///
    /// # Errors
    /// The first that can not be used.
    pub fn load(files: Vec<CertificateFiles>) -> Result<Self, CertificateError> {
        let seen = files.iter().map(Stamp::of).collect();
        let pairs = files.iter().map(|files| load(files).map(Arc::new)).collect::<Result<_, _>>()?;
        Ok(Self { shown: ArcSwap::from_pointee(Shown { files, pairs }), seen: Mutex::new(seen) })
    }

    /// From now on these.
    pub fn replace(&self, other: Self) {
        let mut seen = self.seen.lock();
        *seen = other.seen.into_inner();
        self.shown.store(other.shown.into_inner());
    }

    /// Reads again what has changed since. Blocks for as long as the disk does.
    pub fn refresh(&self, now: SystemTime) -> Vec<Refreshed> {
        let mut seen = self.seen.lock();
        let shown = self.shown.load_full();
        let mut pairs = shown.pairs.clone();
        let mut all = Vec::new();
        for ((files, stamp), pair) in shown.files.iter().zip(seen.iter_mut()).zip(pairs.iter_mut()) {
            // Before the files: what changes while they are read is seen the next time.
            let current = Stamp::of(files);
            if current == *stamp {
                continue;
            }
            *stamp = current;
            all.push(match load(files).and_then(|new| new.in_time(now, files)) {
                Ok(new) => {
                    *pair = Arc::new(new);
                    Refreshed::Applied(files.clone())
                }
                Err(error) => Refreshed::Kept(error),
            });
        }
        if !all.is_empty() {
            self.shown.store(Arc::new(Shown { files: shown.files.clone(), pairs }));
        }
        all
    }

    /// When the first of them ends.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.shown.load().pairs.iter().map(|pair| pair.expires).min()
    }

    /// The files and the ends of those that end before `time`.
    #[must_use]
    pub fn ending_before(&self, time: SystemTime) -> Vec<(CertificateFiles, SystemTime)> {
        let shown = self.shown.load();
        let all = shown.files.iter().zip(shown.pairs.iter()).filter(|(_, pair)| pair.expires < time);
        all.map(|(files, pair)| (files.clone(), pair.expires)).collect()
    }

    /// Whether a connection made for `sni` shows the certificate that `host` would be shown.
    #[must_use]
    pub fn agree(&self, sni: Option<&str>, host: &Host) -> bool {
        let pairs = &self.shown.load().pairs;
        let made_for = sni.and_then(|name| Host::parse(name).ok());
        choose(pairs, made_for.as_ref()) == choose(pairs, Some(host))
    }

    /// TLS 1.2 and 1.3 for visitors, without early data; tickets are encrypted with a key that changes every six hours.
    ///
    /// # Errors
    /// The library's: it has no randomness.
    pub fn tls(self: &Arc<Self>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(self.clone());
        config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
        config.ticketer = Ticketer::new()?;
        config.max_early_data_size = 0;
        Ok(Arc::new(config))
    }
}

/// The place of the certificate for `name`: one that names it, else one with a wildcard for it, else the first.
fn choose(pairs: &[Arc<Pair>], name: Option<&Host>) -> usize {
    let Some(name) = name else { return 0 };
    let exact = |pattern: &HostPattern| matches!(pattern, HostPattern::Exact(host) if host == name);
    let place = |is: &dyn Fn(&HostPattern) -> bool| pairs.iter().position(|pair| pair.names.iter().any(is));
    place(&exact).or_else(|| place(&|pattern| pattern.matches(name))).unwrap_or(0)
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let pairs = &self.shown.load().pairs;
        let name = hello.server_name().and_then(|name| Host::parse(name).ok());
        pairs.get(choose(pairs, name.as_ref())).map(|pair| pair.key.clone())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.shown.load().files).finish_non_exhaustive()
    }
}
