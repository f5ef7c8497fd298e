//! A configuration is replaced while visitors come: of every kind of part that it has, and none of them notices.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tests::fixture::HttpService;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{Visitor, empty, request};
use tests::wait::SOON;
use tokio::task::JoinSet;

const APP: &str = "app.t.example.com";
const WIKI: &str = "wiki.t.example.com";

/// Visitors who ask for a service next to the server and for one behind a client, all the time.
struct Load {
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    tasks: JoinSet<Vec<String>>,
}

impl Load {
    fn on(door: SocketAddr) -> Self {
        let (asked, over, mut tasks) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default(), JoinSet::new());
        for number in 0..4 {
            let (asked, over) = (asked.clone(), over.clone());
            tasks.spawn(async move {
                let (mut failed, mut kept) = (Vec::new(), None);
                while !over.load(Ordering::Relaxed) {
                    // Half of them come anew each time.
                    if number % 2 == 0 || kept.is_none() {
                        kept = Some(Visitor::connect(door).await.unwrap());
                    }
                    let host = if asked.fetch_add(1, Ordering::Relaxed) % 2 == 0 { APP } else { WIKI };
                    let visitor = kept.as_mut().unwrap();
                    match visitor.whole(request("GET", host, "/", empty())).await {
                        Ok(answer) if answer.status == 200 => {}
                        other => {
                            failed.push(format!("{host}: {other:?}"));
                            kept = None;
                        }
                    }
                }
                failed
            });
        }
        Self { asked, over, tasks }
    }

    /// How many asked, and what went wrong.
    async fn end(self) -> (usize, Vec<String>) {
        self.over.store(true, Ordering::Relaxed);
        let failed = self.tasks.join_all().await.concat();
        (self.asked.load(Ordering::Relaxed), failed)
    }

    /// Waits until so many more have asked.
    async fn more(&self, count: usize) {
        let until = self.asked.load(Ordering::Relaxed) + count;
        tests::wait::until("visitors come", SOON, async || {
            (self.asked.load(Ordering::Relaxed) >= until).then_some(())
        })
        .await;
    }
}

/// The least that both services need; `keys` go before the tables, `rule` into the rule.
fn config(service: &HttpService, keys: &str, rule: &str, tables: &str) -> String {
    let address = service.addr();
    format!(
        r#"
domain = "t.example.com"
{keys}
service = [
  {{ name = "app", servers = [{{ address = "http://{address}" }}] }},
  {{ name = "raw", servers = [{{ address = "{address}" }}] }},
]
rule = [{{ name = "app", host = "app", to = "app"{rule} }}]
{tables}
"#
    )
}

const EDGE: &str = "principal = [{ name = \"edge\", hosts = [\"wiki\"] }]";

/// Has `tunneld` use `text` as its configuration, with these flags.
pub(crate) async fn apply(server: &Tunneld, text: &str, more: &[&str]) -> tests::program::Finished {
    let file = server.home().join("next.toml");
    std::fs::write(&file, text).unwrap();
    let file = file.display().to_string();
    server.admin(&[&["config", "apply", &file], more].concat()).await
}

async fn applied(server: &Tunneld, text: &str, more: &[&str]) {
    let done = apply(server, text, more).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
}

fn certificate(home: &Path) -> String {
    let made = rcgen::generate_simple_self_signed([APP.to_owned()]).unwrap();
    std::fs::write(home.join("app.pem"), made.cert.pem()).unwrap();
    std::fs::write(home.join("app.key"), made.signing_key.serialize_pem()).unwrap();
    "certificate = [{ cert = \"app.pem\", key = \"app.key\" }]".to_owned()
}

#[tokio::test]
async fn every_kind_of_part_is_replaced_and_no_request_is_lost() {
    let service = HttpService::start().await;
    let base = config(&service, EDGE, "", "");
    let first = base.clone();
    let server = Tunneld::configured(|_| first, &[]).await;
    let (home, join) = (Home::new(), server.invite("edge", &[]).await);
    let target = format!("http://{}", service.addr());
    let _tunnel = home.start(&["http", &target, "--host", "wiki", "--join", &join]);
    server.serves(WIKI, SOON).await;
    let load = Load::on(server.listen().http);
    let edge = |keys: &str| format!("{EDGE}\n{keys}");
    let tls = certificate(server.home());
    let http = "http = { address = \"127.0.0.1:0\", proxy_protocol = true }";
    let steps = [
        config(
            &service,
            &edge(
                "plugin = [{ name = \"few\", kind = \"rate-limit\", key = \"address\", rate = \"100000/s\" }]",
            ),
            ", plugins = [\"few\"]",
            "",
        ),
        config(
            &service,
            &edge("limits = { max_concurrent_requests = 50 }"),
            ", timeout = \"10s\", retries = 1",
            "",
        ),
        config(
            &service,
            &edge("timeouts = { request = \"20s\", heartbeat = \"1s\", member = \"3s\" }"),
            "",
            "",
        ),
        config(&service, &edge(""), "", "[[tcp]]\nlisten = \"127.0.0.1:0\"\nto = \"raw\"\n"),
        config(
            &service,
            &edge(""),
            "",
            "[[tcp]]\nlisten = \"127.0.0.1:0\"\nto = \"raw\"\nallow = [\"192.0.2.0/24\"]\n",
        ),
        config(&service, &edge(&tls), "", "[listen]\nhttps = \"127.0.0.1:0\"\n"),
        config(&service, &edge(&tls), "", &format!("[listen]\nhttps = \"127.0.0.1:0\"\n{http}\n")),
        config(
            &service,
            &edge(
                "trusted_proxies = [\"192.0.2.1\"]\npublic_url = \"https://{host}\"\nadvertise = \"localhost:1\"",
            ),
            "",
            "",
        ),
        config(
            &service,
            "principal = [{ name = \"edge\", hosts = [\"wiki\", \"more\"], ports = [\"2222\"] }, { name = \"bob\" }]",
            "",
            "",
        ),
        config(
            &service,
            &edge(""),
            "",
            "[[group]]\nname = \"web\"\nbalance = \"least-connections\"\nservice = [{ name = \"a\", servers = [{ address = \"1\" }] }]\n",
        ),
        base.replace("to = \"app\"", "to = [{ to = \"app\", weight = 2 }, { to = \"raw\", weight = 1 }]"),
        base,
    ];
    let count = steps.len();
    for step in steps {
        applied(&server, &step, &[]).await;
        load.more(10).await;
    }
    let (asked, failed) = load.end().await;
    println!("{asked} requests while {count} configurations came");
    assert!(failed.is_empty(), "{} of {asked}: {:?}", failed.len(), &failed[..failed.len().min(5)]);
    assert_eq!(server.health().await["revision"], count + 1);
}

#[tokio::test]
async fn names_of_clients_are_asked_for_and_grants_that_are_lost_take_them() {
    let service = HttpService::start().await;
    let base = config(&service, EDGE, "", "");
    let first = base.clone();
    let server = Tunneld::configured(|_| first, &[]).await;
    let (home, join) = (Home::new(), server.invite("edge", &[]).await);
    let target = format!("http://{}", service.addr());
    let tunnel = home.start(&["http", &target, "--host", "wiki", "--join", &join]);
    server.serves(WIKI, SOON).await;

    let ruled = config(&service, EDGE, "", "[[group]]\nname = \"x\"\n").replace(
        "rule = [",
        "rule = [{ name = \"wiki\", host = \"wiki\", respond = { status = 202, body = \"ours\" } }, ",
    );
    let refused = apply(&server, &ruled, &[]).await;
    assert_ne!(refused.code, Some(0));
    let said = refused.text();
    assert!(said.contains("wiki.t.example.com is held by edge") && said.contains("--take"), "{said}");
    assert_eq!(server.visit(WIKI, "/").await, 200);
    applied(&server, &ruled, &["--take"]).await;
    assert_eq!(server.visit(WIKI, "/").await, 202);
    tunnel.says("belongs to the configuration of the server now", SOON).await;

    // The principal is gone, and so is its session.
    applied(&server, &config(&service, "principal = [{ name = \"bob\" }]", "", ""), &[]).await;
    server.has_sessions(0, SOON).await;
    drop(tunnel);
}
