//! The usual arrangement: a service, a server, and a tunnel between them.

use std::net::SocketAddr;

use ops::spawn::{Placement, Spawner};
use tests::fixture::{Ending, HttpService, Scripted, TcpService};
use tests::tunnelc::{Home, Tunnelc};
use tests::tunneld::Tunneld;
use tests::visitor::{self, Answer, Visitor};
use tests::wait::SOON;

/// The public name of the tunnel.
pub(crate) const HOST: &str = "demo.localhost";

/// An HTTP tunnel named [`HOST`] to a service `S`.
pub(crate) struct Web<S = HttpService> {
    pub(crate) tunnel: Tunnelc,
    pub(crate) home: Home,
    pub(crate) server: Tunneld,
    pub(crate) service: S,
}

impl Web {
    /// To the whole HTTP service.
    pub(crate) async fn up() -> Self {
        Self::to(HttpService::start().await, HttpService::addr).await
    }
}

impl Web<Scripted> {
    /// To a service that answers every request with these bytes.
    pub(crate) async fn scripted(answer: &'static str, ending: Ending) -> Self {
        Self::to(Scripted::http(answer, ending).await, Scripted::addr).await
    }
}

impl<S> Web<S> {
    pub(crate) async fn to(service: S, addr: impl Fn(&S) -> SocketAddr) -> Self {
        let server = Tunneld::start().await;
        let home = Home::new();
        let tunnel = home.http(&server.join(), addr(&service), &["--host", "demo"]).await;
        Self { tunnel, home, server, service }
    }

    /// Where visitors connect.
    pub(crate) fn door(&self) -> SocketAddr {
        self.server.listen().http
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        visitor::get(self.door(), HOST, path).await
    }

    pub(crate) async fn visitor(&self) -> Visitor {
        Visitor::connect(self.door()).await.unwrap()
    }
}

/// A TCP tunnel to a service `S`.
pub(crate) struct Wire<S = TcpService> {
    pub(crate) tunnel: Tunnelc,
    pub(crate) _home: Home,
    pub(crate) server: Tunneld,
    pub(crate) service: S,
}

impl Wire {
    pub(crate) async fn to_tcp(service: TcpService) -> Self {
        Self::to(service, TcpService::addr).await
    }
}

impl Wire<Scripted> {
    /// To a service that speaks first.
    pub(crate) async fn scripted(bytes: &'static str, ending: Ending) -> Self {
        Self::to(Scripted::tcp(bytes, ending).await, Scripted::addr).await
    }
}

impl<S> Wire<S> {
    pub(crate) async fn to(service: S, addr: impl Fn(&S) -> SocketAddr) -> Self {
        let server = Tunneld::start().await;
        let home = Home::new();
        let tunnel = home.tcp(&server.join(), addr(&service), &[]).await;
        Self { tunnel, _home: home, server, service }
    }

    /// Where visitors connect.
    pub(crate) fn door(&self) -> SocketAddr {
        self.tunnel.tcp()
    }
}

/// Runs a test with a spawner, which a session needs.
pub(crate) fn with_spawner(test: impl AsyncFnOnce(&Spawner)) {
    let (spawner, workers) = Spawner::start(1, Placement::PerCore).unwrap();
    workers.block_on(test(&spawner));
    workers.shutdown(SOON);
}
