//! One stream of a visitor's HTTP/2 connection: a request, its response, and whatever follows an extended CONNECT.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response};
use http_body::Body;
use parking_lot::Mutex;

use super::connection::{Answered, Visitor, answer};
use super::interim::Interim;
use super::streams::Open;
use super::visitor::Visiting;
use crate::context::Context;
use crate::dispatch::Dispatch;
use crate::exchange::{AnswerBody, carry_upgraded};
use crate::http2::{Outgoing, StreamIo};
use crate::incoming::IncomingBody;

/// A stream that was opened. What is dropped before its end is reset.
pub(super) struct Stream {
    respond: Arc<Mutex<SendResponse<Bytes>>>,
    visitor: Arc<Visitor>,
    dispatch: Arc<Dispatch>,
    context: Context,
    _open: Open,
}

impl Stream {
    pub(super) fn new(
        respond: SendResponse<Bytes>,
        visitor: &Arc<Visitor>,
        dispatch: &Arc<Dispatch>,
        context: &Context,
        open: Open,
    ) -> Self {
        let respond = Arc::new(Mutex::new(respond));
        let (visitor, dispatch, context) = (visitor.clone(), dispatch.clone(), context.clone());
        Self { respond, visitor, dispatch, context, _open: open }
    }

    /// Answers `request`, until all is sent or the visitor resets the stream.
    pub(super) async fn answer(self, request: Request<RecvStream>) {
        let (head, receive) = request.into_parts();
        let (body, rest) = match head.method {
            // What comes on it belongs to what is spoken after the response.
            Method::CONNECT => (None, Some(receive)),
            _ if receive.is_end_stream() => (None, None),
            _ => (Some(IncomingBody::Http2(receive.into())), None),
        };
        match self.ask(Request::from_parts(head, body)).await {
            Some(Answered::Response(response)) => self.send(response, rest).await,
            Some(Answered::Switched(switched)) => {
                let (response, channel, record, poison) = *switched;
                let (Some(send), Some(receive)) = (self.head(response, false), rest) else { return };
                let io = std::future::ready(Some(StreamIo::new(receive, send)));
                // Boxed, because few become that.
                Box::pin(carry_upgraded(io, channel, poison, record, self.context.clone())).await;
            }
            None => {}
        }
    }

    /// None if the visitor has reset the stream, or is to be told nothing but that.
    async fn ask(&self, request: Request<Option<IncomingBody>>) -> Option<Answered> {
        let Self { respond, visitor, dispatch, context, .. } = self;
        let interim = Interim::stream(respond.clone());
        // Boxed, and gone before the body is sent: a stream that is slow holds no more than it needs.
        let answering = Box::pin(answer(context, dispatch, visitor, Visiting::stream(), interim, request));
        let answered = tokio::select! {
            biased;
            answered = answering => answered,
            _ = poll_fn(|cx| respond.lock().poll_reset(cx)) => return None,
        };
        if answered.is_err() {
            respond.lock().send_reset(Reason::INTERNAL_ERROR);
        }
        answered.ok()
    }

    /// Sends a response. `rest`: what the visitor still sends, and nobody reads.
    async fn send(&self, response: Response<AnswerBody>, rest: Option<RecvStream>) {
        let (head, body) = response.into_parts();
        let mut head = Response::from_parts(head, ());
        if body.is_end_stream() {
            drop(self.head(head, true));
            return;
        }
        if let Some(length) = body.size_hint().exact() {
            head.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
        }
        let Some(send) = self.head(head, false) else { return };
        let mut sending =
            Outgoing::new(body, send, Reason::INTERNAL_ERROR).within(self.context.timeouts().stalled);
        // However it ends, the visitor knows.
        let _ = poll_fn(|cx| sending.poll(cx)).await;
        drop(rest);
    }

    /// Sends a head; none if the stream is over.
    fn head(&self, mut response: Response<()>, end: bool) -> Option<h2::SendStream<Bytes>> {
        dress(response.headers_mut());
        let mut respond = self.respond.lock();
        let sent = respond.send_response(response, end);
        if sent.is_err() {
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
        sent.ok()
    }
}

/// What HTTP/2 has no place for (RFC 9113 section 8.2.2) is taken off, and the date put on (RFC 9110 section 6.6.1).
fn dress(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE] {
        headers.remove(name);
    }
    if !headers.contains_key(header::DATE)
        && let Ok(date) = HeaderValue::try_from(httpdate::fmt_http_date(SystemTime::now()))
    {
        headers.insert(header::DATE, date);
    }
}
