use arbitrary::{Arbitrary, Result, Unstructured};

use super::{duration, list, option, string};
use crate::control::{
    Close, Control, Drain, Health, Heartbeat, HeartbeatAck, Notice, NoticeLevel, Outcome, Part, PartAnswer,
    PartId, Parts, Register, Registered, Registration, RegistrationAnswer, RegistrationKind, ServerHealth,
    ServerState, ServiceHealth, Unregister,
};
use crate::limits::{
    ALLOW_MAX, CIDR_MAX, HOST_MAX, NAME_MAX, PART_MAX, PART_PIECE_MAX, PARTS_MAX, REGISTRATIONS_MAX,
    REPORTED_SERVERS_MAX, REPORTED_SERVICES_MAX, SERVER_MAX, URL_MAX,
};

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

impl<'a> Arbitrary<'a> for PartId {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self { group: string(u, NAME_MAX)?, revision: u.arbitrary()? })
    }
}

impl<'a> Arbitrary<'a> for Part {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let bytes = Vec::<u8>::arbitrary(u)?;
        let bytes = if bytes.is_empty() { vec![b'{'] } else { bytes };
        let bytes: Vec<u8> = bytes.into_iter().take(PART_PIECE_MAX).collect();
        let room = PART_MAX.saturating_sub(bytes.len());
        let offset = u.int_in_range(0..=room)?;
        let behind = u.int_in_range(0..=room.saturating_sub(offset))?;
        let length = offset.saturating_add(bytes.len()).saturating_add(behind);
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Self {
            of: u.arbitrary()?,
            digest: u.arbitrary()?,
            length: count(length),
            offset: count(offset),
            bytes: bytes.into(),
        })
    }
}

impl<'a> Arbitrary<'a> for PartAnswer {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self { of: u.arbitrary()?, refusal: u.arbitrary()? })
    }
}

impl<'a> Arbitrary<'a> for ServerHealth {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self { server: string(u, SERVER_MAX)?, state: *u.choose(&ServerState::ALL)? })
    }
}

impl<'a> Arbitrary<'a> for ServiceHealth {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let servers = list(u, REPORTED_SERVERS_MAX, ServerHealth::arbitrary)?;
        Ok(Self { service: u.arbitrary()?, servers })
    }
}

impl<'a> Arbitrary<'a> for Health {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let services = list(u, REPORTED_SERVICES_MAX, ServiceHealth::arbitrary)?;
        Ok(Self { number: u.arbitrary()?, services })
    }
}

impl<'a> Arbitrary<'a> for Control {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=11)? {
            0 => Register { items: list(u, REGISTRATIONS_MAX, Registration::arbitrary)? }.into(),
            1 => Registered { results: list(u, REGISTRATIONS_MAX, RegistrationAnswer::arbitrary)? }.into(),
            2 => Unregister { ids: list(u, REGISTRATIONS_MAX, u32::arbitrary)? }.into(),
            3 => Heartbeat { nonce: u.arbitrary()? }.into(),
            4 => HeartbeatAck { nonce: u.arbitrary()? }.into(),
            5 => Drain { deadline: duration(u)? }.into(),
            6 => Close { reason: u.arbitrary()?, text: u.arbitrary()? }.into(),
            7 => Notice::arbitrary(u)?.into(),
            8 => Part::arbitrary(u)?.into(),
            9 => PartAnswer::arbitrary(u)?.into(),
            10 => Parts { items: list(u, PARTS_MAX, PartId::arbitrary)? }.into(),
            _ => Health::arbitrary(u)?.into(),
        })
    }
}
