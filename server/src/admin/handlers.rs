//! One function per page.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use ops::admin::{Problem, Said, WRONG_USAGE};
use policy::grant::{Grants, Quotas};
use policy::principal::Principal;
use tokio::task::JoinError;

use super::api::{
    CredentialInfo, Invite, Invited, ListenInfo, PrincipalInfo, Principals, Revoke, Revoked, Sessions, Status,
};
use super::{Admin, Routes, VERSION, going};
use crate::identity::{
    Book, BookError, Change, Credential, DEFAULT, JoinMaker, NewGrants, Revocation, Which, is_default,
    unix_seconds,
};

pub(super) type Answer<T> = Result<Json<T>, Problem>;

pub(super) async fn status(State(admin): State<Arc<Admin>>) -> Json<Status> {
    let bound = admin.running.bound();
    let mut ingresses = admin.registry.ingress_infos();
    for info in &mut ingresses {
        info.down = info.listen.parse().ok().and_then(|address| admin.running.down(address));
    }
    Json(Status {
        version: VERSION.to_owned(),
        uptime_seconds: admin.started.elapsed().as_secs(),
        state: if admin.drain.is_draining() { "draining" } else { "ready" }.to_owned(),
        domain: admin.registry.naming().domain.to_string(),
        listen: ListenInfo {
            tunnel: bound.tunnel.to_string(),
            http: bound.http.to_string(),
            https: bound.https.map(|address| address.to_string()),
            ops: bound.ops.to_string(),
            admin: bound.admin.map(|address| address.to_string()),
            down: admin.running.all_down(),
        },
        revision: admin.board.number(),
        config: super::config::info(&admin),
        sessions: admin.registry.session_infos(),
        names: admin.registry.name_infos(),
        groups: admin.registry.group_infos(),
        ingresses,
        disabled: admin.registry.disabled_infos(),
    })
}

pub(super) async fn sessions(State(admin): State<Arc<Admin>>) -> Json<Sessions> {
    Json(Sessions { sessions: admin.registry.session_infos() })
}

pub(super) async fn routes(State(admin): State<Arc<Admin>>) -> Json<Routes> {
    let mut routes = admin.registry.route_infos();
    // A rule or a tunnel may have another listener to come in at; what is relayed has only its own.
    for route in routes.iter_mut().filter(|route| matches!(route.kind.as_str(), "tcp" | "tls")) {
        if route.name.parse().ok().and_then(|address| admin.running.down(address)).is_some() {
            route.state = "down".to_owned();
        }
    }
    Json(Routes { revision: admin.board.number(), routes, down: admin.running.all_down() })
}

pub(super) async fn principals(State(admin): State<Arc<Admin>>) -> Json<Principals> {
    let book = admin.identity.book();
    let default = book.has_default().then(|| default_info(&admin, &book)).flatten();
    let configured = book.configured().map(|(name, grants)| info(&admin, &book, name, grants.clone()));
    let invited = book.principals().map(|granted| info(&admin, &book, &granted.name.0, granted.grants()));
    let mut principals: Vec<PrincipalInfo> = default.into_iter().chain(configured).chain(invited).collect();
    principals.sort_by(|a, b| a.name.cmp(&b.name));
    Json(Principals { principals })
}

pub(super) async fn invite(State(admin): State<Arc<Admin>>, Said(asked): Said<Invite>) -> Answer<Invited> {
    let now = SystemTime::now();
    let name = Principal::parse(&asked.name).map_err(|error| wrong(format!("{:?}: {error}", asked.name)))?;
    let naming = admin.registry.naming().clone();
    let domain = &naming.domain;
    let grants =
        NewGrants::parse(domain, &asked.hosts, &asked.ports, &asked.groups, &asked.reach, &asked.quotas)
            .map_err(|error| wrong(error.to_string()))?;
    let expires = asked
        .expires_seconds
        .map(|seconds| {
            now.checked_add(Duration::from_secs(seconds)).ok_or_else(|| wrong("--expires is too far away"))
        })
        .transpose()?;
    let (credential, join) = admin
        .running
        .joins()
        .invite(name.clone(), expires, asked.once, now)
        .map_err(|error| failed(error.to_string()))?;
    let id = credential.id.0.to_string();
    change(&admin, move |book| book.invite(grants, credential)).await?;
    // Those who are connected have it at once.
    admin.registry.limit(&name);
    admin.registry.regrant();
    tracing::info!(principal = %name, credential = id, "invited");
    let book = admin.identity.book();
    let principal = book.grants(&name, domain).map(|grants| info(&admin, &book, &name, grants));
    let principal = principal.ok_or_else(|| failed(format!("{name} was revoked in the same moment")))?;
    Ok(Json(Invited { join: join.to_string(), credential: id, principal }))
}

pub(super) async fn revoke(State(admin): State<Arc<Admin>>, Said(asked): Said<Revoke>) -> Answer<Revoked> {
    let Revoke { name, credential } = asked;
    let which = Which::parse(credential.as_deref()).ok_or_else(|| {
        wrong("--credential wants the id of a credential, or the SHA-256 fingerprint of a certificate")
    })?;
    let (identity, whose, of) = (admin.identity.clone(), name.clone(), which.clone());
    let at = unix_seconds(SystemTime::now());
    going::give_way(&admin).await;
    // First the book: a login that is under way finds its credential gone.
    let revoked = tokio::task::spawn_blocking(move || identity.revoke(&whose, &of, at)).await;
    let Revocation { gone, unkept } = changed(revoked)?;
    let principal = Principal::parse(&name).map_err(|error| wrong(error.to_string()))?;
    let sessions = admin.registry.revoke(&principal, &which, Instant::now());
    tracing::info!(%principal, credential = credential.as_deref(), sessions, "revoked");
    // Also if it is not kept: who says the same again may find it kept, and this is done then.
    let forgotten = match is_default(&principal) {
        true => JoinMaker::forget_default(&admin.state),
        false => Ok(()),
    };
    if let Some(error) = unkept {
        tracing::error!(%principal, %error, "what is revoked is not kept: a restart would let it in again");
        return Err(Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "not-kept",
            format!(
                "{name} is shut out and its {sessions} sessions are ended, but that does not last: {error}. A restart would let it in again until it is kept, and an upgrade is refused; say the same again then"
            ),
        ));
    }
    forgotten.map_err(|error| {
        failed(format!("{name} is revoked for good, but its useless join string is still there: {error}"))
    })?;
    let certificate = match which {
        Which::Certificate(fingerprint) => Some(fingerprint.to_string()),
        Which::All | Which::Key(_) => None,
    };
    let credentials = gone.iter().map(ToString::to_string).chain(certificate).collect();
    Ok(Json(Revoked { credentials, sessions }))
}

/// Changes the book where blocking on the disk holds up nobody.
async fn change<T: Send + 'static>(
    admin: &Arc<Admin>,
    edit: impl FnOnce(&mut Book) -> Result<T, BookError> + Send + 'static,
) -> Result<T, Problem> {
    let identity = admin.identity.clone();
    changed(tokio::task::spawn_blocking(move || identity.change(edit)).await)
}

/// What has become of a change.
fn changed<T>(result: Result<Result<T, Change>, JoinError>) -> Result<T, Problem> {
    match result {
        Ok(Ok(changed)) => Ok(changed),
        Ok(Err(Change::Book(error @ (BookError::Default | BookError::Configured(_))))) => {
            Err(wrong(error.to_string()))
        }
        Ok(Err(Change::Book(error))) => {
            Err(Problem::new(StatusCode::NOT_FOUND, "not-found", error.to_string()))
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the change was not made")),
    }
}

pub(super) fn wrong(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, WRONG_USAGE, message)
}

pub(super) fn failed(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", message)
}

fn info(admin: &Admin, book: &Book, principal: &Principal, grants: Grants) -> PrincipalInfo {
    PrincipalInfo {
        name: principal.to_string(),
        hosts: grants.hosts.iter().map(ToString::to_string).collect(),
        ports: grants.ports.iter().map(ToString::to_string).collect(),
        groups: grants.groups,
        reach: grants.reach,
        max_names: grants.quotas.names,
        max_sessions: grants.quotas.sessions,
        max_requests: grants.quotas.requests,
        sessions: admin.registry.count_sessions(principal),
        credentials: book.credentials_of(principal).map(credential_info).collect(),
    }
}

fn default_info(admin: &Admin, book: &Book) -> Option<PrincipalInfo> {
    let principal = Principal::parse(DEFAULT).ok()?;
    let naming = admin.registry.naming();
    let domain = &naming.domain;
    let grants = book.grants(&principal, domain)?;
    let Quotas { names, sessions, requests } = grants.quotas;
    Some(PrincipalInfo {
        name: principal.to_string(),
        hosts: vec![format!("every name under {domain}")],
        ports: grants.ports.iter().map(ToString::to_string).collect(),
        groups: Vec::new(),
        reach: Vec::new(),
        max_names: names,
        max_sessions: sessions,
        max_requests: requests,
        sessions: admin.registry.count_sessions(&principal),
        credentials: book.credentials_of(&principal).map(credential_info).collect(),
    })
}

fn credential_info(credential: &Credential) -> CredentialInfo {
    CredentialInfo {
        id: credential.id.0.to_string(),
        key: credential.key.0.to_string(),
        created: credential.created,
        expires: credential.expires,
        last_used: credential.last_used.at(),
        once: credential.once,
        client: credential.client.as_ref().map(|client| client.0.to_string()),
    }
}
