//! A request on a stream of HTTP/2.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Context;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, SendStream};
use http::{Method, Request, Response};
use http_body::Body;

use super::unanswered::Unanswered;
use crate::exchange::{Interims, RequestBody};
use crate::http2::{Outgoing, StreamIo};
use crate::incoming::IncomingBody;

/// What of a request is still to be sent when the head of its response has come.
pub(crate) enum ServiceStream {
    /// Nothing.
    Sent,
    /// The rest of the body.
    Sending(Box<Outgoing<RequestBody>>),
    /// What is spoken after an extended CONNECT.
    Open(SendStream<Bytes>),
}

impl ServiceStream {
    /// Sends what can be sent of the body.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        if let Self::Sending(body) = self
            && body.poll(cx).is_ready()
        {
            // Whoever fills the body learns that it is read no more.
            *self = Self::Sent;
        }
    }

    /// Both ways, after an extended CONNECT whose response has this body; none after anything else.
    pub(crate) fn into_io(self, body: IncomingBody) -> Option<StreamIo> {
        match (self, body) {
            (Self::Open(send), IncomingBody::Http2(body)) => Some(StreamIo::new(body.into_stream(), send)),
            _ => None,
        }
    }
}

/// Sends `request` and waits for the head of its response. Interim responses go to `interims`.
pub(super) async fn ask(
    sender: &mut SendRequest<Bytes>,
    request: Request<RequestBody>,
    interims: &Interims,
) -> Result<(Response<IncomingBody>, ServiceStream), Unanswered> {
    let (head, body) = request.into_parts();
    let upgrade = head.method == Method::CONNECT;
    let ends = body.is_end_stream() && !upgrade;
    // What can not be opened never leaves.
    let opened = sender.send_request(Request::from_parts(head, ()), ends);
    let (mut response, send) = opened.map_err(|_| Unanswered::not_processed())?;
    let mut stream = match (ends, upgrade) {
        (true, _) => ServiceStream::Sent,
        (_, true) => ServiceStream::Open(send),
        _ => ServiceStream::Sending(Box::new(Outgoing::new(body, send, Reason::CANCEL))),
    };
    let response = poll_fn(|cx| {
        stream.poll(cx);
        while let std::task::Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            interims.push(interim.status(), interim.headers());
        }
        Pin::new(&mut response).poll(cx)
    });
    let response = response.await.map_err(|error| Unanswered::from(&error))?;
    Ok((response.map(|body| IncomingBody::Http2(body.into())), stream))
}
