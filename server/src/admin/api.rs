//! What the admin socket speaks: the JSON that `--json` prints is the answer as it came.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use super::order_api::{DisabledInfo, Kick, Kicked, Switch, Switched, Unban, Unbanned};

/// Answer of `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the running server.
    pub version: String,
    /// Seconds since its start.
    pub uptime_seconds: u64,
    /// `ready` or `draining`.
    pub state: String,
    /// Names without a dot are under it.
    pub domain: String,
    /// Where it listens, as bound.
    pub listen: ListenInfo,
    /// Number of the configuration in use; 0 without one.
    pub revision: u64,
    /// What else there is to say of it.
    #[serde(default)]
    pub config: ConfigInfo,
    /// Every session, by number.
    pub sessions: Vec<SessionInfo>,
    /// Every name that is held or reserved, in order.
    pub names: Vec<NameInfo>,
    /// Every group of the configuration, in order.
    #[serde(default)]
    pub groups: Vec<GroupInfo>,
    /// Every configured ingress for TCP, and every host whose TLS is passed through, in order.
    #[serde(default)]
    pub ingresses: Vec<IngressInfo>,
    /// Everything that is out of service by the operator's word, in order.
    #[serde(default)]
    pub disabled: Vec<DisabledInfo>,
}

/// How the configuration is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConfigInfo {
    /// Who put it in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What was said with it; of one that undoes another, why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Seconds after which it is undone unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_in_seconds: Option<u64>,
    /// Why the configuration file is not in force, if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// What it lacks – a file that it names can not be used, a variable is not set – and what that means, a line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
}

/// A configured ingress for TCP, or a host whose TLS is passed through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IngressInfo {
    /// `tcp` or `tls`.
    pub kind: String,
    /// Where it listens, as bound.
    pub listen: String,
    /// Why nobody can come in there, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub down: Option<String>,
    /// Of TLS, the host or pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Where its connections go: `GROUP/SERVICE`, or a service next to the server.
    pub to: String,
    /// Who serves it; nobody has to for a service next to the server.
    pub members: Vec<MemberInfo>,
    /// Failures so far, by error kind.
    pub failures: BTreeMap<String, u64>,
}

/// One group of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupInfo {
    /// Its name.
    pub name: String,
    /// Whether it is out of service by the operator's word.
    #[serde(default)]
    pub disabled: bool,
    /// Number of the configuration that its members are handed.
    pub revision: u64,
    /// Its services.
    pub services: Vec<String>,
    /// Who is granted it and connected.
    pub members: Vec<GroupMemberInfo>,
}

/// One instance that is granted a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupMemberInfo {
    /// Who it is, and how its sessions are; `state` is `behind` if it does not serve the group.
    #[serde(flatten)]
    pub member: MemberInfo,
    /// Whose it is.
    pub principal: String,
    /// Why it is behind, in its own words.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Bound addresses; of a listener with several, the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenInfo {
    /// For clients.
    pub tunnel: String,
    /// For visitors.
    pub http: String,
    /// For visitors over TLS; absent without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<String>,
    /// For operators.
    pub ops: String,
    /// For what asks as commands do, over TCP; absent without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<String>,
    /// Those of them that could not be bound yet, and why; absent without.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub down: BTreeMap<String, String>,
}

/// Answer of `GET /v1/sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sessions {
    /// Every session, by number.
    pub sessions: Vec<SessionInfo>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// Its number.
    pub session: u64,
    /// Who authenticated.
    pub principal: String,
    /// With which credential.
    pub credential: String,
    /// The installation.
    pub client: String,
    /// The process.
    pub instance: String,
    /// Which of the process' sessions.
    pub slot: u16,
    /// Newer is greater.
    pub generation: u64,
    /// What the client calls itself.
    pub name: String,
    /// Program and version.
    pub agent: String,
    /// Where it comes from.
    pub peer: String,
    /// Seconds since its login.
    pub age_seconds: u64,
    /// Round-trip time by the last heartbeat, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Requests and connections on it.
    pub substreams: usize,
    /// `ready`, `draining` or `disabled`.
    pub state: String,
}

/// One host or port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NameInfo {
    /// The host, or the port as text.
    pub name: String,
    /// `http` or `tcp`.
    pub kind: String,
    /// What visitors type.
    pub url: String,
    /// Whose it is.
    pub principal: String,
    /// The group that shares it; `~CLIENT` for one client alone.
    pub group: String,
    /// What its tunnel is called.
    pub service: String,
    /// `live`, `reserved` or `disabled`.
    pub state: String,
    /// Who serves it.
    pub members: Vec<MemberInfo>,
    /// Failures since somebody held it first, by error kind.
    pub failures: BTreeMap<String, u64>,
}

/// One instance behind a name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberInfo {
    /// The installation.
    pub client: String,
    /// The process.
    pub instance: String,
    /// What the client calls itself.
    pub name: String,
    /// `ready`, `sick` (no server of its service is healthy), `draining`, `disabled` or `absent`.
    pub state: String,
    /// Round-trip time of its fastest session, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// Its sessions.
    pub sessions: usize,
    /// The servers of its service, or of all its services of the group, as it finds them. Of a single server that is not
    /// probed nothing is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<ServerInfo>,
}

/// One server that a member dials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Of which service.
    pub service: String,
    /// What it is called there; mostly its address.
    pub server: String,
    /// `healthy`, `ejected` or `sick`.
    pub state: String,
}

/// Answer of `GET /v1/principals`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Principals {
    /// In order of their names.
    pub principals: Vec<PrincipalInfo>,
}

/// One principal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrincipalInfo {
    /// Its name.
    pub name: String,
    /// Host patterns; the principal `default` has every name under the domain.
    pub hosts: Vec<String>,
    /// Port ranges.
    pub ports: Vec<String>,
    /// Groups.
    pub groups: Vec<String>,
    /// Services next to the server that it may reach.
    #[serde(default)]
    pub reach: Vec<String>,
    /// Names it may hold at once.
    pub max_names: u32,
    /// Sessions it may have at once.
    pub max_sessions: u32,
    /// Requests and connections that its clients may carry at once; absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
    /// Sessions it has.
    pub sessions: usize,
    /// Its credentials.
    pub credentials: Vec<CredentialInfo>,
}

/// One credential. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialInfo {
    /// Its id, the part of a join string before the colon.
    pub id: String,
    /// The public key, `ed25519:…`.
    pub key: String,
    /// When it was made.
    pub created: u64,
    /// When it ends.
    pub expires: Option<u64>,
    /// The last login, to the minute.
    pub last_used: Option<u64>,
    /// Whether it is good for one client only.
    pub once: bool,
    /// The client it is bound to by its first login.
    pub client: Option<String>,
}

/// Body of `POST /v1/invite`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Invite {
    /// The principal: made if new, else these grants are added to what it has.
    pub name: String,
    /// Groups it may join.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Host patterns; a name without a dot is under the domain.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Port ranges.
    #[serde(default)]
    pub ports: Vec<String>,
    /// Services next to the server that it may reach.
    #[serde(default)]
    pub reach: Vec<String>,
    /// `names=N`, `sessions=N` and `requests=N`.
    #[serde(default)]
    pub quotas: Vec<String>,
    /// For how many seconds the credential is good.
    #[serde(default)]
    pub expires_seconds: Option<u64>,
    /// Bind the credential to the first client that uses it.
    #[serde(default)]
    pub once: bool,
}

/// Answer of `POST /v1/invite`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Invited {
    /// The join string, which holds the only copy of the secret.
    pub join: String,
    /// The new credential's id.
    pub credential: String,
    /// The principal as it is now.
    pub principal: PrincipalInfo,
}

/// Body of `POST /v1/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
    /// The principal.
    pub name: String,
    /// Only this credential of it.
    #[serde(default)]
    pub credential: Option<String>,
}

/// Answer of `POST /v1/revoke`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Credentials that are no more.
    pub credentials: Vec<String>,
    /// Sessions that were ended.
    pub sessions: usize,
}

impl Status {
    /// Leaves only what `of` means: a host (also one without its domain), a port, a group, or a client by name or id.
    pub fn narrow(&mut self, of: &str) {
        let (of, domain) = (of.trim_end_matches('.').to_ascii_lowercase(), self.domain.clone());
        let is_client = |client: &str, name: &str| client == of || name.eq_ignore_ascii_case(&of);
        self.sessions.retain(|session| is_client(&session.client, &session.name));
        self.groups.retain(|group| {
            let has = |member: &GroupMemberInfo| is_client(&member.member.client, &member.member.name);
            group.name.eq_ignore_ascii_case(&of) || group.members.iter().any(has)
        });
        let is_host = |host: &str| {
            host == of
                || host.strip_suffix(&domain).and_then(|label| label.strip_suffix('.')) == Some(of.as_str())
        };
        self.ingresses.retain(|ingress| {
            let port = ingress.listen.rsplit_once(':').map(|(_, port)| port);
            ingress.host.as_deref().is_some_and(is_host)
                || ingress.listen == of
                || port == Some(&of)
                || ingress.to.split('/').any(|part| part.eq_ignore_ascii_case(&of))
                || ingress.members.iter().any(|member| is_client(&member.client, &member.name))
        });
        self.names.retain(|name| {
            is_host(&name.name)
                || name.group.eq_ignore_ascii_case(&of)
                || name.service.eq_ignore_ascii_case(&of)
                || name.members.iter().any(|member| is_client(&member.client, &member.name))
        });
    }
}

/// Body of `POST /v1/explain`: a request that could come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// The method.
    pub method: String,
    /// What the visitor types.
    pub url: String,
    /// Fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The visitor's address.
    pub from: IpAddr,
}

/// What a rule does with its requests, as its keys say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Treated {
    /// Where they go; nowhere, if it answers them itself.
    pub to: Vec<ExplainedTarget>,
    /// What they go through first, in order.
    pub plugins: Vec<String>,
    /// See `rule`.
    pub set_host: Option<String>,
    /// See `rule`.
    pub strip_prefix: Option<String>,
    /// The names: values may be secrets.
    pub set_headers: Vec<String>,
    /// None: the general limit.
    pub timeout_ms: Option<u64>,
    /// None: the general number.
    pub retries: Option<u8>,
    /// In bytes; none: the general limit, 0: no limit.
    #[serde(default)]
    pub max_body: Option<u64>,
    /// None: the general limit, 0: no limit.
    #[serde(default)]
    pub max_concurrent_requests: Option<u32>,
}

/// One target of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedTarget {
    /// `GROUP/SERVICE`, or `SERVICE`.
    pub target: String,
    /// Its share.
    pub weight: u32,
    /// The plugins of that service.
    pub plugins: Vec<String>,
}

/// Answer of `POST /v1/explain`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Number of the configuration that was asked; none for a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// The canonical host.
    pub host: String,
    /// The path as rules see it.
    pub path: String,
    /// The rule that the request gets.
    pub rule: Option<String>,
    /// What that does with it.
    pub treated: Option<Treated>,
    /// Without one: the service of the tunnel that has the host.
    pub tunnel: Option<String>,
    /// Where the visitor's TLS ends, if it is not here: then no rule sees the request.
    #[serde(default)]
    pub passthrough: Option<String>,
    /// Every rule and what it says, a line each.
    pub text: String,
}
