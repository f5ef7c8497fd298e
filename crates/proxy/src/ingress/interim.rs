//! Interim responses on their way to a visitor: 1xx, ahead of the response itself (RFC 9110 section 15.2).

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use http::{Response, StatusCode};
use parking_lot::Mutex;
use protocol::exchange::ResponseHead;

use super::interim_queue::InterimQueue;
use crate::headers::restore_response;

/// Interim responses that are passed on for one request; what comes after them is dropped, which nobody is told.
pub(crate) const INTERIM_MAX: usize = 16;
/// The fields of one, in bytes; a larger one is dropped.
pub(crate) const INTERIM_SIZE_MAX: usize = 16 * 1024;

/// Where the interim responses of one request go.
#[derive(Debug)]
pub(crate) struct Interim {
    way: Way,
    left: usize,
}

#[derive(Debug)]
enum Way {
    /// HTTP/1.0 knows none.
    Nowhere,
    /// Into a connection of HTTP/1.1.
    Connection(Arc<InterimQueue>),
    /// Into a stream of HTTP/2.
    Stream(Arc<Mutex<SendResponse<Bytes>>>),
}

impl Interim {
    /// For a visitor that knows none.
    pub(crate) const fn nowhere() -> Self {
        Self { way: Way::Nowhere, left: 0 }
    }

    /// Through the queue of a connection of HTTP/1.1.
    pub(super) const fn connection(queue: Arc<InterimQueue>) -> Self {
        Self { way: Way::Connection(queue), left: INTERIM_MAX }
    }

    /// On a stream of HTTP/2.
    pub(super) const fn stream(respond: Arc<Mutex<SendResponse<Bytes>>>) -> Self {
        Self { way: Way::Stream(respond), left: INTERIM_MAX }
    }

    /// Passes `head` on. `continues`: the visitor waits for a 100.
    pub(crate) fn pass(&mut self, head: &ResponseHead, continues: bool) {
        let Ok(status) = StatusCode::from_u16(head.status) else { return };
        // hyper sends it in HTTP/1.1, when the body is read.
        let unwanted = status == StatusCode::CONTINUE && !(continues && matches!(self.way, Way::Stream(_)));
        let lengths = head.fields.iter().map(|field| field.name.len().saturating_add(field.value.len()));
        if unwanted || lengths.fold(0, usize::saturating_add) > INTERIM_SIZE_MAX {
            return;
        }
        let (Some(left), Some(headers)) = (self.left.checked_sub(1), restore_response(status, &head.fields))
        else {
            return;
        };
        self.left = left;
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        match &self.way {
            Way::Nowhere => {}
            Way::Connection(queue) => queue.push(&written(&response)),
            // One that can not be sent is of no use any more: the stream is over.
            Way::Stream(respond) => drop(respond.lock().send_informational(response)),
        }
    }
}

/// A head of HTTP/1.1.
fn written(response: &Response<()>) -> BytesMut {
    let mut out = BytesMut::new();
    out.put_slice(b"HTTP/1.1 ");
    out.put_slice(response.status().as_str().as_bytes());
    out.put_u8(b' ');
    out.put_slice(response.status().canonical_reason().unwrap_or_default().as_bytes());
    out.put_slice(b"\r\n");
    for (name, value) in response.headers() {
        out.put_slice(name.as_str().as_bytes());
        out.put_slice(b": ");
        out.put_slice(value.as_bytes());
        out.put_slice(b"\r\n");
    }
    out.put_slice(b"\r\n");
    out
}
