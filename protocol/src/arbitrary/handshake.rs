use arbitrary::{Arbitrary, Result, Unstructured};

use super::{duration, option, string};
use crate::handshake::{Features, Hello, PeerLimits, Reject, ServerReply, VersionRange, Welcome};
use crate::limits::{AGENT_MAX, FIRST_WINDOW_MIN, HOST_MAX, NAME_MAX};

impl<'a> Arbitrary<'a> for VersionRange {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let min = u.int_in_range(1..=u16::MAX)?;
        Ok(Self { min, max: u.int_in_range(min..=u16::MAX)? })
    }
}

impl<'a> Arbitrary<'a> for PeerLimits {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            first_window: u.int_in_range(FIRST_WINDOW_MIN..=u32::MAX)?,
            max_substreams: u.int_in_range(1..=u32::MAX)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Hello {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            versions: u.arbitrary()?,
            features: u.arbitrary().map(Features)?,
            client: u.arbitrary()?,
            instance: u.arbitrary()?,
            slot: u.arbitrary()?,
            replaces: u.arbitrary()?,
            limits: u.arbitrary()?,
            credential: u.arbitrary()?,
            proof: u.arbitrary()?,
            name: string(u, NAME_MAX)?,
            agent: string(u, AGENT_MAX)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Welcome {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            version: u.arbitrary()?,
            features: u.arbitrary().map(Features)?,
            session: u.arbitrary()?,
            generation: u.arbitrary()?,
            limits: u.arbitrary()?,
            domain: string(u, HOST_MAX)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Reject {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self { code: u.arbitrary()?, text: u.arbitrary()?, retry_after: option(u, duration)? })
    }
}

impl<'a> Arbitrary<'a> for ServerReply {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        if u.arbitrary()? { u.arbitrary().map(Self::Welcome) } else { u.arbitrary().map(Self::Reject) }
    }
}
