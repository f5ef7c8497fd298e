use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::response::Json;
use axum::routing::{get, post};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::*;
use crate::spawn::{Placement, Task};

struct Running {
    task: Task<()>,
    shutdown: CancellationToken,
    pass_on: PassOn,
}

async fn start(path: &Path, spawner: &Spawner) -> Running {
    serve_on(AdminSocket::bind(path).await.unwrap(), spawner)
}

fn serve_on(socket: AdminSocket, spawner: &Spawner) -> Running {
    let pass_on = socket.pass_on().unwrap();
    let router = Router::new()
        .route("/echo", post(async |Json(body): Json<Value>| Json(json!({ "got": body }))))
        .route("/empty", get(async || StatusCode::NO_CONTENT))
        .route("/text", get(async || "not json"))
        .route("/who", get(async |caller: Caller| Json(json!({ "who": caller.to_string() }))))
        .route("/bad", get(async || Problem::new(StatusCode::CONFLICT, "name-in-use", "wiki is taken")));
    let shutdown = CancellationToken::new();
    let (served, stop) = (spawner.clone(), shutdown.clone());
    let task =
        spawner.spawn(spawner.here(), "admin", async move { serve(socket, router, &served, &stop).await });
    Running { task, shutdown, pass_on }
}

/// Runs `test` with a socket path in a fresh directory.
fn with_path(test: impl AsyncFnOnce(PathBuf, Spawner)) {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
    let dir = tempfile::tempdir().unwrap();
    workers.block_on(test(dir.path().join(SOCKET), spawner));
}

#[test]
fn calls_go_round() {
    with_path(async |path, spawner| {
        let running = start(&path, &spawner).await;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let body = json!({ "a": [1, 2] });
        let answer = call(&path, Method::POST, "/echo", Some(&body)).await.unwrap();
        assert_eq!(answer, json!({ "got": body }));
        assert_eq!(call(&path, Method::GET, "/empty?x=1", None).await.unwrap(), Value::Null);

        let me = rustix::process::getuid().as_raw();
        let who = call(&path, Method::GET, "/who", None).await.unwrap();
        assert_eq!(who, json!({ "who": format!("uid {me}") }));

        let error = call(&path, Method::GET, "/bad", None).await.unwrap_err();
        assert_eq!(error.to_string(), "wiki is taken");
        assert!(
            matches!(error, AdminError::Status { status: StatusCode::CONFLICT, code, .. } if code == "name-in-use")
        );
        let error = call(&path, Method::GET, "/unknown", None).await.unwrap_err();
        assert!(matches!(error, AdminError::Status { status: StatusCode::NOT_FOUND, .. }));
        let error = call(&path, Method::GET, "/text", None).await.unwrap_err();
        assert!(matches!(error, AdminError::Protocol { .. }));

        running.shutdown.cancel();
        timeout(Duration::from_secs(5), running.task).await.unwrap().unwrap();
        assert!(!path.exists());
        let error = call(&path, Method::GET, "/bad", None).await.unwrap_err();
        assert!(matches!(error, AdminError::NobodyAnswers(at) if at == path));
    });
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    with_path(async |path, spawner| {
        // The listener is gone and its file is not, as after a crash.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(matches!(call(&path, Method::GET, "/bad", None).await, Err(AdminError::NobodyAnswers(_))));
        let _running = start(&path, &spawner).await;
        assert!(matches!(AdminSocket::bind(&path).await, Err(BindError::InUse { path: at }) if at == path));
        assert!(call(&path, Method::GET, "/empty", None).await.is_ok());
    });
}

#[test]
fn a_file_in_the_way_is_left_alone() {
    with_path(async |path, _| {
        fs::write(&path, b"precious").unwrap();
        assert!(matches!(AdminSocket::bind(&path).await, Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    });
}

#[test]
fn the_socket_of_a_successor_stays() {
    with_path(async |path, _| {
        let old = AdminSocket::bind(&path).await.unwrap();
        fs::rename(&path, path.with_extension("old")).unwrap();
        let _new = AdminSocket::bind(&path).await.unwrap();
        drop(old);
        assert!(path.exists());
    });
}

#[test]
fn a_socket_that_is_passed_on_answers_all_the_time() {
    with_path(async |path, spawner| {
        let running = start(&path, &spawner).await;
        let passed = running.pass_on;
        let next = AdminSocket::take_over(&path, passed.descriptor().try_clone_to_owned().unwrap()).await;
        passed.done();
        running.shutdown.cancel();
        timeout(Duration::from_secs(5), running.task).await.unwrap().unwrap();
        drop(passed);
        assert!(path.exists(), "it is the next one's");
        let next = serve_on(next.unwrap(), &spawner);
        assert!(call(&path, Method::GET, "/empty", None).await.is_ok());
        next.shutdown.cancel();
        timeout(Duration::from_secs(5), next.task).await.unwrap().unwrap();
        assert!(!path.exists(), "it was the next one's to remove");
    });
}

#[test]
fn a_socket_stays_when_nothing_comes_of_the_process_that_was_to_take_over() {
    with_path(async |path, spawner| {
        let running = start(&path, &spawner).await;
        let listener = running.pass_on.descriptor().try_clone_to_owned().unwrap();
        drop(AdminSocket::take_over(&path, listener).await.unwrap());
        assert!(path.exists());
        assert!(call(&path, Method::GET, "/empty", None).await.is_ok());
    });
}

#[test]
fn long_paths_work() {
    with_path(async |path, spawner| {
        let deep = path.with_file_name("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        let path = deep.join(SOCKET);
        let _running = start(&path, &spawner).await;
        assert!(call(&path, Method::GET, "/empty", None).await.is_ok());
    });
}
