//! A server in this process, services that do as they are told, and visitors.

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ops::drain::Drain;
use ops::metrics::Metrics;
use ops::sockets::Sockets;
use ops::spawn::{Placement, Spawner};
use ops::state_dir::{Program, StateDir};
use proxy::plugin::Kinds;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::app::Parts;
use crate::config::{self, ConfigError, Document};
use crate::live::{Running, Switched, Unproven, Wishes};
use crate::registry::Registry;
use crate::settings::{Flags, Settings};

/// What comes at all comes within this time.
const SOON: Duration = Duration::from_secs(10);

/// A server with no configuration.
pub(super) struct World {
    pub(super) running: Arc<Running>,
    pub(super) registry: Arc<Registry>,
    /// Ends visitors.
    pub(super) stop: CancellationToken,
    home: tempfile::TempDir,
}

/// Runs `test` with a server.
pub(super) fn world<F: Future<Output = ()>>(test: impl FnOnce(Arc<World>) -> F) {
    world_at("127.0.0.1:0", test);
}

/// How a server begins.
pub(super) struct Start<'a> {
    /// Where visitors come to.
    pub(super) http: &'a str,
    pub(super) config: &'a str,
    /// What it is given.
    pub(super) sockets: Sockets,
    pub(super) descriptors: u64,
}

impl Default for Start<'_> {
    fn default() -> Self {
        Self { http: "127.0.0.1:0", config: "", sockets: Sockets::default(), descriptors: 4096 }
    }
}

/// Runs `test` with a server whose visitors come to `http`.
pub(super) fn world_at<F: Future<Output = ()>>(http: &str, test: impl FnOnce(Arc<World>) -> F) {
    world_of(Start { http, ..Start::default() }, test);
}

/// Runs `test` with a server that begins so.
pub(super) fn world_of<F: Future<Output = ()>>(start: Start<'_>, test: impl FnOnce(Arc<World>) -> F) {
    let home = tempfile::tempdir().unwrap();
    let (spawner, workers) = Spawner::start(2, Placement::PerCore).unwrap();
    let drain = Drain::new();
    workers.block_on(async {
        let world = Arc::new(begin(home, start, &spawner, &drain).await);
        test(world.clone()).await;
        world.stop.cancel();
    });
    drain.start.cancel();
    drain.now.cancel();
    assert!(workers.shutdown(SOON));
}

async fn begin(home: tempfile::TempDir, start: Start<'_>, spawner: &Spawner, drain: &Drain) -> World {
    let Start { http, config, sockets, descriptors } = start;
    let any = || Some("127.0.0.1:0".to_owned());
    let state = home.path().join("state");
    let flags = Flags {
        state: Some(state.clone()),
        tunnel: any(),
        http: Some(http.to_owned()),
        ops: any(),
        ..Flags::default()
    };
    let settings = Settings::new(flags, read(home.path(), config).unwrap()).unwrap();
    let state = StateDir::resolve(Program::Tunneld, Some(state), |_| None).unwrap();
    state.create().unwrap();
    let parts = Parts::prepare(settings, 0, state, Arc::new(sockets), Some(descriptors))
        .unwrap_or_else(|exit| panic!("{}", exit.text));
    let ready = parts.make(spawner, drain, Metrics::new("0"), &Kinds::built_in()).await;
    let ready = ready.unwrap_or_else(|exit| panic!("{}", exit.text));
    let (running, registry) = (ready.running, ready.registry);
    running.switch(ready.first);
    ready.open.cancel();
    World { running, registry, stop: CancellationToken::new(), home }
}

fn read(home: &Path, text: &str) -> Result<Document, ConfigError> {
    let path = home.join("tunneld.toml");
    std::fs::write(&path, text).unwrap();
    config::load(&path, None, &Kinds::built_in(), &|_| None)
}

impl World {
    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.home.path().join(file)
    }

    /// Reads a configuration.
    pub(super) fn document(&self, text: &str) -> Result<Document, ConfigError> {
        read(self.home.path(), text)
    }

    /// The next revision.
    pub(super) async fn apply(&self, text: &str) -> Result<Switched, Unproven> {
        self.apply_with(text, Wishes::default()).await
    }

    pub(super) async fn apply_with(&self, text: &str, wishes: Wishes) -> Result<Switched, Unproven> {
        let document = self.document(text).unwrap_or_else(|error| panic!("{error}"));
        let revision = self.running.revision() + 1;
        Ok(self.running.switch(self.running.prove(document, revision, wishes).await?))
    }

    pub(super) fn http(&self) -> SocketAddr {
        self.running.bound().http
    }

    /// Where the one listener for relayed connections is.
    pub(super) async fn relayed(&self) -> SocketAddr {
        let infos = self.registry.ingress_infos();
        let [only] = &infos[..] else { panic!("{infos:?}") };
        only.listen.parse().unwrap()
    }

    /// Asks for `host` on one connection until the end, and says how often that went well, and what did not.
    pub(super) fn visitor_for_ever(
        &self,
        host: &'static str,
    ) -> impl Future<Output = (usize, Vec<String>)> + Send + use<> {
        let (address, stop) = (self.http(), self.stop.clone());
        async move {
            let (mut answered, mut failed) = (0, Vec::new());
            let mut stream = TcpStream::connect(address).await.unwrap();
            while !stop.is_cancelled() {
                match get_on(&mut stream, host).await {
                    Ok((200, _)) => answered += 1,
                    other => failed.push(format!("{other:?}")),
                }
                if failed.len() > 3 {
                    break;
                }
            }
            (answered, failed)
        }
    }

    /// Makes a certificate for `host`, as `NAME.pem` and `NAME.key`; as it stands in a configuration.
    pub(super) fn certificate(&self, host: &str, name: &str) -> String {
        let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
        let (cert, key) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.der")), made.cert.der()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        format!("{{ cert = \"{}\", key = \"{}\" }}", cert.display(), key.display())
    }

    /// The certificate of that name, as visitors see it.
    pub(super) fn shown(&self, name: &str) -> CertificateDer<'static> {
        std::fs::read(self.path(&format!("{name}.der"))).unwrap().into()
    }
}

/// A service.
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    asked: watch::Receiver<usize>,
    go_on: Arc<Notify>,
    _tasks: JoinSet<()>,
}

/// What it says to a request.
#[derive(Clone, Copy)]
enum Says {
    All(&'static str),
    Nothing,
    /// The second half when it is told to.
    Halves,
}

impl Backend {
    /// One that answers `body`.
    pub(super) async fn start(body: &'static str) -> Self {
        Self::that(Says::All(body)).await
    }

    /// One that never answers.
    pub(super) async fn silent() -> Self {
        Self::that(Says::Nothing).await
    }

    /// One that stops in the middle of its answer.
    pub(super) async fn halting() -> Self {
        Self::that(Says::Halves).await
    }

    async fn that(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, go_on) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (count, asked) = watch::channel(0);
        let (counted, may_go_on) = (connections.clone(), go_on.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                served.spawn(serve(stream, says, count.clone(), may_go_on.clone()));
            }
        });
        Self { address, connections, asked, go_on, _tasks: tasks }
    }

    /// How many connections there have been.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Waits until it was asked so often.
    pub(super) async fn asked(&self, times: usize) {
        let mut asked = self.asked.clone();
        timeout(SOON, asked.wait_for(|count| *count >= times)).await.unwrap().unwrap();
    }

    /// The second half may come.
    pub(super) fn go_on(&self) {
        self.go_on.notify_one();
    }
}

async fn serve(mut stream: TcpStream, says: Says, count: watch::Sender<usize>, go_on: Arc<Notify>) {
    let mut head = Vec::new();
    while read_head(&mut stream, &mut head).await.is_some() {
        count.send_modify(|count| *count += 1);
        let body = match says {
            Says::All(body) => body,
            Says::Halves => "first half, second half",
            Says::Nothing => return std::future::pending().await,
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let half = if matches!(says, Says::Halves) { body.len() / 2 } else { body.len() };
        let sent = stream.write_all([head.as_bytes(), &body.as_bytes()[..half]].concat().as_slice()).await;
        if half < body.len() {
            go_on.notified().await;
            stream.write_all(&body.as_bytes()[half..]).await.unwrap();
        }
        if sent.is_err() {
            return;
        }
    }
}

/// The bytes of a head; none at the end. What comes behind it stays in `buffer`.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = buffer.split_off(end + 4);
            return Some(String::from_utf8(std::mem::replace(buffer, rest)).unwrap());
        }
        let mut bytes = [0; 4096];
        match stream.read(&mut bytes).await {
            Ok(count) if count > 0 => buffer.extend_from_slice(&bytes[..count]),
            _ => return None,
        }
    }
}

/// A request, as it is sent.
pub(super) fn raw(host: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n")
}

/// Asks once, on a connection that is there.
pub(super) async fn get_on<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    host: &str,
) -> Result<(u16, String), String> {
    let asked = async {
        stream.write_all(raw(host).as_bytes()).await.map_err(|error| error.to_string())?;
        let mut buffer = Vec::new();
        let head = read_head(stream, &mut buffer).await.ok_or("no head")?.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.and_then(|length| length.parse().ok()).ok_or_else(|| head.clone())?;
        while buffer.len() < length {
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes).await {
                Ok(count) if count > 0 => buffer.extend_from_slice(&bytes[..count]),
                other => return Err(format!("a cut body: {other:?}")),
            }
        }
        Ok((status, String::from_utf8(buffer).unwrap()))
    };
    timeout(SOON, asked).await.unwrap_or_else(|_| Err("no answer".to_owned()))
}

/// Asks once.
pub(super) async fn get(address: SocketAddr, host: &str) -> (u16, String) {
    get_on(&mut TcpStream::connect(address).await.unwrap(), host).await.unwrap()
}

/// A visitor over TLS, if `host` is shown at `address` with this very certificate.
pub(super) async fn secure(
    address: SocketAddr,
    host: &str,
    certificate: &CertificateDer<'static>,
) -> Option<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.ok()
}

/// Whether `host` is served at `address` with this very certificate.
pub(super) async fn serves(address: SocketAddr, host: &str, certificate: &CertificateDer<'static>) -> bool {
    match secure(address, host, certificate).await {
        Some(mut stream) => get_on(&mut stream, host).await.is_ok_and(|(status, _)| status == 200),
        None => false,
    }
}

/// Waits until nobody listens at `address`.
pub(super) async fn closed(address: SocketAddr) {
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, refused).await.unwrap();
}
