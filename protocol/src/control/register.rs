//! `register`: names and ports that an instance wants.

use crate::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::limits::{ALLOW_MAX, CIDR_MAX, HOST_MAX, NAME_MAX, REGISTRATIONS_MAX};

/// A list of registrations to make or to confirm; each is answered in a `registered`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// At most [`REGISTRATIONS_MAX`].
    pub items: Vec<Registration>,
}

/// One name or port that an instance wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// The instance's own number for it; the N of the service name `~/N`. The same number again replaces the former.
    pub id: u32,
    /// What its user calls it, at most 64 bytes; in status, logs and metrics.
    pub name: String,
    /// What is wanted.
    pub kind: RegistrationKind,
    /// The group to share the load with; without it nobody shares it.
    pub group: Option<String>,
    /// The visitors that may come in, as CIDR ranges; empty lets everybody in. At most [`ALLOW_MAX`].
    pub allow: Vec<String>,
}

/// What is wanted of the public side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistrationKind {
    /// The HTTP requests for a host.
    Http {
        /// Without a dot: under the domain. `None`: the server picks one.
        host: Option<String>,
    },
    /// The connections to a TCP port.
    Tcp {
        /// From 1. `None`: the server picks one.
        port: Option<u16>,
    },
}

const HTTP: u8 = 0;
const TCP: u8 = 1;

impl Register {
    pub(super) fn write(&self, writer: &mut Writer<'_>) -> Result<(), EncodeError> {
        writer.list("registrations", &self.items, REGISTRATIONS_MAX, |w, item| item.write(w))
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { items: reader.list("registrations", REGISTRATIONS_MAX, Registration::read)? })
    }
}

impl Registration {
    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.u32(self.id);
        w.str8("name", &self.name, NAME_MAX)?;
        self.kind.write(w)?;
        w.option(self.group.as_deref(), |w, group| w.str8("group", group, NAME_MAX))?;
        w.list("allow", &self.allow, ALLOW_MAX, |w, range| w.str8("allow", range, CIDR_MAX))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            id: r.u32("id")?,
            name: r.str8("name", NAME_MAX)?.to_owned(),
            kind: RegistrationKind::read(r)?,
            group: r.option("group", |r| r.str8("group", NAME_MAX).map(str::to_owned))?,
            allow: r.list("allow", ALLOW_MAX, |r| r.str8("allow", CIDR_MAX).map(str::to_owned))?,
        })
    }
}

impl RegistrationKind {
    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        match self {
            Self::Http { host } => {
                w.u8(HTTP);
                w.option(host.as_deref(), |w, host| w.str8("host", host, HOST_MAX))
            }
            Self::Tcp { port: Some(0) } => Err(EncodeError::BadValue { field: "port" }),
            Self::Tcp { port } => {
                w.u8(TCP);
                w.option(*port, |w, port| {
                    w.u16(port);
                    Ok(())
                })
            }
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match r.u8("kind")? {
            HTTP => {
                Ok(Self::Http { host: r.option("host", |r| r.str8("host", HOST_MAX).map(str::to_owned))? })
            }
            TCP => match r.option("port", |r| r.u16("port"))? {
                Some(0) => Err(DecodeError::BadValue { field: "port" }),
                port => Ok(Self::Tcp { port }),
            },
            _ => Err(DecodeError::BadValue { field: "kind" }),
        }
    }
}
