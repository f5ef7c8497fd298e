//! How visitors come in at the listeners of the configuration.

use std::sync::Arc;

use proxy::directory::Directory;
use proxy::ingress::{Entrance, TlsEntrance};

use crate::admin::Bound;
use crate::admission::{self, Door};
use crate::certificates::Certificates;
use crate::config::{Document, Listener};
use crate::registry::Registry;
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
    registry: &Arc<Registry>,
    door: &Arc<Door>,
) -> Result<(Entrance, Entrance), rustls::Error> {
    let entrance = |listener: &Option<Listener>| {
        plain(document, listener.as_ref().is_some_and(|listener| listener.proxy_protocol))
    };
    let (mut http, mut https) = (entrance(&document.listen.http), entrance(&document.listen.https));
    if document.listen.http.as_ref().is_some_and(|listener| listener.redirect) {
        http.redirect = Some(secure(public_url, bound).pattern().into());
    }
    let Some(listener) = bound.https else { return Ok((http, https)) };
    let (door, known, registry) = (door.clone(), certificates.clone(), registry.clone());
    https.tls = Some(Arc::new(TlsEntrance {
        listener,
        config: certificates.tls()?,
        // A host whose TLS ends elsewhere is not served here, though the certificate may be for it too: its visitors must
        // not come over the connection of another host.
        covers: Box::new(move |sni, host| known.agree(sni, host) && !registry.passes(listener, host)),
        clients: Box::new(move |stream, peer| admission::take(&door, stream, peer)),
    }));
    Ok((http, https))
}

/// Without TLS.
pub(crate) fn plain(document: &Document, proxy_protocol: bool) -> Entrance {
    Entrance {
        tls: None,
        proxy_protocol,
        trusted: document.trusted_proxies.clone().into(),
        redirect: None,
        by_address: None,
        patience: document.timeouts.tls_handshake,
    }
}

/// Where https is, for those who came by http.
fn secure(public_url: &PublicUrl, bound: Bound) -> PublicUrl {
    match bound.https {
        Some(address) if !public_url.is_https() => PublicUrl::secure(address.port()),
        _ => public_url.clone(),
    }
}
