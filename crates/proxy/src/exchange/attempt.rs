//! One attempt to get a response from a server of a service.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::client::legacy::ResponseFuture;

use super::RequestBody;
use super::service_connection::ServiceConnection;
use crate::poison::Poison;
use crate::service::{Carried, Lease, Unanswered};

/// A request at a server, from its sending to the end of its response. Dropping it breaks the request off.
pub(super) struct Attempt<'a> {
    // Dropped first: see `ServiceConnection`.
    connection: ServiceConnection,
    answer: Answer<'a>,
    server: Carried<'a>,
}

enum Answer<'a> {
    /// From the pool of HTTP/1.1, which is what most services speak.
    Pooled(ResponseFuture),
    /// From whatever is spoken.
    Any(AnyFuture<'a>),
    /// It has come. A place on a connection of HTTP/2 is held to its end.
    Come { _place: Option<Lease> },
}

type AnyFuture<'a> =
    Pin<Box<dyn Future<Output = Result<(Response<Incoming>, Option<Lease>), Unanswered>> + Send + 'a>>;

impl<'a> Attempt<'a> {
    /// Sends `request` to `server` on behalf of `visitor`.
    pub(super) fn send(
        server: Carried<'a>,
        visitor: Option<SocketAddr>,
        mut request: Request<RequestBody>,
    ) -> Self {
        let connection = ServiceConnection::of(&mut request);
        let at = server.0;
        at.introduce(visitor, &mut request);
        let answer = match at.http1() {
            Some(client) => Answer::Pooled(client.request(request)),
            None => Answer::Any(Box::pin(at.send(visitor, request))),
        };
        Self { connection, answer, server }
    }

    /// The server that it is at.
    pub(super) const fn server(&self) -> &Carried<'a> {
        &self.server
    }

    /// The head of the response. Not to be called again after it was ready.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Incoming>, Unanswered>> {
        let response = match &mut self.answer {
            Answer::Pooled(response) => match Pin::new(response).poll(cx) {
                Poll::Ready(Ok(response)) => Poll::Ready(Ok((response, None))),
                Poll::Ready(Err(error)) => Poll::Ready(Err(Unanswered::from(&error))),
                Poll::Pending => Poll::Pending,
            },
            Answer::Any(response) => response.as_mut().poll(cx),
            Answer::Come { .. } => Poll::Pending,
        };
        if response.is_ready() || !self.connection.is_held() {
            self.connection.hold();
        }
        let (response, place) = ready!(response)?;
        self.answer = Answer::Come { _place: place };
        Poll::Ready(Ok(response))
    }

    /// The exchange was complete: the connection is as good as before.
    pub(super) fn finish(self) {
        self.connection.finish();
    }

    /// The connection has become one of its own, which `self` has to outlive.
    pub(super) fn switch(self) -> Switched<'a> {
        Switched { poison: self.connection.switch(), _answer: self.answer, _server: self.server }
    }
}

/// A connection that has become one of its own.
pub(super) struct Switched<'a> {
    /// Decides how it ends.
    pub(super) poison: Poison,
    _answer: Answer<'a>,
    _server: Carried<'a>,
}
