//! The admin socket: what commands ask of the running server.

pub mod api;
pub(crate) mod explain;
mod handlers;

pub use handlers::WRONG_USAGE;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::routing::{get, post};
use ops::state_dir::StateDir;
use tokio_util::sync::CancellationToken;

use crate::identity::Store;
use crate::live::Running;
use crate::registry::Registry;

/// Where the server listens, as bound; of a listener with several addresses the first.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// For clients.
    pub tunnel: SocketAddr,
    /// For visitors.
    pub http: SocketAddr,
    /// For visitors over TLS.
    pub https: Option<SocketAddr>,
    /// For operators.
    pub ops: SocketAddr,
}

/// What the commands are answered with.
#[derive(Debug)]
pub struct Admin {
    /// Names and sessions.
    pub registry: Arc<Registry>,
    /// Principals and credentials.
    pub identity: Arc<Store>,
    /// Where `STATE/join` is.
    pub state: StateDir,
    /// The configuration in use.
    pub running: Arc<Running>,
    /// Since when it runs.
    pub started: Instant,
    /// Cancelled when it drains.
    pub drain: CancellationToken,
}

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The pages of the admin socket.
pub fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/v1/status", get(handlers::status))
        .route("/v1/sessions", get(handlers::sessions))
        .route("/v1/principals", get(handlers::principals))
        .route("/v1/invite", post(handlers::invite))
        .route("/v1/explain", post(explain::explain))
        .route("/v1/revoke", post(handlers::revoke))
        .with_state(admin)
}
