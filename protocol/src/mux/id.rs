//! Whose a substream is.

/// Which end of the session this is: the client dialled it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that dialled; its substreams have odd ids.
    Client,
    /// The end that accepted; its substreams have even ids.
    Server,
}

impl Role {
    /// The id of the first substream that this end opens.
    #[must_use]
    pub const fn first_id(self) -> u32 {
        match self {
            Self::Client => 1,
            Self::Server => 2,
        }
    }

    /// Whether substreams with this id are opened by this end.
    #[must_use]
    pub const fn owns(self, id: u32) -> bool {
        id % 2 == self.first_id() % 2
    }
}

/// A substream that this end holds: stays good until [`Mux::release`](super::Mux::release).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    pub(super) slot: usize,
    pub(super) id: u32,
    /// Slot and id may both come again: the peer chooses its ids.
    pub(super) generation: u32,
}

impl Key {
    /// A small number that no other live substream of this session has; reused later. For tables beside the session.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot
    }

    /// The id on the wire.
    #[must_use]
    pub const fn id(self) -> u32 {
        self.id
    }
}
