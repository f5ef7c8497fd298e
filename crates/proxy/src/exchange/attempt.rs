//! One attempt to get a response from a server of a service.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use tokio_util::either::Either;

use super::{Interims, RequestBody};
use crate::http2::StreamIo;
use crate::incoming::IncomingBody;
use crate::poison::Poison;
use crate::service::{Carried, Carrier, Http1Request, Lease, ServiceIo, Unanswered};
use transport::deadline::Deadline;

/// A request at a server, from its sending to the end of its response. Dropping it breaks the request off.
pub(super) struct Attempt<'a> {
    answer: Answer<'a>,
    server: Carried<'a>,
}

enum Answer<'a> {
    /// Over HTTP/1.1, which is what most services speak.
    Http1(Http1Request<'a>),
    /// Over whatever is spoken.
    Any(AnyFuture<'a>),
    /// It has come.
    Come(Carrier<'a>),
}

type AnyFuture<'a> =
    Pin<Box<dyn Future<Output = Result<(Response<IncomingBody>, Carrier<'a>), Unanswered>> + Send + 'a>>;

impl<'a> Attempt<'a> {
    /// Sends `request` to `server` on behalf of `visitor`. Interim responses of HTTP/2 go to `interims`.
    pub(super) fn send(
        server: Carried<'a>,
        visitor: Option<SocketAddr>,
        request: Request<RequestBody>,
        interims: &Interims,
    ) -> Self {
        let at = server.0;
        let answer = if at.is_http1() {
            Answer::Http1(at.send_http1(visitor, request))
        } else {
            Answer::Any(Box::pin(at.send(visitor, request, interims.clone())))
        };
        Self { answer, server }
    }

    /// The server that it is at.
    pub(super) const fn server(&self) -> &Carried<'a> {
        &self.server
    }

    /// Whether it has a connection, which `interims` hear of one that is not of HTTP/1.1.
    pub(super) fn is_connected(&self, interims: &Interims) -> bool {
        match &self.answer {
            Answer::Http1(request) => request.is_connected(),
            Answer::Any(_) => interims.is_connected(),
            Answer::Come(_) => true,
        }
    }

    /// The head of the response. Not to be called again after it was ready.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<IncomingBody>, Unanswered>> {
        match &mut self.answer {
            Answer::Http1(request) => request.poll(cx).map_ok(|response| response.map(IncomingBody::Http1)),
            Answer::Any(answer) => {
                let (response, carrier) = ready!(answer.as_mut().poll(cx))?;
                self.answer = Answer::Come(carrier);
                Poll::Ready(Ok(response))
            }
            Answer::Come(_) => Poll::Pending,
        }
    }

    /// Goes on with what has no task of its own.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        match &mut self.answer {
            Answer::Http1(request) | Answer::Come(Carrier::Http1(request)) => request.drive(cx),
            Answer::Come(Carrier::Http2(stream, _)) => stream.poll(cx),
            Answer::Any(_) => {}
        }
    }

    /// A timer that may be set from the request before on the same connection.
    pub(super) fn borrow_timer(&mut self) -> Deadline {
        match &mut self.answer {
            Answer::Http1(request) => request.borrow_timer(),
            Answer::Any(_) | Answer::Come(_) => Deadline::default(),
        }
    }

    /// The exchange was complete: the connection is as good as before, and keeps `timer` for the next.
    pub(super) fn finish(self, timer: Deadline) {
        if let Answer::Http1(request) | Answer::Come(Carrier::Http1(request)) = self.answer {
            request.finish(timer);
        }
    }

    /// After a 101, which is `response`: what has become of the connection. None if it has ended.
    pub(super) async fn switched(self, response: Response<IncomingBody>) -> Option<Switched<'a>> {
        let server = self.server;
        match self.answer {
            Answer::Http1(request) | Answer::Come(Carrier::Http1(request)) => {
                drop(response);
                let (io, early, poison) = request.switched().await?;
                Some(Switched { io: Either::Left(io), early, poison, held: (None, server) })
            }
            Answer::Come(Carrier::Http2(stream, lease)) => {
                // A stream knows by itself how it ends; dropped, it is reset.
                let io = Either::Right(stream.into_io(response.into_body())?);
                let held = (Some(lease), server);
                Some(Switched { io, early: Bytes::new(), poison: Poison::default(), held })
            }
            Answer::Any(_) => None,
        }
    }
}

/// A connection that has become one of its own.
pub(super) struct Switched<'a> {
    pub(super) io: Either<ServiceIo, StreamIo>,
    /// What was read of it.
    pub(super) early: Bytes,
    /// Decides how a connection of HTTP/1.1 ends.
    pub(super) poison: Poison,
    /// To be held until then.
    pub(super) held: (Option<Lease>, Carried<'a>),
}
