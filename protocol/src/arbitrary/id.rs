use arbitrary::{Arbitrary, Result, Unstructured};

use super::word;
use crate::code::Code;
use crate::control::{CloseReason, NoticeCode, RegisterCode};
use crate::handshake::RejectCode;
use crate::id::{ClientId, CredentialId, Generation, InstanceId, SessionId, Slot};
use crate::limits::{CREDENTIAL_ID_MAX, NAME_MAX};
use crate::service_name::ServiceName;

macro_rules! newtype {
    ($($name:ident),*) => {
        $(impl<'a> Arbitrary<'a> for $name {
            fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
                Arbitrary::arbitrary(u).map(Self)
            }
        })*
    };
}
newtype!(ClientId, InstanceId, SessionId, Generation, Slot);
newtype!(Code, RejectCode, RegisterCode, CloseReason, NoticeCode);

impl<'a> Arbitrary<'a> for CredentialId {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let text = word(u, b"abcxyz0189_-", CREDENTIAL_ID_MAX)?;
        Self::parse(&text).map_err(|_| arbitrary::Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for ServiceName {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let mut name = || word(u, b"abzABZ09._-", NAME_MAX);
        let (group, service) = (name()?, name()?);
        match u.int_in_range(0..=2)? {
            0 => Ok(Self::Grouped { group, service }),
            1 => Ok(Self::Plain(service)),
            _ => u32::arbitrary(u).map(Self::Own),
        }
    }
}
