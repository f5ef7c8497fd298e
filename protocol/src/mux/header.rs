//! The 12 bytes in front of every yamux frame.

use super::Breach;

/// Length of a header, bytes.
pub const HEADER_LEN: usize = 12;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Bytes of a substream; the length is how many follow.
    Data,
    /// More credit for the receiver of this frame; the length is how much more.
    WindowUpdate,
    /// A question, with SYN, or its answer, with ACK; the length is an opaque value.
    Ping,
    /// The sender takes no more substreams; the length is a reason.
    GoAway,
}

/// The flags of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The first frame of a substream, from its opener; of a ping, the question.
    pub const SYN: Self = Self(1);
    /// The first frame of a substream, from its acceptor; of a ping, the answer.
    pub const ACK: Self = Self(2);
    /// The sender sends no more on this substream.
    pub const FIN: Self = Self(4);
    /// The substream is broken off, both ways.
    pub const RST: Self = Self(8);

    /// Whether all of `flags` are set.
    #[must_use]
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These and `flags`.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }

    /// Whether none of the four known flags is set; others are ignored, as other implementations do.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 & 15 == 0
    }
}

/// A frame without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What it is for.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// The substream, 0 for the session.
    pub id: u32,
    /// What this says depends on the kind.
    pub length: u32,
}

impl Header {
    /// The bytes on the wire.
    #[must_use]
    pub const fn encode(self) -> [u8; HEADER_LEN] {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        let [f0, f1] = self.flags.0.to_be_bytes();
        let [i0, i1, i2, i3] = self.id.to_be_bytes();
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [0, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3]
    }

    /// Reads the bytes of a header.
    ///
    /// # Errors
    /// [`Breach::Version`] and [`Breach::Kind`] if these are no yamux frames.
    pub const fn decode(bytes: [u8; HEADER_LEN]) -> Result<Self, Breach> {
        let [version, kind, f0, f1, i0, i1, i2, i3, l0, l1, l2, l3] = bytes;
        if version != 0 {
            return Err(Breach::Version(version));
        }
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            other => return Err(Breach::Kind(other)),
        };
        Ok(Self {
            kind,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            id: u32::from_be_bytes([i0, i1, i2, i3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }
}
