//! The `yamux` crate as a peer: one task owns its connection, and hands its streams out.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use ops::spawn::Spawner;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};
use yamux::{Config, Connection, ConnectionError, Mode, Stream};

/// Streams and wishes that wait at once, more than a test has.
const WAITING: usize = 1024;

/// A stream of the crate, as tokio has it. Shutting it down sends FIN, dropping it before sends RST.
pub(crate) type CrateStream = Compat<Stream>;

/// The handle to a connection of the crate.
pub(crate) struct CratePeer {
    wishes: mpsc::Sender<oneshot::Sender<Stream>>,
    inbound: mpsc::Receiver<Stream>,
    close: Option<oneshot::Sender<()>>,
}

/// Owns the connection, and drives it to its end, which is an error unless the peer closed it or this end did.
struct Driver<T> {
    connection: Connection<Compat<T>>,
    wishes: mpsc::Receiver<oneshot::Sender<Stream>>,
    waiting: VecDeque<oneshot::Sender<Stream>>,
    inbound: mpsc::Sender<Stream>,
    close: oneshot::Receiver<()>,
    closing: bool,
}

impl CratePeer {
    /// A connection, and what drives it.
    pub(crate) fn new<T: AsyncRead + AsyncWrite + Unpin>(
        io: T,
        mode: Mode,
        config: Config,
    ) -> (Self, impl Future<Output = Result<(), ConnectionError>>) {
        let (wishes, wished) = mpsc::channel(WAITING);
        let (streams, inbound) = mpsc::channel(WAITING);
        let (close, closed) = oneshot::channel();
        let mut driver = Driver {
            connection: Connection::new(io.compat(), config, mode),
            wishes: wished,
            waiting: VecDeque::new(),
            inbound: streams,
            close: closed,
            closing: false,
        };
        let peer = Self { wishes, inbound, close: Some(close) };
        (peer, async move { poll_fn(|cx| driver.poll(cx)).await })
    }

    /// A connection of usual bounds, driven by a task.
    pub(crate) fn start<T>(io: T, mode: Mode, spawner: &Spawner) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (peer, driver) = Self::new(io, mode, Config::default());
        spawner.spawn(spawner.here(), "crate", driver);
        peer
    }

    /// A stream that the peer does not know of before something is written to it; none when the connection is over.
    pub(crate) async fn open_silently(&self) -> Option<CrateStream> {
        let (wish, stream) = oneshot::channel();
        self.wishes.send(wish).await.ok()?;
        Some(stream.await.ok()?.compat())
    }

    /// A stream that the peer learns of at once.
    pub(crate) async fn open(&self) -> CrateStream {
        let mut stream = self.open_silently().await.unwrap();
        // Even if it is nothing that is written.
        assert_eq!(stream.write(&[]).await.unwrap(), 0);
        stream
    }

    /// The next stream of the peer; none when the connection is over.
    pub(crate) async fn accept(&mut self) -> Option<CrateStream> {
        Some(self.inbound.recv().await?.compat())
    }

    /// Says farewell.
    pub(crate) fn close(&mut self) {
        self.close.take().unwrap().send(()).unwrap();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        // The handle may also be gone, which is no wish to close.
        self.closing |= Pin::new(&mut self.close).poll(cx) == Poll::Ready(Ok(()));
        if self.closing {
            return self.connection.poll_close(cx);
        }
        while let Poll::Ready(Some(wish)) = self.wishes.poll_recv(cx) {
            self.waiting.push_back(wish);
        }
        while !self.waiting.is_empty()
            && let Poll::Ready(opened) = self.connection.poll_new_outbound(cx)
        {
            let opened = opened?;
            if let Some(wish) = self.waiting.pop_front() {
                // Who does not wait any more drops it.
                let _ = wish.send(opened);
            }
        }
        while let Poll::Ready(next) = self.connection.poll_next_inbound(cx) {
            match next {
                None => return Poll::Ready(Ok(())),
                Some(stream) => {
                    let _ = self.inbound.try_send(stream?);
                }
            }
        }
        Poll::Pending
    }
}
