//! How a session ended.

use std::io;

use protocol::mux::Breach;

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionEnd {
    /// This end closed it.
    #[error("closed")]
    Closed,
    /// The peer closed it.
    #[error("closed by the other end")]
    ClosedByPeer,
    /// No byte came for the dead-peer limit.
    #[error("the other end fell silent")]
    Silent,
    /// The link failed.
    #[error("the link failed: {0}")]
    Link(io::ErrorKind),
    /// The peer broke the rules of the multiplexer.
    #[error("the other end broke the protocol: {0}")]
    Breach(Breach),
    /// The task that drives the session panicked or was aborted; a defect of ours.
    #[error("the session's task ended")]
    Driver,
}
