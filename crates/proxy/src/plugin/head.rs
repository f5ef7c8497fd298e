//! What plugins see of a request and of its response, and what they may change.

use std::net::SocketAddr;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{Extensions, HeaderMap, HeaderName, Method, StatusCode};
use policy::host::Host;
use protocol::exchange::Scheme;

/// The head of a request.
#[derive(Debug, Clone)]
pub struct RequestHead {
    method: Method,
    host: Host,
    port: Option<u16>,
    scheme: Scheme,
    visitor: SocketAddr,
    trace: [u8; 16],
    /// Path and query, as they go to the service.
    pub path: PathAndQuery,
    /// The fields. Those that concern one connection, tell the length of the body, or are set by the ingress
    /// (`X-Forwarded-*` among them) are written anew behind the plugins, whatever is done to them here.
    pub headers: HeaderMap,
    /// Who the visitor is, as far as a plugin has found out.
    pub principal: Option<Arc<str>>,
    /// What plugins keep from one phase of this request to the next, and tell each other.
    pub extensions: Extensions,
}

impl RequestHead {
    /// The head of a request by `visitor` for `host`, with no fields.
    #[must_use]
    pub fn new(method: Method, scheme: Scheme, host: Host, path: PathAndQuery, visitor: SocketAddr) -> Self {
        Self {
            method,
            host,
            port: None,
            scheme,
            visitor,
            trace: [0; 16],
            path,
            headers: HeaderMap::new(),
            principal: None,
            extensions: Extensions::new(),
        }
    }

    pub(crate) fn with(self, port: Option<u16>, headers: HeaderMap, trace: [u8; 16]) -> Self {
        Self { port, headers, trace, ..self }
    }

    /// Removes a field that only a plugin may set, and those that a service may take for it: many read `X_User` as
    /// `X-User`.
    pub fn take_over(&mut self, name: &HeaderName) {
        self.headers.remove(name);
        let is_twin = |other: &HeaderName| {
            let (other, name) = (other.as_str(), name.as_str());
            let same = |(a, b): (u8, u8)| a == b || matches!((a, b), (b'_' | b'-', b'_' | b'-'));
            other.len() == name.len() && other.bytes().zip(name.bytes()).all(same)
        };
        if name.as_str().contains(['-', '_']) {
            let twins: Vec<_> = self.headers.keys().filter(|other| is_twin(other)).cloned().collect();
            for twin in twins {
                self.headers.remove(twin);
            }
        }
    }

    /// The method.
    #[must_use]
    pub const fn method(&self) -> &Method {
        &self.method
    }

    /// The canonical host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port that the visitor named besides the host, unless it is the one that goes without saying.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let usual = match self.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        };
        self.port.filter(|port| *port != usual)
    }

    /// How the visitor came, as far as here: a trusted proxy may say how it came there.
    #[must_use]
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// `http` or `https`.
    #[must_use]
    pub const fn scheme_name(&self) -> &'static str {
        match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// Where the visitor is. An IPv4 address is never written as IPv6.
    #[must_use]
    pub const fn visitor(&self) -> SocketAddr {
        self.visitor
    }

    /// The id of the trace.
    #[must_use]
    pub const fn trace(&self) -> [u8; 16] {
        self.trace
    }
}

/// The head of a response.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    status: StatusCode,
    /// The fields. Those that concern one connection or tell the length of the body stay as they are, whatever is done to
    /// them here.
    pub headers: HeaderMap,
}

impl ResponseHead {
    /// A head.
    #[must_use]
    pub const fn new(status: StatusCode, headers: HeaderMap) -> Self {
        Self { status, headers }
    }

    /// The status.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }
}
