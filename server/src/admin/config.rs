//! The pages under `/v1/config`: revisions.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Extension;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::Json;
use ops::admin::{Asked, Caller, Problem, Said, WRONG_USAGE};
use ops::config::TEXT_MAX;
use policy::revision::{Author, History, NOTE_MAX};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::ConfigInfo;
use super::{Admin, Deed, Page, shows, takes};
use crate::identity::unix_seconds;
use crate::revision::api::{
    Applied, ApplyRequest, Confirmed, Difference, HistoryAnswer, ProvedAnswer, RollbackRequest, Shown,
};
use crate::revision::{Apply, Refusal, Wishes, difference};

/// A text as JSON: nearly all of its characters may be written as two.
const BODY_MAX: usize = TEXT_MAX * 2 + 64 * 1024;
/// No revision is on probation for longer. Seconds.
const CONFIRM_MAX: u64 = 7 * 24 * 3600;
/// No path is longer (PATH_MAX of Linux).
const PATH_MAX: usize = 4096;

type Answer<T> = Result<Json<T>, Problem>;
type Kept<T> = Result<(Extension<Deed>, Json<T>), (Extension<Deed>, Problem)>;

/// The pages.
pub(super) fn pages() -> Vec<Page> {
    let large = |page: Page| Page { handler: page.handler.layer(DefaultBodyLimit::max(BODY_MAX)), ..page };
    vec![
        large(takes("/v1/config/apply", apply)),
        large(takes("/v1/config/prove", prove)),
        takes("/v1/config/confirm", confirm),
        takes("/v1/config/rollback", rollback),
        shows("/v1/config/history", history),
        shows("/v1/config/show", show),
        shows("/v1/config/diff", diff),
    ]
}

async fn apply(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Said(asked): Said<ApplyRequest>,
) -> Kept<Applied> {
    let words = words(&asked);
    let refused = |reason: String, problem: Problem| {
        (Extension(Deed { words: words.clone(), did: None, reason: Some(reason) }), problem)
    };
    let apply =
        wanted(asked, author(&caller)).map_err(|problem| refused(problem.message.clone(), problem))?;
    match admin.desk.apply(apply).await {
        Ok(applied) => Ok(kept(applied, words)),
        // The whole report may show what stands in the text.
        Err(refusal) => Err(refused(refusal.line(), problem(refusal))),
    }
}

/// What may be kept of a text that is to be in force: not the text, and of nothing more than could be right.
fn words(asked: &ApplyRequest) -> Value {
    let ApplyRequest { path, note, take, require_all, confirm_seconds, .. } = asked;
    let mut words =
        json!({ "path": start(&path.to_string_lossy(), PATH_MAX), "take": take, "require_all": require_all });
    if let Some(words) = words.as_object_mut() {
        words.extend(note.as_ref().map(|note| ("note".to_owned(), start(note, NOTE_MAX).into())));
        words.extend(confirm_seconds.map(|seconds| ("confirm_seconds".to_owned(), seconds.into())));
    }
    words
}

/// The start of `text`, which has no more bytes than `most`.
fn start(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or_default()
}

async fn prove(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Said(asked): Said<ApplyRequest>,
) -> Answer<ProvedAnswer> {
    let apply = wanted(asked, author(&caller))?;
    admin.desk.prove(apply).await.map(|()| Json(ProvedAnswer { proved: true })).map_err(problem)
}

async fn confirm(State(admin): State<Arc<Admin>>) -> Answer<Confirmed> {
    admin.desk.confirm().await.map(|revision| Json(Confirmed { revision })).map_err(problem)
}

async fn rollback(
    State(admin): State<Arc<Admin>>,
    caller: Caller,
    Said(asked): Said<RollbackRequest>,
) -> Kept<Applied> {
    let RollbackRequest { to, note, take, require_all } = asked;
    let refused = |problem| (Extension(Deed::default()), problem);
    let (note, wishes) = (short(note).map_err(refused)?, Wishes { take, require_all });
    let done = admin.desk.rollback(to, author(&caller), note, wishes).await;
    done.map(|applied| kept(applied, Value::Null)).map_err(|refusal| refused(problem(refusal)))
}

/// An answer that is kept with its number.
fn kept(applied: Applied, words: Value) -> (Extension<Deed>, Json<Applied>) {
    let did = Some(format!("revision {}", applied.revision));
    (Extension(Deed { words, did, reason: None }), Json(applied))
}

/// Whose a revision is that `caller` asks for.
fn author(caller: &Caller) -> Author {
    match caller {
        Caller::User { uid } => Author::Admin { uid: Some(*uid), name: user(*uid) },
        Caller::Token { .. } => Author::Admin { uid: None, name: Some(caller.to_string()) },
    }
}

/// What a user of this machine is called, as far as its own file knows.
fn user(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then_some(name)
    });
    name.map(str::to_owned)
}

async fn history(State(admin): State<Arc<Admin>>) -> Json<HistoryAnswer> {
    let history = admin.board.history();
    Json(HistoryAnswer {
        revision: history.number(),
        revisions: history.revisions().to_vec(),
        undone_in_seconds: undone_in(&history),
        pending: admin.board.pending().map(|reason| reason.to_string()),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichRevision {
    revision: Option<u64>,
}

async fn show(State(admin): State<Arc<Admin>>, Asked(which): Asked<WhichRevision>) -> Answer<Shown> {
    let history = admin.board.history();
    let number = which.revision.unwrap_or(history.number());
    let text = admin.desk.text(number).await.map_err(problem)?;
    Ok(Json(Shown { revision: history.get(number).cloned(), text }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichTwo {
    from: u64,
    to: Option<u64>,
}

async fn diff(State(admin): State<Arc<Admin>>, Asked(which): Asked<WhichTwo>) -> Answer<Difference> {
    let to = which.to.unwrap_or(admin.board.number());
    let (before, after) = (admin.desk.text(which.from).await, admin.desk.text(to).await);
    let (before, after) = (before.map_err(problem)?, after.map_err(problem)?);
    let compare = move || difference((which.from, &before), (to, &after));
    // Large texts that have nothing in common take their time.
    let compared = tokio::task::spawn_blocking(compare).await;
    compared.map(Json).map_err(|_| problem(Refusal::Ended))
}

/// How the configuration is, for `status`.
pub(super) fn info(admin: &Admin) -> ConfigInfo {
    let board = &admin.board;
    let history = board.history();
    let current = history.current();
    ConfigInfo {
        by: current.map(|revision| revision.author.to_string()),
        note: current.and_then(|revision| revision.note.clone()),
        undone_in_seconds: undone_in(&history),
        pending: board.pending().map(|reason| reason.to_string()),
        lacks: admin.running.lacks(),
    }
}

/// Seconds after which the revision in force is undone.
fn undone_in(history: &History) -> Option<u64> {
    history.awaited().map(|awaited| awaited.left(unix_seconds(SystemTime::now())).as_secs())
}

fn wanted(asked: ApplyRequest, author: Author) -> Result<Apply, Problem> {
    let ApplyRequest { text, path, note, take, require_all, confirm_seconds } = asked;
    if text.len() > TEXT_MAX {
        return Err(usage(format!("a configuration has no more than {} MiB", TEXT_MAX / (1024 * 1024))));
    }
    if !path.is_absolute() {
        return Err(usage("`path` is to be absolute: relative paths in the text start there"));
    }
    if confirm_seconds.is_some_and(|seconds| !(1..=CONFIRM_MAX).contains(&seconds)) {
        return Err(usage("--confirm is a time from 1s to 7d"));
    }
    let wishes = Wishes { take, require_all };
    Ok(Apply { text, path, author, note: short(note)?, wishes, confirm: confirm_seconds })
}

fn short(note: Option<String>) -> Result<Option<String>, Problem> {
    match note {
        Some(note) if note.len() > NOTE_MAX => {
            Err(usage(format!("a note has no more than {NOTE_MAX} bytes")))
        }
        note => Ok(note.filter(|note| !note.is_empty())),
    }
}

fn usage(message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, WRONG_USAGE, message)
}

fn problem(refusal: Refusal) -> Problem {
    match refusal.is_usage() {
        true => usage(refusal.to_string()),
        false => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", refusal.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_refused_for_its_length_is_kept_by_its_start() {
        let asked = json!({ "text": "", "path": "/".repeat(BODY_MAX), "note": "ä".repeat(NOTE_MAX) });
        let words = words(&serde_json::from_value(asked).unwrap());
        let long = |key: &str| words.get(key).and_then(Value::as_str).map(str::len);
        assert_eq!((long("path"), long("note")), (Some(PATH_MAX), Some(NOTE_MAX)));
    }
}
