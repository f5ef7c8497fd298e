//! A client of the tunnel port that does what no honest client does: it speaks the handshake by hand.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use protocol::frame;
use protocol::handshake::{Features, Hello, PeerLimits, ServerReply, VersionRange, login_message};
use protocol::id::{ClientId, InstanceId, Slot};
use protocol::join::JoinString;
use protocol::limits::HANDSHAKE_FRAME_MAX;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use transport::login_key::LoginKey;
use transport::tls::{Trust, client_config, exporter};

use crate::visitor::End;
use crate::wait::{SOON, within};

/// What a server did with a handshake.
#[derive(Debug)]
pub enum Reply {
    /// It answered.
    Said(ServerReply),
    /// It ended the connection without an answer.
    Ended(End),
}

/// A TLS connection to the tunnel port, before any frame.
#[derive(Debug)]
pub struct HandMade {
    stream: TlsStream<TcpStream>,
    join: JoinString,
    read: BytesMut,
}

impl HandMade {
    /// Dials with the pin of the join string and the protocol's ALPN.
    pub async fn dial(join: &str) -> Self {
        Self::dial_with(join, &[protocol::handshake::ALPN]).await.unwrap()
    }

    /// Dials with any ALPN.
    pub async fn dial_with(join: &str, protocols: &[&[u8]]) -> io::Result<Self> {
        let join: JoinString = join.parse().unwrap();
        let mut config = (*client_config(&Trust::Pins(join.pins.clone())).unwrap()).clone();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let stream = TcpStream::connect((join.address.host(), join.address.port())).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("tunnel.invalid").unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = within("the TLS handshake", SOON, connecting).await?;
        Ok(Self { stream, join, read: BytesMut::new() })
    }

    /// An honest hello for this connection, from a client nobody has seen.
    #[must_use]
    pub fn hello(&self) -> Hello {
        let (client, instance, slot) = (ClientId(rand::random()), InstanceId(rand::random()), Slot(0));
        let exporter = exporter(self.stream.get_ref().1).unwrap();
        let key = LoginKey::from_seed(self.join.secret.expose()).unwrap();
        Hello {
            versions: VersionRange::OURS,
            features: Features::OURS,
            client,
            instance,
            slot,
            replaces: None,
            limits: PeerLimits::OURS,
            credential: self.join.credential.clone(),
            proof: key.sign(&login_message(&exporter, client, instance, slot)).unwrap(),
            name: "by hand".to_owned(),
            agent: "tests".to_owned(),
        }
    }

    /// Sends bytes as they are. That the other side has gone is not this call's to report.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let write = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        let _ = within("room for the bytes", SOON, write).await;
    }

    /// Sends a hello.
    pub async fn say(&mut self, hello: &Hello) {
        self.send(encoded(hello)).await;
    }

    /// A session, as an honest client gets it, before its first substream.
    pub async fn log_in(join: &str) -> Self {
        let mut peer = Self::dial(join).await;
        peer.say(&peer.hello()).await;
        match peer.reply(SOON).await {
            Reply::Said(ServerReply::Welcome(_)) => peer,
            other => panic!("{other:?}"),
        }
    }

    /// Sends bytes, unless the other side has gone.
    ///
    /// # Errors
    /// It has gone.
    pub async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        within("room for the bytes", SOON, self.stream.write_all(bytes)).await
    }

    /// Says that nothing more comes.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Waits for the server's answer or the end.
    pub async fn reply(&mut self, limit: Duration) -> Reply {
        let deadline = tokio::time::Instant::now() + limit;
        loop {
            if let Some(frame) = frame::decode(&mut self.read, HANDSHAKE_FRAME_MAX).unwrap() {
                return Reply::Said(ServerReply::decode(&frame).unwrap());
            }
            match tokio::time::timeout_at(deadline, self.stream.read_buf(&mut self.read)).await {
                Err(_) => return Reply::Ended(End::Open),
                Ok(Ok(0)) => return Reply::Ended(End::Fin),
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Reply::Ended(End::Reset),
            }
        }
    }

    /// Waits for the end of the connection, whatever is said before.
    pub async fn end(&mut self, limit: Duration) -> End {
        self.rest(limit).await.1
    }

    /// What is said until the end of the connection, and how it ends.
    pub async fn rest(&mut self, limit: Duration) -> (BytesMut, End) {
        let deadline = tokio::time::Instant::now() + limit;
        let mut said = std::mem::take(&mut self.read);
        let end = loop {
            match tokio::time::timeout_at(deadline, self.stream.read_buf(&mut said)).await {
                Err(_) => break End::Open,
                Ok(Ok(0)) => break End::Fin,
                Ok(Ok(_)) => {}
                Ok(Err(_)) => break End::Reset,
            }
        };
        (said, end)
    }
}

/// The frame of a hello.
#[must_use]
pub fn encoded(hello: &Hello) -> Vec<u8> {
    let mut out = BytesMut::new();
    hello.encode(&mut out).unwrap();
    out.to_vec()
}

/// A frame with any type and any stated length.
#[must_use]
pub fn frame(kind: u8, stated: u32, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = stated.to_be_bytes();
    [&[kind], &length[..], payload].concat()
}
