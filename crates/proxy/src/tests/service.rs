//! What the tests of the service end share: a world with a service as it is configured, and services of HTTP/2 and TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use http::{Request, Response};
use policy::part::{HealthCheck, HealthKind, ServerBalance, ServerPart, ServicePart, TlsPart};
use protocol::service_name::ServiceName;
use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::fixture::*;
use crate::context::Timeouts;
use crate::service::{Offer, Service};

/// A service with these servers.
pub(super) fn part(servers: impl IntoIterator<Item = ServerPart>) -> ServicePart {
    ServicePart {
        name: "app".to_owned(),
        servers: servers.into_iter().collect(),
        balance: ServerBalance::RoundRobin,
        health: None,
        plugins: Vec::new(),
    }
}

/// A server at `address`, a TARGET.
pub(super) fn server(address: impl ToString) -> ServerPart {
    ServerPart { address: address.to_string(), weight: 1, tls: None, send_proxy: None }
}

/// A probe that comes often.
pub(super) fn check(kind: HealthKind) -> HealthCheck {
    HealthCheck { kind, path: None, interval_ms: 20, timeout_ms: 2_000, rise: 1, fall: 1 }
}

/// Runs a test with the service that `part` describes behind [`HOST`] and [`PORT`].
pub(super) fn run_part<F>(part: ServicePart, test: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    run_part_with(Timeouts::default(), part, test);
}

/// As [`run_part`], with other time-outs.
pub(super) fn run_part_with<F>(timeouts: Timeouts, part: ServicePart, test: impl FnOnce(World) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let nowhere: SocketAddr = ([127, 0, 0, 1], 1).into();
    run_with(timeouts, nowhere, |world| {
        let service = Service::new(&part, Offer::Configured, labels(&world.client), None, &world.client);
        let service = Arc::new(service.unwrap());
        for number in [1, 2] {
            world.table.insert(ServiceName::Own(number), service.clone());
        }
        test(world)
    });
}

/// An authority of the test's own.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// What a service is trusted by.
    pub(super) fn tls(&self) -> TlsPart {
        TlsPart { ca: Some(self.issuer.pem()), ..TlsPart::default() }
    }

    /// A server that has a certificate for `name` and speaks `alpn`, with the pin of its key.
    pub(super) fn server(&self, name: &str, alpn: &[&str]) -> (TlsAcceptor, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pin = transport::tls::spki_pin(certificate.der()).unwrap().to_string();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        (TlsAcceptor::from(Arc::new(config)), pin)
    }
}

/// Accepts one connection of TLS.
pub(super) async fn accept_tls(
    listener: &tokio::net::TcpListener,
    tls: &TlsAcceptor,
) -> TlsStream<TcpStream> {
    timeout(LIMIT, tls.accept(Peer::accept(listener).await.0)).await.unwrap().unwrap()
}

/// One connection of HTTP/2, with the test as its service.
pub(super) struct Streams<T>(pub(super) Connection<T, Bytes>);

/// A request as it came, and what answers it.
pub(super) type Asked = (Request<h2::RecvStream>, SendResponse<Bytes>);

impl<T: AsyncRead + AsyncWrite + Unpin> Streams<T> {
    pub(super) async fn new(io: T) -> Self {
        Self::with(io, &mut h2::server::Builder::new()).await
    }

    pub(super) async fn with(io: T, builder: &mut h2::server::Builder) -> Self {
        Self(timeout(LIMIT, builder.handshake(io)).await.unwrap().unwrap())
    }

    /// The next request.
    pub(super) async fn asked(&mut self) -> Asked {
        timeout(LIMIT, self.0.accept()).await.unwrap().unwrap().unwrap()
    }

    /// Writes what was said while `test` goes on.
    pub(super) async fn during<F: Future>(&mut self, test: F) -> F::Output {
        tokio::select! {
            biased;
            done = test => done,
            // None, or an error: the connection has ended, and the test goes on without it.
            more = async {
                while let Some(Ok(_)) = self.0.accept().await {}
                std::future::pending().await
            } => more,
        }
    }
}

/// Reads a whole body with its trailers.
pub(super) async fn whole(mut body: h2::RecvStream) -> Result<(Vec<u8>, Option<http::HeaderMap>), h2::Error> {
    let mut whole = Vec::new();
    while let Some(data) = timeout(LIMIT, body.data()).await.unwrap() {
        let data = data?;
        whole.extend_from_slice(&data);
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    Ok((whole, body.trailers().await?))
}

/// Answers 200 with this body.
pub(super) fn answer(mut respond: SendResponse<Bytes>, body: &'static str) {
    let mut stream = respond.send_response(Response::new(()), false).unwrap();
    stream.send_data(Bytes::from_static(body.as_bytes()), true).unwrap();
}

/// Waits until the metrics of the service end say `line`.
pub(super) async fn until_metrics(world: &World, line: &str) {
    until_counted(&world.client.metrics, line).await;
}
