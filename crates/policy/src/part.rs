//! What belongs to a group and is handed to its members: services and ingresses (DESIGN 6, "Push"). Services next to the
//! server are written down in the same way.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The part of the configuration that the members of a group serve. On the wire it is JSON.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupPart {
    /// Services that the members dial.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServicePart>,
    /// Listeners that the members open, to reach services next to the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ingresses: Vec<IngressPart>,
}

/// A named thing to reach.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePart {
    /// Its name within the group; see [`protocol::service_name::is_name`].
    pub name: String,
    /// Where it listens; never none.
    pub servers: Vec<ServerPart>,
    /// Which of them gets the next request.
    #[serde(default)]
    pub balance: ServerBalance,
    /// How they are probed; none: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
}

/// One server of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerPart {
    /// A TARGET of INTERFACE: `3000`, `host:3000`, `http(s)://host:port`, `h2c://host:port` or `unix:/path`.
    pub address: String,
    /// Its share among the others.
    #[serde(default = "one")]
    pub weight: u32,
    /// Whom to trust, for `https://`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsPart>,
    /// The PROXY protocol in front of every connection; for TCP, and for HTTP with a connection a visitor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_proxy: Option<ProxyVersion>,
}

/// Whom a dialling end trusts. Without any of it: the roots of its system, and the name in the address.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsPart {
    /// Certificates of authorities, PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// `sha256-…` of the public key, as in a join string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// The name that is asked for and checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// Version of the PROXY protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProxyVersion {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

/// Which server of a service gets the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerBalance {
    /// Each in turn.
    #[default]
    RoundRobin,
    /// Each in turn, as often as its weight says.
    Weighted,
    /// The one that carries the least.
    LeastConnections,
    /// The same one for the same visitor address.
    IpHash,
}

/// How servers are probed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// With what.
    pub kind: HealthKind,
    /// For `http`: the path that must answer 2xx or 3xx. For `grpc`: the service that is asked for, empty for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Milliseconds between two probes.
    pub interval_ms: u64,
    /// Milliseconds a probe may take.
    pub timeout_ms: u64,
    /// Good probes in a row that make a sick server healthy.
    pub rise: u32,
    /// Bad probes in a row that make a healthy server sick.
    pub fall: u32,
}

impl HealthCheck {
    /// Between two probes.
    #[must_use]
    pub const fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms)
    }

    /// What a probe may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

/// What a probe is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthKind {
    /// A GET.
    Http,
    /// A connection.
    Tcp,
    /// `grpc.health.v1.Health/Check`.
    Grpc,
}

/// A listener that the members of a group open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IngressPart {
    /// Where: an address with a port.
    pub listen: String,
    /// What comes in.
    pub kind: IngressKind,
    /// The service next to the server.
    pub to: String,
}

/// What comes in at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IngressKind {
    /// HTTP requests.
    Http,
    /// Connections of any kind.
    Tcp,
}

const fn one() -> u32 {
    1
}
