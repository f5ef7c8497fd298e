//! nginx as a service: files, revalidation, ranges and compression as the world knows them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::pattern;
use crate::peer;
use crate::place::nobody;
use crate::program::Program;
use crate::wait::{SOON, until};

/// Length of `/file.bin`, the pattern's bytes.
pub const FILE: usize = 1_000_000;

/// A running nginx. It ends when dropped.
#[derive(Debug)]
pub struct Nginx {
    /// The process.
    pub program: Program,
    home: TempDir,
    http2: SocketAddr,
    https: SocketAddr,
    authority: String,
}

impl Nginx {
    /// Starts it with a few files, on a Unix socket for HTTP/1.1 and on ports for HTTP/2 and TLS.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let authority = crate::tls::certificate(home.path(), "nginx", &["localhost"]);
        drop(authority);
        let authority = std::fs::read_to_string(home.path().join("nginx.pem")).unwrap();
        let files = home.path().join("www");
        std::fs::create_dir(&files).unwrap();
        std::fs::write(files.join("file.bin"), pattern::all(FILE)).unwrap();
        let lines: String =
            (0..2_000).map(|n| format!("line {n} of a text that is worth compressing\n")).collect();
        std::fs::write(files.join("page.txt"), lines).unwrap();
        // It cannot say which port it was given.
        let (http2, https) = (nobody(), nobody());
        let config = config(home.path(), http2, https);
        std::fs::write(home.path().join("nginx.conf"), config).unwrap();
        let mut nginx = peer::command("nginx");
        nginx.arg("-p").arg(home.path()).arg("-c").arg(home.path().join("nginx.conf"));
        nginx.args(["-e", "stderr"]);
        let program = Program::start(nginx);
        let up = async || tokio::net::TcpStream::connect(https).await.ok().map(drop);
        until("nginx listens", SOON, up).await;
        Self { program, home, http2, https, authority }
    }

    /// Its socket, where it speaks HTTP/1.1.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home.path().join("socket")
    }

    /// Where it speaks HTTP/2 from the first byte.
    #[must_use]
    pub fn http2(&self) -> SocketAddr {
        self.http2
    }

    /// Where it speaks TLS, as `localhost`, and then HTTP/1.1 or HTTP/2.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// Who vouches for it, PEM.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }
}

fn config(home: &Path, http2: SocketAddr, https: SocketAddr) -> String {
    let home = home.display();
    let big = "b".repeat(4_000);
    format!(
        r#"
daemon off;
master_process off;
pid {home}/pid;
events {{}}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  types {{ text/plain txt; application/octet-stream bin; }}
  absolute_redirect off;
  gzip on;
  gzip_types text/plain;
  large_client_header_buffers 4 64k;
  server {{
    listen unix:{home}/socket;
    listen {http2} http2;
    listen {https} ssl http2;
    ssl_certificate {home}/nginx.pem;
    ssl_certificate_key {home}/nginx.key;
    root {home}/www;
    add_header X-Service-Speaks $server_protocol;
    location = /big {{
      add_header X-Big-1 {big}; add_header X-Big-2 {big}; add_header X-Big-3 {big}; add_header X-Big-4 {big};
      add_header X-Seen $http_x_big;
      return 200 "big";
    }}
    location = /gone {{ return 301 /page.txt; }}
  }}
}}
"#
    )
}
