//! What the holder of a substream at the crate's end does.

use std::pin::Pin;
use std::task::Poll;

use futures_util::io::{AsyncRead, AsyncWrite};
use yamux::Stream;

use super::crate_end::context;
use super::side::{Outcome, Side};
use crate::way::Way;

/// The crate's end of a substream.
#[derive(Debug)]
pub(super) struct Theirs {
    pub(super) stream: Option<Stream>,
    /// What is written there.
    pub(super) out: Way,
    /// Its user said that this is all.
    pub(super) closed: bool,
    /// Its user left.
    pub(super) dropped: bool,
}

impl Theirs {
    pub(super) fn new(number: usize) -> Self {
        Self { stream: None, out: Way::new(number), closed: false, dropped: false }
    }

    /// The crate says nothing of a substream before something is written to it, and if it is closed before, only its end,
    /// without a SYN. So its user writes at once, if only nothing.
    pub(super) fn open(&mut self, mut stream: Stream, n: usize) {
        let piece = self.out.piece(n);
        let Poll::Ready(Ok(taken)) = Pin::new(&mut stream).poll_write(&mut context(), &piece) else {
            unreachable!("a new substream takes nothing")
        };
        self.out.written += taken;
        self.stream = Some(stream);
    }

    pub(super) fn read(&mut self, ours: &mut Side, buffer: &mut [u8]) -> Outcome {
        let Some(stream) = &mut self.stream else { return Outcome::Blocked };
        match Pin::new(stream).poll_read(&mut context(), buffer) {
            Poll::Pending => Outcome::Blocked,
            // A RST reads as an end in the crate.
            Poll::Ready(Ok(0)) if ours.reset || (ours.released.is_some() && !ours.out.finished) => {
                Outcome::End
            }
            // What was ended goes on being sent after its user has left, but not for ever.
            Poll::Ready(Ok(0)) if ours.expired => Outcome::End,
            Poll::Ready(Ok(0)) => {
                ours.out.end();
                Outcome::End
            }
            Poll::Ready(Ok(n)) => {
                ours.out.take(&buffer[..n]);
                Outcome::Progress
            }
            Poll::Ready(Err(error)) => unreachable!("the crate can not read: {error}"),
        }
    }

    pub(super) fn write(&mut self, ours: &Side, n: usize) {
        let Some(stream) = &mut self.stream else { return };
        match Pin::new(stream).poll_write(&mut context(), &self.out.piece(n)) {
            Poll::Pending => {}
            Poll::Ready(Ok(taken)) => {
                assert!(!self.closed, "written behind the end");
                self.out.written += taken;
            }
            Poll::Ready(Err(error)) => {
                let allowed = self.closed || ours.reset || ours.released.is_some();
                assert!(allowed, "the crate can not write: {error}");
            }
        }
    }

    pub(super) fn close(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        match Pin::new(stream).poll_close(&mut context()) {
            // The queue to the connection is full: later.
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                self.closed = true;
                self.out.finished = true;
            }
            Poll::Ready(Err(error)) => unreachable!("the crate can not close: {error}"),
        }
    }

    pub(super) fn drop(&mut self) {
        self.dropped |= self.stream.take().is_some();
    }
}
