//! What an operator tells the running server about what it serves: to take something out of service and back, to send a
//! client away for once, to let an address try again.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use ops::admin::{Problem, Said};
use policy::disabled::{Note, What};
use protocol::control::CloseReason;

use super::Admin;
use super::api::{Kick, Kicked, Switch, Switched, Unban, Unbanned};
use super::going;
use super::handlers::{Answer, failed, wrong};
use super::meaning::{self, MeaningError};
use crate::identity::unix_seconds;
use crate::registry::DisableError;

impl From<MeaningError> for Problem {
    fn from(error: MeaningError) -> Self {
        let text = error.to_string();
        match error {
            MeaningError::Nothing(_) | MeaningError::NoClient(_) | MeaningError::InService(_) => {
                Self::new(StatusCode::NOT_FOUND, "not-found", text)
            }
            MeaningError::Several { .. } => Self::new(StatusCode::CONFLICT, "ambiguous", text),
            MeaningError::NextToClients(_) | MeaningError::Wrong(_) => wrong(text),
        }
    }
}

pub(super) async fn disable(
    State(admin): State<Arc<Admin>>,
    Said(Switch { what }): Said<Switch>,
) -> Answer<Switched> {
    let (what, called) = meaning::of(&admin.registry, &admin.identity.book(), &what)?;
    let note = Note { since: unix_seconds(SystemTime::now()), called };
    switch(&admin, what, Some(note)).await
}

pub(super) async fn enable(
    State(admin): State<Arc<Admin>>,
    Said(Switch { what }): Said<Switch>,
) -> Answer<Switched> {
    let domain = &admin.registry.naming().domain;
    let what = meaning::among(&admin.registry.disabled(), domain, &what)?;
    switch(&admin, what, None).await
}

/// Takes `what` out of service with a note, or back into it without one, where blocking on the disk holds up nobody.
async fn switch(admin: &Arc<Admin>, what: What, note: Option<Note>) -> Answer<Switched> {
    let (of, thing) = (admin.clone(), what.clone());
    let disables = note.is_some();
    if disables {
        going::give_way(admin).await;
    }
    let changed = tokio::task::spawn_blocking(move || match note {
        Some(note) => of.registry.disable(&of.state, thing, note),
        None => of.registry.enable(&of.state, &thing),
    });
    match changed.await {
        Ok(Ok(changed)) => {
            tracing::info!(%what, changed, "{}", if disables { "disabled" } else { "enabled" });
            Ok(Json(Switched { what: what.to_string(), changed }))
        }
        Ok(Err(error @ DisableError::TooMany(_))) => Err(wrong(error.to_string())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the change was not made")),
    }
}

pub(super) async fn kick(
    State(admin): State<Arc<Admin>>,
    Said(Kick { client }): Said<Kick>,
) -> Answer<Kicked> {
    let (installation, name) = meaning::client(&admin.registry, &client)?;
    let sessions = admin.registry.kick(&installation, CloseReason::KICKED, "an operator ended the session");
    tracing::info!(client = name, client_id = %installation.client, sessions, "kicked");
    Ok(Json(Kicked { sessions }))
}

pub(super) async fn unban(
    State(admin): State<Arc<Admin>>,
    Said(Unban { address }): Said<Unban>,
) -> Json<Unbanned> {
    let bans = admin.door.forgive(address, Instant::now());
    tracing::info!(%address, bans, "unbanned");
    Json(Unbanned { bans })
}
