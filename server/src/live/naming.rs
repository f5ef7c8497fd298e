//! What follows from `domain`, `public_url` and `advertise`.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use protocol::join::{HostPort, HostPortError, Pin};

use crate::admin::Bound;
use crate::identity::JoinMaker;
use crate::settings::{PublicUrl, Settings, implied};

/// What visitors type.
pub(super) fn public_url(settings: &Settings, bound: Bound) -> PublicUrl {
    let listener = || match bound.https {
        Some(address) => PublicUrl::secure(address.port()),
        None => PublicUrl::plain(bound.http.port()),
    };
    settings.public_url.clone().unwrap_or_else(listener)
}

/// What makes join strings, for a server that listens for clients at `tunnel`.
pub(crate) fn joins(settings: &Settings, tunnel: SocketAddr, pin: Pin) -> Result<JoinMaker, HostPortError> {
    let address: HostPort = match settings.advertise.clone() {
        Some(address) => address,
        None => implied(tunnel, &settings.domain, settings.is_local())?,
    };
    Ok(JoinMaker { address, pin })
}

/// What the server's own certificate is for: all that clients may be told to go to.
pub(crate) fn key_names(settings: &Settings) -> Vec<String> {
    let ip = settings.tunnel.addresses().first().copied();
    let implied = || match ip {
        Some(ip) if !ip.is_unspecified() => ip.to_string(),
        _ if settings.is_local() => IpAddr::from(Ipv4Addr::LOCALHOST).to_string(),
        _ => settings.domain.to_string(),
    };
    let first = settings.advertise.as_ref().map_or_else(implied, |address| address.host().to_owned());
    let others = settings.document.advertise.iter().map(|address| address.host().to_owned());
    let mut names = vec![settings.domain.to_string(), first];
    names.extend(others);
    let mut known = BTreeSet::new();
    names.retain(|name| known.insert(name.clone()));
    names
}
