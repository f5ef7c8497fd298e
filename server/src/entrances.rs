//! How visitors come in at the listeners of the configuration.

use proxy::ingress::Entrance;

use crate::admin::Bound;
use crate::config::Document;
use crate::settings::PublicUrl;

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
pub(crate) fn secure(public_url: &PublicUrl, bound: Bound) -> PublicUrl {
    match bound.https {
        Some(address) if !public_url.is_https() => PublicUrl::secure(address.port()),
        _ => public_url.clone(),
    }
}
