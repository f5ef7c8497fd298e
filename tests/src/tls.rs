//! Visitors over TLS, and certificates for the servers that they visit.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::slice::from_ref;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Writes a new certificate for `names` into `FOLDER/FILE.pem`, and its key into `FOLDER/FILE.key`. It is its own authority.
pub fn certificate(folder: &Path, file: &str, names: &[&str]) -> CertificateDer<'static> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let pair = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(names).unwrap().self_signed(&pair).unwrap();
    std::fs::write(folder.join(format!("{file}.key")), pair.serialize_pem()).unwrap();
    std::fs::write(folder.join(format!("{file}.pem")), certificate.pem()).unwrap();
    certificate.der().clone()
}

/// The certificate that [`certificate`] wrote.
#[must_use]
pub fn read(folder: &Path, file: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(folder.join(format!("{file}.pem"))).unwrap()
}

/// Connects to `to`, asks for `name`, and believes whoever shows `root`.
pub async fn connect(
    to: SocketAddr,
    name: &str,
    root: &CertificateDer<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    over(TcpStream::connect(to).await?, name, root, false).await
}

/// The same, and believes whoever shows one of these roots.
pub async fn connect_trusting(
    to: SocketAddr,
    name: &str,
    roots: &[CertificateDer<'static>],
) -> io::Result<TlsStream<TcpStream>> {
    speaking(TcpStream::connect(to).await?, name, roots, false, b"http/1.1").await
}

/// The same, to speak `protocol`.
pub async fn connect_for(
    to: SocketAddr,
    name: &str,
    root: &CertificateDer<'static>,
    protocol: &[u8],
) -> io::Result<TlsStream<TcpStream>> {
    speaking(TcpStream::connect(to).await?, name, from_ref(root), false, protocol).await
}

/// As [`connect`] over a connection that is there; `old` speaks TLS 1.2 at most.
pub async fn over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: &str,
    root: &CertificateDer<'static>,
    old: bool,
) -> io::Result<TlsStream<S>> {
    speaking(stream, name, from_ref(root), old, b"http/1.1").await
}

async fn speaking<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    name: &str,
    trusted: &[CertificateDer<'static>],
    old: bool,
    protocol: &[u8],
) -> io::Result<TlsStream<S>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for root in trusted {
        roots.add(root.clone()).map_err(io::Error::other)?;
    }
    let versions = if old { vec![&TLS12] } else { vec![&TLS13, &TLS12] };
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&versions);
    let mut config = builder.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
