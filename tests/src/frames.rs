//! HTTP/2 by hand: what no library would send, and what is on the wire.

use std::net::SocketAddr;

use crate::visitor::Raw;

/// DATA (RFC 9113 section 6.1).
pub const DATA: u8 = 0;
/// HEADERS.
pub const HEADERS: u8 = 1;
/// RST_STREAM.
pub const RST_STREAM: u8 = 3;
/// SETTINGS.
pub const SETTINGS: u8 = 4;
/// GOAWAY.
pub const GOAWAY: u8 = 7;
/// The last frame of a stream.
pub const END_STREAM: u8 = 1;
/// The last frame of a field block.
pub const END_HEADERS: u8 = 4;

/// A frame (RFC 9113 section 4.1).
#[must_use]
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field block of literals (RFC 7541 section 6.2.2).
#[must_use]
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A visitor that writes frames.
#[derive(Debug)]
pub struct Framer(pub Raw);

impl Framer {
    /// Connects and says the preface.
    pub async fn connect(to: SocketAddr) -> Self {
        let mut raw = Raw::open(to).await;
        raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        raw.send(frame(SETTINGS, 0, 0, &[])).await;
        Self(raw)
    }

    /// The next frame of `stream`, or the farewell: kind, flags, payload.
    pub async fn hear(&mut self, stream: u32) -> (u8, u8, Vec<u8>) {
        loop {
            let head = self.0.exactly(9).await;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let payload = self.0.exactly(usize::try_from(length).unwrap()).await;
            let about = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if about == stream || head[3] == GOAWAY {
                return (head[3], head[4], payload);
            }
        }
    }
}
