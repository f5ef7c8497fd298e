//! Why a request gets the rule that it gets.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use http::Uri;
use ops::admin::{Problem, Said};
use policy::host::Host;
use policy::part::plugins_of;
use policy::rule::{Action, Asked, Rule, normal_path};
use protocol::service_name::ServiceName;

use super::api::{Explain, Explained, ExplainedTarget, Treated};
use super::{Admin, WRONG_USAGE};
use crate::registry::Routing;

pub(super) async fn explain(
    State(admin): State<Arc<Admin>>,
    Said(asked): Said<Explain>,
) -> Result<Json<Explained>, Problem> {
    let registry = &admin.registry;
    let plugins = |service: &ServiceName| match service {
        ServiceName::Grouped { group, service } => {
            let groups = registry.memberships().all();
            let used = groups.get(group).and_then(|group| group.used());
            used.map_or_else(Vec::new, |used| plugins_of(&used.part().services, service))
        }
        ServiceName::Plain(service) => registry.nearby().plugins(service),
        ServiceName::Own(_) => Vec::new(),
    };
    let explained = explanation(&registry.routing(), &plugins, &asked);
    let mut explained =
        explained.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, WRONG_USAGE, error))?;
    if explained.rule.is_none() && explained.passthrough.is_none() {
        let names = registry.name_infos();
        let tunnel = names.into_iter().find(|info| info.name == explained.host);
        if let Some(info) = tunnel {
            let line = format!("{} is a tunnel of {}: {}\n", info.name, info.principal, info.service);
            explained.text.push_str(&line);
            explained.tunnel = Some(info.service);
        }
    }
    let revision = admin.board.number();
    explained.revision = Some(revision);
    explained.text.push_str(&format!("asked of revision {revision}, which is in force\n"));
    Ok(Json(explained))
}

/// What the configuration says to one request; `plugins` are those of a service.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn explanation(
    routing: &Routing,
    plugins: &dyn Fn(&ServiceName) -> Vec<String>,
    asked: &Explain,
) -> Result<Explained, String> {
    let wrong = || format!("{:?} is no URL of a visitor: write https://HOST/PATH", asked.url);
    let uri: Uri = match asked.url.contains("://") {
        true => asked.url.parse(),
        false => format!("http://{}", asked.url).parse(),
    }
    .map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    let host = Host::from_authority(authority.as_str()).map_err(|error| format!("{authority}: {error}"))?;
    let path = normal_path(uri.path());
    let mut explained = Explained {
        revision: None,
        host: host.to_string(),
        path: path.to_string(),
        rule: None,
        treated: None,
        tunnel: None,
        passthrough: None,
        text: String::new(),
    };
    let passing = |host: &Host| routing.relays().passing(authority.port_u16(), host);
    if let Some(relay) = Some(&host).filter(|_| uri.scheme_str() == Some("https")).and_then(passing) {
        let to = relay.to.to_string();
        explained.text =
            format!("{host} is passed through to {to}: its TLS ends there, and no rule sees a request\n");
        explained.passthrough = Some(to);
        return Ok(explained);
    }
    let request =
        Asked { host: &host, method: &asked.method, path: &path, fields: &asked.headers, client: asked.from };
    let explanation = routing.table().explain(&request);
    let treated = explanation.winner().map(|rule| treated(rule, plugins));
    let rule = explanation.winner().map(|rule| rule.name.to_string());
    let mut text = explanation.to_string();
    if path != uri.path() {
        text.push_str(&format!("rules see the path as {path}\n"));
    }
    for target in treated.iter().flat_map(|treated| &treated.to).filter(|target| !target.plugins.is_empty()) {
        let plugins = target.plugins.join(", ");
        text.push_str(&format!("{} asks plugins of its own: {plugins}\n", target.target));
    }
    if rule.is_none() {
        text.push_str("no rule of the configuration takes this request\n");
    }
    Ok(Explained { rule, treated, text, ..explained })
}

/// What becomes of the requests of a rule.
fn treated(rule: &Rule, plugins: &dyn Fn(&ServiceName) -> Vec<String>) -> Treated {
    let treatment = &rule.treatment;
    let to = match &rule.action {
        Action::Forward(targets) => targets.as_slice(),
        Action::Redirect { .. } | Action::Respond { .. } => &[],
    };
    let target = |target: &policy::rule::WeightedTarget| ExplainedTarget {
        target: target.target.to_string(),
        weight: target.weight,
        plugins: plugins(&target.target),
    };
    Treated {
        to: to.iter().map(target).collect(),
        plugins: treatment.plugins.iter().map(|name| name.to_string()).collect(),
        set_host: treatment.set_host.clone(),
        strip_prefix: treatment.strip_prefix.clone(),
        set_headers: treatment.set_headers.iter().map(|(name, _)| name.clone()).collect(),
        timeout_ms: treatment.timeout.map(|limit| u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
        retries: treatment.retries,
        max_body: treatment.max_body,
        max_concurrent_requests: treatment.max_concurrent_requests,
    }
}
