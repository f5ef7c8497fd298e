//! What belongs to a group and is handed to its members: services and ingresses (DESIGN 6, "Push"). Services next to the
//! server are written down in the same way.

use std::fmt;
use std::time::Duration;

use protocol::service_name::ServiceName;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::rule::{Action, Rule, WeightedTarget};

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
    /// The plugins that these name, and no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginPart>,
}

/// A plugin, with the settings that its kind gives a meaning to.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginPart {
    /// Its name, for rules and services.
    pub name: String,
    /// Which of the kinds that a program knows.
    pub kind: String,
    /// The other keys, with their variables replaced. May hold secrets, and is shown nowhere.
    pub settings: Map<String, Value>,
    /// Why it can not be made, though its settings are right: what they refer to is not there. Stays where it was read.
    #[serde(skip)]
    pub lacks: Option<String>,
}

impl fmt::Debug for PluginPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginPart")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
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
    /// The plugins that its requests go through at the end that dials it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
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
    /// The service next to the server, for what no rule takes.
    pub to: String,
    /// The plugins that requests for `to` go through, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<String>,
    /// Where other requests go: to other services next to the server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
}

impl GroupPart {
    /// The plugins that it names; some more than once.
    pub fn named_plugins(&self) -> impl Iterator<Item = &str> {
        let of_services = self.services.iter().flat_map(|service| &service.plugins);
        of_services.map(String::as_str).chain(self.ingresses.iter().flat_map(IngressPart::named_plugins))
    }
}

/// The plugins that the service of that name among `services` names.
#[must_use]
pub fn plugins_of(services: &[ServicePart], name: &str) -> Vec<String> {
    services.iter().find(|service| service.name == name).map_or_else(Vec::new, |it| it.plugins.clone())
}

impl IngressPart {
    /// The plugins that it or a rule of it names.
    pub fn named_plugins(&self) -> impl Iterator<Item = &str> {
        let of_rules = self.rules.iter().flat_map(|rule| &rule.treatment.plugins).map(|name| &**name);
        self.plugins.iter().map(String::as_str).chain(of_rules)
    }

    /// Whether a request that comes in may be led to `service`.
    #[must_use]
    pub fn leads_to(&self, service: &str) -> bool {
        let is_it =
            |target: &WeightedTarget| matches!(&target.target, ServiceName::Plain(name) if name == service);
        let leads = |rule: &Rule| match &rule.action {
            Action::Forward(targets) => targets.iter().any(is_it),
            Action::Redirect { .. } | Action::Respond { .. } => false,
        };
        self.to == service || self.rules.iter().any(leads)
    }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::rule::fakes::rule;

    fn ingress() -> IngressPart {
        let mut api =
            rule("api", "host=*.lan path=/api method=GET header=x-a:1 header=x-b service=S client=::1/128");
        api.action = Action::Forward(vec![WeightedTarget { target: "payroll".parse().unwrap(), weight: 3 }]);
        api.treatment.plugins = vec!["auth".into()];
        api.treatment.timeout = Some(Duration::from_millis(1500));
        let mut old = rule("old", "");
        old.action = Action::Redirect { status: 308, to: "/{path}".to_owned() };
        IngressPart {
            listen: "127.0.0.1:9000".to_owned(),
            kind: IngressKind::Http,
            to: "billing".to_owned(),
            plugins: vec!["per-ip".to_owned()],
            rules: vec![api, old],
        }
    }

    #[test]
    fn a_part_with_rules_and_plugins_reads_back_as_it_was() {
        let Value::Object(settings) = json!({ "rate": "20/s" }) else { unreachable!() };
        let plugin =
            PluginPart { name: "per-ip".to_owned(), kind: "rate-limit".to_owned(), settings, lacks: None };
        let part = GroupPart { services: vec![], ingresses: vec![ingress()], plugins: vec![plugin] };
        let text = serde_json::to_string(&part).unwrap();
        // As `spec/05-control.md` says.
        let written = json!({
            "ingresses": [{
                "listen": "127.0.0.1:9000",
                "kind": "http",
                "to": "billing",
                "plugins": ["per-ip"],
                "rules": [
                    {
                        "name": "api",
                        "matcher": {
                            "host": "*.lan",
                            "path_prefix": "/api",
                            "methods": ["GET"],
                            "headers": [{ "name": "x-a", "value": { "exact": "1" } }, { "name": "x-b", "value": "present" }],
                            "grpc": { "service": "S" },
                            "clients": ["::1/128"],
                        },
                        "action": { "forward": [{ "target": "payroll", "weight": 3 }] },
                        "treatment": { "timeout_ms": 1500, "plugins": ["auth"] },
                    },
                    { "name": "old", "action": { "redirect": { "status": 308, "to": "/{path}" } } },
                ],
            }],
            "plugins": [{ "name": "per-ip", "kind": "rate-limit", "settings": { "rate": "20/s" } }],
        });
        assert_eq!(serde_json::to_value(&part).unwrap(), written);
        assert_eq!(serde_json::from_str::<GroupPart>(&text).unwrap(), part);
        assert!(!format!("{part:?}").contains("20/s"), "settings may be secrets");
        // What is not known is refused, never passed over: it could be what guards a service.
        let more = text.replacen("\"timeout_ms\"", "\"timeout_s\"", 1);
        assert_ne!(more, text);
        assert!(serde_json::from_str::<GroupPart>(&more).is_err());
    }

    #[test]
    fn an_ingress_leads_where_it_and_its_rules_say() {
        let ingress = ingress();
        assert_eq!(ingress.named_plugins().collect::<Vec<_>>(), ["per-ip", "auth"]);
        assert!(ingress.leads_to("billing") && ingress.leads_to("payroll") && !ingress.leads_to("old"));
    }
}
