//! What goes wrong in a session, and whose fault it is.

/// The peer broke the rules: the session is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Breach {
    /// A frame of another version of yamux, or no frame at all.
    #[error("a frame of version {0}")]
    Version(u8),
    /// A frame of an unknown kind.
    #[error("a frame of unknown kind {0}")]
    Kind(u8),
    /// A data frame or window update without a substream, or a ping or GOAWAY with one.
    #[error("a frame for substream {0}, where it must not be")]
    Place(u32),
    /// A substream opened with an id that belongs to this end.
    #[error("substream {0} opened with an id of the other side")]
    Side(u32),
    /// A substream opened that is open.
    #[error("substream {0} opened twice")]
    Twice(u32),
    /// More bytes than there was credit for.
    #[error("more bytes on substream {0} than its window allows")]
    Window(u32),
    /// More credit than 32 bits count.
    #[error("a window of substream {0} above 2^32")]
    Credit(u32),
    /// Bytes behind a FIN.
    #[error("bytes on substream {0} behind its end")]
    AfterEnd(u32),
    /// Frames that carry nothing, more than the flood budget allows.
    #[error("a flood of {0}")]
    Flood(Useless),
    /// The peer says that we broke the rules, or that it failed: GOAWAY with this code.
    #[error("the other end gave up: GOAWAY with code {0}")]
    GoAway(u32),
}

impl Breach {
    /// The code of the GOAWAY that tells the peer: 1 is a protocol error.
    #[must_use]
    pub const fn code(self) -> u32 {
        1
    }
}

/// What a flood was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Useless {
    /// Substreams that were reset before a byte came.
    Opens,
    /// Frames for substreams that do not exist.
    Unknown,
    /// Data frames without a byte and without a flag.
    Empty,
    /// Data frames with less payload than header.
    Tiny,
    /// Window updates that are not worth their header.
    Updates,
    /// Pings.
    Pings,
    /// GOAWAY said again.
    GoAways,
}

impl std::fmt::Display for Useless {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Opens => "substreams reset unused",
            Self::Unknown => "frames for unknown substreams",
            Self::Empty => "empty data frames",
            Self::Tiny => "tiny data frames",
            Self::Updates => "tiny window updates",
            Self::Pings => "pings",
            Self::GoAways => "repeated GOAWAYs",
        })
    }
}

/// Why no substream was opened. Nothing was sent: another session may be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// As many substreams are open as the two ends agreed on.
    #[error("the session has no room for another substream")]
    Full,
    /// The peer takes no more substreams: it sent GOAWAY.
    #[error("the other end takes no more substreams")]
    GoingAway,
}

/// Why a substream is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The peer reset it.
    #[error("the other end reset the substream")]
    ByPeer,
    /// This end reset it because the byte budget was used up and it held the most.
    #[error("the substream was reset because the session's memory was used up")]
    OverBudget,
    /// This end reset it, or has shut its own way down and can not write.
    #[error("the substream was ended here")]
    Here,
}
