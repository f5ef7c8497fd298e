//! The fields of a request: checked and rewritten where the visitor comes in, put together again before the service.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Method, Request, Version};
use ops::error_kind::ErrorKind;
use policy::host::{Host, HostError};
use protocol::exchange::{Field, Scheme};

use super::hop::{Listed, is_hop_by_hop};
use super::length::parse_length;
use super::upgrade::upgrade_token;
use crate::error::{Failure, Fault};

/// Counts the tunnels that a request went through, to stop loops.
pub(crate) const HOPS: &str = "x-tunnel-hops";
/// A request that went through so many tunnels goes round in circles; below 9, so that the count is one digit.
const HOPS_MAX: u8 = b'5';

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
    /// `Host` as the visitor wrote it.
    pub authority: HeaderValue,
    /// Path and query, or `*`.
    pub path: PathAndQuery,
    /// The protocol to upgrade to.
    pub upgrade: Option<HeaderValue>,
    /// The visitor waits for a 100 before it sends the body.
    pub expect_continue: bool,
    /// The tunnels that it will have gone through, as the digit that is sent.
    hops: [u8; 1],
    content_length: Option<HeaderValue>,
    listed: Listed,
}

/// What an ingress tells the service about the visitor: made once per connection.
#[derive(Debug, Clone)]
pub struct FacingVisitor {
    address: String,
    /// How it came.
    pub scheme: Scheme,
}

impl FacingVisitor {
    /// A visitor from `address`.
    #[must_use]
    pub fn new(address: IpAddr, scheme: Scheme) -> Self {
        Self { address: address.to_canonical().to_string(), scheme }
    }
}

impl Facts {
    /// Reads the facts of `request`, whose body `has_body`.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub fn of<B>(request: &Request<B>, has_body: bool) -> Result<Self, Failure> {
        let headers = request.headers();
        if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
            return Err(Fault::Method.into());
        }
        check_framing(headers)?;
        // HTTP/1.0 knows neither upgrades nor interim responses (RFC 9110 sections 7.8 and 10.1.1).
        let old = request.version() < Version::HTTP_11;
        let (host, authority) = host(request.uri(), headers)?;
        let listed = Listed::of(headers);
        listed.check()?;
        Ok(Self {
            host,
            authority,
            path: request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")),
            upgrade: if has_body || old { None } else { upgrade_token(headers) },
            expect_continue: expects_continue(headers)? && has_body && !old,
            hops: hops(headers)?,
            content_length: headers.get(header::CONTENT_LENGTH).map(canonical_length).transpose()?,
            listed,
        })
    }

    /// The fields to pass on: those of the visitor that are end to end, and our own.
    pub(crate) fn forward<'f>(
        &'f self,
        headers: &'f HeaderMap,
        visitor: &'f FacingVisitor,
    ) -> impl Iterator<Item = (&'f [u8], &'f [u8])> {
        let proto: &[u8] = match visitor.scheme {
            Scheme::Http => b"http",
            Scheme::Https => b"https",
        };
        let own = [
            (&b"x-forwarded-for"[..], visitor.address.as_bytes()),
            (b"x-forwarded-proto", proto),
            (b"x-forwarded-host", self.authority.as_bytes()),
            (HOPS.as_bytes(), &self.hops),
        ];
        let trailers = wants_trailers(headers).then_some((&b"te"[..], &b"trailers"[..]));
        let length = self.content_length.as_ref().map(|length| (&b"content-length"[..], length.as_bytes()));
        let theirs = headers.iter().filter(|(name, _)| self.passes(name));
        let theirs = theirs.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        theirs.chain(length).chain(trailers).chain(own)
    }

    fn passes(&self, name: &HeaderName) -> bool {
        let ours = matches!(*name, header::HOST | header::EXPECT | header::CONTENT_LENGTH);
        !(ours || is_hop_by_hop(name) || self.listed.names(name) || is_forwarded(name.as_str()))
    }
}

/// Whether a name is one of those that an ingress sets, or can be taken for a field that decides.
fn is_forwarded(name: &str) -> bool {
    let is = |known: &&str| {
        name.len() == known.len()
            && name.bytes().zip(known.bytes()).all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    };
    // Most names begin with none of these.
    match name.as_bytes().first() {
        Some(b'x' | b'f') => name == HOPS || FORWARDED.iter().any(is),
        Some(b'c' | b't' | b'h' | b'a' | b'u') => name.contains('_') && TWINS.iter().any(is),
        _ => false,
    }
}

fn host(uri: &Uri, headers: &HeaderMap) -> Result<(Host, HeaderValue), Failure> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(value), None) = (hosts.next(), hosts.next()) else { return Err(Fault::Host.into()) };
    let parse = |text: &str| {
        Host::from_authority(text).map_err(|error| match error {
            // A host, but none that a tunnel could have.
            HostError::IpLiteral => Failure::of(ErrorKind::NoRoute),
            _ => Fault::Host.into(),
        })
    };
    let host = parse(value.to_str().map_err(|_| Fault::Host)?)?;
    match uri.authority() {
        Some(target) if parse(target.as_str())? != host => Err(Fault::HostMismatch.into()),
        _ => Ok((host, value.clone())),
    }
}

/// The one spelling of a length: services differ about what `003` means.
fn canonical_length(value: &HeaderValue) -> Result<HeaderValue, Fault> {
    match value.as_bytes() {
        [b'1'..=b'9', ..] | [b'0'] => Ok(value.clone()),
        digits => parse_length(digits).map(HeaderValue::from).ok_or(Fault::Framing),
    }
}

/// What hyper's parser lets through and the service may read differently (RFC 9112 section 6.3).
fn check_framing(headers: &HeaderMap) -> Result<(), Fault> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else { return Ok(()) };
    if codings.next().is_some() || headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Fault::Framing);
    }
    let coding = coding.as_bytes();
    if coding.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let all_chunked = coding.split(|byte| *byte == b',').all(|word| {
        let word = word.trim_ascii();
        word.is_empty() || word.eq_ignore_ascii_case(b"chunked")
    });
    Err(if all_chunked { Fault::Framing } else { Fault::TransferCoding })
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
        let name = HeaderName::from_bytes(name).ok()?;
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
