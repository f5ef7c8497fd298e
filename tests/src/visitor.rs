//! Visitors: hyper's client for what is well-formed, a bare socket for what is not and for how things end.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::wait::{SOON, within};

/// A request body of any kind.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// No body.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of known length.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A request as a browser would send it to `host`.
#[must_use]
pub fn request(method: &str, host: &str, path: &str, body: Body) -> Request<Body> {
    Request::builder().method(method).uri(path).header(header::HOST, host).body(body).unwrap()
}

/// One keep-alive connection to the public side.
#[derive(Debug)]
pub struct Visitor {
    sender: SendRequest<Body>,
    _driver: JoinSet<()>,
}

impl Visitor {
    /// Connects.
    pub async fn connect(to: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Self::over(stream).await
    }

    /// Speaks over a connection that is there, of whatever kind.
    pub async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> io::Result<Self> {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.with_upgrades().await) });
        Ok(Self { sender, _driver: driver })
    }

    /// Sends one request and waits for the head of its answer.
    pub async fn send(&mut self, request: Request<Body>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    /// Sends one request and reads the whole answer.
    pub async fn whole(&mut self, request: Request<Body>) -> hyper::Result<Answer> {
        let (head, body) = self.send(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Its fields.
    pub headers: HeaderMap,
    /// All of its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A field's value; empty if it is not there.
    #[must_use]
    pub fn field(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// One request on a connection of its own; every way to fail is an error.
pub async fn try_send(to: SocketAddr, request: Request<Body>) -> io::Result<Answer> {
    Visitor::connect(to).await?.whole(request).await.map_err(io::Error::other)
}

/// One GET on a connection of its own; every way to fail is an error.
pub async fn try_get(to: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
    try_send(to, request("GET", host, path, empty())).await
}

/// One GET on a connection of its own.
///
/// # Panics
///
/// When no whole answer comes.
pub async fn get(to: SocketAddr, host: &str, path: &str) -> Answer {
    within(&format!("GET {path} of {host}"), Duration::from_secs(30), try_get(to, host, path)).await.unwrap()
}

/// The sum of a metric's samples over all labels, from the text format.
#[must_use]
pub fn metric(text: &str, name: &str) -> f64 {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .filter(|rest| rest.starts_with(['{', ' ']))
        .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

/// Opens a WebSocket to a path of a host through the public side.
pub async fn websocket(to: SocketAddr, host: &str, path: &str) -> io::Result<WebSocketStream<TcpStream>> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    let request = format!("ws://{host}{path}").into_client_request().map_err(io::Error::other)?;
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.map_err(io::Error::other)?;
    Ok(socket)
}

/// How a stream of bytes ended for the one who read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a FIN: complete, for all that TCP knows.
    Fin,
    /// With a reset.
    Reset,
    /// Not yet, when the time was over.
    Open,
}

/// A bare TCP connection.
#[derive(Debug)]
pub struct Raw {
    /// The socket.
    pub stream: TcpStream,
    ahead: Vec<u8>,
}

impl Raw {
    /// Connects.
    pub async fn open(to: SocketAddr) -> Self {
        let stream = within("a connection", SOON, TcpStream::connect(to)).await.unwrap();
        // It may be reset by now, which is for the reader to find.
        let _ = stream.set_nodelay(true);
        Self { stream, ahead: Vec::new() }
    }

    /// Takes a connection that is there already.
    #[must_use]
    pub fn of(stream: TcpStream) -> Self {
        Self { stream, ahead: Vec::new() }
    }

    /// Connects and reads to the end, but no longer than `limit`: for doors that may be shut in the face.
    pub async fn knock(to: SocketAddr, limit: Duration) -> (Vec<u8>, End) {
        match within("a connection", SOON, TcpStream::connect(to)).await {
            Ok(stream) => Self { stream, ahead: Vec::new() }.rest(limit).await,
            // A reset may even overtake the notice that the connection stands.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => (Vec::new(), End::Reset),
            Err(error) => panic!("nobody at {to}: {error}"),
        }
    }

    /// Sends bytes as they are. That the other side has gone is not this call's to report.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within("room for the bytes", SOON, self.stream.write_all(bytes.as_ref())).await;
    }

    /// Sends a FIN.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Reads one HTTP head and returns it as text; what follows it is kept.
    pub async fn head(&mut self) -> String {
        String::from_utf8(self.head_bytes().await).unwrap()
    }

    /// Reads one HTTP head, which need not be text; what follows it is kept.
    pub async fn head_bytes(&mut self) -> Vec<u8> {
        let read = async {
            let mut buffer = vec![0; 16 * 1024];
            loop {
                if let Some(at) = self.ahead.windows(4).position(|four| four == b"\r\n\r\n") {
                    let body = self.ahead.split_off(at + 4);
                    return std::mem::replace(&mut self.ahead, body);
                }
                match self.stream.read(&mut buffer).await {
                    Ok(n @ 1..) => self.ahead.extend_from_slice(&buffer[..n]),
                    end => {
                        panic!("{end:?} before the end of a head: {:?}", String::from_utf8_lossy(&self.ahead))
                    }
                }
            }
        };
        within("an HTTP head", SOON, read).await
    }

    /// Reads what is there, at least a byte. Nothing: how the stream ended.
    pub async fn some(&mut self) -> Result<Vec<u8>, End> {
        if !self.ahead.is_empty() {
            return Ok(std::mem::take(&mut self.ahead));
        }
        let mut buffer = vec![0; 64 * 1024];
        match self.stream.read(&mut buffer).await {
            Ok(0) => Err(End::Fin),
            Ok(n) => {
                buffer.truncate(n);
                Ok(buffer)
            }
            Err(_) => Err(End::Reset),
        }
    }

    /// Reads exactly `len` bytes.
    pub async fn exactly(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.ahead);
        if bytes.len() > len {
            self.ahead = bytes.split_off(len);
        }
        let had = bytes.len();
        bytes.resize(len, 0);
        within("the bytes", SOON, self.stream.read_exact(&mut bytes[had..])).await.unwrap();
        bytes
    }

    /// Reads to the end, but no longer than `limit`.
    pub async fn rest(&mut self, limit: Duration) -> (Vec<u8>, End) {
        let mut all = std::mem::take(&mut self.ahead);
        let mut buffer = vec![0; 64 * 1024];
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            match tokio::time::timeout_at(deadline, self.stream.read(&mut buffer)).await {
                Err(_) => return (all, End::Open),
                Ok(Ok(0)) => return (all, End::Fin),
                Ok(Ok(n)) => all.extend_from_slice(&buffer[..n]),
                Ok(Err(_)) => return (all, End::Reset),
            }
        }
    }
}
