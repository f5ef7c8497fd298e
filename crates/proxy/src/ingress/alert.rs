//! What a TLS client is told that is refused before there is any TLS (RFC 8446 section 6).

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why; all of these are fatal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alert {
    /// Nobody has the name that was asked for (RFC 6066 section 3).
    UnrecognizedName,
    /// No name was asked for (RFC 8446 section 9.2).
    MissingExtension,
}

/// Bytes of a refused client that are read and dropped at most.
const DISCARDED_MAX: usize = 64 * 1024;

impl Alert {
    /// The whole record, as of TLS 1.2, which every version reads.
    const fn record(self) -> [u8; 7] {
        const ALERT: u8 = 21;
        const FATAL: u8 = 2;
        let description = match self {
            Self::UnrecognizedName => 112,
            Self::MissingExtension => 109,
        };
        [ALERT, 3, 3, 0, 2, FATAL, description]
    }
}

/// Says `alert` and closes. What the client has sent is read first and until it goes, for `linger` at most: a close over
/// unread bytes is a reset, which could overtake the alert.
pub(super) async fn refuse(stream: TcpStream, alert: Alert, linger: Duration) {
    // A failure means that the client has gone: there is nobody left to tell.
    let _ = timeout(linger, say(stream, alert)).await;
}

async fn say(mut stream: TcpStream, alert: Alert) -> io::Result<()> {
    stream.write_all(&alert.record()).await?;
    stream.shutdown().await?;
    let mut buffer = vec![0; 4096];
    let mut discarded = 0_usize;
    while discarded < DISCARDED_MAX {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => discarded = discarded.saturating_add(read),
        }
    }
    Ok(())
}
