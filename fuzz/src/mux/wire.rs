//! What an end may send, whatever its peer does.

use std::collections::HashMap;

use protocol::mux::{FRAME_MAX, Role};

use super::frames::{Frames, RawFrame};

/// What was sent for one id.
#[derive(Debug, Default)]
struct Sent {
    announced: bool,
    ended: bool,
    broken: bool,
    data: u64,
    /// What the peer has given beyond the first window.
    credit: u64,
}

/// The bytes that one end sends.
#[derive(Debug)]
pub(super) struct Wire {
    role: Role,
    first_window: u64,
    /// The peer uses no id twice, so that what is said of an id is said of one substream.
    honest_peer: bool,
    frames: Frames,
    sent: HashMap<u32, Sent>,
}

impl Wire {
    pub(super) fn new(role: Role, first_window: u32, honest_peer: bool) -> Self {
        let (first_window, frames, sent) = (first_window.into(), Frames::default(), HashMap::new());
        Self { role, first_window, honest_peer, frames, sent }
    }

    /// The end sends these bytes, in whole frames. Returns them.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Vec<RawFrame> {
        let mut all = Vec::new();
        self.frames.feed(bytes, |frame| all.push(frame));
        assert!(self.frames.is_at_boundary(), "a batch ends within a frame");
        for frame in &all {
            self.check(*frame);
        }
        all
    }

    /// The peer sent this frame, so the end may act on it.
    pub(super) fn peer_sent(&mut self, frame: RawFrame) {
        if frame.kind == RawFrame::WINDOW_UPDATE && !frame.has(RawFrame::RST) {
            let sent = self.sent.entry(frame.id).or_default();
            sent.credit += u64::from(frame.length);
        }
    }

    fn check(&mut self, frame: RawFrame) {
        assert_eq!(frame.version, 0, "{frame:?}");
        assert_eq!(frame.flags & !15, 0, "{frame:?}");
        match frame.kind {
            RawFrame::DATA => {
                assert!(frame.length as usize <= FRAME_MAX, "{frame:?}");
                self.substream(frame);
            }
            RawFrame::WINDOW_UPDATE => self.substream(frame),
            RawFrame::PING => {
                assert_eq!(frame.id, 0, "{frame:?}");
                assert!(matches!(frame.flags, RawFrame::SYN | RawFrame::ACK), "{frame:?}");
            }
            kind => {
                assert_eq!(kind, RawFrame::GO_AWAY, "{frame:?}");
                assert!(frame.id == 0 && frame.flags == 0 && frame.length <= 2, "{frame:?}");
            }
        }
    }

    fn substream(&mut self, frame: RawFrame) {
        assert_ne!(frame.id, 0, "{frame:?}");
        let own = self.role.owns(frame.id);
        let sent = self.sent.entry(frame.id).or_default();
        let announcement = if own { RawFrame::SYN } else { RawFrame::ACK };
        assert_eq!(frame.flags & (RawFrame::SYN | RawFrame::ACK) & !announcement, 0, "{frame:?}");
        if !own && !self.honest_peer {
            return;
        }
        assert!(!sent.broken, "{frame:?} behind a RST");
        if frame.has(announcement) {
            assert!(!sent.announced, "{frame:?} is announced twice");
            sent.announced = true;
        } else {
            // A substream above the limit is reset without ever being accepted.
            assert!(sent.announced || (!own && frame.has(RawFrame::RST)), "{frame:?} before it is announced");
        }
        if frame.kind == RawFrame::DATA {
            assert!(!sent.ended, "{frame:?} behind a FIN");
            assert!(frame.length > 0 || frame.flags != 0, "{frame:?} says nothing");
            sent.data += u64::from(frame.length);
            assert!(sent.data <= self.first_window + sent.credit, "{frame:?} above the window: {sent:?}");
        } else {
            assert!(!frame.has(RawFrame::FIN), "{frame:?}");
            assert!(frame.length > 0 || frame.flags != 0, "{frame:?} says nothing");
        }
        sent.ended |= frame.has(RawFrame::FIN);
        sent.broken |= frame.has(RawFrame::RST);
    }
}
