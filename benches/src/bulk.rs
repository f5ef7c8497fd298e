//! Bulk over TCP tunnels, up and down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tests::fixture::TcpService;
use tests::pattern;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::meter::Span;

/// Which way the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// From the visitor to the service.
    Up,
    /// From the service to the visitor.
    Down,
}

/// As many bytes as `connections` visitors can move one way, through freshly started programs.
pub async fn bulk(way: Way, connections: usize, span: Duration) -> Span {
    let service = match way {
        Way::Up => TcpService::sink().await,
        Way::Down => TcpService::source().await,
    };
    let (server, home) = (Tunneld::start().await, Home::new());
    let tunnel = home.tcp(&server.join(), service.addr(), &[]).await;
    let received = Arc::new(AtomicU64::new(0));
    let mut visitors = JoinSet::new();
    for _ in 0..connections {
        match way {
            Way::Up => visitors.spawn(push(tunnel.tcp())),
            Way::Down => visitors.spawn(pull(tunnel.tcp(), Arc::clone(&received))),
        };
    }
    let delivered = || match way {
        Way::Up => service.bytes_in(),
        Way::Down => received.load(Ordering::Relaxed),
    };
    Span::measure(&server.program, &tunnel.program, span, delivered).await
}

async fn push(to: SocketAddr) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let mut offset = 0;
    loop {
        let piece = pattern::at(offset, u64::MAX);
        stream.write_all(&piece).await.unwrap();
        offset += piece.len() as u64;
    }
}

async fn pull(from: SocketAddr, received: Arc<AtomicU64>) {
    let mut stream = TcpStream::connect(from).await.unwrap();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = stream.read(&mut buffer).await.unwrap();
        assert_ne!(n, 0, "the source has no end");
        received.fetch_add(n as u64, Ordering::Relaxed);
    }
}
