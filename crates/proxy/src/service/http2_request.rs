//! What of a request and its response is said differently in HTTP/2.

use std::str::FromStr;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use h2::ext::Protocol;
use http::header::{self, HeaderValue};
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, Version};

use crate::exchange::RequestBody;
use crate::incoming::IncomingBody;

/// What a service appends to the key of a WebSocket (RFC 6455 section 1.3).
const WEBSOCKET_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What an upgrade was asked for with, which HTTP/2 says in another way (RFC 8441 section 5).
#[derive(Debug)]
pub(super) struct Upgrade {
    protocol: HeaderValue,
    /// What the visitor of HTTP/1.1 expects to be answered.
    key: Option<HeaderValue>,
}

/// Rewrites a request of HTTP/1.1 into one of HTTP/2 (RFC 9113 section 8.3.1); with the upgrade that it asks for, which
/// becomes an extended CONNECT. None if its `Host` is no authority.
pub(super) fn into_http2(request: &mut Request<RequestBody>, https: bool) -> Option<Option<Upgrade>> {
    let headers = request.headers_mut();
    let host = headers.remove(header::HOST)?;
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONNECTION);
    let protocol = headers.remove(header::UPGRADE);
    let upgrade = protocol.map(|protocol| {
        let key = headers.remove(header::SEC_WEBSOCKET_KEY);
        Upgrade { protocol, key }
    });
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(if https { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::from_str(host.to_str().ok()?).ok()?);
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    *request.version_mut() = Version::HTTP_2;
    if let Some(upgrade) = &upgrade {
        let protocol = upgrade.protocol.to_str().ok()?.to_ascii_lowercase();
        *request.method_mut() = Method::CONNECT;
        request.extensions_mut().insert(Protocol::from(protocol.as_str()));
    }
    Some(upgrade)
}

impl Upgrade {
    /// Rewrites the response to an extended CONNECT into what HTTP/1.1 says: 101 is how a tunnel says it on the wire.
    pub(super) fn answered(self, response: &mut Response<IncomingBody>) {
        if response.status() != StatusCode::OK {
            return;
        }
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        if let Some(key) = self.key.filter(|_| self.protocol.as_bytes().eq_ignore_ascii_case(b"websocket")) {
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept(&key));
        }
        headers.insert(header::UPGRADE, self.protocol);
    }
}

/// The answer to a key (RFC 6455 section 4.2.2).
fn accept(key: &HeaderValue) -> HeaderValue {
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key.as_bytes(), WEBSOCKET_GUID].concat());
    HeaderValue::from_maybe_shared(STANDARD.encode(hash).into_bytes()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&'static str, &'static str)]) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::empty());
        *request.uri_mut() = Uri::from_static("http://service/a?b");
        for (name, value) in fields {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn a_request_says_its_host_in_its_target() {
        let mut plain =
            request(&[("host", "App.test:8443"), ("transfer-encoding", "chunked"), ("te", "trailers")]);
        assert!(into_http2(&mut plain, true).unwrap().is_none());
        assert_eq!(plain.uri(), "https://App.test:8443/a?b");
        assert_eq!(plain.headers().len(), 1);
        assert!(into_http2(&mut request(&[("host", "a b")]), true).is_none());
    }

    #[test]
    fn an_upgrade_becomes_an_extended_connect() {
        let mut socket = request(&[
            ("host", "a.test"),
            ("connection", "upgrade"),
            ("upgrade", "WebSocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
        ]);
        let upgrade = into_http2(&mut socket, false).unwrap().unwrap();
        assert_eq!(socket.method(), Method::CONNECT);
        assert_eq!(socket.extensions().get::<Protocol>().unwrap().as_str(), "websocket");
        assert_eq!(socket.headers().len(), 1);
        assert_eq!(accept(&upgrade.key.unwrap()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
