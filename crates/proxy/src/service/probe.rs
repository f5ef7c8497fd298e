//! Asks the servers of a service, over and over, whether they are fit.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, Uri};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use ops::spawn::Spawner;
use policy::part::{HealthCheck, HealthKind};
use rand::RngExt;
use tokio::time::{sleep, timeout};

use super::executor::Here;
use super::grpc_health::{self, is_serving};
use super::http2_request::into_http2;
use super::link::{Connected, Link};
use super::server::Server;
use super::servers::Servers;
use crate::exchange::RequestBody;

/// Probes the server with this index for ever.
pub(super) async fn probe_for_ever(
    servers: Arc<Servers>,
    index: usize,
    check: HealthCheck,
    spawner: Spawner,
) {
    let Some(server) = servers.get(index) else { return };
    loop {
        let good = timeout(check.timeout(), probe(server, &check, &spawner)).await;
        servers.probed(server, good == Ok(Some(())), &check);
        sleep(jittered(check.interval())).await;
    }
}

/// A tenth more or less, so that the probes of many do not come at once. Never nothing.
fn jittered(interval: Duration) -> Duration {
    let tenth = interval / 10;
    let least = interval.saturating_sub(tenth);
    rand::rng().random_range(least..=interval.saturating_add(tenth)).max(Duration::from_millis(1))
}

/// None if it is not fit.
async fn probe(server: &Server, check: &HealthCheck, spawner: &Spawner) -> Option<()> {
    let link = &server.link;
    let asked = check.path.as_deref();
    match check.kind {
        HealthKind::Tcp => drop(link.raw(None).await.ok()?),
        HealthKind::Http => {
            let path = asked.unwrap_or("/");
            let connected = link.http(None, false).await.ok()?;
            let response = ask(connected, request(link, Method::GET, path)?, link, spawner).await?;
            let status = response.status();
            return (status.is_success() || status.is_redirection()).then_some(());
        }
        HealthKind::Grpc => {
            let mut request = request(link, Method::POST, grpc_health::PATH)?;
            let headers = request.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
            let (mut feed, body) = RequestBody::streamed(None);
            poll_fn(|cx| feed.poll_ready(cx)).await.ok()?;
            feed.data(grpc_health::request(asked.unwrap_or_default())).ok()?;
            poll_fn(|cx| feed.poll_ready(cx)).await.ok()?;
            feed.end().ok()?;
            let mut connected = link.http(None, false).await.ok()?;
            // gRPC is HTTP/2, also where no scheme says so.
            connected.http2 = true;
            let response = ask(connected, request.map(|_| body), link, spawner).await?;
            let (message, trailers) = whole(response.into_body()).await?;
            let fine = trailers.get("grpc-status").is_some_and(|status| status == "0");
            return (fine && is_serving(&message)).then_some(());
        }
    }
    Some(())
}

fn request(link: &Link, method: Method, path: &str) -> Option<Request<RequestBody>> {
    let mut request = Request::new(RequestBody::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse::<Uri>().ok()?;
    let host = HeaderValue::from_str(&link.authority()).ok()?;
    request.headers_mut().insert(header::HOST, host);
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("tunnel-probe"));
    Some(request)
}

/// Asks over a connection of its own, which ends with the answer.
async fn ask(
    connected: Connected,
    mut request: Request<RequestBody>,
    link: &Link,
    spawner: &Spawner,
) -> Option<Response<Incoming>> {
    let io = TokioIo::new(connected.io);
    let name = "probe";
    if connected.http2 {
        into_http2(&mut request, link.tls.is_some())?;
        let builder = http2::Builder::new(Here(spawner.clone()));
        let (mut sender, connection) = builder.handshake(io).await.ok()?;
        spawner.spawn(spawner.here(), name, async move { drop(connection.await) });
        sender.send_request(request).await.ok()
    } else {
        let (mut sender, connection) = http1::handshake(io).await.ok()?;
        spawner.spawn(spawner.here(), name, async move { drop(connection.await) });
        sender.send_request(request).await.ok()
    }
}

/// A small body with its trailers.
async fn whole(mut body: Incoming) -> Option<(BytesMut, HeaderMap)> {
    let (mut whole, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.ok()?.into_data() {
            Ok(data) => whole.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok()?,
        }
        if whole.len() > grpc_health::RESPONSE_MAX {
            return None;
        }
    }
    Some((whole, trailers))
}
