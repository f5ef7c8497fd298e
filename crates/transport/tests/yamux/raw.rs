//! A peer that says what it likes: frames by hand, made and read by code that has nothing to do with the product's own.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

pub(crate) const DATA: u8 = 0;
pub(crate) const UPDATE: u8 = 1;
pub(crate) const PING: u8 = 2;
pub(crate) const GO_AWAY: u8 = 3;
pub(crate) const SYN: u16 = 1;
pub(crate) const ACK: u16 = 2;
pub(crate) const FIN: u16 = 4;
pub(crate) const RST: u16 = 8;

/// The window of a new substream.
pub(crate) const WINDOW: usize = 256 * 1024;

/// More than either end has on the way in a test that is not about that.
const LINK: usize = 1 << 20;

/// A header.
pub(crate) fn frame(kind: u8, flags: u16, id: u32, length: u32) -> Vec<u8> {
    let mut bytes = vec![0, kind];
    bytes.extend(flags.to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

pub(crate) fn data(flags: u16, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(DATA, flags, id, u32::try_from(payload.len()).unwrap());
    bytes.extend_from_slice(payload);
    bytes
}

/// A frame that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u16,
    pub(crate) id: u32,
    pub(crate) length: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// Bytes on the link.
    pub(crate) fn size(&self) -> usize {
        12 + self.payload.len()
    }
}

/// The peer.
#[derive(Debug)]
pub(crate) struct Raw<T = DuplexStream> {
    pub(crate) link: T,
    asked: u32,
}

impl Raw {
    /// A peer, and the other end of its link.
    pub(crate) fn new() -> (Self, DuplexStream) {
        Self::with_link(LINK)
    }

    /// The same with a link on which few bytes are on their way.
    pub(crate) fn with_link(bytes: usize) -> (Self, DuplexStream) {
        let (link, other) = duplex(bytes);
        (Self::over(link), other)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Raw<T> {
    pub(crate) fn over(link: T) -> Self {
        Self { link, asked: 0xA5C0_0000 }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.link.write_all(bytes).await.unwrap();
    }

    /// The next frame; none when the link has ended.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let mut header = [0; 12];
        self.link.read_exact(&mut header).await.ok()?;
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        assert_eq!(header[0], 0, "version");
        let (kind, flags) = (header[1], u16::from_be_bytes([header[2], header[3]]));
        let (id, length) = (word(4), word(8));
        let mut payload = vec![0; if kind == DATA { length as usize } else { 0 }];
        self.link.read_exact(&mut payload).await.ok()?;
        Some(Frame { kind, flags, id, length, payload })
    }

    /// What comes until there is one that `is_last`, that one too, but no pings.
    pub(crate) async fn until(&mut self, mut is_last: impl FnMut(&Frame) -> bool) -> Vec<Frame> {
        let mut frames = Vec::new();
        loop {
            let frame = self.next().await.expect("the link goes on");
            let last = is_last(&frame);
            if frame.kind != PING {
                frames.push(frame);
            }
            if last {
                return frames;
            }
        }
    }

    /// All that comes until the other end has answered to what was sent. It is asked by a ping, and by a second one, because
    /// the answer to the first goes ahead of whatever else there is to say.
    pub(crate) async fn settle(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        for _ in 0..2 {
            self.asked += 1;
            let asked = self.asked;
            self.send(&frame(PING, SYN, 0, asked)).await;
            let is_answer = |frame: &Frame| frame.kind == PING && frame.has(ACK) && frame.length == asked;
            frames.extend(self.until(is_answer).await);
        }
        frames
    }

    /// All that comes until the end of the link.
    pub(crate) async fn rest(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Some(frame) = self.next().await {
            frames.push(frame);
        }
        frames
    }
}
