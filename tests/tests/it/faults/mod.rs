//! The named fault cases: each test begins with the number of its case.

mod at_most_once;
mod authorisation;
mod caps;
mod clocks;
mod corpse;
mod dead_peer;
mod ends;
mod expect;
mod going;
mod group;
mod grpc;
mod host;
mod hygiene;
mod pins;
mod reload;
mod server_kill;
mod side;
mod smuggling;
mod ssrf;
mod storm;
mod token;
mod upgrades;
mod websocket;

use std::fmt::Display;

use tests::leak::Baseline;
use tests::link::Link;
use tests::tunnelc::{Home, SESSIONS, Tunnelc};
use tests::tunneld::Tunneld;
use tests::wait::SOON;

/// Whether a case is asked for in its long form.
fn long() -> bool {
    std::env::var_os("TUNNEL_FULL").is_some()
}

/// A tunnel for HTTP or TCP, whose client reaches the server over a link.
struct Linked {
    server: Tunneld,
    tunnel: Tunnelc,
    link: Link,
    _home: Home,
}

impl Linked {
    /// A tunnel named [`crate::stage::HOST`].
    async fn http(target: impl Display) -> Self {
        let (server, home) = (Tunneld::start().await, Home::new());
        let link = Link::to(server.listen().tunnel).await;
        let tunnel = home.http(&link.join(&server.join()), target, &["--host", "demo"]).await;
        Self { server, tunnel, link, _home: home }
    }

    async fn tcp(target: impl Display) -> Self {
        let (server, home) = (Tunneld::start().await, Home::new());
        let link = Link::to(server.listen().tunnel).await;
        let tunnel = home.tcp(&link.join(&server.join()), target, &[]).await;
        Self { server, tunnel, link, _home: home }
    }

    async fn baseline(&self) -> Baseline {
        self.server.has_sessions(SESSIONS, SOON).await;
        Baseline::of(&self.server, &self.tunnel.program).await
    }

    async fn leaves_nothing(&self, baseline: &Baseline) {
        baseline.holds(&self.server, &self.tunnel.program).await;
    }
}
