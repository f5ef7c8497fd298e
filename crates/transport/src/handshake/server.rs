//! The server's half of the handshake.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ops::spawn::{Spawner, Worker};
use protocol::codec::{DecodeError, EncodeError};
use protocol::handshake::proof::login_message;
use protocol::handshake::{ALPN, Features, Hello, Reject, RejectCode, ServerReply, Welcome, negotiate};
use protocol::limits::{DEAD_AFTER, HANDSHAKE_TIMEOUT};
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::read_frame;
use crate::frames::FrameError;
use crate::session::{
    self, Inbound, Link, Liveness, ProcessBudget, ReadAhead, Role, Session, SessionConfig, TLS_BUFFER,
};
use crate::socket::tune_session;
use crate::tls::exporter;

/// How long a refused peer may take to read why.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a connection became no session. In every case the peer has been told, if it speaks our protocol at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The peer took longer than the limit of 5 s.
    #[error("the peer did not finish {0} in time")]
    Timeout(&'static str),
    /// The connection or TLS failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// TLS has no exporter; a defect of ours.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The peer did not ask for `tunnel/1`.
    #[error("the peer did not ask for the protocol tunnel/1")]
    NoAlpn,
    /// The peer's first frame is no `Hello`.
    #[error("no valid hello: {0}")]
    Malformed(#[from] DecodeError),
    /// The peer speaks no version of ours, or needs a feature that we do not have.
    #[error("refused: {0}")]
    Incompatible(String),
    /// Our answer can not be encoded; a defect of ours.
    #[error("the answer can not be sent: {0}")]
    Encode(#[from] EncodeError),
}

/// A client that has said `Hello` in a version and with features that we have, and waits for its answer.
#[derive(Debug)]
pub struct Incoming {
    stream: TlsStream<ReadAhead<Link>>,
    liveness: Arc<Liveness>,
    buffer: BytesMut,
    hello: Hello,
    version: u16,
    features: Features,
    login_message: Vec<u8>,
    dead_after: Duration,
}

impl HandshakeError {
    /// What was wrong with the client's certificate, or with the list that was to say whether it is revoked, if that is why.
    #[must_use]
    pub fn certificate(&self) -> Option<&rustls::Error> {
        let Self::Io(error) = self else { return None };
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())?;
        let is_meant = matches!(
            tls,
            rustls::Error::InvalidCertificate(_)
                | rustls::Error::NoCertificatesPresented
                | rustls::Error::InvalidCertRevocationList(_)
        );
        is_meant.then_some(tls)
    }
}

impl Incoming {
    /// Does TLS and reads the `Hello`, both within 5 s.
    ///
    /// # Errors
    /// [`HandshakeError`]; the peer has been told where it could understand it.
    pub async fn read(stream: TcpStream, tls: &TlsAcceptor) -> Result<Self, HandshakeError> {
        Self::read_watched(stream, tls, || {}).await
    }

    /// The same, with a word as soon as anything comes.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_watched(
        stream: TcpStream,
        tls: &TlsAcceptor,
        spoke: impl FnOnce() + Send,
    ) -> Result<Self, HandshakeError> {
        tune_session(&stream)?;
        let deadline = Instant::now() + HANDSHAKE_TIMEOUT;
        let first = timeout_at(deadline, stream.readable()).await;
        first.map_err(|_| HandshakeError::Timeout("the TLS handshake"))??;
        spoke();
        let liveness = Arc::new(Liveness::new());
        let link = ReadAhead::new(Link::new(stream), liveness.clone());
        let mut stream = timeout_at(deadline, tls.accept(link))
            .await
            .map_err(|_| HandshakeError::Timeout("the TLS handshake"))??;
        if stream.get_ref().1.alpn_protocol() != Some(ALPN) {
            return Err(HandshakeError::NoAlpn);
        }
        let binding = exporter(stream.get_ref().1)?;
        let mut buffer = BytesMut::new();
        let Ok(frame) = timeout_at(deadline, read_frame(&mut stream, &mut buffer)).await else {
            refuse(stream, because(RejectCode::MALFORMED, "no complete hello came in time".to_owned()))
                .await?;
            return Err(HandshakeError::Timeout("its hello"));
        };
        let hello = match frame {
            Ok(frame) => Hello::decode(&frame),
            Err(FrameError::Decode(error)) => Err(error),
            Err(FrameError::Io(error)) => return Err(error.into()),
        };
        let hello = match hello {
            Ok(hello) => hello,
            Err(error) => {
                let text = format!("the hello is not valid: {error}");
                refuse(stream, because(RejectCode::MALFORMED, text)).await?;
                return Err(error.into());
            }
        };
        let (version, features) = match agree(&hello) {
            Ok(agreed) => agreed,
            Err(reject) => {
                let text = reject.text.to_string();
                refuse(stream, reject).await?;
                return Err(HandshakeError::Incompatible(text));
            }
        };
        let login_message = login_message(&binding, hello.client, hello.instance, hello.slot);
        let dead_after = DEAD_AFTER;
        Ok(Self { stream, liveness, buffer, hello, version, features, login_message, dead_after })
    }

    /// What the client said.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The version that both ends speak.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The features that both ends have.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }

    /// The certificates that the client has shown, its own first, if it was asked for one: that leads to a root of ours, and
    /// the client holds its key.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        self.stream.get_ref().1.peer_certificates().unwrap_or_default()
    }

    /// What the proof of the `Hello` has to be a signature of.
    #[must_use]
    pub fn login_message(&self) -> &[u8] {
        &self.login_message
    }

    /// Moves the connection to the worker that this is called on: its socket wakes that one from now on.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn settle(&mut self) -> io::Result<()> {
        let link = self.stream.get_mut().0;
        // The connection stays as it is; only the descriptor is new, and registered here.
        let moved = std::net::TcpStream::from(link.get_ref().stream().as_fd().try_clone_to_owned()?);
        link.replace(Link::new(TcpStream::from_std(moved)?));
        Ok(())
    }

    /// Lets the client in and starts the session on `worker`, which should be the one this future runs on.
    ///
    /// # Errors
    /// [`HandshakeError::Io`] or [`HandshakeError::Timeout`] if the client is gone.
    pub async fn welcome(
        mut self,
        welcome: Welcome,
        budget: Arc<ProcessBudget>,
        spawner: &Spawner,
        worker: Worker,
    ) -> Result<(Session, Inbound), HandshakeError> {
        let mut out = BytesMut::new();
        ServerReply::Welcome(welcome).encode(&mut out)?;
        send(&mut self.stream, &out).await?;
        self.stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
        let config = SessionConfig {
            role: Role::Server,
            peer: self.hello.limits,
            liveness: self.liveness,
            dead_after: self.dead_after,
            early: self.buffer.freeze(),
            budget,
        };
        Ok(session::start(self.stream, config, spawner, worker))
    }

    /// Its session is given up when no byte has come for so long; 15 s where nobody says otherwise.
    pub const fn give_up_after(&mut self, silence: Duration) {
        self.dead_after = silence;
    }

    /// Refuses the client, and waits up to a second for it to have read why.
    ///
    /// # Errors
    /// [`HandshakeError::Io`] or [`HandshakeError::Timeout`] if the client is gone.
    pub async fn reject(self, reject: Reject) -> Result<(), HandshakeError> {
        refuse(self.stream, reject).await
    }
}

fn because(code: RejectCode, text: String) -> Reject {
    Reject { code, text: text.into(), retry_after: None }
}

/// The version and the features that both ends have.
fn agree(hello: &Hello) -> Result<(u16, Features), Reject> {
    let version =
        negotiate(hello.versions).map_err(|error| because(RejectCode::VERSION, error.to_string()))?;
    let features = hello
        .features
        .negotiate(Features::OURS)
        .map_err(|error| because(RejectCode::CRITICAL_FEATURE, error.to_string()))?;
    Ok((version, features))
}

async fn send(stream: &mut TlsStream<ReadAhead<Link>>, out: &[u8]) -> Result<(), HandshakeError> {
    let write = async {
        stream.write_all(out).await?;
        stream.flush().await
    };
    timeout(HANDSHAKE_TIMEOUT, write).await.map_err(|_| HandshakeError::Timeout("reading our answer"))??;
    Ok(())
}

async fn refuse(mut stream: TlsStream<ReadAhead<Link>>, reject: Reject) -> Result<(), HandshakeError> {
    let mut out = BytesMut::new();
    ServerReply::Reject(reject).encode(&mut out)?;
    send(&mut stream, &out).await?;
    // Closing with unread bytes would be a reset, which may overtake the answer: read them away first.
    let farewell = async {
        stream.shutdown().await?;
        let mut sink = [0; 1024];
        while stream.read(&mut sink).await? > 0 {}
        Ok::<(), io::Error>(())
    };
    // The peer has its answer; how it goes away does not matter.
    let _ = timeout(FAREWELL, farewell).await;
    Ok(())
}
