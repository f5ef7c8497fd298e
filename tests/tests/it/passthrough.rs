//! TLS that ends at a service: `[[tls]]`. Visitors check the service's certificate through the tunnel.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll};

use rustls::pki_types::CertificateDer;
use tests::fixture::{HttpService, TlsService};
use tests::pattern;
use tests::place::nobody;
use tests::program::Program;
use tests::tls;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{End, Raw, Visitor, empty, request};
use tests::wait::{SOON, until, within};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;

/// The service `SERVICE` at this address.
fn service(name: &str, address: SocketAddr) -> String {
    format!("{{ name = \"{name}\", servers = [{{ address = \"{address}\" }}] }}")
}

/// A server, and two services next to it, each with a host of its own at one listener, and one with the hosts below it too.
struct Two {
    server: Tunneld,
    one: TlsService,
    two: TlsService,
    _home: tempfile::TempDir,
}

impl Two {
    async fn up() -> Self {
        Self::with_patience("10s").await
    }

    /// With so much time for the first words of a visitor.
    async fn with_patience(handshake: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let one = TlsService::start(home.path(), "one.t.localhost").await;
        let two = TlsService::start(home.path(), "two.t.localhost").await;
        let config = format!(
            "domain = \"t.localhost\"\n\
             timeouts = {{ tls_handshake = \"{handshake}\" }}\n\
             service = [{}, {}]\n\
             tls = [\n\
             {{ host = \"*.t.localhost\", listen = \"127.0.0.1:0\", to = \"two\" }},\n\
             {{ host = \"one\", listen = \"127.0.0.1:0\", to = \"one\" }},\n\
             {{ host = \"shut\", listen = \"127.0.0.1:0\", to = \"one\", allow = [\"203.0.113.0/24\"] }},\n\
             ]\n",
            service("one", one.addr()),
            service("two", two.addr()),
        );
        Self { server: Tunneld::configured(|_| config, &[]).await, one, two, _home: home }
    }

    async fn door(&self) -> SocketAddr {
        self.server.ingress(0).await
    }
}

/// Says the name of the service, and bytes both ways over `stream` to both ends.
async fn is_served<S: AsyncRead + AsyncWrite + Unpin>(stream: S, service: &str) {
    let (mut read, mut write) = tokio::io::split(stream);
    let sent = pattern::all(300_000);
    let upload = async {
        write.write_all(&sent).await.unwrap();
        write.shutdown().await.unwrap();
    };
    let download = async {
        let mut all = Vec::new();
        read.read_to_end(&mut all).await.unwrap();
        all
    };
    let ((), got) = within("the echo", SOON, async { tokio::join!(upload, download) }).await;
    let line = format!("{service}\n");
    assert_eq!(String::from_utf8_lossy(&got[..line.len()]), line);
    assert!(got[line.len()..] == sent, "{} bytes came back", got.len());
}

async fn refused(door: SocketAddr, name: &str, root: &CertificateDer<'static>) -> String {
    tls::connect(door, name, root).await.unwrap_err().to_string()
}

/// Writes in pieces: byte by byte at first, or the first record cut into records of a few bytes.
struct Pieces {
    stream: TcpStream,
    /// Bytes that are still written one by one.
    single: usize,
    /// The first record is cut into records of that many bytes.
    records: Option<usize>,
    waiting: Vec<u8>,
}

impl Pieces {
    async fn to(door: SocketAddr, records: Option<usize>) -> Self {
        let stream = TcpStream::connect(door).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, single: 4_000, records, waiting: Vec::new() }
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let length = if self.single > 0 { 1 } else { self.waiting.len() };
            let written =
                std::task::ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting[..length]))?;
            self.single = self.single.saturating_sub(written);
            self.waiting.drain(..written);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_waiting(cx))?;
        match self.records.take() {
            None => self.waiting.extend_from_slice(bytes),
            Some(size) => {
                let length = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
                let (record, rest) = bytes[5..].split_at(length);
                for piece in record.chunks(size) {
                    self.waiting.extend_from_slice(&bytes[..3]);
                    self.waiting.extend_from_slice(&u16::try_from(piece.len()).unwrap().to_be_bytes());
                    self.waiting.extend_from_slice(piece);
                }
                self.waiting.extend_from_slice(rest);
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_waiting(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_waiting(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

#[tokio::test]
async fn the_name_decides_which_service_ends_tls() {
    let two = Two::up().await;
    let door = two.door().await;
    for (name, service) in [("one.t.localhost", &two.one), ("two.t.localhost", &two.two)] {
        for old in [false, true] {
            let stream = TcpStream::connect(door).await.unwrap();
            let stream = tls::over(stream, name, service.certificate(), old).await.unwrap();
            is_served(stream, name).await;
        }
    }
    // The wildcard's service has no certificate for this name, which is for the visitor to find.
    let error = refused(door, "three.t.localhost", two.two.certificate()).await;
    assert!(error.contains("certificate"), "{error}");
    assert_eq!((two.one.connections(), two.two.connections()), (2, 3));
    two.server.program.says("\"route\":\"tls:one.t.localhost\"", SOON).await;
    two.server.program.says("\"host\":\"three.t.localhost\"", SOON).await;
}

#[tokio::test]
async fn the_first_words_may_come_in_pieces() {
    let two = Two::up().await;
    let door = two.door().await;
    for records in [None, Some(1), Some(7), Some(100)] {
        let stream = Pieces::to(door, records).await;
        let stream = tls::over(stream, "one.t.localhost", two.one.certificate(), false).await;
        is_served(stream.unwrap_or_else(|error| panic!("{records:?}: {error}")), "one.t.localhost").await;
    }
}

#[tokio::test]
async fn what_is_nobodys_is_refused_in_the_words_of_tls_and_reaches_nobody() {
    let two = Two::with_patience("1s").await;
    let (door, root) = (two.door().await, two.one.certificate());
    for name in ["t.localhost", "a.one.t.localhost", "example.com"] {
        let error = refused(door, name, root).await;
        assert!(error.contains("UnrecognisedName"), "{name}: {error}");
    }
    let nameless = refused(door, "127.0.0.1", root).await;
    assert!(nameless.contains("MissingExtension"), "{nameless}");
    let error = tls::connect(door, "shut.t.localhost", root).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");

    for garbage in ["GET / HTTP/1.1\r\nHost: one.t.localhost\r\n\r\n", "\x16\x03\x01\x7f\x7f\x01"] {
        let mut raw = Raw::open(door).await;
        raw.send(garbage).await;
        assert_eq!(raw.rest(SOON).await, (Vec::new(), End::Reset), "{garbage:?}");
    }
    assert_eq!(Raw::open(door).await.rest(SOON).await, (Vec::new(), End::Reset), "silence");
    assert_eq!((two.one.connections(), two.two.connections()), (0, 0));
    two.server.counts("tunnel_guard_closed_total", &[], |count| count >= 4.0).await;
    two.server.program.says("\"error\":\"no-route\"", SOON).await;
    is_served(tls::connect(door, "one.t.localhost", root).await.unwrap(), "one.t.localhost").await;
}

#[tokio::test]
async fn a_peer_of_another_make_is_passed_through() {
    let home = tempfile::tempdir().unwrap();
    let root = tls::certificate(home.path(), "pg", &["pg.t.localhost"]);
    let address = nobody();
    let mut openssl = Command::new("openssl");
    openssl.args(["s_server", "-quiet", "-rev", "-cert", "pg.pem", "-key", "pg.key"]);
    openssl.args(["-accept", &address.to_string()]).current_dir(home.path());
    let _service = Program::start(openssl);
    let config = format!(
        "domain = \"t.localhost\"\nservice = [{}]\n\
         tls = [{{ host = \"pg\", listen = \"127.0.0.1:0\", to = \"pg\" }}]\n",
        service("pg", address)
    );
    let server = Tunneld::configured(|_| config, &[]).await;
    let door = server.ingress(0).await;
    let there = async || tls::connect(door, "pg.t.localhost", &root).await.ok();
    let (mut stream, _) = until("openssl answers", SOON, there).await;
    stream.write_all(b"olleh\n").await.unwrap();
    let mut line = [0; 6];
    within("its answer", SOON, stream.read_exact(&mut line)).await.unwrap();
    assert_eq!(&line, b"hello\n");
    // It serves one after the other.
    drop(stream);

    // And as the visitor.
    let mut visitor = Command::new("openssl");
    visitor.args(["s_client", "-connect", &door.to_string(), "-servername", "pg.t.localhost"]);
    visitor.args(["-CAfile", "pg.pem", "-verify_hostname", "pg.t.localhost", "-verify_return_error"]);
    visitor.current_dir(home.path());
    let done = Program::start(visitor).finished(SOON).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    assert!(done.stdout.contains("Verify return code: 0 (ok)"), "{}", done.text());
    let mut stranger = Command::new("openssl");
    stranger.args(["s_client", "-connect", &door.to_string(), "-servername", "other.t.localhost"]);
    let done = Program::start(stranger).finished(SOON).await;
    assert!(done.text().contains("unrecognized name"), "{}", done.text());
}

#[tokio::test]
async fn the_https_port_ends_tls_for_the_others() {
    let home = tempfile::tempdir().unwrap();
    let db = TlsService::start(home.path(), "db.t.localhost").await;
    let write = |folder: &std::path::Path| {
        tls::certificate(folder, "wild", &["*.t.localhost"]);
        format!(
            "domain = \"t.localhost\"\n\
             certificate = [{{ cert = \"wild.pem\", key = \"wild.key\" }}]\n\
             principal = [{{ name = \"edge\", groups = [\"web\"], hosts = [\"*.t.localhost\"] }}]\n\
             tls = [{{ host = \"db\", to = \"web/db\" }}, {{ host = \"*.t.localhost\", to = \"web/db\" }}]\n\
             rule = [{{ name = \"hello\", host = \"app\", respond = {{ body = \"hello\" }} }}]\n\
             [[group]]\nname = \"web\"\nservice = [{}]\n",
            service("db", db.addr())
        )
    };
    let server = Tunneld::configured(write, &["--https", "127.0.0.1:0"]).await;
    let (join, client) = (server.invite("edge", &[]).await, Home::new());
    let _member = client.run(&join, &format!("[allow]\ndial = [\"{}\"]\n", db.addr()));
    let door = server.listen().https.unwrap();
    let there = async || tls::connect(door, "db.t.localhost", db.certificate()).await.ok();
    let (stream, _) = until("the member serves it", SOON, there).await;
    is_served(stream, "db.t.localhost").await;

    // A rule names this host, so that the wildcard is not for it.
    let wild = tls::read(server.home(), "wild");
    let stream = tls::connect(door, "app.t.localhost", &wild).await.unwrap();
    let mut visitor = Visitor::over(stream).await.unwrap();
    let answer = visitor.whole(request("GET", "app.t.localhost", "/", empty())).await.unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (200, "hello"));
    // The certificate of this connection is for that host as well, but it is not served here.
    let answer = visitor.whole(request("GET", "db.t.localhost", "/", empty())).await.unwrap();
    assert_eq!(answer.status, 421);
    let told = server.admin(&["explain", "GET", &format!("https://db.t.localhost:{}/", door.port())]).await;
    assert_eq!(told.code, Some(0), "{}", told.text());
    assert!(told.stdout.contains("db.t.localhost is passed through to web/db"), "{}", told.text());

    // Clients come to the same port, and nobody of them can claim the host.
    let tunnel = format!(":{}?", server.listen().tunnel.port());
    let join = join.replace(&tunnel, &format!(":{}?", door.port()));
    let web = HttpService::start().await;
    let other = Home::new();
    let target = web.addr().to_string();
    let done = other.command(&["http", &target, "--host", "db", "--join", &join]).await;
    assert_eq!(done.code, Some(3), "{}", done.text());
    assert!(done.text().contains("NAME_IN_USE"), "{}", done.text());
}

#[tokio::test]
async fn explain_knows_the_hosts_of_a_file() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("tunneld.toml");
    let config = "domain = \"t.example.com\"\nservice = [{ name = \"db\", servers = [{ address = \"1\" }] }]\n\
                  tls = [{ host = \"db\", to = \"db\" }, { host = \"pg\", listen = \"[::]:5433\", to = \"db\" }]\n";
    std::fs::write(&file, config).unwrap();
    let explain = async |url: &str| {
        let mut tunneld = tests::program::command("tunneld", home.path());
        tunneld.args(["explain", "--config", file.to_str().unwrap(), "GET", url]);
        Program::start(tunneld).finished(SOON).await
    };
    for (url, code) in [
        ("https://db.t.example.com/", 0),
        ("https://pg.t.example.com:5433/", 0),
        ("https://pg.t.example.com/", 1),
        ("http://db.t.example.com/", 1),
    ] {
        let done = explain(url).await;
        assert_eq!(done.code, Some(code), "{url}: {}", done.text());
        assert_eq!(done.stdout.contains("is passed through to db"), code == 0, "{url}: {}", done.text());
    }
}
