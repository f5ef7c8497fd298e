//! What a TLS client says first (RFC 8446 section 4.1.2), read without taking it from the connection.

use std::io;

use rustls::server::Acceptor;
use tokio::net::TcpStream;
use transport::socket::peek;

/// A `ClientHello` may be this long, in bytes on the wire, whatever it is split into.
const MAX: usize = 16 * 1024;

/// What decides where a TLS connection goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct ClientHello {
    /// The name that is asked for (SNI).
    pub(super) server_name: Option<String>,
    alpn: Vec<Vec<u8>>,
}

impl ClientHello {
    /// Waits until all of it is there; needs a deadline. The bytes stay in the connection.
    ///
    /// # Errors
    /// The connection's; [`io::ErrorKind::InvalidData`] if it is no `ClientHello`, or too long.
    pub(super) async fn peek(stream: &TcpStream) -> io::Result<Self> {
        let mut buffer = vec![0; MAX];
        let mut seen = 0;
        loop {
            seen = peek(stream, &mut buffer, seen).await?;
            let there = buffer.get(..seen).unwrap_or_default();
            if let Some(hello) = Self::parse(there)? {
                return Ok(hello);
            }
            if seen == MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }

    /// Reads it from the first `bytes` of a connection; none if they are not all of it.
    fn parse(mut bytes: &[u8]) -> io::Result<Option<Self>> {
        let mut acceptor = Acceptor::default();
        while !bytes.is_empty() {
            acceptor.read_tls(&mut bytes)?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let alpn = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
                    return Ok(Some(Self { server_name: hello.server_name().map(str::to_owned), alpn }));
                }
                Err((error, _)) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
        Ok(None)
    }

    /// Whether the client offers `protocol` (ALPN, RFC 7301).
    pub(super) fn offers(&self, protocol: &[u8]) -> bool {
        self.alpn.iter().any(|offered| offered == protocol)
    }
}

#[cfg(test)]
mod tests;
