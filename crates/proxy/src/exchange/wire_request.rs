//! The request to the service, from the head that came over the wire.

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri};
use protocol::exchange::RequestHead;

use super::RequestBody;
use super::request_body::BodyFeed;
use crate::headers::{content_length, restore_request};

/// A head that holds what HTTP does not allow. The opener is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request head is not valid HTTP")]
pub(super) struct InvalidHead;

/// The request that `head` asks for, and the feed of its body, if it has one.
pub(super) fn request(
    head: &RequestHead,
    set_host: Option<&HeaderValue>,
) -> Result<(Request<RequestBody>, Option<BodyFeed>), InvalidHead> {
    let headers = headers(head, set_host)?;
    let length = content_length(&headers);
    let (feed, body) = if head.bodyless || head.protocol.is_some() {
        (None, RequestBody::empty())
    } else {
        let (feed, body) = RequestBody::streamed(length);
        (Some(feed), body)
    };
    let mut request = Request::new(body);
    *request.method_mut() = Method::from_bytes(&head.method).map_err(|_| InvalidHead)?;
    *request.uri_mut() = uri(head)?;
    *request.headers_mut() = headers;
    Ok((request, feed))
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
    } else if !head.bodyless && lengths == 0 {
        // Said in so many words, because hyper takes a GET without a length for one without a body.
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if head.expect_continue {
        headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
    }
    Ok(headers)
}

/// The pool knows where the service is: the authority is a place holder that never leaves this process.
fn uri(head: &RequestHead) -> Result<Uri, InvalidHead> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::from_static("service"));
    parts.path_and_query = Some(PathAndQuery::from_maybe_shared(head.path.clone()).map_err(|_| InvalidHead)?);
    Uri::from_parts(parts).map_err(|_| InvalidHead)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Body;
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
        let (chunked, feed) = request(&head("GET", &[]), None).unwrap();
        assert_eq!(chunked.headers()["transfer-encoding"], "chunked");
        assert!(feed.is_some());
        let (sized, _feed) = request(&head("POST", &[("content-length", "3")]), None).unwrap();
        assert_eq!(sized.body().size_hint().exact(), Some(3));
        assert!(!sized.headers().contains_key("transfer-encoding"));
        let mut bodyless = head("GET", &[]);
        bodyless.bodyless = true;
        let (bodyless, feed) = request(&bodyless, None).unwrap();
        assert!(bodyless.body().is_end_stream() && feed.is_none());
        assert_eq!(bodyless.headers().len(), 1);
        assert_eq!(bodyless.uri().path_and_query().unwrap(), "/a?b");
    }

    #[test]
    fn an_upgrade_is_put_together_again() {
        let mut head = head("GET", &[]);
        head.protocol = Some(Bytes::from_static(b"websocket"));
        let (request, feed) = request(&head, None).unwrap();
        assert_eq!(request.headers()["upgrade"], "websocket");
        assert_eq!(request.headers()["connection"], "upgrade");
        assert!(feed.is_none() && request.body().is_end_stream());
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
