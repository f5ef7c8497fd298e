//! Why a request gets the rule that it gets.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use http::Uri;
use ops::admin::Problem;
use policy::host::Host;
use policy::rule::Asked;

use super::api::{Explain, Explained};
use super::{Admin, WRONG_USAGE};
use crate::registry::Routing;

pub(super) async fn explain(
    State(admin): State<Arc<Admin>>,
    Json(asked): Json<Explain>,
) -> Result<Json<Explained>, Problem> {
    let routing = admin.registry.routing();
    let explained = explanation(&routing, &asked);
    let mut explained =
        explained.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, WRONG_USAGE, error))?;
    if explained.rule.is_none() && explained.passthrough.is_none() {
        let names = admin.registry.name_infos();
        let tunnel = names.into_iter().find(|info| info.name == explained.host);
        if let Some(info) = tunnel {
            let line = format!("{} is a tunnel of {}: {}\n", info.name, info.principal, info.service);
            explained.text.push_str(&line);
            explained.tunnel = Some(info.service);
        }
    }
    Ok(Json(explained))
}

/// What the configuration says to one request.
///
/// # Errors
/// What is wrong with the request.
pub(crate) fn explanation(routing: &Routing, asked: &Explain) -> Result<Explained, String> {
    let wrong = || format!("{:?} is no URL of a visitor: write https://HOST/PATH", asked.url);
    let uri: Uri = match asked.url.contains("://") {
        true => asked.url.parse(),
        false => format!("http://{}", asked.url).parse(),
    }
    .map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    let host = Host::from_authority(authority.as_str()).map_err(|error| format!("{authority}: {error}"))?;
    let passing = |host: &Host| routing.relays().passing(authority.port_u16(), host);
    if let Some(relay) = Some(&host).filter(|_| uri.scheme_str() == Some("https")).and_then(passing) {
        let to = relay.to.to_string();
        let text =
            format!("{host} is passed through to {to}: its TLS ends there, and no rule sees a request\n");
        return Ok(Explained {
            host: host.to_string(),
            rule: None,
            tunnel: None,
            passthrough: Some(to),
            text,
        });
    }
    let request = Asked {
        host: &host,
        method: &asked.method,
        path: uri.path(),
        fields: &asked.headers,
        client: asked.from,
    };
    let explanation = routing.table().explain(&request);
    let rule = explanation.winner().map(|rule| rule.name.to_string());
    let mut text = explanation.to_string();
    if rule.is_none() {
        text.push_str("no rule of the configuration takes this request\n");
    }
    Ok(Explained { host: host.to_string(), rule, tunnel: None, passthrough: None, text })
}
