use std::net::Ipv6Addr;

use arbitrary::{Arbitrary, Result, Unstructured};

use super::{list, word};
use crate::join::{HostPort, JoinString, Pin, Secret32};
use crate::limits::{HOST_MAX, PINS_MAX};

impl<'a> Arbitrary<'a> for HostPort {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let host = if u.arbitrary()? {
            word(u, b"abzAZ09.-_", HOST_MAX)?
        } else {
            format!("[{}]", Ipv6Addr::arbitrary(u)?)
        };
        let port = u.int_in_range(1..=u16::MAX)?;
        format!("{host}:{port}").parse().map_err(|_| arbitrary::Error::IncorrectFormat)
    }
}

impl<'a> Arbitrary<'a> for JoinString {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            credential: u.arbitrary()?,
            secret: u.arbitrary().map(Secret32::new)?,
            address: u.arbitrary()?,
            pins: list(u, PINS_MAX, |u| u.arbitrary().map(Pin))?,
        })
    }
}
