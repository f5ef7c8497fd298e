//! `hello`: who a client is, what it speaks, and the proof.

use bytes::BytesMut;

use super::{Features, PeerLimits, VersionRange};
use crate::codec::{DecodeError, EncodeError, Reader};
use crate::frame::{self, Frame, FrameType};
use crate::id::{ClientId, CredentialId, InstanceId, SessionId, Slot};
use crate::limits::{AGENT_MAX, CREDENTIAL_ID_MAX, HANDSHAKE_FRAME_MAX, NAME_MAX};

/// The first frame of a client. Its layout is the same in every version, so that any server can say why it refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The versions that the client speaks.
    pub versions: VersionRange,
    /// The features that it offers.
    pub features: Features,
    /// The installation.
    pub client: ClientId,
    /// The process.
    pub instance: InstanceId,
    /// Which of the instance's parallel sessions this is to be.
    pub slot: Slot,
    /// The session of the same slot that may drain once this one stands; without it an old one is cut.
    pub replaces: Option<SessionId>,
    /// What the client is prepared to receive.
    pub limits: PeerLimits,
    /// Which of the server's public keys the proof is to be checked with.
    pub credential: CredentialId,
    /// The Ed25519 signature over [`super::login_message`].
    pub proof: [u8; 64],
    /// The client's name for people, at most 64 bytes without control characters; may be empty.
    pub name: String,
    /// Program and version, at most 64 bytes without control characters; may be empty.
    pub agent: String,
}

impl Hello {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// [`EncodeError`] if a field is one that a server would refuse.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        frame::encode(FrameType::HELLO, HANDSHAKE_FRAME_MAX, out, |w| {
            self.versions.encode(w)?;
            w.u64(self.features.0);
            w.bytes(&self.client.0);
            w.bytes(&self.instance.0);
            w.u16(self.slot.0);
            w.option(self.replaces, |w, session| {
                w.u64(session.0);
                Ok(())
            })?;
            self.limits.encode(w)?;
            w.str8("credential", self.credential.as_str(), CREDENTIAL_ID_MAX)?;
            w.bytes(&self.proof);
            w.str8("name", &self.name, NAME_MAX)?;
            w.str8("agent", &self.agent, AGENT_MAX)
        })
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`DecodeError::UnknownType`] for any other frame, and what is wrong with a field.
    pub fn decode(frame: &Frame) -> Result<Self, DecodeError> {
        if frame.kind != FrameType::HELLO {
            return Err(DecodeError::UnknownType { kind: frame.kind });
        }
        let mut r = Reader::new(&frame.payload);
        let hello = Self {
            versions: VersionRange::decode(&mut r)?,
            features: Features(r.u64("features")?),
            client: ClientId(r.array("client")?),
            instance: InstanceId(r.array("instance")?),
            slot: Slot(r.u16("slot")?),
            replaces: r.option("replaces", |r| r.u64("replaces").map(SessionId))?,
            limits: PeerLimits::decode(&mut r)?,
            credential: CredentialId::parse(r.str8("credential", CREDENTIAL_ID_MAX)?)
                .map_err(|_| DecodeError::BadValue { field: "credential" })?,
            proof: r.array("proof")?,
            name: r.str8("name", NAME_MAX)?.to_owned(),
            agent: r.str8("agent", AGENT_MAX)?.to_owned(),
        };
        r.finish()?;
        Ok(hello)
    }
}
