//! The admin socket: HTTP and JSON on a Unix socket in the state directory, for commands that
//! speak to a running program. Whoever may open the socket (mode 0600) may do everything.

mod call;
mod caller;
mod problem;
mod reachable;
mod said;
mod socket;

use axum::Router;
use tokio_util::sync::CancellationToken;

pub use call::{AdminError, call, call_within};
pub use caller::Caller;
pub use problem::Problem;
pub use said::{Asked, Said, WRONG_USAGE};
pub use socket::{AdminSocket, BindError, PassOn};

use crate::http_serve::{self, Dates};
use crate::spawn::Spawner;

/// The name of the socket in the state directory.
pub const SOCKET: &str = "admin.sock";

/// Serves `router` on `socket` until `shutdown`, then lets requests in progress finish, at most
/// 5 s, and removes the socket. At most 256 connections at once. The caller spawns it.
pub async fn serve(mut socket: AdminSocket, router: Router, spawner: &Spawner, shutdown: &CancellationToken) {
    socket.own();
    http_serve::serve(socket.listener(), router, spawner, shutdown, "admin connection", Dates::Told).await;
}

#[cfg(test)]
mod tests;
