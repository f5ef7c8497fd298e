//! The multiplexer: yamux as published, as a state machine without input or output (`spec/04`).
//!
//! [`Mux`] is one end of a session. Its methods are of four kinds:
//!
//! | kind | methods | who calls them |
//! |---|---|---|
//! | bytes and time in | [`Mux::recv`], [`Mux::tick`] | whoever owns the link |
//! | wishes of substreams | [`Mux::open`], [`Mux::accept`], [`Mux::read`], [`Mux::write`], [`Mux::finish`], [`Mux::reset`], [`Mux::release`] … | whoever holds a [`Key`] |
//! | bytes out | [`Mux::transmit`] into a [`Batch`], after any of the others | whoever owns the link |
//! | events out | [`Mux::poll_event`], after any of the others | whoever wakes tasks |
//!
//! ```text
//!              recv                              read, unread
//!   link ───────────────► frames ──► inbox ──────────────────────► holder of a Key
//!        ◄─────────────── batch ◄── scheduler ◄── outbox ◄────────
//!            transmit                                 write, finish
//! ```
//!
//! # Bounds
//! A session holds at most [`Config::max_held`] counted bytes, received and unread or written and unsent, plus one read of
//! [`READ_SIZE`]: when more would be held, the substreams that hold the most are broken off with [`Broken::OverBudget`]
//! until it is seven eighths of that. What is counted takes at most twice its size in memory, as long as what is written
//! comes in buffers that are not larger than twice what is in them; besides, a substream costs less than a kilobyte, and there are at most [`Config::max_inbound`] + [`Config::max_outbound`]. Queues of frames without
//! a payload are bounded by the number of substreams. Frames that carry nothing are paid for out of a flood budget.

mod batch;
mod budget;
mod error;
mod flood;
mod header;
mod held;
mod id;
mod inbox;
mod outbox;
mod ping;
mod receive_window;
mod recv;
mod scheduler;
mod session;
mod state;
mod stream;
mod streams;
mod tail;
#[cfg(test)]
mod tests;
mod transmit;

pub use batch::Batch;
pub use budget::ProcessBudget;
pub use error::{Breach, Broken, OpenError, Useless};
pub use header::{Flags, HEADER_LEN, Header, Kind};
pub use id::{Key, Role};
pub use session::{Config, Mux, Notice, Read, Write};
pub use state::{Event, Impossible, State};

use std::time::Duration;

/// The window of a new substream by the published spec, bytes.
pub const YAMUX_WINDOW: u32 = 256 * 1024;
/// What a window grows to at most, bytes: 1.3 Gbit/s at 100 ms.
pub const WINDOW_MAX: u32 = 16 * 1024 * 1024;
/// On a link with this round trip or more, a new substream gets the whole window of the published spec at once, and windows
/// grow ahead of a sender that is still speeding up.
const LONG_LINK: Duration = Duration::from_millis(10);
/// Payload of a data frame of ours at most: with its header, one full TLS record.
pub const FRAME_MAX: usize = 16 * 1024 - HEADER_LEN;
/// Bytes that [`Mux::recv`] should be given at once: as many as one TLS record has.
pub const READ_SIZE: usize = 16 * 1024;
/// Bytes of one substream that wait to be sent, from which on it takes no more.
pub const OUTBOX_MAX: usize = 64 * 1024;
/// How long what was written and not ended goes on being sent after its holder has left, before the reset.
pub const ABORT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long what was written and ended goes on being sent after its holder has left, while the peer gives no credit for it.
pub const ORPHAN_TIMEOUT: Duration = Duration::from_secs(5);
/// The same with credit: only the link can be slow then, and a link on which nothing moves is given up before.
pub const LINK_TIMEOUT: Duration = Duration::from_secs(60);
/// What a data frame for an unknown substream may have as payload, bytes; others are bounded by their window.
pub const DISCARDED_MAX: u32 = WINDOW_MAX;
