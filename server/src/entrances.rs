//! How visitors come in at the listeners of the configuration.

use std::sync::Arc;

use proxy::ingress::{Entrance, TlsEntrance};

use crate::admin::Bound;
use crate::admission::{self, Door};
use crate::certificates::Certificates;
use crate::config::{Document, Listener};
use crate::settings::PublicUrl;

/// Those of `listen.http` and of `listen.https`.
///
/// # Errors
/// The library's: TLS has no randomness.
pub(crate) fn entrances(
    document: &Document,
    bound: Bound,
    public_url: &PublicUrl,
    certificates: &Arc<Certificates>,
    door: &Arc<Door>,
) -> Result<(Entrance, Entrance), rustls::Error> {
    let trusted: Arc<[_]> = document.trusted_proxies.clone().into();
    let entrance = |listener: &Option<Listener>| Entrance {
        tls: None,
        proxy_protocol: listener.as_ref().is_some_and(|listener| listener.proxy_protocol),
        trusted: trusted.clone(),
        redirect: None,
        by_address: None,
        patience: document.timeouts.tls_handshake,
    };
    let (mut http, mut https) = (entrance(&document.listen.http), entrance(&document.listen.https));
    if document.listen.http.as_ref().is_some_and(|listener| listener.redirect) {
        http.redirect = Some(secure(public_url, bound).pattern().into());
    }
    let (door, known) = (door.clone(), certificates.clone());
    https.tls = Some(Arc::new(TlsEntrance {
        config: certificates.tls()?,
        covers: Box::new(move |sni, host| known.agree(sni, host)),
        clients: Box::new(move |stream, peer| admission::take(&door, stream, peer)),
    }));
    Ok((http, https))
}

/// Where https is, for those who came by http.
fn secure(public_url: &PublicUrl, bound: Bound) -> PublicUrl {
    match bound.https {
        Some(address) if !public_url.is_https() => PublicUrl::secure(address.port()),
        _ => public_url.clone(),
    }
}
