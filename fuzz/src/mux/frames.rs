//! Yamux frames as the published spec has them, cut out of a stream of bytes without the engine's help.

/// A header as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawFrame {
    pub(super) version: u8,
    pub(super) kind: u8,
    pub(super) flags: u16,
    pub(super) id: u32,
    pub(super) length: u32,
}

impl RawFrame {
    pub(super) const DATA: u8 = 0;
    pub(super) const WINDOW_UPDATE: u8 = 1;
    pub(super) const PING: u8 = 2;
    pub(super) const GO_AWAY: u8 = 3;

    pub(super) const SYN: u16 = 1;
    pub(super) const ACK: u16 = 2;
    pub(super) const FIN: u16 = 4;
    pub(super) const RST: u16 = 8;

    pub(super) fn has(self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    fn parse(bytes: [u8; 12]) -> Self {
        let [version, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3] = bytes;
        Self {
            version,
            kind,
            flags: u16::from_be_bytes([f0, f1]),
            id: u32::from_be_bytes([i0, i1, i2, i3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        }
    }
}

/// Where in a stream of frames we are.
#[derive(Debug, Default)]
pub(super) struct Frames {
    header: Vec<u8>,
    body: usize,
}

impl Frames {
    /// The headers that are complete with these bytes.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(RawFrame)) {
        while !bytes.is_empty() {
            if self.body > 0 {
                let n = self.body.min(bytes.len());
                bytes = &bytes[n..];
                self.body -= n;
                continue;
            }
            let n = (12 - self.header.len()).min(bytes.len());
            self.header.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            if let Some(header) = self.header.first_chunk::<12>() {
                let frame = RawFrame::parse(*header);
                self.header.clear();
                if frame.kind == RawFrame::DATA {
                    self.body = frame.length as usize;
                }
                each(frame);
            }
        }
    }

    /// Whether the last frame is whole.
    pub(super) fn is_at_boundary(&self) -> bool {
        self.body == 0 && self.header.is_empty()
    }
}
