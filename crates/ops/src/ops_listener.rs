//! The ops listener (INTERFACE): `/healthz`, `/readyz`, `/metrics`. Read-only.

use std::sync::Arc;

use axum::Router;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::http_serve::{self, Dates};
use crate::metrics::{self, Metrics};
use crate::spawn::Spawner;

/// Whether new work may be sent here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It may.
    Ready,
    /// It may not, for these reasons: sentences for an operator.
    NotReady(Vec<String>),
}

/// The pages of the ops listener. `health` is the whole body of `/healthz`; both closures are
/// called for every request and must not block.
pub fn router(
    metrics: Metrics,
    health: impl Fn() -> Value + Send + Sync + 'static,
    readiness: impl Fn() -> Readiness + Send + Sync + 'static,
) -> Router {
    let (health, readiness) = (Arc::new(health), Arc::new(readiness));
    Router::new()
        .route("/healthz", get(async move || Json(health())))
        .route("/readyz", get(async move || ready_page(readiness())))
        .route("/metrics", get(async move || metrics_page(&metrics)))
}

/// Serves `router` on `listener` until `shutdown`, then lets requests in progress finish, at most
/// 5 s. At most 256 connections at once, each for a minute; a request head must arrive in 10 s.
/// The caller spawns it.
pub async fn serve(listener: TcpListener, router: Router, spawner: &Spawner, shutdown: &CancellationToken) {
    http_serve::serve(&listener, router, spawner, shutdown, "ops connection", Dates::Told).await;
}

/// The same, without a `Date` in the answers: whoever passes them on puts its own there (RFC 9110 section 6.6.1), and who asked
/// can see what time it is at that end.
pub async fn serve_undated(
    listener: TcpListener,
    router: Router,
    spawner: &Spawner,
    shutdown: &CancellationToken,
) {
    http_serve::serve(&listener, router, spawner, shutdown, "undated connection", Dates::Left).await;
}

fn ready_page(readiness: Readiness) -> Response {
    match readiness {
        Readiness::Ready => Json(json!({ "ready": true })).into_response(),
        Readiness::NotReady(reasons) => {
            let body = Json(json!({ "ready": false, "reasons": reasons }));
            (StatusCode::SERVICE_UNAVAILABLE, body).into_response()
        }
    }
}

fn metrics_page(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::spawn::Placement;

    async fn get_page(at: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(at).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[test]
    fn pages_say_what_the_closures_say_until_shutdown() {
        let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
        workers.block_on(async {
            let ready = Arc::new(AtomicBool::new(false));
            let is_ready = Arc::clone(&ready);
            let readiness = move || match is_ready.load(Ordering::Relaxed) {
                true => Readiness::Ready,
                false => Readiness::NotReady(vec!["no session yet".to_owned()]),
            };
            let router = router(Metrics::new("7"), || json!({ "status": "healthy" }), readiness);
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = listener.local_addr().unwrap();
            let shutdown = CancellationToken::new();
            let (served, stop) = (spawner.clone(), shutdown.clone());
            let task = spawner.spawn(spawner.here(), "ops", async move {
                serve(listener, router, &served, &stop).await;
            });

            let health = get_page(at, "/healthz").await;
            assert!(
                health.starts_with("HTTP/1.1 200") && health.ends_with(r#"{"status":"healthy"}"#),
                "{health}"
            );
            let not_yet = get_page(at, "/readyz").await;
            assert!(not_yet.starts_with("HTTP/1.1 503") && not_yet.contains("no session yet"), "{not_yet}");
            ready.store(true, Ordering::Relaxed);
            assert!(get_page(at, "/readyz").await.starts_with("HTTP/1.1 200"));
            let metrics = get_page(at, "/metrics").await;
            assert!(metrics.contains(metrics::CONTENT_TYPE), "{metrics}");
            assert!(metrics.contains(r#"tunnel_build_info{version="7"} 1"#), "{metrics}");
            assert!(get_page(at, "/else").await.starts_with("HTTP/1.1 404"));

            // An idle connection does not hold up the end.
            let mut idle = TcpStream::connect(at).await.unwrap();
            idle.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            assert_ne!(idle.read(&mut [0; 4096]).await.unwrap(), 0);
            shutdown.cancel();
            timeout(Duration::from_secs(4), task).await.unwrap().unwrap();
            assert!(spawner.wait_idle(Instant::now() + Duration::from_secs(4)).await);
        });
    }
}
