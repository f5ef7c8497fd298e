//! `health`: how the servers of services are, as the client that dials them finds.

use crate::codec::{DecodeError, EncodeError, Reader, Writer};
use crate::limits::{REPORTED_SERVERS_MAX, REPORTED_SERVICES_MAX, SERVER_MAX, SERVICE_NAME_MAX};
use crate::service_name::ServiceName;

/// What the sending instance finds of the servers that it dials. It stands until the instance says otherwise of the same
/// service, or is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The instance's own count of its reports, on all its sessions: of two about a service the higher one holds.
    pub number: u64,
    /// At most [`REPORTED_SERVICES_MAX`].
    pub services: Vec<ServiceHealth>,
}

/// How the servers of one service are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceHealth {
    /// The service, by the name that substreams ask for it.
    pub service: ServiceName,
    /// At most [`REPORTED_SERVERS_MAX`], a healthy one among them if there is one.
    pub servers: Vec<ServerHealth>,
}

/// How one server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHealth {
    /// What it is called, for a person; mostly its address. Nothing dials it.
    pub server: String,
    /// How it is.
    pub state: ServerState,
}

/// How a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerState {
    /// As far as anybody knows it works.
    Healthy,
    /// It could not be connected to, and is put off for a while.
    Ejected,
    /// Its probes fail.
    Sick,
}

impl ServerState {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Ejected, Self::Sick];

    /// The word in status and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Ejected => "ejected",
            Self::Sick => "sick",
        }
    }
}

impl ServiceHealth {
    /// Whether none of its servers is healthy. Of a service without servers nothing is known.
    #[must_use]
    pub fn is_sick(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(|server| server.state != ServerState::Healthy)
    }
}

impl Health {
    pub(super) fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.u64(self.number);
        w.list("services", &self.services, REPORTED_SERVICES_MAX, |w, service| service.write(w))
    }

    pub(super) fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let number = r.u64("number")?;
        Ok(Self { number, services: r.list("services", REPORTED_SERVICES_MAX, ServiceHealth::read)? })
    }
}

impl ServiceHealth {
    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        if !self.service.is_valid() {
            return Err(EncodeError::BadValue { field: "service" });
        }
        w.str8("service", &self.service.to_string(), SERVICE_NAME_MAX)?;
        w.list("servers", &self.servers, REPORTED_SERVERS_MAX, |w, server| server.write(w))
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let service = r.str8("service", SERVICE_NAME_MAX)?.parse();
        Ok(Self {
            service: service.map_err(|_| DecodeError::BadValue { field: "service" })?,
            servers: r.list("servers", REPORTED_SERVERS_MAX, ServerHealth::read)?,
        })
    }
}

impl ServerHealth {
    fn write(&self, w: &mut Writer<'_>) -> Result<(), EncodeError> {
        w.str8("server", &self.server, SERVER_MAX)?;
        w.u8(match self.state {
            ServerState::Healthy => 0,
            ServerState::Ejected => 1,
            ServerState::Sick => 2,
        });
        Ok(())
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            server: r.str8("server", SERVER_MAX)?.to_owned(),
            state: match r.u8("state")? {
                0 => ServerState::Healthy,
                1 => ServerState::Ejected,
                2 => ServerState::Sick,
                _ => return Err(DecodeError::BadValue { field: "state" }),
            },
        })
    }
}
