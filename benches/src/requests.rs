//! HTTP requests over keep-alive connections, written and read raw: the load must cost less than what it loads.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tests::fixture::HttpService;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::meter::Span;

/// What came of it.
#[derive(Debug)]
pub struct Requests {
    /// The measurement; its unit is a request answered with 200 and a whole body.
    pub span: Span,
    /// Half of the requests took no longer.
    pub median: Duration,
    /// 99 in 100 requests took no longer.
    pub p99: Duration,
}

/// As many requests as `connections` visitors can make, each waiting for its answer of `body` bytes.
pub async fn requests(connections: usize, body: usize, span: Duration) -> Requests {
    let (service, server, home) = (HttpService::start().await, Tunneld::start().await, Home::new());
    let tunnel = home.http(&server.join(), service.addr(), &["--host", "bench"]).await;
    let request = format!("GET /bytes?n={body} HTTP/1.1\r\nHost: {}\r\n\r\n", tunnel.host());
    let answered = Arc::new(AtomicU64::new(0));
    let latencies = Arc::new(Mutex::new(Vec::new()));
    let mut visitors = JoinSet::new();
    for _ in 0..connections {
        let door = server.listen().http;
        visitors.spawn(visit(door, request.clone(), body, Arc::clone(&answered), Arc::clone(&latencies)));
    }
    let span =
        Span::measure(&server.program, &tunnel.program, span, || answered.load(Ordering::Relaxed)).await;
    visitors.shutdown().await;
    let mut latencies = std::mem::take(&mut *latencies.lock().unwrap_or_else(PoisonError::into_inner));
    latencies.sort_unstable();
    let at = |part: f64| {
        let index = (latencies.len() as f64 * part) as usize;
        latencies.get(index.min(latencies.len().saturating_sub(1))).copied().unwrap_or_default()
    };
    Requests { span, median: at(0.5), p99: at(0.99) }
}

async fn visit(
    to: SocketAddr,
    request: String,
    body: usize,
    answered: Arc<AtomicU64>,
    latencies: Arc<Mutex<Vec<Duration>>>,
) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4096 + body];
    loop {
        let began = Instant::now();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut filled = 0;
        let mut whole = usize::MAX;
        while filled < whole {
            let n = stream.read(&mut buffer[filled..]).await.unwrap();
            assert_ne!(n, 0, "the connection ended: {}", String::from_utf8_lossy(&buffer[..filled]));
            filled += n;
            if whole == usize::MAX
                && let Some(head) = buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n")
            {
                assert!(
                    buffer.starts_with(b"HTTP/1.1 200 "),
                    "{}",
                    String::from_utf8_lossy(&buffer[..filled])
                );
                whole = head + 4 + body;
            }
        }
        assert_eq!(filled, whole, "more bytes than the answer has");
        answered.fetch_add(1, Ordering::Relaxed);
        latencies.lock().unwrap_or_else(PoisonError::into_inner).push(began.elapsed());
    }
}
