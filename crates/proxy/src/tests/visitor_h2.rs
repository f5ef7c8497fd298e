//! Visitors that speak HTTP/2: one that knows the protocol, and one that writes frames by hand.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::fixture::*;

/// A visitor with one connection.
pub(super) struct Visitor(SendRequest<Bytes>);

impl Visitor {
    pub(super) async fn connect(world: &World) -> Self {
        Self::connect_to(world.http, world).await
    }

    pub(super) async fn connect_to(address: SocketAddr, world: &World) -> Self {
        Self::start(TcpStream::connect(address).await.unwrap(), &h2::client::Builder::new(), world).await
    }

    pub(super) async fn with(builder: &h2::client::Builder, world: &World) -> Self {
        Self::start(TcpStream::connect(world.http).await.unwrap(), builder, world).await
    }

    async fn start(stream: TcpStream, builder: &h2::client::Builder, world: &World) -> Self {
        let (send, connection) = builder.handshake(stream).await.unwrap();
        let spawner = &world.server.spawner;
        spawner.spawn(spawner.here(), "test-visitor", async move {
            // How it ends is seen by the streams on it.
            drop(connection.await);
        });
        Self(send)
    }

    /// Sends a head; `end`: without a body.
    pub(super) async fn send(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> (ResponseFuture, SendStream<Bytes>) {
        let ready = timeout(LIMIT, self.0.clone().ready()).await.unwrap();
        self.0 = ready.unwrap();
        self.0.send_request(request, end).unwrap()
    }

    /// Whether the connection takes no more requests.
    pub(super) async fn is_refused(&mut self) -> bool {
        self.0.clone().ready().await.is_err()
    }
}

pub(super) fn get(path: &str) -> Request<()> {
    Request::builder().uri(format!("http://{HOST}{path}")).body(()).unwrap()
}

pub(super) fn post(path: &str, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::post(format!("http://{HOST}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// The head of a response.
pub(super) async fn head(response: ResponseFuture) -> Response<RecvStream> {
    timeout(LIMIT, response).await.unwrap().unwrap()
}

/// The next bytes of a body; none at its end.
pub(super) async fn data(body: &mut RecvStream) -> Result<Option<Bytes>, Reason> {
    match timeout(LIMIT, body.data()).await.unwrap() {
        Some(Ok(data)) => {
            body.flow_control().release_capacity(data.len()).unwrap();
            Ok(Some(data))
        }
        Some(Err(error)) => Err(error.reason().unwrap()),
        None => Ok(None),
    }
}

/// A whole body with its trailers.
pub(super) async fn whole(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), Reason> {
    let mut bytes = Vec::new();
    while let Some(data) = data(body).await? {
        bytes.extend_from_slice(&data);
    }
    match timeout(LIMIT, body.trailers()).await.unwrap() {
        Ok(trailers) => Ok((bytes, trailers)),
        Err(error) => Err(error.reason().unwrap()),
    }
}

pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// A frame (RFC 9113 section 4.1).
pub(super) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field block of literals (RFC 7541 section 6.2.2).
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// The fields that every request has.
pub(super) const PSEUDO: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":authority", HOST), (":path", "/")];

/// A visitor that writes frames.
pub(super) struct Framer(pub(super) Peer);

impl Framer {
    pub(super) async fn connect(world: &World) -> Self {
        let mut peer = Peer::connect(world.http).await;
        peer.say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        peer.say(frame(SETTINGS, 0, 0, &[])).await;
        Self(peer)
    }

    /// The next frame for stream `id`, or the farewell: kind, flags, payload. None at the end of the connection.
    pub(super) async fn hear(&mut self, id: u32) -> Option<(u8, u8, Vec<u8>)> {
        loop {
            let (kind, flags, stream, payload) = self.next().await?;
            if stream == id || kind == GOAWAY {
                return Some((kind, flags, payload));
            }
        }
    }

    /// The next frame: kind, flags, stream, payload. None at the end of the connection.
    pub(super) async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        timeout(LIMIT, self.0.0.read_exact(&mut head)).await.unwrap().ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        timeout(LIMIT, self.0.0.read_exact(&mut payload)).await.unwrap().ok()?;
        Some((head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }
}
