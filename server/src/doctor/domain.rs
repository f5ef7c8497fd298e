//! Whether names under the domain lead here, as a visitor finds it.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use ops::doctor::Findings;
use policy::host::Host;
use proxy::outside::{Outside, OutsideError};

use crate::admin::api::Status;
use crate::settings::{PublicUrl, Settings};

const CHECK: &str = "domain";
const LIMIT: Duration = Duration::from_secs(5);
/// Without a server nobody says on which port visitors would come.
const HTTP_PORT: u16 = 80;

pub(super) async fn domain(settings: &Settings, running: Option<&Status>, findings: &mut Findings) {
    let domain = settings.domain.as_str();
    if settings.is_local() {
        let says = "localhost: names under it are for this machine alone";
        return findings.good(CHECK, says);
    }
    // A name that nobody has: only a wildcard leads here.
    let host = Host::parse(&format!("doctor-{:08x}.{domain}", rand::random::<u32>()));
    let Ok(host) = host else { return findings.skip(CHECK, format_args!("{domain} has no names under it")) };
    let url = settings.public_url.clone().unwrap_or_else(|| public_url(running));
    let url = url.of(&host);
    let Some(outside) = Outside::parse(&url) else {
        return findings.skip(CHECK, format_args!("{url} is none that could be visited"));
    };
    let addresses = match outside.addresses(&outside.host, LIMIT).await {
        Ok(addresses) => addresses,
        Err(error) => {
            let todo = format!(
                "add DNS records *.{domain} (A, AAAA) with the addresses of this machine as the world sees it"
            );
            return findings.bad(CHECK, format_args!("names under {domain} lead nowhere: {error}"), todo);
        }
    };
    let shown: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let shown = shown.join(", ");
    if running.is_none() {
        let here = addresses.iter().any(|address| UdpSocket::bind(SocketAddr::new(address.ip(), 0)).is_ok());
        return match here {
            true => findings.good(CHECK, format_args!("*.{domain} is {shown}, which is this machine")),
            false => findings.warn(
                CHECK,
                format_args!("*.{domain} is {shown}, which no interface of this machine has"),
                "that is right behind a router that leads there, or behind a proxy; else correct the DNS records",
            ),
        };
    }
    match outside.visit(&addresses, "/", LIMIT).await {
        Ok(page) if page.tunnel_error() == Some("no-route") => {
            findings.good(CHECK, format_args!("*.{domain} is {shown}, and visitors of {url} come to a tunnel server"));
        }
        Ok(page) => {
            let who = page.fields.get("server").and_then(|value| value.to_str().ok()).unwrap_or("somebody else");
            findings.bad(
                CHECK,
                format_args!("visitors of {url} ({shown}) are answered {} by {who}, and not by tunneld", page.status),
                "correct the DNS records, `public_url`, or the proxy in front: it must pass every name under the domain, with its Host",
            );
        }
        Err(error @ (OutsideError::Tls { .. } | OutsideError::NoTls(_))) => findings.bad(
            CHECK,
            format_args!("{url}: {error}"),
            format_args!("visitors see a warning instead of the page: have a [[certificate]] for *.{domain} that browsers trust"),
        ),
        Err(error) => findings.warn(
            CHECK,
            format_args!("{url} ({shown}): {error}"),
            "from here it can not be seen whether visitors come in: many routers do not lead back what comes from inside.\nLook from another network; if it fails there too, open the port in firewalls and have the router lead it here",
        ),
    }
}

/// What visitors type, by where the running server listens.
fn public_url(running: Option<&Status>) -> PublicUrl {
    let port = |text: &str| text.parse::<SocketAddr>().map(|address| address.port()).ok();
    match running {
        Some(status) => match status.listen.https.as_deref().and_then(port) {
            Some(port) => PublicUrl::secure(port),
            None => PublicUrl::plain(port(&status.listen.http).unwrap_or(HTTP_PORT)),
        },
        None => PublicUrl::plain(HTTP_PORT),
    }
}
