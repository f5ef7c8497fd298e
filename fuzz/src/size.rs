//! Lengths worth trying.

use protocol::mux::{FRAME_MAX, OUTBOX_MAX, READ_SIZE, YAMUX_WINDOW};

const WINDOW: usize = YAMUX_WINDOW as usize;

/// The edges of the engine and its neighbours.
const EDGES: [usize; 40] = [
    0,
    1,
    2,
    11,
    12,
    13,
    23,
    24,
    25,
    100,
    1023,
    1024,
    1025,
    READ_SIZE / 2 - 1,
    READ_SIZE / 2,
    FRAME_MAX - 1,
    FRAME_MAX,
    FRAME_MAX + 1,
    READ_SIZE - 1,
    READ_SIZE,
    READ_SIZE + 1,
    2 * FRAME_MAX,
    2 * READ_SIZE,
    3 * FRAME_MAX + 1,
    OUTBOX_MAX / 2 - 1,
    OUTBOX_MAX / 2,
    OUTBOX_MAX / 2 + 1,
    OUTBOX_MAX - 1,
    OUTBOX_MAX,
    OUTBOX_MAX + 1,
    WINDOW / 2 - 1,
    WINDOW / 2,
    WINDOW / 2 + 1,
    WINDOW - FRAME_MAX,
    WINDOW - 1,
    WINDOW,
    WINDOW + 1,
    WINDOW + FRAME_MAX,
    300_000,
    2 * WINDOW,
];

/// A length out of one byte: an edge, or something small.
pub(crate) fn size(byte: u8) -> usize {
    EDGES.get(usize::from(byte)).copied().unwrap_or_else(|| usize::from(byte) * 16)
}
