//! What operators did: one line for every command that changes something, in `STATE/audit.log` and in the log.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use ops::admin::{Caller, Problem};
use ops::spawn::Spawner;
use ops::state_dir::{Journal, StateDir, StateDirError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::handlers::failed;
use crate::identity::unix_seconds;

/// The file in the state directory.
const FILE: &str = "audit.log";
/// When it is put aside. Bytes.
const MOST: u64 = 1 << 20;
/// How many older ones are kept.
const ASIDE: u32 = 4;
/// The body of a command whose words are kept. Bytes.
const WORDS_MAX: usize = 16 * 1024;

/// Commands whose words are kept, and why they were refused, since none of it is a secret or can hold one. A configuration
/// can, and so can the report of what is wrong with it.
const PLAIN: &[&str] = &[
    "invite",
    "revoke",
    "disable",
    "enable",
    "kick",
    "unban",
    "drain",
    "upgrade",
    "config confirm",
    "config rollback",
];
/// What only asks, though it has a body.
const ONLY_ASKS: &[&str] = &["explain", "config prove"];

/// The record.
#[derive(Debug)]
pub struct Audit(Journal);

/// One line of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When, in seconds since 1970.
    pub time: u64,
    /// Who, as the system knows it.
    pub who: String,
    /// Which command.
    pub what: String,
    /// Its words.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub words: Value,
    /// What came of it, in the command's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deed: Option<String>,
    /// `done`, or the word for why not.
    pub result: String,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a handler wants to be kept of a command whose body may hold secrets, without them: it puts it into the extensions of
/// its answer, as in `(Extension(Deed { … }), Json(…))`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Deed {
    /// The words of the command that are no secrets.
    pub words: Value,
    /// What came of it.
    pub did: Option<String>,
    /// Why nothing did.
    pub reason: Option<String>,
}

impl Audit {
    /// That of this state directory.
    ///
    /// # Errors
    /// Never for the name that it has.
    pub fn of(state: &StateDir) -> Result<Self, StateDirError> {
        Journal::new(state, FILE, MOST, ASIDE).map(Self)
    }

    /// What is kept, the oldest first; lines that are none are left out.
    ///
    /// # Errors
    /// The disk's.
    pub fn entries(&self) -> Result<Vec<Entry>, StateDirError> {
        let lines = self.0.lines()?;
        Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    fn add(&self, entry: &Entry) {
        let Entry { who, what, words, deed, result, reason, .. } = entry;
        let words = if words.is_null() { String::new() } else { words.to_string() };
        let (deed, reason) = (deed.as_deref(), reason.as_deref());
        tracing::info!(who, what, words, deed, result, reason, "an operator's command");
        let written = serde_json::to_string(entry)
            .map_err(|error| error.to_string())
            .and_then(|line| self.0.append(&line).map_err(|error| error.to_string()));
        if let Err(error) = written {
            tracing::error!(error, "what an operator did is not kept");
        }
    }
}

/// `router`, whose every command that changes something is kept in `audit`. Such a command runs to its end as a task of
/// `spawner`, whether or not somebody waits for its answer.
pub fn audited(router: Router, audit: Arc<Audit>, spawner: Spawner) -> Router {
    router.layer(from_fn_with_state((audit, spawner), keep))
}

async fn keep(
    State((audit, spawner)): State<(Arc<Audit>, Spawner)>,
    request: Request,
    next: Next,
) -> Response {
    let what = request.uri().path().trim_start_matches("/v1/").replace('/', " ");
    let asks = matches!(*request.method(), Method::GET | Method::HEAD) || ONLY_ASKS.contains(&&*what);
    if asks {
        return next.run(request).await;
    }
    let time = unix_seconds(SystemTime::now());
    let Some(who) = request.extensions().get::<Caller>().map(ToString::to_string) else {
        let text = "it is not known who asks; nothing was done";
        return Problem::new(StatusCode::FORBIDDEN, "unknown-caller", text).into_response();
    };
    let is_plain = PLAIN.contains(&&*what);
    let (request, words) = match is_plain {
        true => match words(request).await {
            Ok(read) => read,
            Err(refused) => return refused.into_response(),
        },
        false => (request, Value::Null),
    };
    // An asker who hangs up ends this future, and must not end the deed half way, nor before its line is written. The
    // handler is a task of its own, so that one that panics leaves a line too.
    let (here, handlers) = (spawner.here(), spawner.clone());
    let kept = spawner.spawn(here, "keep a command", async move {
        let done = handlers.spawn(here, "command", next.run(request)).await;
        let response = done.unwrap_or_else(|_| unfinished());
        let entry = entry(&response, time, who, what, words, is_plain);
        // Before the answer, so that who has it finds it kept.
        if tokio::task::spawn_blocking(move || audit.add(&entry)).await.is_err() {
            tracing::error!("what an operator did is not kept");
        }
        response
    });
    kept.await.unwrap_or_else(|_| unfinished())
}

fn unfinished() -> Response {
    failed("the command came to no end; it is not known what it did").into_response()
}

/// The line of a command that has this answer.
fn entry(response: &Response, time: u64, who: String, what: String, words: Value, is_plain: bool) -> Entry {
    let status = response.status();
    let problem = response.extensions().get::<Problem>();
    let deed = response.extensions().get::<Deed>().cloned().unwrap_or_default();
    Entry {
        time,
        who,
        what,
        words: if words.is_null() { deed.words } else { words },
        deed: deed.did,
        result: match problem {
            Some(problem) => problem.code.to_owned(),
            None if status.is_success() => "done".to_owned(),
            None => status.as_str().to_owned(),
        },
        reason: problem.filter(|_| is_plain).map(|problem| problem.message.clone()).or(deed.reason),
    }
}

/// The request with what it says.
async fn words(request: Request) -> Result<(Request, Value), Problem> {
    let (head, body) = request.into_parts();
    let bytes = to_bytes(body, WORDS_MAX).await.map_err(|error| {
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, super::WRONG_USAGE, format!("too many words: {error}"))
    })?;
    // What is no JSON is refused by the handler.
    let words = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Ok((Request::from_parts(head, Body::from(bytes)), words))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Extension;
    use axum::response::Json;
    use axum::routing::{get, post};
    use ops::spawn::Placement;
    use ops::state_dir::Program;
    use tokio::runtime::Builder;
    use tokio::sync::Notify;
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn what_changes_something_is_kept_without_what_may_be_secret() {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Program::Tunneld, Some(temp.path().to_owned()), |_| None).unwrap();
        let audit = Arc::new(Audit::of(&state).unwrap());
        let refused = || async { Problem::new(StatusCode::NOT_FOUND, "not-found", "nobody is called so") };
        let router = Router::new()
            .route("/v1/status", get(|| async { "x" }))
            .route("/v1/explain", post(|| async { "x" }))
            .route("/v1/kick", post(refused))
            .route(
                "/v1/config/apply",
                post(|body: String| async move {
                    let (words, did) = (serde_json::json!({ "path": "/a" }), Some("revision 7".to_owned()));
                    (Extension(Deed { words, did, reason: None }), body)
                }),
            )
            .route("/v1/invite", post(|Json(it): Json<Value>| async move { it.to_string() }));
        let (spawner, _workers) = Spawner::start(1, Placement::PerCore).unwrap();
        let router = known(audited(router, audit.clone(), spawner));
        let ask = |method: Method, path: &str, body: &'static str| {
            let request = Request::builder().method(method).uri(path);
            let request = request.header("content-type", "application/json").body(Body::from(body)).unwrap();
            Builder::new_current_thread().build().unwrap().block_on(served(router.clone(), request))
        };
        for (method, path, body, status) in [
            (Method::GET, "/v1/status", "", 200),
            (Method::POST, "/v1/explain", "{}", 200),
            (Method::POST, "/v1/invite", r#"{"name":"bob"}"#, 200),
            (Method::POST, "/v1/kick", r#"{"client":"x"}"#, 404),
            (Method::POST, "/v1/config/apply", "secret = 's3cret'", 200),
            (Method::POST, "/v1/nowhere", "", 404),
        ] {
            assert_eq!(ask(method, path, body), status, "{path}");
        }
        let kept = audit.entries().unwrap();
        let said: Vec<_> = kept.iter().map(|it| (it.what.as_str(), it.result.as_str())).collect();
        assert_eq!(
            said,
            [("invite", "done"), ("kick", "not-found"), ("config apply", "done"), ("nowhere", "404")]
        );
        assert_eq!((kept[0].who.as_str(), &kept[0].words["name"]), ("uid 7", &"bob".into()));
        assert_eq!(kept[1].reason.as_deref(), Some("nobody is called so"));
        assert_eq!(
            (kept[2].deed.as_deref(), &kept[2].words),
            (Some("revision 7"), &serde_json::json!({ "path": "/a" }))
        );
        let text = std::fs::read_to_string(temp.path().join(FILE)).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[test]
    fn words_without_end_are_refused() {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Program::Tunneld, Some(temp.path().to_owned()), |_| None).unwrap();
        let router = Router::new().route("/v1/kick", post(|_: String| async { "x" }));
        let (spawner, _workers) = Spawner::start(1, Placement::PerCore).unwrap();
        let router = audited(router, Arc::new(Audit::of(&state).unwrap()), spawner);
        let unknown = Request::post("/v1/kick").body(Body::empty()).unwrap();
        let runtime = Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(served(router.clone(), unknown)), 403, "nobody knows who asks");
        let router = known(router);
        let request = Request::post("/v1/kick").body(Body::from(vec![b'x'; WORDS_MAX + 1])).unwrap();
        assert_eq!(runtime.block_on(served(router, request)), 413);
    }

    #[test]
    fn what_is_begun_is_done_and_kept_though_the_asker_hangs_up_or_the_handler_panics() {
        let temp = tempfile::tempdir().unwrap();
        let state = StateDir::resolve(Program::Tunneld, Some(temp.path().to_owned()), |_| None).unwrap();
        let audit = Arc::new(Audit::of(&state).unwrap());
        let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begins, goes) = (begun.clone(), go.clone());
        let slow = move || async move {
            begins.notify_one();
            goes.notified().await;
            "x"
        };
        let broken = |body: String| async move {
            assert!(body.is_empty(), "on purpose");
            body
        };
        let router = Router::new().route("/v1/revoke", post(slow)).route("/v1/kick", post(broken));
        let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
        let router = known(audited(router, audit.clone(), spawner.clone()));
        workers.block_on(async {
            let request = Request::post("/v1/revoke").body(Body::empty()).unwrap();
            tokio::select! {
                status = served(router.clone(), request) => panic!("answered {status} too early"),
                () = begun.notified() => {}
            }
            go.notify_one();
            assert!(spawner.wait_idle(Instant::now() + Duration::from_secs(5)).await);
            let request = Request::post("/v1/kick").body(Body::from("x")).unwrap();
            assert_eq!(served(router, request).await, 500);
        });
        let kept = audit.entries().unwrap();
        let said: Vec<_> = kept.iter().map(|it| (it.what.as_str(), it.result.as_str())).collect();
        assert_eq!(said, [("revoke", "done"), ("kick", "failed")]);
    }

    /// As from the socket.
    fn known(router: Router) -> Router {
        router.layer(Extension(Caller::User { uid: 7 }))
    }

    async fn served(mut router: Router, request: Request) -> u16 {
        use tower_service::Service;
        router.call(request).await.unwrap().status().as_u16()
    }
}
