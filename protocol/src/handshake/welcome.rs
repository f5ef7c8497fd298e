//! `welcome`: the session begins.

use bytes::BytesMut;

use super::{Features, PeerLimits};
use crate::codec::{DecodeError, EncodeError, Reader};
use crate::frame::{self, Frame, FrameType};
use crate::id::{Generation, SessionId};
use crate::limits::{HANDSHAKE_FRAME_MAX, HOST_MAX};

/// The server's yes. The next byte in either direction is yamux.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The version that both sides speak from here on.
    pub version: u16,
    /// The features that both sides have.
    pub features: Features,
    /// This session.
    pub session: SessionId,
    /// Its generation.
    pub generation: Generation,
    /// What the server is prepared to receive.
    pub limits: PeerLimits,
    /// The domain under which names without a dot are registered; at most 253 bytes.
    pub domain: String,
}

impl Welcome {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// [`EncodeError`] if a field is one that a client would refuse.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        frame::encode(FrameType::WELCOME, HANDSHAKE_FRAME_MAX, out, |w| {
            w.u16(self.version);
            w.u64(self.features.0);
            w.u64(self.session.0);
            w.u64(self.generation.0);
            self.limits.encode(w)?;
            w.str8("domain", &self.domain, HOST_MAX)
        })
    }

    pub(super) fn decode(frame: &Frame) -> Result<Self, DecodeError> {
        let mut r = Reader::new(&frame.payload);
        let welcome = Self {
            version: r.u16("version")?,
            features: Features(r.u64("features")?),
            session: SessionId(r.u64("session")?),
            generation: Generation(r.u64("generation")?),
            limits: PeerLimits::decode(&mut r)?,
            domain: r.str8("domain", HOST_MAX)?.to_owned(),
        };
        r.finish()?;
        Ok(welcome)
    }
}
