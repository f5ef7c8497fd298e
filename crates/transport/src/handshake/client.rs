//! The client's half of the handshake.

use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use ops::spawn::{Spawner, Worker};
use protocol::codec::{DecodeError, EncodeError};
use protocol::handshake::proof::login_message;
use protocol::handshake::{Features, Hello, PeerLimits, Reject, ServerReply, VersionRange, Welcome};
use protocol::id::{ClientId, CredentialId, InstanceId, SessionId, Slot};
use protocol::limits::{DEAD_AFTER, HANDSHAKE_TIMEOUT};
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::read_frame;
use crate::frames::FrameError;
use crate::login_key::{KeyError, LoginKey};
use crate::session::{
    self, Inbound, Link, Liveness, ProcessBudget, ReadAhead, Role, Session, SessionConfig, TLS_BUFFER,
};
use crate::socket::tune_session;
use crate::tls::{PinMismatch, exporter};

/// What a client says of itself; the rest of the `Hello` follows from the connection.
#[derive(Debug, Clone)]
pub struct HelloDraft {
    /// Which installation this is.
    pub client: ClientId,
    /// Which process.
    pub instance: InstanceId,
    /// Which of its parallel sessions.
    pub slot: Slot,
    /// The session that this one takes over from, make before break.
    pub replaces: Option<SessionId>,
    /// Whose login this is.
    pub credential: CredentialId,
    /// Whether it can be handed parts of the configuration.
    pub takes_parts: bool,
    /// For people: the name in status and logs.
    pub name: String,
    /// For people: program and version.
    pub agent: String,
}

/// A session that the server welcomed.
#[derive(Debug)]
pub struct LoggedIn {
    /// Opens substreams.
    pub session: Session,
    /// The substreams that the server opens.
    pub inbound: Inbound,
    /// What the server said.
    pub welcome: Welcome,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The server's key is not the one expected. Trying again does not help.
    #[error(
        "{0}: either the server was set up anew (ask its operator for a new join string) or somebody is in between"
    )]
    WrongKey(PinMismatch),
    /// The server's certificate is not acceptable. Trying again does not help.
    #[error("the server's certificate is not trusted: {0}")]
    Untrusted(rustls::Error),
    /// The server does not accept the certificate of this client, or wants one. Trying again does not help.
    #[error("the server does not let this client in: {}", certificate_trouble(*.0))]
    Certificate(AlertDescription),
    /// TLS failed otherwise; for instance, this is no tunnel server.
    #[error("no tunnel server answers there: {0}")]
    Tls(rustls::Error),
    /// The connection failed during the handshake.
    #[error("the connection failed during the handshake: {0}")]
    Io(io::Error),
    /// The server took longer than the limit of 5 s for a step.
    #[error("the server did not answer within {}", humantime(.0))]
    Timeout(std::time::Duration),
    /// The server refused the login.
    #[error("the server refused the login: {}", .0.text)]
    Rejected(Reject),
    /// The server answered with something that is no answer.
    #[error("the server broke the protocol: {0}")]
    Protocol(#[from] DecodeError),
    /// The login can not be said on the wire; a name is too long.
    #[error("the login can not be sent: {0}")]
    Encode(#[from] EncodeError),
    /// The secret of the join string is unusable.
    #[error(transparent)]
    Key(#[from] KeyError),
}

fn humantime(duration: &std::time::Duration) -> String {
    format!("{} s", duration.as_secs())
}

impl LoginError {
    /// Whether trying again can not help until somebody changes something.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            Self::WrongKey(_)
            | Self::Untrusted(_)
            | Self::Certificate(_)
            | Self::Encode(_)
            | Self::Key(_) => true,
            Self::Rejected(reject) => reject.is_final(),
            Self::Tls(_) | Self::Io(_) | Self::Timeout(_) | Self::Protocol(_) => false,
        }
    }
}

/// Where a session lives: the tasks it belongs to, the worker it runs on, and the memory it counts against.
#[derive(Debug)]
pub struct Place<'a> {
    /// Tracks the session's task.
    pub spawner: &'a Spawner,
    /// Drives the session's task.
    pub worker: Worker,
    /// Bytes that all sessions of the process may hold together.
    pub budget: Arc<ProcessBudget>,
}

/// Logs in over a fresh TCP connection and starts the session in its `place`. Nothing secret leaves before the server has
/// proved its key, and the proof of this login is good for this TLS connection only.
///
/// # Errors
/// [`LoginError`], whose text says what to do.
pub async fn login(
    stream: TcpStream,
    server_name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    draft: HelloDraft,
    key: &LoginKey,
    place: Place<'_>,
) -> Result<LoggedIn, LoginError> {
    tune_session(&stream).map_err(LoginError::Io)?;
    let liveness = Arc::new(Liveness::new());
    let link = ReadAhead::new(Link::new(stream), liveness.clone());
    let mut stream = timeout(HANDSHAKE_TIMEOUT, TlsConnector::from(tls).connect(server_name, link))
        .await
        .map_err(|_| LoginError::Timeout(HANDSHAKE_TIMEOUT))?
        .map_err(tls_error)?;

    let binding = exporter(stream.get_ref().1).map_err(LoginError::Tls)?;
    let proof = key.sign(&login_message(&binding, draft.client, draft.instance, draft.slot))?;
    let hello = Hello {
        versions: VersionRange::OURS,
        features: if draft.takes_parts { Features::OURS } else { Features::OURS.without(Features::PUSH) },
        client: draft.client,
        instance: draft.instance,
        slot: draft.slot,
        replaces: draft.replaces,
        limits: PeerLimits::OURS,
        credential: draft.credential,
        proof,
        name: draft.name,
        agent: draft.agent,
    };
    let mut out = BytesMut::new();
    hello.encode(&mut out)?;

    let mut buffer = BytesMut::new();
    let exchange = async {
        let sent = match stream.write_all(&out).await {
            Ok(()) => stream.flush().await,
            failed => failed,
        };
        // A server that does not like our certificate says so after its own handshake, and may be gone before we write.
        match (sent, read_frame(&mut stream, &mut buffer).await) {
            (Err(sent), Err(FrameError::Io(read))) if !is_of_tls(&read) => Err(sent.into()),
            (_, answer) => answer,
        }
    };
    let frame = match timeout(HANDSHAKE_TIMEOUT, exchange).await {
        Err(_) => return Err(LoginError::Timeout(HANDSHAKE_TIMEOUT)),
        Ok(Err(FrameError::Io(error))) => return Err(tls_error(error)),
        Ok(Err(FrameError::Decode(error))) => return Err(error.into()),
        Ok(Ok(frame)) => frame,
    };
    let welcome = match ServerReply::decode(&frame)? {
        ServerReply::Welcome(welcome) => welcome,
        ServerReply::Reject(reject) => return Err(LoginError::Rejected(reject)),
    };
    stream.get_mut().1.set_buffer_limit(Some(TLS_BUFFER));
    let config = SessionConfig {
        role: Role::Client,
        peer: welcome.limits,
        liveness,
        dead_after: DEAD_AFTER,
        early: buffer.freeze(),
        budget: place.budget,
    };
    let (session, inbound) = session::start(stream, config, place.spawner, place.worker);
    Ok(LoggedIn { session, inbound, welcome })
}

/// Whether a server says this of a client's certificate.
const fn is_of_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::DecryptError
    )
}

/// The words for it, and what to do.
const fn certificate_trouble(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => {
            "it wants a certificate of the client; name one in tunnelc.toml: cert = \"FILE\", key = \"FILE\""
        }
        AlertDescription::CertificateExpired => {
            "the client's certificate has expired, or is not valid yet; get a new one, and look at the clock"
        }
        AlertDescription::CertificateRevoked => {
            "the client's certificate was revoked by its CA; get a new one from the operator of the server"
        }
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "the client's certificate is not from the CA that the server trusts (`client_ca` of tunneld.toml)"
        }
        _ => "the client's certificate is not acceptable",
    }
}

fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
}

/// Tells a wrong key from an unacceptable certificate from a peer that does not speak our protocol.
fn tls_error(error: io::Error) -> LoginError {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
        return LoginError::Io(error);
    };
    match tls {
        rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
            match other.0.downcast_ref::<PinMismatch>() {
                Some(mismatch) => LoginError::WrongKey(mismatch.clone()),
                None => LoginError::Untrusted(tls.clone()),
            }
        }
        rustls::Error::InvalidCertificate(_) => LoginError::Untrusted(tls.clone()),
        rustls::Error::AlertReceived(alert) if is_of_certificate(*alert) => LoginError::Certificate(*alert),
        other => LoginError::Tls(other.clone()),
    }
}
