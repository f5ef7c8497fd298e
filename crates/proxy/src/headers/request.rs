//! The fields of a request: checked and rewritten where the visitor comes in, put together again before the service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};
use h2::ext::Protocol;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Version};
use ops::error_kind::ErrorKind;
use policy::host::{Host, HostError};
use protocol::exchange::{Field, Scheme};

use super::hop::{Listed, is_hop_by_hop};
use super::length::parse_length;
use super::upgrade::{connect_token, upgrade_token, websocket_key};
use crate::error::{Failure, Fault};

/// Counts the tunnels that a request went through, to stop loops.
pub(crate) const HOPS: &str = "x-tunnel-hops";
/// A request that went through so many tunnels goes round in circles; below 9, so that the count is one digit.
const HOPS_MAX: u8 = b'5';

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const FORWARDED_HOST: &str = "x-forwarded-host";
static ADDED: [HeaderName; 4] = [
    HeaderName::from_static(FORWARDED_FOR),
    HeaderName::from_static(FORWARDED_PROTO),
    HeaderName::from_static(FORWARDED_HOST),
    HeaderName::from_static(HOPS),
];
/// All that begins so is the word of a proxy.
const FAMILY: &str = "x-forwarded-";
/// What a trusted proxy may say besides.
const OTHER_FORWARDED: [&str; 5] =
    ["x-forwarded-port", "x-forwarded-server", "x-forwarded-prefix", "forwarded", "x-real-ip"];
/// Set by an ingress; what a visitor says about itself in them is not believed.
const FORWARDED: [&str; 8] = [
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-server",
    "x-forwarded-prefix",
    "forwarded",
    "x-real-ip",
];
/// Names that some services take for others when they are written with underscores.
const TWINS: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "content-type",
    "transfer-encoding",
    "authorization",
    "cookie",
    "upgrade",
    "te",
];

/// What an ingress needs to know of a request before it looks for a route.
#[derive(Debug)]
pub struct Facts {
    /// The canonical host.
    pub host: Host,
    /// `Host` or `:authority` as the visitor wrote it.
    pub authority: HeaderValue,
    /// Path and query, or `*`.
    pub path: PathAndQuery,
    /// The protocol to upgrade to.
    pub upgrade: Option<HeaderValue>,
    /// The visitor waits for a 100 before it sends the body. A service can refuse the body.
    pub expect_continue: bool,
    /// The tunnels that it will have gone through, as the digit that is sent.
    hops: [u8; 1],
    content_length: Option<HeaderValue>,
    /// In place of the visitor's fields, where it sent more than one.
    cookie: Option<HeaderValue>,
    websocket_key: Option<HeaderValue>,
    listed: Listed,
}

/// What an ingress tells the service about the visitor: made once per connection.
#[derive(Debug, Clone)]
pub struct FacingVisitor {
    /// `X-Forwarded-For`.
    chain: String,
    /// How it came.
    pub scheme: Scheme,
    /// What a trusted proxy says instead of us.
    said: Said,
}

/// What a trusted proxy says of a request; empty where nobody is trusted.
#[derive(Debug, Clone, Default)]
struct Said {
    /// Its other fields about the visitor pass.
    trusted: bool,
    proto: Option<HeaderValue>,
    host: Option<HeaderValue>,
}

impl FacingVisitor {
    /// A visitor from `address`.
    #[must_use]
    pub fn new(address: IpAddr, scheme: Scheme) -> Self {
        Self { chain: address.to_canonical().to_string(), scheme, said: Said::default() }
    }

    /// What the service hears of a request that came from `proxy`, which is trusted, with these `headers`; and the address of
    /// the visitor: the last one in `X-Forwarded-For` that is not `trusted` itself.
    #[must_use]
    pub fn forwarded(
        &self,
        proxy: IpAddr,
        headers: &HeaderMap,
        trusted: &dyn Fn(IpAddr) -> bool,
    ) -> (IpAddr, Self) {
        let chain = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
        let chain: Vec<&str> = chain.flat_map(|value| value.split(',')).map(str::trim).collect();
        let mut visitor = proxy;
        for hop in chain.iter().rev() {
            // What nobody can read was written by somebody whom nobody can trust.
            let Some(address) = address_of(hop) else { break };
            visitor = address;
            if !trusted(address) {
                break;
            }
        }
        let before = chain.iter().filter(|hop| !hop.is_empty()).map(|hop| format!("{hop}, "));
        let chain = before.chain([self.chain.clone()]).collect();
        let one = |name: &str| headers.get(name).cloned();
        let said = Said { trusted: true, proto: one(FORWARDED_PROTO), host: one(FORWARDED_HOST) };
        (visitor, Self { chain, scheme: self.scheme, said })
    }

    /// How the visitor came to the first of those who are trusted.
    pub(crate) fn came_by(&self) -> Scheme {
        self.said.proto.as_ref().and_then(scheme_of).unwrap_or(self.scheme)
    }
}

/// How the visitor of a request came, as an ingress says in its `headers`.
pub(crate) fn came_by(headers: &HeaderMap) -> Option<Scheme> {
    headers.get(FORWARDED_PROTO).and_then(scheme_of)
}

fn scheme_of(proto: &HeaderValue) -> Option<Scheme> {
    match proto.as_bytes() {
        b"http" => Some(Scheme::Http),
        b"https" => Some(Scheme::Https),
        _ => None,
    }
}

impl Facts {
    /// Reads the facts of `request`, whose body `has_body`. One that names the listener by an IP address is for the host
    /// `by_address`, or for nobody.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn of<B>(request: &Request<B>, has_body: bool, by_address: Option<&Host>) -> Result<Self, Failure> {
        let headers = request.headers();
        let connect = match request.extensions().get::<Protocol>() {
            Some(protocol) => Some(connect_token(protocol).ok_or(Fault::Method)?),
            None if matches!(*request.method(), Method::CONNECT | Method::TRACE) => {
                return Err(Fault::Method.into());
            }
            None => None,
        };
        // HTTP/1.0 knows neither upgrades nor interim responses (RFC 9110 sections 7.8 and 10.1.1).
        let old = request.version() < Version::HTTP_11;
        let (host, authority) = host(request, by_address)?;
        let listed = Listed::of(headers);
        listed.check()?;
        Ok(Self {
            host,
            authority,
            path: request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            websocket_key: connect.as_ref().and_then(|protocol| websocket_key(protocol, headers)),
            upgrade: match connect {
                None if has_body || old => None,
                None => upgrade_token(headers),
                connect => connect,
            },
            cookie: if request.version() == Version::HTTP_2 { joined_cookies(headers) } else { None },
            expect_continue: expects_continue(headers)? && has_body && !old,
            hops: hops(headers)?,
            content_length: stated_length(headers)?,
            listed,
        })
    }

    /// The port that the visitor named besides the host.
    pub(crate) fn port(&self) -> Option<u16> {
        port_of(self.authority.as_bytes())
    }

    /// The visitor's fields without those that its `Connection` names, and with one `Cookie`: what plugins see and change.
    pub(crate) fn unlisted(&self, headers: &HeaderMap) -> HeaderMap {
        let mut unlisted = headers.clone();
        for name in self.listed.all() {
            unlisted.remove(name);
        }
        if let Some(cookie) = &self.cookie {
            unlisted.insert(header::COOKIE, cookie.clone());
        }
        unlisted
    }

    /// The fields to pass on: those of the visitor that are end to end, and our own. Those that are `set` take the place of
    /// both. `unlisted`: they are already without those that `Connection` names, and what has such a name now comes from a
    /// plugin.
    pub(crate) fn forward<'f>(
        &'f self,
        headers: &'f HeaderMap,
        unlisted: bool,
        visitor: &'f FacingVisitor,
        set: &'f [(HeaderName, HeaderValue)],
    ) -> impl Iterator<Item = (&'f [u8], &'f [u8])> {
        let proto: &[u8] = match visitor.scheme {
            Scheme::Http => b"http",
            Scheme::Https => b"https",
        };
        let own = [
            (FORWARDED_FOR.as_bytes(), visitor.chain.as_bytes()),
            (FORWARDED_PROTO.as_bytes(), visitor.said.proto.as_ref().map_or(proto, HeaderValue::as_bytes)),
            (FORWARDED_HOST.as_bytes(), visitor.said.host.as_ref().unwrap_or(&self.authority).as_bytes()),
            (HOPS.as_bytes(), &self.hops),
        ];
        let trailers = wants_trailers(headers).then_some((&b"te"[..], &b"trailers"[..]));
        let length = self.content_length.as_ref().map(|length| (&b"content-length"[..], length.as_bytes()));
        let trusted = visitor.said.trusted;
        let theirs = headers.iter().filter(move |(name, _)| self.passes(name, unlisted, trusted));
        let theirs = theirs.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        let cookie = if unlisted { &None } else { &self.cookie };
        let made = [(&b"cookie"[..], cookie), (b"sec-websocket-key", &self.websocket_key)];
        let made = made.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?.as_bytes())));
        let unset =
            move |(name, _): &(&[u8], &[u8])| !set.iter().any(|(set, _)| set.as_str().as_bytes() == *name);
        let set = set.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        theirs.chain(length).chain(trailers).chain(made).chain(own).filter(unset).chain(set)
    }

    fn passes(&self, name: &HeaderName, unlisted: bool, trusted: bool) -> bool {
        let ours = matches!(*name, header::HOST | header::EXPECT | header::CONTENT_LENGTH)
            || (*name == header::COOKIE && self.cookie.is_some() && !unlisted);
        let listed = !unlisted && self.listed.names(name);
        !(ours || is_hop_by_hop(name) || listed || is_forwarded(name.as_str()))
            || (trusted && is_other_forwarded(name.as_str()) && !listed)
    }
}

/// The port in an authority.
pub(crate) fn port_of(authority: &[u8]) -> Option<u16> {
    Authority::try_from(authority).ok()?.port_u16()
}

/// An address in `X-Forwarded-For`: some write a port behind it, and brackets around IPv6.
fn address_of(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    let address = address.or_else(|_| hop.trim_matches(['[', ']']).parse());
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// Whether a field is none that a rule can set: what it says is known here, or is of one connection only.
pub(crate) fn is_ours(name: &HeaderName) -> bool {
    let decides = matches!(*name, header::HOST | header::EXPECT | header::CONTENT_LENGTH);
    decides || is_hop_by_hop(name) || name == HOPS
}

/// Whether a trusted proxy is believed in it, besides what is looked at here.
fn is_other_forwarded(name: &str) -> bool {
    OTHER_FORWARDED.contains(&name) || (name.starts_with(FAMILY) && !FORWARDED.contains(&name))
}

/// Whether a name is one of those that an ingress sets, or can be taken for a field that decides.
pub(crate) fn is_forwarded(name: &str) -> bool {
    let is = |known: &&str| {
        name.len() == known.len()
            && name.bytes().zip(known.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    };
    // Most names begin with none of these.
    match name.as_bytes().first() {
        Some(b'x' | b'f') => {
            let start = name.get(..FAMILY.len());
            name == HOPS
                || FORWARDED.iter().any(is)
                || start.is_some_and(|start| start.replace('_', "-") == FAMILY)
        }
        Some(b'c' | b't' | b'h' | b'a' | b'u') => name.contains('_') && TWINS.iter().any(is),
        _ => false,
    }
}

/// The host, and how the visitor wrote it. A request of HTTP/1.1 has a `Host` in any case (RFC 9112 section 3.2), one of
/// HTTP/2 an `:authority` or a `host`; where there are two they have to be the same (RFC 9113 section 8.3.1).
fn host<B>(request: &Request<B>, by_address: Option<&Host>) -> Result<(Host, HeaderValue), Failure> {
    let parse = |text: &str| match (Host::from_authority(text), by_address) {
        (Ok(host), _) => Ok(host),
        (Err(HostError::IpLiteral), Some(host)) if is_address(text) => Ok(host.clone()),
        // A host, but none that a tunnel could have.
        (Err(HostError::IpLiteral), None) => Err(Failure::of(ErrorKind::NoRoute)),
        (Err(_), _) => Err(Fault::Host.into()),
    };
    let target = request.uri().authority().map(|target| (parse(target.as_str()), target));
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (target, hosts.next(), hosts.next()) {
        (Some((host, target)), None, _) if request.version() == Version::HTTP_2 => {
            Ok((host?, HeaderValue::from_str(target.as_str()).map_err(|_| Fault::Host)?))
        }
        (target, Some(value), None) => {
            let text = value.to_str().map_err(|_| Fault::Host)?;
            let host = parse(text)?;
            let differs = |target: &Authority| is_address(text) && target.as_str() != text;
            if let Some((named, target)) = target
                && (named? != host || differs(target))
            {
                return Err(Fault::HostMismatch.into());
            }
            Ok((host, value.clone()))
        }
        _ => Err(Fault::Host.into()),
    }
}

/// An IP address with or without a port, as an authority has it.
fn is_address(text: &str) -> bool {
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    text.parse::<SocketAddr>().is_ok()
        || text.parse::<Ipv4Addr>().is_ok()
        || inside.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// HTTP/2 may split the field, HTTP/1.1 may not (RFC 9113 section 8.2.3).
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (first, second) = (crumbs.next()?, crumbs.next()?);
    let mut joined = BytesMut::from(first.as_bytes());
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.put_slice(b"; ");
        joined.put_slice(crumb.as_bytes());
    }
    HeaderValue::from_maybe_shared(joined.freeze()).ok()
}

/// The one length that is stated, in its one spelling: services differ about what `003` means. That nothing else frames
/// the body has been seen to: by the guard before HTTP/1.1, by the parser of HTTP/2.
fn stated_length(headers: &HeaderMap) -> Result<Option<HeaderValue>, Fault> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => match value.as_bytes() {
            [b'1'..=b'9', ..] | [b'0'] => Ok(Some(value.clone())),
            digits => parse_length(digits).map(HeaderValue::from).map(Some).ok_or(Fault::Framing),
        },
        _ => Err(Fault::Framing),
    }
}

fn expects_continue(headers: &HeaderMap) -> Result<bool, Fault> {
    let mut expectations = headers.get_all(header::EXPECT).iter();
    match (expectations.next(), expectations.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(Fault::Expectation),
    }
}

fn wants_trailers(headers: &HeaderMap) -> bool {
    let is_trailers = |word: &[u8]| word.trim_ascii().eq_ignore_ascii_case(b"trailers");
    headers
        .get_all(header::TE)
        .iter()
        .any(|value| value.as_bytes().split(|byte| *byte == b',').any(is_trailers))
}

fn hops(headers: &HeaderMap) -> Result<[u8; 1], Fault> {
    let Some(value) = headers.get(HOPS) else { return Ok([b'1']) };
    match value.as_bytes() {
        [digit @ b'0'..HOPS_MAX] => Ok([digit.saturating_add(1)]),
        _ => Err(Fault::Loop),
    }
}

/// The name of a field. Those that an ingress adds to every request are not copied.
fn field_name(name: &[u8]) -> Option<HeaderName> {
    let added = ADDED.iter().find(|added| added.as_str().as_bytes() == name);
    added.cloned().or_else(|| HeaderName::from_bytes(name).ok())
}

/// The fields of a request to a service, from those that came over the wire. Names and values share the memory of the
/// head; what a foreign opener left in of the connection it came by is dropped.
pub(crate) fn restore_request(
    authority: &Bytes,
    set_host: Option<&HeaderValue>,
    fields: &[Field],
) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(fields.len().saturating_add(4));
    let host = match set_host {
        Some(host) => host.clone(),
        None => HeaderValue::from_maybe_shared(authority.clone()).ok()?,
    };
    headers.insert(header::HOST, host);
    for Field { name, value } in fields {
        let name = field_name(name)?;
        let ours = matches!(name, header::HOST | header::EXPECT);
        let trailers = name == header::TE && value.eq_ignore_ascii_case(b"trailers");
        if !ours && (trailers || !is_hop_by_hop(&name)) {
            headers.append(name, HeaderValue::from_maybe_shared(value.clone()).ok()?);
        }
    }
    Some(headers)
}

#[cfg(test)]
mod tests;
