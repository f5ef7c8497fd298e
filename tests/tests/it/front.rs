//! The arrangement for peers: visitors come by every version of HTTP, plain and over TLS, to one tunnel.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tests::program::{Finished, Program};
use tests::tunnelc::{self, Home, Tunnelc};
use tests::tunneld::Tunneld;
use tests::wait::SOON;
use tests::{peer, tls};

/// The public name of the tunnel.
pub(crate) const HOST: &str = "app.t.localhost";

const CONFIG: &str = "domain = \"t.localhost\"\ncertificate = [{ cert = \"app.pem\", key = \"app.key\" }]\n";

/// How a visitor speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Https1,
    /// From the first byte.
    Http2,
    /// By ALPN.
    Https2,
}

pub(crate) const ALL: [Speaks; 4] = [Speaks::Http1, Speaks::Https1, Speaks::Http2, Speaks::Https2];

/// A server and a client with one tunnel, named [`HOST`].
pub(crate) struct Front {
    _client: Program,
    pub(crate) server: Tunneld,
    home: Home,
}

impl Front {
    pub(crate) async fn to(target: impl Display) -> Self {
        Self::trusting(target, None).await
    }

    /// A tunnel of a client whose system trusts this authority.
    pub(crate) async fn trusting(target: impl Display, authority: Option<&str>) -> Self {
        let write = |home: &Path| {
            tls::certificate(home, "app", &["*.t.localhost"]);
            CONFIG.to_owned()
        };
        let server = Tunneld::configured(write, &["--https", "127.0.0.1:0"]).await;
        let (home, target, join) = (Home::new(), target.to_string(), server.join());
        let mut tunnelc = home.prepare(&["http", &target, "--host", "app", "--join", &join]);
        if let Some(authority) = authority {
            tunnelc.env("SSL_CERT_FILE", home.write("roots.pem", authority));
        }
        let client = Program::start(tunnelc);
        tunnelc::public(&client, &target, &join, SOON).await;
        Self { _client: client, server, home }
    }

    /// A second tunnel of the same client.
    pub(crate) async fn also(&self, name: &str, target: impl Display) -> Tunnelc {
        self.home.http(&self.server.join(), target, &["--host", name]).await
    }

    pub(crate) fn http(&self) -> SocketAddr {
        self.server.listen().http
    }

    pub(crate) fn https(&self) -> SocketAddr {
        self.server.listen().https.unwrap()
    }

    /// The certificate that visitors are shown, PEM; it is its own authority.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.server.home().join("app.pem")
    }

    /// Runs curl for a path.
    pub(crate) async fn curl(&self, speaks: Speaks, path: &str, arguments: &[&str]) -> Curled {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let secure = matches!(speaks, Speaks::Https1 | Speaks::Https2);
        let (scheme, to) = if secure { ("https", self.https()) } else { ("http", self.http()) };
        let mut curl = peer::command("curl");
        curl.args(["-q", "--noproxy", "*", "--silent", "--show-error", "--max-time", "15", "-w", "%{json}"]);
        curl.arg(match speaks {
            Speaks::Http1 | Speaks::Https1 => "--http1.1",
            Speaks::Http2 => "--http2-prior-knowledge",
            Speaks::Https2 => "--http2",
        });
        curl.arg("--cacert").arg(self.certificate());
        curl.args(["--resolve", &format!("{HOST}:{}:127.0.0.1", to.port())]);
        curl.arg("-D").arg(file("head")).arg("-o").arg(file("body")).args(arguments);
        curl.arg(format!("{scheme}://{HOST}:{}{path}", to.port()));
        let done = Program::start(curl).finished(SOON * 2).await;
        let read = |name: &str| std::fs::read(file(name)).unwrap_or_default();
        let told =
            serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.text()));
        let head = String::from_utf8_lossy(&read("head")).into_owned();
        Curled { speaks, done, told, head, body: read("body") }
    }
}

/// What curl got.
pub(crate) struct Curled {
    speaks: Speaks,
    pub(crate) done: Finished,
    told: serde_json::Value,
    /// The heads of all responses, 1xx too, and trailers.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Curled {
    /// The status, once it is sure that curl is content and has spoken what it was told to.
    pub(crate) fn status(&self) -> u64 {
        assert_eq!(self.done.code, Some(0), "{:?}: {}\n{}", self.speaks, self.done.stderr, self.head);
        let version = if matches!(self.speaks, Speaks::Http2 | Speaks::Https2) { "2" } else { "1.1" };
        assert_eq!(self.told["http_version"], version);
        self.number("http_code")
    }

    /// One of curl's figures.
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.told[name].as_u64().unwrap_or_else(|| panic!("{name}: {}", self.told))
    }

    /// The values of a field, in order.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let named = |line: &'_ str| line.split_once(':').is_some_and(|(is, _)| is.eq_ignore_ascii_case(name));
        let lines = self.head.lines().filter(|line| named(line));
        lines.map(|line| line.split_once(':').unwrap().1.trim()).collect()
    }

    /// The value of a field that is there once.
    pub(crate) fn field(&self, name: &str) -> &str {
        let found = self.fields(name);
        assert_eq!(found.len(), 1, "{name}: {}", self.head);
        found[0]
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}
