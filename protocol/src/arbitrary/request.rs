use std::net::{IpAddr, SocketAddr};

use arbitrary::{Arbitrary, Result, Unstructured};

use super::option;
use crate::request::{Head, Kind, Status, TraceContext};

impl<'a> Arbitrary<'a> for TraceContext {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self { trace_id: u.arbitrary()?, span_id: u.arbitrary()?, flags: u.arbitrary()? })
    }
}

impl<'a> Arbitrary<'a> for Head {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            kind: if u.arbitrary()? { Kind::Tcp } else { Kind::Exchange },
            name: u.arbitrary()?,
            visitor: option(u, |u| {
                Ok(SocketAddr::new(IpAddr::arbitrary(u)?.to_canonical(), u.arbitrary()?))
            })?,
            ingress: u.arbitrary()?,
            trace: u.arbitrary()?,
        })
    }
}

impl<'a> Arbitrary<'a> for Status {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=3)? {
            0 => Self::Accepted,
            1 => Self::Connected,
            2 => Self::Refused { code: u.arbitrary()?, text: u.arbitrary()? },
            _ => Self::Failed { code: u.arbitrary()?, text: u.arbitrary()? },
        })
    }
}
