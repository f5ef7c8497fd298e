//! The request to the service, from the head that came over the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};
use protocol::exchange::RequestHead;

use crate::headers::{content_length, restore_request};

/// A head that holds what HTTP does not allow. The opener is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request head is not valid HTTP")]
pub(super) struct InvalidHead;

/// The request that `head` asks for, without its body.
pub(super) fn request(
    head: &RequestHead,
    set_host: Option<&HeaderValue>,
) -> Result<Request<()>, InvalidHead> {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(&head.method).map_err(|_| InvalidHead)?;
    *request.uri_mut() = uri(head)?;
    *request.headers_mut() = headers(head, set_host)?;
    Ok(request)
}

/// Whether the request that `head` asks for has a body.
pub(super) const fn has_body(head: &RequestHead) -> bool {
    !head.bodyless && head.protocol.is_none()
}

fn headers(head: &RequestHead, set_host: Option<&HeaderValue>) -> Result<HeaderMap, InvalidHead> {
    let mut headers = restore_request(&head.authority, set_host, &head.fields).ok_or(InvalidHead)?;
    let lengths = headers.get_all(header::CONTENT_LENGTH).iter().count();
    let length = content_length(&headers);
    match (lengths, length) {
        (0, _) | (1, Some(0)) => {}
        (1, Some(_)) if !head.bodyless && head.protocol.is_none() => {}
        _ => return Err(InvalidHead),
    }
    if let Some(protocol) = &head.protocol {
        let protocol = HeaderValue::from_maybe_shared(protocol.clone()).map_err(|_| InvalidHead)?;
        headers.insert(header::UPGRADE, protocol);
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        // A visitor of HTTP/2 has none (RFC 8441 section 5), and a service of HTTP/1.1 wants one.
        if protocol_is_websocket(head) && !headers.contains_key(header::SEC_WEBSOCKET_KEY) {
            let key = STANDARD.encode(rand::random::<[u8; 16]>()).into_bytes();
            let key = HeaderValue::from_maybe_shared(key).map_err(|_| InvalidHead)?;
            headers.insert(header::SEC_WEBSOCKET_KEY, key);
        }
    } else if !head.bodyless && lengths == 0 {
        // Said in so many words, because hyper takes a GET without a length for one without a body.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if head.expect_continue {
        headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
    }
    Ok(headers)
}

fn protocol_is_websocket(head: &RequestHead) -> bool {
    head.protocol.as_ref().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
}

/// The target is a path alone (RFC 9112 section 3.2.1): the connection says where the service is.
fn uri(head: &RequestHead) -> Result<Uri, InvalidHead> {
    PathAndQuery::from_maybe_shared(head.path.clone()).map(Uri::from).map_err(|_| InvalidHead)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::exchange::{Field, Scheme};

    use super::*;

    fn head(method: &'static str, fields: &[(&'static str, &'static str)]) -> RequestHead {
        let field = |(name, value): &(&'static str, &'static str)| Field {
            name: Bytes::from_static(name.as_bytes()),
            value: Bytes::from_static(value.as_bytes()),
        };
        RequestHead {
            method: Bytes::from_static(method.as_bytes()),
            scheme: Scheme::Http,
            authority: Bytes::from_static(b"a.test"),
            path: Bytes::from_static(b"/a?b"),
            protocol: None,
            expect_continue: false,
            bodyless: false,
            fields: fields.iter().map(field).collect(),
        }
    }

    #[test]
    fn a_body_is_framed_in_one_way() {
        let chunked = request(&head("GET", &[]), None).unwrap();
        assert_eq!(chunked.headers()["transfer-encoding"], "chunked");
        assert!(has_body(&head("GET", &[])));
        let sized = request(&head("POST", &[("content-length", "3")]), None).unwrap();
        assert_eq!(content_length(sized.headers()), Some(3));
        assert!(!sized.headers().contains_key("transfer-encoding"));
        let mut bodyless = head("GET", &[]);
        bodyless.bodyless = true;
        assert!(!has_body(&bodyless));
        let bodyless = request(&bodyless, None).unwrap();
        assert_eq!(bodyless.headers().len(), 1);
        assert_eq!(bodyless.uri().path_and_query().unwrap(), "/a?b");
    }

    #[test]
    fn an_upgrade_is_put_together_again() {
        let mut head = head("GET", &[]);
        head.protocol = Some(Bytes::from_static(b"websocket"));
        assert!(!has_body(&head));
        let request = request(&head, None).unwrap();
        assert_eq!(request.headers()["upgrade"], "websocket");
        assert_eq!(request.headers()["connection"], "upgrade");
        assert_eq!(request.headers()["sec-websocket-key"].len(), 24);
    }

    #[test]
    fn lengths_that_contradict_are_refused() {
        let mut bodyless = head("POST", &[("content-length", "3")]);
        bodyless.bodyless = true;
        assert!(request(&bodyless, None).is_err());
        assert!(request(&head("POST", &[("content-length", "3"), ("content-length", "3")]), None).is_err());
        assert!(request(&head("POST", &[("content-length", "+3")]), None).is_err());
        assert!(request(&head("GET", &[("content-length", "0")]), None).is_ok());
    }
}
