//! What commands ask of the running server, at the admin socket; and the same pages over TCP, behind a [`Gate`].
//! `docs/admin.md` lists them, and a test holds it to that.

pub mod api;
mod audit;
mod config;
pub(crate) mod explain;
mod gate;
pub mod going;
mod handlers;
mod meaning;
mod order_api;
mod orders;
mod route_info;
mod tokens;

pub use audit::{Audit, Deed, Entry, audited};
pub use gate::Gate;
pub use ops::admin::WRONG_USAGE;
pub use route_info::{FailureInfo, RouteInfo, Routes, ServerInfo, TargetInfo};
pub use tokens::{Tokens, TokensError};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, post};
use ops::admin::Problem;
use ops::drain::Drain;
use ops::state_dir::StateDir;
use tokio::sync::{mpsc, oneshot};

use crate::admission::Door;
use crate::identity::Store;
use crate::live::Running;
use crate::registry::Registry;
use crate::revision::{Board, Desk};
use crate::upgrade::Answer;

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
    /// For what asks as commands do, over TCP.
    pub admin: Option<SocketAddr>,
}

/// What the commands are answered with.
#[derive(Debug)]
pub struct Admin {
    /// Names and sessions.
    pub registry: Arc<Registry>,
    /// Principals and credentials.
    pub identity: Arc<Store>,
    /// Where clients log in.
    pub door: Arc<Door>,
    /// Where `STATE/join` is.
    pub state: StateDir,
    /// The configuration in use.
    pub running: Arc<Running>,
    /// Since when it runs.
    pub started: Instant,
    /// What is known of the configuration.
    pub(crate) board: Arc<Board>,
    /// Where changes of the configuration are asked for.
    pub(crate) desk: Desk,
    /// Its end.
    pub drain: Drain,
    /// Asks for an upgrade.
    pub(crate) upgrade: mpsc::Sender<Answer>,
    /// Asks an upgrade to give way.
    pub(crate) hurry: mpsc::Sender<oneshot::Sender<()>>,
}

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// One page.
#[derive(Debug)]
struct Page {
    #[cfg_attr(not(test), expect(dead_code, reason = "the document is held to it"))]
    method: &'static str,
    path: &'static str,
    handler: MethodRouter<Arc<Admin>>,
}

/// A page that changes nothing.
fn shows<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<Admin>>) -> Page {
    Page { method: "GET", path, handler: get(handler) }
}

/// A page that takes a body of JSON.
fn takes<T: 'static>(path: &'static str, handler: impl Handler<T, Arc<Admin>>) -> Page {
    Page { method: "POST", path, handler: post(handler) }
}

/// Every page there is.
fn pages() -> Vec<Page> {
    vec![
        shows("/v1/status", handlers::status),
        shows("/v1/sessions", handlers::sessions),
        shows("/v1/routes", handlers::routes),
        shows("/v1/principals", handlers::principals),
        takes("/v1/invite", handlers::invite),
        takes("/v1/revoke", handlers::revoke),
        takes("/v1/explain", explain::explain),
        takes("/v1/disable", orders::disable),
        takes("/v1/enable", orders::enable),
        takes("/v1/kick", orders::kick),
        takes("/v1/unban", orders::unban),
        takes("/v1/drain", going::drain),
        takes("/v1/upgrade", going::upgrade),
    ]
}

/// The pages of the admin socket.
pub fn router(admin: Arc<Admin>) -> Router {
    let routed = |router: Router<_>, page: Page| router.route(page.path, page.handler);
    pages()
        .into_iter()
        .chain(config::pages())
        .fold(Router::new(), routed)
        .fallback(async || Problem::new(StatusCode::NOT_FOUND, "not-found", "there is no such page"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "this page takes another method")
        })
        .with_state(admin)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row of the page for each: `METHOD` and path, both in backquotes.
    #[test]
    fn the_document_lists_every_page_and_no_other() {
        let document = include_str!("../../../docs/admin.md");
        let row = |line: &str| {
            let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            match cells.as_slice() {
                ["", page, _, _, ""] => page.split_once(' ').map(|(method, path)| format!("{method} {path}")),
                _ => None,
            }
        };
        let mut listed: Vec<_> =
            document.lines().filter(|line| line.starts_with("| `")).filter_map(row).collect();
        let all = pages().into_iter().chain(config::pages());
        let mut there: Vec<_> = all.map(|page| format!("{} {}", page.method, page.path)).collect();
        listed.sort();
        there.sort();
        assert_eq!(listed, there);
    }
}
