//! One side of an exchange, whatever carries it: what it says, and how the other side's bytes end.

use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use tests::http2::{self, Http2Visitor};
use tests::visitor::{End, Raw};
use tests::wait::{SOON, within};
use tokio::time::{Instant, timeout_at};

/// How a side knows where the bytes end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Where the stream does.
    ToTheEnd,
    /// After so many.
    Length(usize),
    Chunked,
}

/// What became of the bytes of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// They are all there, and it was said so.
    Whole,
    /// The stream ended with a FIN before they were all there.
    Short,
    Reset,
    /// A stream of HTTP/2 was reset.
    ResetFor(Reason),
    /// No end yet.
    Open,
}

impl Outcome {
    /// Whether nobody could take it for an end.
    pub(super) fn is_broken(self) -> bool {
        matches!(self, Self::Reset | Self::ResetFor(_))
    }
}

enum Carrier {
    Socket { raw: Raw, reads: Framing, writes: Framing },
    Stream { send: SendStream<Bytes>, receive: RecvStream },
}

/// A side. What it has heard is kept.
pub(super) struct Side {
    carrier: Carrier,
    heard: Vec<u8>,
    /// Bytes of chunks that were not taken apart yet.
    pending: Vec<u8>,
    /// What is missing of the chunk that is being read.
    chunk: usize,
    outcome: Option<Outcome>,
    /// What its stream is on.
    connection: Option<Http2Visitor>,
}

impl Side {
    /// A socket behind its heads.
    pub(super) fn socket(raw: Raw, reads: Framing, writes: Framing) -> Self {
        Self::new(Carrier::Socket { raw, reads, writes })
    }

    /// A stream of HTTP/2 behind its heads.
    pub(super) fn stream(send: SendStream<Bytes>, receive: RecvStream) -> Self {
        Self::new(Carrier::Stream { send, receive })
    }

    /// Keeps the connection that its stream is on.
    pub(super) fn with(self, connection: Http2Visitor) -> Self {
        Self { connection: Some(connection), ..self }
    }

    fn new(carrier: Carrier) -> Self {
        Self { carrier, heard: Vec::new(), pending: Vec::new(), chunk: 0, outcome: None, connection: None }
    }

    pub(super) async fn say(&mut self, bytes: &[u8]) {
        match &mut self.carrier {
            Carrier::Socket { raw, writes: Framing::Chunked, .. } => {
                for piece in bytes.chunks(10_000) {
                    raw.send([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
                }
            }
            Carrier::Socket { raw, .. } => raw.send(bytes).await,
            Carrier::Stream { send, .. } => {
                within("room for the bytes", SOON, http2::write(send, Bytes::copy_from_slice(bytes))).await;
            }
        }
    }

    /// Says that this was all, and ends its way where it has one of its own.
    pub(super) async fn finish(&mut self) {
        match &mut self.carrier {
            Carrier::Socket { raw, writes, .. } => {
                if *writes == Framing::Chunked {
                    raw.send("0\r\n\r\n").await;
                }
                raw.finish().await;
            }
            // A stream whose other way has ended may be gone.
            Carrier::Stream { send, .. } => drop(send.send_data(Bytes::new(), true)),
        }
    }

    /// Breaks off. A reset of a stream needs its connection for a while.
    pub(super) fn reset(self) -> Option<Http2Visitor> {
        match self.carrier {
            Carrier::Socket { raw, .. } => raw.reset(),
            Carrier::Stream { mut send, .. } => send.send_reset(Reason::CANCEL),
        }
        self.connection
    }

    /// Listens until so many bytes were heard.
    pub(super) async fn hear(&mut self, count: usize) {
        let deadline = Instant::now() + SOON;
        while self.heard.len() < count {
            assert!(self.listen(deadline).await, "{:?} after {} bytes", self.outcome, self.heard.len());
        }
    }

    /// Listens to the end, but no longer than `limit`: all that was heard, and how it ended.
    pub(super) async fn end(&mut self, limit: Duration) -> (&[u8], Outcome) {
        let deadline = Instant::now() + limit;
        while self.listen(deadline).await {}
        (&self.heard, self.outcome.unwrap_or(Outcome::Open))
    }

    /// Hears more; false at the end, and when it is too late.
    async fn listen(&mut self, deadline: Instant) -> bool {
        if let Carrier::Socket { reads: Framing::Length(length), .. } = self.carrier
            && self.heard.len() >= length
        {
            self.outcome.get_or_insert(Outcome::Whole);
        }
        if self.outcome.is_some() {
            return false;
        }
        match &mut self.carrier {
            Carrier::Socket { raw, reads, .. } => match timeout_at(deadline, raw.some()).await {
                Err(_) => return false,
                Ok(Err(end)) => {
                    self.outcome = Some(match (end, reads) {
                        (End::Fin, Framing::ToTheEnd) => Outcome::Whole,
                        (End::Fin, _) => Outcome::Short,
                        _ => Outcome::Reset,
                    });
                }
                Ok(Ok(bytes)) if *reads == Framing::Chunked => {
                    self.pending.extend_from_slice(&bytes);
                    self.take_chunks_apart();
                }
                Ok(Ok(bytes)) => self.heard.extend_from_slice(&bytes),
            },
            Carrier::Stream { receive, .. } => match timeout_at(deadline, http2::data(receive)).await {
                Err(_) => return false,
                Ok(Ok(Some(bytes))) => self.heard.extend_from_slice(&bytes),
                Ok(Ok(None)) => self.outcome = Some(Outcome::Whole),
                Ok(Err(reason)) => self.outcome = Some(Outcome::ResetFor(reason)),
            },
        }
        true
    }

    fn take_chunks_apart(&mut self) {
        loop {
            let now = self.chunk.min(self.pending.len());
            self.heard.extend(self.pending.drain(..now));
            self.chunk -= now;
            if self.chunk > 0 {
                return;
            }
            // Behind the data of a chunk is an empty line.
            let from = if self.pending.starts_with(b"\r\n") && !self.heard.is_empty() { 2 } else { 0 };
            let rest = &self.pending[from..];
            let Some(len) = rest.windows(2).position(|two| two == b"\r\n") else { return };
            let size = std::str::from_utf8(&rest[..len]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no chunk: {size}"));
            if size == 0 {
                if rest[len + 2..].starts_with(b"\r\n") {
                    self.outcome = Some(Outcome::Whole);
                }
                return;
            }
            self.pending.drain(..from + len + 2);
            self.chunk = size;
        }
    }
}
