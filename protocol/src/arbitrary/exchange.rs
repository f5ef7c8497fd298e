use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;

use super::{list, option, word};
use crate::exchange::{Field, Message, RequestHead, ResponseHead, Scheme};
use crate::limits::{AUTHORITY_MAX, DATA_MAX, FIELDS_MAX, METHOD_MAX, PATH_MAX, PROTOCOL_MAX};

const FIELD_NAME_MAX: usize = 64;

impl<'a> Arbitrary<'a> for Field {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let name = word(u, b"abcxyz09-_.!", FIELD_NAME_MAX)?;
        let mut value = Vec::<u8>::arbitrary(u)?;
        value.retain(|byte| !byte.is_ascii_control() || *byte == b'\t');
        Ok(Self { name: name.into(), value: value.into() })
    }
}

impl<'a> Arbitrary<'a> for RequestHead {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let protocol = option(u, |u| word(u, b"webSOCKET.13", PROTOCOL_MAX))?.map(Bytes::from);
        let expect_continue: bool = u.arbitrary()?;
        let path = match u.int_in_range(0..=7)? {
            0 => "*".to_owned(),
            _ => format!("/{}", word(u, b"/abc.%20?=&#\"'", PATH_MAX.saturating_sub(1).min(600))?),
        };
        Ok(Self {
            method: word(u, b"GETPOSTCONN-", METHOD_MAX)?.into(),
            scheme: if u.arbitrary()? { Scheme::Http } else { Scheme::Https },
            authority: word(u, b"ab.:[]12-", AUTHORITY_MAX)?.into(),
            path: path.into(),
            bodyless: u.arbitrary::<bool>()? && !expect_continue && protocol.is_none(),
            expect_continue,
            protocol,
            fields: list(u, FIELDS_MAX, Field::arbitrary)?,
        })
    }
}

impl<'a> Arbitrary<'a> for ResponseHead {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let status = u.int_in_range(100..=999)?;
        Ok(Self {
            status,
            informational: status < 200 && status != 101,
            bodyless: u.arbitrary::<bool>()? && status >= 200,
            fields: list(u, FIELDS_MAX, Field::arbitrary)?,
        })
    }
}

impl<'a> Arbitrary<'a> for Message {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=7)? {
            0 => Self::Request(u.arbitrary()?),
            1 => Self::Response(u.arbitrary()?),
            2 => {
                let length = u.arbitrary_len::<u8>()?.clamp(1, DATA_MAX);
                let mut data = vec![0; length];
                u.fill_buffer(&mut data)?;
                Self::Data(data.into())
            }
            3 => Self::Trailers(list(u, FIELDS_MAX, Field::arbitrary)?),
            4 => Self::End,
            5 => Self::Reset { code: u.arbitrary()?, text: u.arbitrary()? },
            6 => Self::Stop { code: u.arbitrary()? },
            _ => Self::Status(u.arbitrary()?),
        })
    }
}
