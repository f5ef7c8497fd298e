//! Rules of the HTTP front: which requests they are for, and what becomes of those (INTERFACE, "Rule keys").

mod asked;
mod explain;
mod path;
mod share;
mod shelf;
mod summary;
mod table;

#[cfg(test)]
pub(crate) mod fakes;

pub use asked::{Asked, Fields, is_token};
pub use explain::{Explanation, Tried, Verdict};
pub use path::normal_path;
pub use share::by_share;
pub use summary::{Criterion, Miss, Summary, is_below};
pub use table::{Found, Table};

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use protocol::service_name::ServiceName;
use serde::{Deserialize, Serialize};

use crate::host_pattern::HostPattern;

/// One rule, as the operator wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it is called in logs, metrics and explanations.
    pub name: Arc<str>,
    /// Which requests it is for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub matcher: Matcher,
    /// What becomes of them.
    pub action: Action,
    /// How they are changed and treated on the way.
    #[serde(default, skip_serializing_if = "is_default")]
    pub treatment: Treatment,
}

/// Which requests a rule is for: all of these at once; what is empty matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Matcher {
    /// The canonical host.
    #[serde(with = "crate::written::option", skip_serializing_if = "Option::is_none")]
    pub host: Option<HostPattern>,
    /// The beginning of the path, in the form of [`normal_path`], up to the border of a segment. Begins with `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_prefix: Option<String>,
    /// One of these methods, case-sensitive.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// Each of these fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderMatcher>,
    /// A gRPC call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcMatcher>,
    /// The visitor's address is in one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<IpNet>,
}

/// A field that a request must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatcher {
    /// Its name, in lower case.
    pub name: String,
    /// What one of its values must be.
    pub value: ValueMatcher,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueMatcher {
    /// This.
    Exact(String),
    /// Anything.
    Present,
    /// Something that begins with this.
    Prefix(String),
}

/// A gRPC call: `/SERVICE/METHOD` with a content type of `application/grpc`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcMatcher {
    /// The service, with its package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Action {
    /// It goes to one of these; never none, and not all of weight 0.
    Forward(Vec<WeightedTarget>),
    /// The visitor is sent elsewhere.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: u16,
        /// Where to; `{host}`, `{path}` and `{query}` stand for those of the request.
        to: String,
    },
    /// It is answered here.
    Respond {
        /// The status, 200 to 599.
        status: u16,
        /// The content type of `body`.
        content_type: Option<String>,
        /// The whole body.
        body: String,
    },
}

/// Where requests may go: `GROUP/SERVICE`, or a `SERVICE` next to the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedTarget {
    /// The service; never `~/N`.
    #[serde(with = "crate::written")]
    pub target: ServiceName,
    /// Its share among the others of the rule.
    pub weight: u32,
}

/// How a request is changed and treated on the way.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Treatment {
    /// The `Host` that the service sees.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_host: Option<String>,
    /// What is taken off the front of the path; begins with `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strip_prefix: Option<String>,
    /// Fields that are set in the request, names in lower case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_headers: Vec<(String, String)>,
    /// From the end of the request to the response head; none: the general limit; zero: no limit.
    #[serde(rename = "timeout_ms", with = "crate::written::millis", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How many further members may be tried; none: the general number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u8>,
    /// The longest body of a request, in bytes; none: the general limit; 0: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_body: Option<u64>,
    /// How many requests may be worked on at once; none: the general limit; 0: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent_requests: Option<u32>,
    /// The plugins that see it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<Arc<str>>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
