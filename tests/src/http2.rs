//! Visitors that speak HTTP/2, and how its streams end.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::wait::{SOON, within};

/// What the other side may send ahead on a connection.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// A visitor with one connection. It ends when dropped.
#[derive(Debug)]
pub struct Http2Visitor {
    send: SendRequest<Bytes>,
    _driver: JoinSet<()>,
}

impl Http2Visitor {
    /// Connects, with HTTP/2 from the first byte.
    pub async fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Self::over(stream, 1 << 20).await
    }

    /// Over a connection that is there; `window` is what the other side may send ahead on a stream.
    pub async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        window: u32,
    ) -> io::Result<Self> {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(CONNECTION_WINDOW.max(window));
        let (send, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        let mut driver = JoinSet::new();
        // How it ends is seen by the streams on it.
        driver.spawn(async move { drop(connection.await) });
        Ok(Self { send, _driver: driver })
    }

    /// Sends a head; `end`: without a body.
    pub async fn send(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let ready = within("room for a stream", SOON, self.send.clone().ready()).await?;
        self.send = ready;
        self.send.send_request(request, end)
    }

    /// A request without a body, and its whole answer.
    pub async fn get(&mut self, host: &str, path: &str) -> Result<Response<Vec<u8>>, h2::Error> {
        let (response, _) = self.send(request("GET", host, path, &[]), true).await?;
        let (head, mut body) = within("an answer", SOON, response).await?.into_parts();
        let (body, end) = whole(&mut body).await;
        end.map(|_| Response::from_parts(head, body)).map_err(h2::Error::from)
    }
}

/// A request head.
#[must_use]
pub fn request(method: &str, host: &str, path: &str, fields: &[(&'static str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(format!("http://{host}{path}"));
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

/// The next bytes of a body; nothing at its end.
pub async fn data(body: &mut RecvStream) -> Result<Option<Bytes>, Reason> {
    match body.data().await {
        Some(Ok(data)) => {
            body.flow_control().release_capacity(data.len()).unwrap();
            Ok(Some(data))
        }
        // Nobody says why where the connection has gone.
        Some(Err(error)) => Err(error.reason().unwrap_or(Reason::CONNECT_ERROR)),
        None => Ok(None),
    }
}

/// What is left of a body, and how it ended: with or without trailers, or with a reset.
pub async fn whole(body: &mut RecvStream) -> (Vec<u8>, Result<Option<HeaderMap>, Reason>) {
    let mut bytes = Vec::new();
    let end = loop {
        match data(body).await {
            Ok(Some(data)) => bytes.extend_from_slice(&data),
            Ok(None) => break Ok(()),
            Err(reason) => break Err(reason),
        }
    };
    let end = match end {
        Ok(()) => body.trailers().await.map_err(|error| error.reason().unwrap_or(Reason::CONNECT_ERROR)),
        Err(reason) => Err(reason),
    };
    (bytes, end)
}

/// Sends bytes as the other side makes room for them. That the other side has gone is not this call's to report.
pub async fn write(to: &mut SendStream<Bytes>, mut bytes: Bytes) {
    while !bytes.is_empty() {
        to.reserve_capacity(bytes.len());
        let Some(Ok(room)) = poll_fn(|cx| to.poll_capacity(cx)).await else {
            return;
        };
        let piece = bytes.split_to(room.min(bytes.len()));
        if to.send_data(piece, false).is_err() {
            return;
        }
    }
}
