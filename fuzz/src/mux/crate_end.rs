//! One end that is the `yamux` crate, polled by hand over a link in memory.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use futures_util::io::{AsyncRead, AsyncWrite};
use yamux::{Config, Connection, Mode, Stream};

/// What the crate has received and not read, and what it has sent. Who reads or writes is polled again and again, so that
/// nobody needs to be woken.
#[derive(Debug, Default)]
struct Link {
    received: BytesMut,
    sent: BytesMut,
    /// Bytes that it takes before the crate has to wait.
    capacity: usize,
}

#[derive(Debug, Clone)]
struct Socket(Rc<RefCell<Link>>);

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let received = &mut self.0.borrow_mut().received;
        let n = received.len().min(buffer.len());
        if n == 0 {
            return Poll::Pending;
        }
        received.copy_to_slice(&mut buffer[..n]);
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut link = self.0.borrow_mut();
        let n = link.capacity.saturating_sub(link.sent.len()).min(bytes.len());
        if n == 0 {
            return Poll::Pending;
        }
        link.sent.extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The crate's end.
#[derive(Debug)]
pub(super) struct CrateEnd {
    connection: Connection<Socket>,
    link: Rc<RefCell<Link>>,
}

impl CrateEnd {
    pub(super) fn new(mode: Mode, capacity: usize) -> Self {
        let link = Rc::new(RefCell::new(Link { capacity, ..Link::default() }));
        Self { connection: Connection::new(Socket(link.clone()), Config::default(), mode), link }
    }

    /// Does what there is to do. Returns substreams that the peer has opened.
    pub(super) fn run(&mut self) -> Vec<Stream> {
        let mut opened = Vec::new();
        while let Poll::Ready(next) = self.connection.poll_next_inbound(&mut context()) {
            match next {
                Some(Ok(stream)) => opened.push(stream),
                other => unreachable!("the crate gave the session up: {other:?}"),
            }
        }
        opened
    }

    pub(super) fn open(&mut self) -> Stream {
        match self.connection.poll_new_outbound(&mut context()) {
            Poll::Ready(Ok(stream)) => stream,
            other => unreachable!("the crate does not open: {other:?}"),
        }
    }

    /// Says farewell, with a GOAWAY.
    pub(super) fn close(&mut self) {
        let _ = self.connection.poll_close(&mut context());
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.link.borrow_mut().received.extend_from_slice(bytes);
    }

    /// Takes at most `n` bytes of what it has sent.
    pub(super) fn take(&mut self, n: usize) -> BytesMut {
        let sent = &mut self.link.borrow_mut().sent;
        let n = n.min(sent.len());
        sent.split_to(n)
    }

    pub(super) fn has_sent(&self) -> bool {
        !self.link.borrow().sent.is_empty()
    }
}

/// Whoever is polled is polled again.
pub(super) fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
