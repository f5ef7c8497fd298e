use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::*;

/// What a client of ours sends first.
fn hello(name: &'static str, alpn: &[&[u8]]) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).unwrap();
    bytes
}

/// The same handshake message in records of at most `size` bytes (RFC 8446 section 5.1).
fn in_records(hello: &[u8], size: usize) -> Vec<u8> {
    let (header, message) = hello.split_at(5);
    let record = |part: &[u8]| {
        let length = u16::try_from(part.len()).unwrap().to_be_bytes();
        [&header[..3], &length, part].concat()
    };
    message.chunks(size).flat_map(record).collect()
}

#[test]
fn name_and_protocols_are_read() {
    let parsed = ClientHello::parse(&hello("app.example.com", &[b"tunnel/1"])).unwrap().unwrap();
    assert_eq!(parsed.server_name.as_deref(), Some("app.example.com"));
    assert!(parsed.offers(b"tunnel/1") && !parsed.offers(b"h2"));
    let parsed = ClientHello::parse(&hello("192.0.2.1", &[])).unwrap().unwrap();
    assert_eq!(parsed, ClientHello::default());
}

#[test]
fn what_is_not_complete_is_waited_for_and_what_is_none_is_refused() {
    let hello = hello("app.example.com", &[]);
    for cut in [1, 4, 5, 6, hello.len() / 2, hello.len() - 1] {
        assert_eq!(ClientHello::parse(&hello[..cut]).unwrap(), None, "{cut}");
    }
    assert!(ClientHello::parse(b"GET / HTTP/1.1\r\n\r\n").is_err());
}

#[test]
fn a_hello_in_many_records_is_read() {
    let hello = in_records(&hello("app.example.com", &[b"h2"]), 100);
    let parsed = ClientHello::parse(&hello).unwrap().unwrap();
    assert_eq!(parsed.server_name.as_deref(), Some("app.example.com"));
}

#[tokio::test]
async fn a_hello_in_many_segments_is_read_and_stays_in_the_connection() {
    let hello = in_records(&hello("app.example.com", &[b"h2"]), 200);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let send = async {
        for part in hello.chunks(97) {
            client.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (parsed, ()) = tokio::join!(ClientHello::peek(&server), send);
    assert_eq!(parsed.unwrap().server_name.as_deref(), Some("app.example.com"));
    let mut there = vec![0; hello.len()];
    let mut seen = 0;
    while seen < hello.len() {
        seen = peek(&server, &mut there, seen).await.unwrap();
    }
    assert_eq!(there, hello);
}
