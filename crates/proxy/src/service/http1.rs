//! A connection of HTTP/1.1 to a server, and a request on it. No task drives it but the one of the request.

use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;

use super::connection::ServiceIo;
use super::pool::HttpPool;
use super::unanswered::{Progress, Unanswered};
use crate::exchange::RequestBody;
use crate::last_chunk::{LastChunk, Trailing};
use crate::poison::Poison;
use transport::deadline::Deadline;

/// What hyper reads ahead of a connection, in bytes.
const READ_AHEAD: usize = 64 * 1024;

/// A connection that does what it has to do only while somebody polls it. Boxed, because it changes hands often.
pub(super) struct Http1(Box<Inner>);

struct Inner {
    sender: SendRequest<RequestBody>,
    connection: Connection<TokioIo<Trailing<ServiceIo>>, RequestBody>,
    last_chunk: LastChunk,
    /// HTTP is spoken no more: it was closed, or has become one of its own.
    ended: bool,
    /// Whether nothing waits to be written.
    flushed: Arc<AtomicBool>,
    poison: Poison,
    /// What tells the time of a request, between two of them.
    timer: Deadline,
}

impl Http1 {
    /// Speaks HTTP/1.1 on `io`.
    pub(super) async fn new(io: ServiceIo) -> Result<Self, Unanswered> {
        let (poison, flushed) = (io.poison(), io.flushed());
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_AHEAD);
        let last_chunk = LastChunk::default();
        let shaken = builder.handshake(TokioIo::new(Trailing::new(io, last_chunk.clone()))).await;
        let (sender, connection) = shaken.map_err(|_| Unanswered::cut(Progress::NotConnected))?;
        Ok(Self(Box::new(Inner {
            sender,
            connection,
            last_chunk,
            ended: false,
            flushed,
            poison,
            timer: Deadline::default(),
        })))
    }

    /// Reads and writes what can be read and written.
    fn drive(&mut self, cx: &mut Context<'_>) {
        // If it failed, whoever waits for a response learns why.
        let inner = &mut *self.0;
        inner.ended |= !inner.ended && Pin::new(&mut inner.connection).poll(cx).is_ready();
    }

    /// Whether it could take a request now. One that the server has closed is found out here.
    pub(super) fn is_ready(&mut self) -> bool {
        self.drive(&mut Context::from_waker(Waker::noop()));
        !self.0.ended && self.0.flushed.load(Ordering::Relaxed) && self.0.sender.is_ready()
    }
}

/// A request on its way to a server. Unless it was finished, dropping it resets the connection, so that the server sees
/// that its answer went nowhere.
pub(crate) struct Http1Request<'a> {
    pool: &'a HttpPool,
    visitor: Option<SocketAddr>,
    stage: Stage<'a>,
}

enum Stage<'a> {
    Dialling(Dialling<'a>, Box<Request<RequestBody>>),
    Sent { http1: Http1, answer: Answer, reused: bool },
    Answered(Http1),
    Over,
}

type Dialling<'a> = Pin<Box<dyn Future<Output = Result<Http1, Unanswered>> + Send + 'a>>;
type Answer =
    Pin<Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<RequestBody>>>> + Send>>;

impl<'a> Http1Request<'a> {
    /// Sends `request` on a connection that waits for one, or else on a new one.
    pub(super) fn send(
        pool: &'a HttpPool,
        visitor: Option<SocketAddr>,
        request: Request<RequestBody>,
    ) -> Self {
        let mut this = Self { pool, visitor, stage: Stage::Over };
        this.start(request);
        this
    }

    /// Sends `request` on `http1`, which is new.
    pub(super) fn on(pool: &'a HttpPool, http1: Http1, request: Request<RequestBody>) -> Self {
        Self { pool, visitor: None, stage: Stage::sent(http1, request, false) }
    }

    fn start(&mut self, request: Request<RequestBody>) {
        self.stage = match self.pool.take() {
            Some(http1) => Stage::sent(http1, request, true),
            None => Stage::Dialling(Box::pin(self.pool.dial(self.visitor)), Box::new(request)),
        };
    }

    /// The head of the response. Not to be called again after it was ready.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<Incoming>, Unanswered>> {
        loop {
            match &mut self.stage {
                Stage::Dialling(dialling, _) => {
                    let dialled = ready!(dialling.as_mut().poll(cx));
                    let Stage::Dialling(_, request) = std::mem::replace(&mut self.stage, Stage::Over) else {
                        return Poll::Pending;
                    };
                    self.stage = Stage::sent(dialled?, *request, false);
                }
                Stage::Sent { http1, answer, reused } => {
                    http1.drive(cx);
                    let reused = *reused;
                    let answered = ready!(answer.as_mut().poll(cx));
                    let stage = std::mem::replace(&mut self.stage, Stage::Over);
                    match answered {
                        Ok(response) => {
                            if let Stage::Sent { http1, .. } = stage {
                                self.stage = Stage::Answered(http1);
                            }
                            return Poll::Ready(Ok(response));
                        }
                        Err(mut failed) => match failed.take_message() {
                            // It never left, because the server had closed the connection.
                            Some(request) if reused => self.start(request),
                            Some(_) => return Poll::Ready(Err(Unanswered::cut(Progress::NotProcessed))),
                            None => return Poll::Ready(Err(Unanswered::of_http1(failed.error()))),
                        },
                    }
                }
                Stage::Answered(_) | Stage::Over => return Poll::Pending,
            }
        }
    }

    /// Whether it has a connection.
    pub(crate) const fn is_connected(&self) -> bool {
        !matches!(self.stage, Stage::Dialling(..))
    }

    /// Goes on with the request and the response.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Stage::Sent { http1, .. } | Stage::Answered(http1) = &mut self.stage {
            http1.drive(cx);
        }
    }

    /// A timer that may be set from the request before, which costs less than a new one.
    pub(crate) fn borrow_timer(&mut self) -> Deadline {
        match &mut self.stage {
            Stage::Sent { http1, .. } | Stage::Answered(http1) => std::mem::take(&mut http1.0.timer),
            Stage::Dialling(..) | Stage::Over => Deadline::default(),
        }
    }

    /// All of the request and the response has passed: the connection is as good as before, and keeps `timer`.
    pub(crate) fn finish(mut self, timer: Deadline) {
        if let Stage::Answered(mut http1) = std::mem::replace(&mut self.stage, Stage::Over)
            && http1.is_ready()
        {
            http1.0.timer = timer;
            self.pool.give(http1);
        }
    }

    /// After a 101: the connection, what was read of it, and what decides how it ends. None if there is none any more.
    pub(crate) async fn switched(mut self) -> Option<(ServiceIo, Bytes, Poison)> {
        let Stage::Answered(mut http1) = std::mem::replace(&mut self.stage, Stage::Over) else { return None };
        poll_fn(|cx| {
            http1.drive(cx);
            if http1.0.ended { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let Inner { connection, poison, .. } = *http1.0;
        let http1::Parts { io, read_buf, .. } = connection.into_parts();
        Some((io.into_inner().into_inner(), read_buf, poison))
    }
}

impl Stage<'_> {
    fn sent(mut http1: Http1, mut request: Request<RequestBody>, reused: bool) -> Self {
        http1.0.last_chunk.begin();
        request.body_mut().on_http1(http1.0.last_chunk.clone());
        let answer = Box::pin(http1.0.sender.try_send_request(request));
        Self::Sent { http1, answer, reused }
    }
}

impl Drop for Http1Request<'_> {
    fn drop(&mut self) {
        if let Stage::Sent { http1, .. } | Stage::Answered(http1) = &self.stage {
            http1.0.poison.apply();
        }
    }
}

impl fmt::Debug for Http1Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1Request").finish_non_exhaustive()
    }
}
