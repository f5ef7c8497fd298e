//! What ends a session ends it at once, for everybody, whoever is at fault.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf};
use transport::session::{OpenError, Role, SessionEnd};
use yamux::{Config, Mode};

use super::stuck::beside;
use crate::crate_peer::CratePeer;
use crate::ours::{begin, run};
use crate::raw::{ACK, DATA, FIN, GO_AWAY, PING, RST, Raw, SYN, UPDATE, data, frame};

#[test]
fn a_breach_closes_the_link_and_nothing_behind_it_counts() {
    let breaches = [
        ("another version", vec![1; 12]),
        ("an unknown kind", frame(4, 0, 1, 0)),
        ("an id of ours", data(SYN, 2, b"")),
        ("opened twice", data(SYN, 1, b"")),
        ("bytes behind an end", [data(FIN, 1, b""), data(0, 1, b"x")].concat()),
        ("a ping on a substream", frame(PING, SYN, 1, 0)),
        ("data of the session", data(0, 0, b"x")),
        ("too much credit", frame(UPDATE, 0, 1, u32::MAX)),
    ];
    run(|spawner| async move {
        for (name, breach) in breaches {
            let (mut raw, link) = Raw::new();
            let (session, mut inbound) = begin(link, Role::Server, &spawner);
            raw.send(&data(SYN, 1, b"")).await;
            let mut substream = inbound.accept().await.unwrap();
            raw.send(&[breach, data(SYN, 3, b"behind it")].concat()).await;
            assert!(inbound.accept().await.is_none(), "{name}");
            assert!(matches!(session.closed().await, SessionEnd::Breach(_)), "{name}");
            assert_eq!(session.open(Bytes::new()).unwrap_err(), OpenError::Lost);
            // What came before it may have been an end.
            let read = substream.read(&mut [0]).await.map_err(|error| error.kind());
            assert!(matches!(read, Ok(0) | Err(ErrorKind::ConnectionAborted)), "{name}: {read:?}");
            let last = raw.rest().await;
            assert!(last.iter().any(|frame| frame.kind == GO_AWAY && frame.length == 1), "{name}: {last:?}");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn the_crate_says_that_it_gives_up_and_goes_on() {
    let (mut raw, link) = Raw::new();
    let (mut peer, driver) = CratePeer::new(link, Mode::Server, Config::default());
    beside(driver, async {
        raw.send(&[data(SYN, 2, b""), data(SYN, 3, b"behind it")].concat()).await;
        let mut stream = peer.accept().await.unwrap();
        stream.read_exact(&mut [0; 9]).await.unwrap();
        raw.until(|frame| frame.kind == GO_AWAY && frame.length == 1).await;
        raw.send(&data(SYN, 5, b"and on")).await;
        peer.accept().await.unwrap().read_exact(&mut [0; 6]).await.unwrap();
    })
    .await;
}

#[test]
fn frames_for_substreams_that_are_no_more_change_nothing() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (session, mut inbound) = begin(link, Role::Server, &spawner);
        for id in [1, 3, 5, 7] {
            raw.send(&data(SYN, id, b"x")).await;
            drop(inbound.accept().await.unwrap());
            raw.until(|frame| frame.id == id && frame.has(RST)).await;
            for flags in [0, ACK, FIN, RST, FIN | ACK] {
                raw.send(&[data(flags, id, b"late"), frame(UPDATE, flags, id, 100_000)].concat()).await;
            }
        }
        raw.settle().await;
        assert_eq!(session.substreams_open(), 0);
        // Its id is free again.
        raw.send(&data(SYN, 1, b"again")).await;
        inbound.accept().await.unwrap().read_exact(&mut [0; 5]).await.unwrap();
    });
}

/// A link that panics when it is told to: a stand-in for any defect below the session.
struct Trap(DuplexStream);

impl AsyncRead for Trap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(cx, buffer);
        assert!(!buffer.filled().ends_with(b"boom"), "the trap");
        read
    }
}

impl AsyncWrite for Trap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn a_panic_in_one_session_ends_it_and_no_other() {
    run(|spawner| async move {
        let (mut raw, link) = Raw::new();
        let (session, mut inbound) = begin(Trap(link), Role::Server, &spawner);
        let (mut other_raw, other_link) = Raw::new();
        let (other, mut other_inbound) = begin(other_link, Role::Server, &spawner);
        raw.send(&data(SYN, 1, b"head")).await;
        other_raw.send(&data(SYN, 1, b"head")).await;
        let mut substream = inbound.accept().await.unwrap();
        let _other_substream = other_inbound.accept().await.unwrap();
        substream.read_exact(&mut [0; 4]).await.unwrap();
        let trip = async { raw.send(&data(0, 1, b"boom")).await };
        // Who waits is told.
        let mut byte = [0];
        let (read, ()) = tokio::join!(substream.read(&mut byte), trip);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::ConnectionAborted);
        assert_eq!(session.closed().await, SessionEnd::Driver);
        assert!(inbound.accept().await.is_none());
        assert_eq!(session.open(Bytes::new()).unwrap_err(), OpenError::Lost);
        assert!(other.open(Bytes::from_static(b"on")).is_ok());
        other_raw.until(|frame| frame.kind == DATA && frame.payload == b"on").await;
    });
}
