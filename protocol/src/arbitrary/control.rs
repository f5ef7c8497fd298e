use arbitrary::{Arbitrary, Result, Unstructured};

use super::{duration, list, option, string};
use crate::control::{
    Close, Control, Drain, Heartbeat, HeartbeatAck, Notice, NoticeLevel, Outcome, Register, Registered,
    Registration, RegistrationAnswer, RegistrationKind, Unregister,
};
use crate::limits::{ALLOW_MAX, CIDR_MAX, HOST_MAX, NAME_MAX, REGISTRATIONS_MAX, URL_MAX};

impl<'a> Arbitrary<'a> for RegistrationKind {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        if u.arbitrary()? {
            Ok(Self::Http { host: option(u, |u| string(u, HOST_MAX))? })
        } else {
            Ok(Self::Tcp { port: option(u, |u| u.int_in_range(1..=u16::MAX))? })
        }
    }
}

impl<'a> Arbitrary<'a> for Registration {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            id: u.arbitrary()?,
            name: string(u, NAME_MAX)?,
            kind: u.arbitrary()?,
            group: option(u, |u| string(u, NAME_MAX))?,
            allow: list(u, ALLOW_MAX, |u| string(u, CIDR_MAX))?,
        })
    }
}

impl<'a> Arbitrary<'a> for RegistrationAnswer {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let id = u.arbitrary()?;
        let outcome = if u.arbitrary()? {
            Outcome::Granted { public: string(u, HOST_MAX)?, url: string(u, URL_MAX)? }
        } else {
            Outcome::Refused { code: u.arbitrary()?, text: u.arbitrary()? }
        };
        Ok(Self { id, outcome })
    }
}

impl<'a> Arbitrary<'a> for Notice {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let levels = [NoticeLevel::Info, NoticeLevel::Warning, NoticeLevel::Error];
        Ok(Self {
            level: *u.choose(&levels)?,
            code: u.arbitrary()?,
            registration: u.arbitrary()?,
            text: u.arbitrary()?,
        })
    }
}

impl<'a> Arbitrary<'a> for Control {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=7)? {
            0 => Register { items: list(u, REGISTRATIONS_MAX, Registration::arbitrary)? }.into(),
            1 => Registered { results: list(u, REGISTRATIONS_MAX, RegistrationAnswer::arbitrary)? }.into(),
            2 => Unregister { ids: list(u, REGISTRATIONS_MAX, u32::arbitrary)? }.into(),
            3 => Heartbeat { nonce: u.arbitrary()? }.into(),
            4 => HeartbeatAck { nonce: u.arbitrary()? }.into(),
            5 => Drain { deadline: duration(u)? }.into(),
            6 => Close { reason: u.arbitrary()?, text: u.arbitrary()? }.into(),
            _ => Notice::arbitrary(u)?.into(),
        })
    }
}
