//! D22: the configuration changes under load, for good and for bad.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::fixture::HttpService;
use tests::load::Load;
use tests::tunneld::Tunneld;
use tests::visitor;
use tests::wait::{SOON, promised, until};

use super::long;

const HOST: &str = "app.t.example.com";

/// A configuration that answers with `version`, and has a service behind.
fn config(service: &HttpService, version: &str) -> String {
    format!(
        r#"
domain = "t.example.com"
timeouts = {{ watch = "0s" }}
service = [{{ name = "app", servers = [{{ address = "{}" }}] }}]
rule = [
  {{ name = "app", host = "app", to = "app" }},
  {{ name = "version", host = "app", path_prefix = "/version", respond = {{ status = 200, body = "{version}" }} }},
]
"#,
        service.addr()
    )
}

/// A server whose configuration changes, and visitors that do not care.
struct Stage {
    server: Tunneld,
    service: HttpService,
    load: Load,
}

impl Stage {
    async fn new(per_second: u32) -> Self {
        let service = HttpService::start().await;
        let first = config(&service, "0");
        let server = Tunneld::configured(|_| first, &[]).await;
        let load = Load::on(server.listen().http, HOST, per_second);
        Self { server, service, load }
    }

    fn file(&self) -> PathBuf {
        self.server.home().join("tunneld.toml")
    }

    fn write(&self, text: impl AsRef<[u8]>) {
        std::fs::write(self.file(), text).unwrap();
    }

    /// Waits until visitors are answered by `version`, and says how long that took.
    async fn serves(&self, version: &str) -> Duration {
        let answers = async || {
            let answer = visitor::try_get(self.server.listen().http, HOST, "/version").await.ok()?;
            (answer.text() == version).then_some(())
        };
        until(&format!("version {version} is in force"), SOON, answers).await.1
    }

    async fn revision(&self) -> u64 {
        self.server.health().await["revision"].as_u64().unwrap()
    }

    /// Waits until the server says `what`, in one line, and looks whether anything has changed by then.
    async fn stays(&self, version: &str, revision: u64, what: &str) {
        let line = self.server.program.says(what, SOON).await;
        assert!(line.contains("stays in force"), "{line}");
        let pending = async || (self.server.metric("tunnel_config_pending").await == 1.0).then_some(());
        until("the metric says it", SOON, pending).await;
        self.serves(version).await;
        assert_eq!(self.revision().await, revision, "{what}");
    }
}

#[tokio::test]
async fn d22_flips_of_the_configuration_cost_no_request() {
    let (flips, per_second) = if long() { (100, 500) } else { (10, 150) };
    let stage = Stage::new(per_second).await;
    let mut slowest = Duration::ZERO;
    for flip in 1..=flips {
        let version = flip.to_string();
        stage.write(config(&stage.service, &version));
        slowest = slowest.max(stage.serves(&version).await);
    }
    assert_eq!(stage.revision().await, flips + 1);
    let report = stage.load.end().await;
    println!("{flips} flips, the slowest in force after {slowest:?}; {report}");
    report.is_flawless(long());
    assert!(report.asked > 100, "{report}");
    let last = f64::from(u32::try_from(flips).unwrap() + 1);
    stage.server.counts("tunnel_config_revision", &[], |revision| revision == last).await;
}

#[tokio::test]
async fn d22_what_can_not_be_used_changes_nothing_and_what_can_is_in_force() {
    let stage = Stage::new(100).await;
    let (server, home) = (&stage.server, stage.server.home().to_owned());
    let good = |version: &str| config(&stage.service, version);

    stage.write(good("1").replace("rule = [", "rules = ["));
    stage.stays("0", 1, "tunneld.toml:5:1: unknown key `rules`").await;
    stage.write(&good("1")[..90]);
    stage.stays("0", 1, "tunneld.toml:4:").await;
    stage.write(b"# \xff\n");
    stage.stays("0", 1, "is not UTF-8").await;
    std::fs::remove_file(stage.file()).unwrap();
    stage.stays("0", 1, "No such file").await;
    // Moved over it, as editors do and who deploys.
    let moved = |version: &str| {
        std::fs::write(home.join("new.toml"), good(version)).unwrap();
        std::fs::rename(home.join("new.toml"), stage.file()).unwrap();
    };
    moved("2");
    stage.serves("2").await;
    until("nothing is pending", SOON, async || {
        (server.metric("tunnel_config_pending").await == 0.0).then_some(())
    })
    .await;

    let certificate =
        |version: &str| good(version) + "certificate = [{ cert = \"a.pem\", key = \"b.key\" }]\n";
    for name in ["a", "b"] {
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        std::fs::write(home.join(format!("{name}.pem")), made.cert.pem()).unwrap();
        std::fs::write(home.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    }
    stage.write(certificate("3"));
    stage.stays("2", 2, "a.pem").await;
    let holder = std::net::TcpListener::bind(tests::place::nobody()).unwrap();
    let taken = holder.local_addr().unwrap();
    stage.write(good("3") + &format!("tcp = [{{ listen = \"{taken}\", to = \"app\" }}]\n"));
    stage.stays("2", 2, &taken.to_string()).await;
    drop(holder);
    // A large file is another file.
    stage.write(vec![b'#'; 5 * 1024 * 1024]);
    stage.stays("2", 2, "more than 4 MiB").await;
    stage.write("");
    stage.stays("2", 2, "is empty").await;

    let link = |from: &str, name: &str| {
        symlink(from, home.join("link")).unwrap();
        std::fs::rename(home.join("link"), home.join(name)).unwrap();
    };
    let volume = |folder: &Path, version: &str| {
        std::fs::create_dir(folder).unwrap();
        std::fs::write(folder.join("tunneld.toml"), good(version)).unwrap();
    };
    volume(&home.join("..1"), "4");
    link("..1", "..data");
    link("..data/tunneld.toml", "tunneld.toml");
    stage.serves("4").await;
    volume(&home.join("..2"), "5");
    link("..2", "..data");
    let took = stage.serves("5").await;
    assert!(took < promised(Duration::from_secs(5)), "{took:?}");
    assert_eq!(stage.revision().await, 4);
    let report = stage.load.end().await;
    println!("{report}");
    report.is_flawless(false);
}
