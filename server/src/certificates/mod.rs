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
}

/// Those of a configuration, in its order.
type Shown = Vec<Place>;

/// One of them.
#[derive(Debug, Clone)]
struct Place {
    files: CertificateFiles,
    /// The files as they were when they were last looked at, good or bad.
    seen: Stamp,
    /// None if it never could be used.
    pair: Option<Arc<Pair>>,
    /// Why what is in the files now can not be used.
    wrong: Option<Arc<CertificateError>>,
}

/// What came of looking at the files again.
#[derive(Debug)]
pub enum Refreshed {
    /// They were changed, and are in use.
    Applied(CertificateFiles),
    /// They were changed, and what is there now can not be used: the one before stays, if there is one.
    Kept(Arc<CertificateError>),
}

impl Certificates {
    /// Reads all of them.
    ///
    /// # Errors
    /// The first that can not be used.
    pub fn load(files: Vec<CertificateFiles>) -> Result<Self, CertificateError> {
        let read = |files: CertificateFiles| {
            let (seen, pair) = (Stamp::of(&files), load(&files)?);
            Ok::<_, CertificateError>(Place { files, seen, pair: Some(Arc::new(pair)), wrong: None })
        };
        Ok(Self::of(files.into_iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Reads those that can be used; in the place of another one stays what `before` had of its files, if it had them.
    #[must_use]
    pub fn load_good(files: Vec<CertificateFiles>, before: &Self) -> Self {
        let before = before.shown.load();
        let read = |files: CertificateFiles| {
            let seen = Stamp::of(&files);
            match load(&files) {
                Ok(pair) => Place { files, seen, pair: Some(Arc::new(pair)), wrong: None },
                Err(error) => {
                    let pair = before.iter().find(|place| place.files.is(&files));
                    let pair = pair.and_then(|place| place.pair.clone());
                    Place { files, seen, pair, wrong: Some(Arc::new(error)) }
                }
            }
        };
        Self::of(files.into_iter().map(read).collect())
    }

    fn of(shown: Shown) -> Self {
        Self { shown: ArcSwap::from_pointee(shown) }
    }

    /// From now on these.
    pub fn replace(&self, other: Self) {
        self.shown.store(other.shown.into_inner());
    }

    /// Reads again what has changed since, and what could not be read. Blocks for as long as the disk does.
    pub fn refresh(&self, now: SystemTime) -> Vec<Refreshed> {
        let before = self.shown.load_full();
        let mut shown = Shown::clone(&before);
        let all: Vec<_> = shown.iter_mut().filter_map(|place| place.refresh(now)).collect();
        // A disk that does not answer holds up nobody who has others to show; what was seen is of those before then.
        let replaced = !Arc::ptr_eq(&self.shown.compare_and_swap(&before, Arc::new(shown)), &before);
        if replaced { Vec::new() } else { all }
    }

    /// When the first of them ends.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        pairs(&self.shown.load()).map(|pair| pair.expires).min()
    }

    /// The files and the ends of those that end before `time`.
    #[must_use]
    pub fn ending_before(&self, time: SystemTime) -> Vec<(CertificateFiles, SystemTime)> {
        let shown = self.shown.load();
        let ends = |place: &Place| Some((place.files.clone(), place.pair.as_ref()?.expires));
        shown.iter().filter_map(ends).filter(|(_, end)| *end < time).collect()
    }

    /// Why nobody can be shown any; none if somebody can, or if there are none.
    #[must_use]
    pub fn down(&self) -> Option<String> {
        let shown = self.shown.load();
        let first = shown.iter().find_map(|place| place.wrong.as_ref())?;
        pairs(&shown).next().is_none().then(|| format!("there is no certificate to show: {first}"))
    }

    /// What is wrong with their files now, a line each.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        self.shown.load().iter().filter_map(Place::line).collect()
    }

    /// Whether a connection made for `sni` shows the certificate that `host` would be shown.
    #[must_use]
    pub fn agree(&self, sni: Option<&str>, host: &Host) -> bool {
        let shown = self.shown.load();
        let made_for = sni.and_then(|name| Host::parse(name).ok());
        let place = |name| choose(&shown, name).map(|(place, _)| place);
        place(made_for.as_ref()) == place(Some(host))
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

impl Place {
    fn refresh(&mut self, now: SystemTime) -> Option<Refreshed> {
        // Before the files: what changes while they are read is seen the next time.
        let current = Stamp::of(&self.files);
        if current == self.seen && self.wrong.as_ref().is_none_or(|wrong| !wrong.may_pass()) {
            return None;
        }
        self.seen = current;
        // One that has expired is better than none, and not than one that has not.
        let new = load(&self.files).and_then(|new| match self.pair {
            Some(_) => new.in_time(now, &self.files),
            None => Ok(new),
        });
        match new {
            Ok(new) => {
                (self.pair, self.wrong) = (Some(Arc::new(new)), None);
                Some(Refreshed::Applied(self.files.clone()))
            }
            Err(error) => {
                let text = error.to_string();
                let is_known = self.wrong.as_ref().is_some_and(|known| known.to_string() == text);
                let wrong = self.wrong.insert(Arc::new(error)).clone();
                (!is_known).then_some(Refreshed::Kept(wrong))
            }
        }
    }

    fn line(&self) -> Option<String> {
        let wrong = self.wrong.as_ref()?;
        let cert = self.files.cert.display();
        Some(match self.pair {
            Some(_) => format!(
                "the certificate {cert} has changed and can not be used: the one before is shown until the server ends: {wrong}"
            ),
            None => format!("the certificate {cert} is not shown to anybody: {wrong}"),
        })
    }
}

fn pairs(shown: &Shown) -> impl Iterator<Item = &Arc<Pair>> {
    shown.iter().filter_map(|place| place.pair.as_ref())
}

/// The certificate for `name`, and the how manieth it is: one that names it, else one with a wildcard for it, else the first.
fn choose<'s>(shown: &'s Shown, name: Option<&Host>) -> Option<(usize, &'s Arc<Pair>)> {
    let all = || pairs(shown).enumerate();
    let Some(name) = name else { return all().next() };
    let exact = |pattern: &HostPattern| matches!(pattern, HostPattern::Exact(host) if host == name);
    let find = |is: &dyn Fn(&HostPattern) -> bool| all().find(|(_, pair)| pair.names.iter().any(is));
    find(&exact).or_else(|| find(&|pattern| pattern.matches(name))).or_else(|| all().next())
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().and_then(|name| Host::parse(name).ok());
        choose(&self.shown.load(), name.as_ref()).map(|(_, pair)| pair.key.clone())
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("shown", &self.shown.load()).finish_non_exhaustive()
    }
}
