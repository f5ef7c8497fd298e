//! A body that can be sent once more, as long as little of it was sent and nothing was answered.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::request_body::{Cut, Piece};

/// What is kept of a body, in bytes. A body of which more was sent can not be sent again.
const KEPT_MAX: usize = 64 * 1024;

/// What readers of one body share, and whoever decides whether there is to be another one.
#[derive(Debug)]
struct Shared {
    pieces: mpsc::Receiver<Piece>,
    /// What was read, while it is known in full; none once it is not.
    kept: Option<Vec<Kept>>,
    kept_bytes: usize,
    /// The reader that counts.
    reader: u32,
    /// It has gone.
    unread: bool,
    /// There will be no other reader.
    settled: bool,
}

#[derive(Debug, Clone)]
enum Kept {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// Decides whether a body is sent again.
#[derive(Debug)]
pub(super) struct Replay(Arc<Mutex<Shared>>);

/// Reads the body from its start.
#[derive(Debug)]
pub(super) struct Reader {
    shared: Arc<Mutex<Shared>>,
    number: u32,
    /// What of that which was kept it has read.
    position: usize,
}

impl Replay {
    /// A body that comes as `pieces`, with its first reader.
    pub(super) fn new(pieces: mpsc::Receiver<Piece>) -> (Self, Reader) {
        let shared = Shared {
            pieces,
            kept: Some(Vec::new()),
            kept_bytes: 0,
            reader: 0,
            unread: false,
            settled: false,
        };
        let shared = Arc::new(Mutex::new(shared));
        (Self(shared.clone()), Reader { shared, number: 0, position: 0 })
    }

    /// Another reader in the place of the one before, which gets nothing more; none if too much was read already.
    pub(super) fn again(&self) -> Option<Reader> {
        let mut shared = self.0.lock();
        if shared.settled || shared.kept.is_none() {
            return None;
        }
        shared.reader = shared.reader.wrapping_add(1);
        shared.unread = false;
        Some(Reader { shared: self.0.clone(), number: shared.reader, position: 0 })
    }

    /// There will be no other reader: nothing more is kept, and a reader that has gone is missed.
    pub(super) fn settle(self) {
        let mut shared = self.0.lock();
        shared.settled = true;
        if shared.unread {
            shared.pieces.close();
        }
    }
}

impl Reader {
    /// The next piece. After [`Kept::End`] it is not asked again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let mut shared = self.shared.lock();
        if shared.reader != self.number {
            return Poll::Ready(Some(Err(Cut)));
        }
        let again = shared.kept.as_ref().and_then(|kept| kept.get(self.position)).cloned();
        if let Some(kept) = again {
            self.position = self.position.saturating_add(1);
            return Poll::Ready(frame(kept));
        }
        let piece = match std::task::ready!(shared.pieces.poll_recv(cx)) {
            Some(Piece::Data(data)) => Kept::Data(data),
            Some(Piece::Trailers(trailers)) => Kept::Trailers(trailers),
            Some(Piece::End) => Kept::End,
            None => return Poll::Ready(Some(Err(Cut))),
        };
        shared.keep(&piece);
        self.position = self.position.saturating_add(1);
        Poll::Ready(frame(piece))
    }
}

impl Shared {
    fn keep(&mut self, piece: &Kept) {
        if let Kept::Data(data) = piece {
            self.kept_bytes = self.kept_bytes.saturating_add(data.len());
        }
        if self.settled || self.kept_bytes > KEPT_MAX {
            self.kept = None;
        } else if let Some(kept) = &mut self.kept {
            kept.push(piece.clone());
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut shared = self.shared.lock();
        if shared.reader != self.number {
            return;
        }
        shared.unread = true;
        if shared.settled {
            shared.pieces.close();
        }
    }
}

fn frame(piece: Kept) -> Option<Result<Frame<Bytes>, Cut>> {
    match piece {
        Kept::Data(data) => Some(Ok(Frame::data(data))),
        Kept::Trailers(trailers) => Some(Ok(Frame::trailers(trailers))),
        Kept::End => None,
    }
}
