mod caps;
mod clients;
mod page;

use std::collections::BTreeMap;
use std::path::Path;

use ops::config::{Problems, read};
use policy::balance::Balance;
use policy::part::{IngressKind, ProxyVersion, ServerBalance};
use policy::rule::{Action, ValueMatcher};
use proxy::concurrency::Limits;
use proxy::plugin::Kinds;

use super::*;
use crate::settings::{Flags, Settings};

const EXAMPLE: &str = include_str!("../../../docs/examples/tunneld.toml");

fn env(name: &str) -> Option<String> {
    (name == "SECRET").then(|| "hunter2 hunter2".to_owned())
}

fn parse(path: &Path, source: &str) -> Result<Document, Problems> {
    read(path, source, &env, |top, problems| document(top, None, &Kinds::built_in(), problems))
}

fn good(source: &str) -> Document {
    parse(Path::new("/etc/tunnel/tunneld.toml"), source).unwrap()
}

/// `line:column message` of everything that is wrong.
fn wrong(source: &str) -> Vec<String> {
    let mut found = parse(Path::new("t.toml"), source).unwrap_err().found;
    found.sort_by_key(|problem| (problem.span.start, problem.span.end));
    let place = |problem: &ops::config::Problem| {
        let before = &source[..problem.span.start];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        format!("{line}:{column} {}", problem.message)
    };
    found.iter().map(place).collect()
}

/// The example with the certificate that it names.
fn example() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("tls")).unwrap();
    let pair = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["*.t.example.com".to_owned()]).unwrap();
    std::fs::write(folder.path().join("tls/wildcard.pem"), params.self_signed(&pair).unwrap().pem()).unwrap();
    std::fs::write(folder.path().join("tls/wildcard.key"), pair.serialize_pem()).unwrap();
    let path = folder.path().join("tunneld.toml");
    std::fs::write(&path, EXAMPLE).unwrap();
    (folder, path)
}

#[test]
fn every_key_of_the_reference_example_is_read() {
    let (folder, path) = example();
    let config = parse(&path, EXAMPLE).unwrap();
    assert_eq!(config.domain.as_ref().map(|domain| domain.as_str()), Some("t.example.com"));
    assert_eq!(config.advertise, ["tunnel.t.example.com:7443".parse().unwrap()]);
    assert_eq!(config.trusted_proxies.len(), 2);
    assert_eq!(config.limits.requests, 10_000);
    assert_eq!(config.listen.tunnel.as_ref().unwrap().address, "[::]:7443");
    let http = config.listen.http.as_ref().unwrap();
    assert_eq!((http.address.as_str(), http.redirect, http.proxy_protocol), ("[::]:80", true, false));
    assert_eq!(config.certificates[0].key, folder.path().join("tls/wildcard.key"));
    let edge = &config.principals[0];
    assert_eq!((edge.name.as_str(), edge.grants.groups.as_slice()), ("edge-1", &["web".to_owned()][..]));
    assert!(edge.grants.allows_port(2222) && edge.grants.allows_reach("billing"));
    assert_eq!(config.principals.len(), 3);
    assert_eq!(config.services[0].name, "billing");

    let [app, api, canary, greeter] = config.rules.as_slice() else { panic!("{:?}", config.rules) };
    assert!(matches!(&app.action, Action::Forward(to) if to[0].target.to_string() == "web/app"));
    assert_eq!(api.matcher.path_prefix.as_deref(), Some("/api"));
    assert_eq!(api.treatment.timeout, Some(std::time::Duration::from_secs(30)));
    assert_eq!((api.treatment.retries, &*api.treatment.plugins[0]), (Some(2), "per-ip"));
    assert_eq!(canary.matcher.headers[0].value, ValueMatcher::Exact("1".to_owned()));
    assert_eq!(greeter.matcher.grpc.as_ref().unwrap().service.as_deref(), Some("pkg.Greeter"));
    assert_eq!(config.plugins[0].settings["rate"], "20/s");

    let [db] = config.tcp.as_slice() else { panic!("{:?}", config.tcp) };
    assert_eq!((db.listen.address, db.listen.proxy_protocol), ("[::]:5432".parse().unwrap(), false));
    assert_eq!((db.to.to.to_string().as_str(), db.to.allow.len(), db.to.idle_timeout), ("web/db", 1, None));
    let web = &config.groups[0];
    assert_eq!((web.name.as_str(), &web.balance), ("web", &Balance::LeastConnections));
    let [app, api, db] = web.part.services.as_slice() else { panic!("{:?}", web.part) };
    assert_eq!(app.health.as_ref().unwrap().interval_ms, 5000);
    assert_eq!((api.balance, api.servers[0].weight, api.servers[1].weight), (ServerBalance::Weighted, 2, 1));
    assert_eq!(db.servers[0].send_proxy, Some(ProxyVersion::V2));
    assert_eq!(
        (web.part.ingresses[0].kind, web.part.ingresses[0].to.as_str()),
        (IngressKind::Http, "billing")
    );
    assert_eq!(config.groups[1].part.services[0].name, "app");
}

const PLUGGED: &str = r#"
service = [{ name = "billing", servers = [{ address = "3000" }] }, { name = "payroll", servers = [{ address = "3001" }] }]
plugin = [
  { name = "a", kind = "rate-limit", rate = "1/s" },
  { name = "b", kind = "rate-limit", rate = "2/s" },
  { name = "c", kind = "rate-limit", rate = "3/s" },
  { name = "unused", kind = "rate-limit", rate = "4/s" },
]
[[group]]
name = "web"
service = [{ name = "app", servers = [{ address = "3000" }], plugins = ["b", "a"] }]
[[group.ingress]]
listen = "127.0.0.1:9000"
kind = "http"
to = "billing"
plugins = ["a"]
rule = [{ name = "pay", path_prefix = "/pay", to = "payroll", plugins = ["c"] }]
"#;

#[test]
fn a_group_is_handed_the_plugins_that_it_names_and_no_others() {
    let config = good(PLUGGED);
    let part = &config.groups[0].part;
    assert_eq!(part.services[0].plugins, ["b", "a"]);
    assert_eq!((part.ingresses[0].plugins.len(), &*part.ingresses[0].rules[0].name), (1, "pay"));
    let handed: Vec<_> = part.plugins.iter().map(|plugin| plugin.name.as_str()).collect();
    assert_eq!(handed, ["a", "b", "c"]);
    // The rules of an ingress are none of the server's.
    assert!(config.rules.is_empty());
}

#[test]
fn an_ingress_leads_to_services_next_to_the_server_and_with_rules_by_http_only() {
    let tcp = PLUGGED.replace("kind = \"http\"", "kind = \"tcp\"");
    assert_eq!(
        wrong(&tcp),
        [
            "16:12 `plugins` is for an ingress of kind = \"http\"",
            "17:9 `rule` is for an ingress of kind = \"http\""
        ]
    );
    let group = PLUGGED.replace("to = \"payroll\"", "to = \"web/app\"");
    assert_eq!(
        wrong(&group),
        ["17:9 a rule of an ingress leads to services next to the server: to = \"SERVICE\""]
    );
    let gone = PLUGGED.replace("[\"b\", \"a\"]", "[\"bb\"]").replace("[\"c\"]", "[\"d\"]");
    assert_eq!(wrong(&gone), ["11:73 there is no plugin \"bb\"", "17:74 there is no plugin \"d\""]);
}

#[test]
fn the_reference_example_is_good_without_a_remark() {
    let (_folder, path) = example();
    let document = load(&path, None, &Kinds::built_in(), &env).unwrap();
    Settings::new(Flags::default(), document).unwrap();
}

#[test]
fn hosts_are_passed_through_at_listeners_that_they_share() {
    let config = good(
        r#"
        domain = "t.example.com"
        listen = { https = "[::]:443" }
        service = [{ name = "db", servers = [{ address = "5432" }] }]
        tls = [
          { host = "one", to = "db" },
          { host = "*.two.example.com", listen = "[::]:443", to = "db" },
          { host = "one", listen = "[::]:5433", to = "db", idle_timeout = "1h", allow = ["10.0.0.0/8"] },
          { host = "two", listen = { address = "[::]:5433" }, to = "db" },
          { host = "two", listen = { address = "[::]:5434", proxy_protocol = true }, to = "db" },
        ]
        "#,
    );
    let ports: Vec<_> = config.tls.iter().map(|tls| tls.listen.map(|at| at.address.port())).collect();
    assert_eq!(ports, [None, None, Some(5433), Some(5433), Some(5434)]);
    let hosts: Vec<_> = config.tls.iter().map(|tls| tls.host.to_string()).collect();
    assert_eq!(hosts[..2], ["one.t.example.com", "*.two.example.com"]);
    assert_eq!(config.tls[2].to.idle_timeout.map(|idle| idle.as_secs()), Some(3600));
    assert!(config.tls[4].listen.is_some_and(|at| at.proxy_protocol));
}

#[test]
fn hosts_and_listeners_of_tls_do_not_meet() {
    let source = r#"
service = [{ name = "db", servers = [{ address = "5432" }] }]
tls = [
  { host = "a.b", to = "db" },
  { host = "A.B", to = "db" },
  { host = "a.b", listen = "[::]:5433", to = "db" },
  { host = "a.b", listen = { address = "[::]:5433", proxy_protocol = true }, to = "db" },
  { host = "a.b", listen = "127.0.0.1:5433", to = "db" },
  { host = "a.b", listen = "5433", to = "db" },
]
"#;
    let expected = [
        "5:12 there is another tls named \"a.b\"",
        "7:12 there is another tls named \"a.b at [::]:5433\"",
        "7:40 another host at [::]:5433 has another `proxy_protocol`",
        "8:28 127.0.0.1:5433 is listened on already, by `tls`",
        "9:28 \"5433\" is no address to listen on: write ADDRESS:PORT, for example [::]:5432",
    ];
    assert_eq!(wrong(source), expected);
}

#[test]
fn a_host_without_a_listener_is_nowhere() {
    let config = "service = [{ name = \"db\", servers = [{ address = \"5432\" }] }]\ntls = [{ host = \"a.b\", to = \"db\" }]";
    let error = Settings::new(Flags::default(), good(config)).unwrap_err().to_string();
    assert!(error.contains("a.b") && error.contains("listen.https"), "{error}");
}

#[test]
fn an_empty_file_has_defaults() {
    let config = good("");
    assert_eq!(config.listen, Listeners::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.timeouts.drain.as_secs(), 30);
}

#[test]
fn rules_have_all_that_the_interface_says() {
    let config = good(
        r#"
        domain = "t.example.com"
        service = [{ name = "billing", servers = [{ address = "3000" }] }]
        [[group]]
        name = "web"
        balance = "hash"
        hash = "cookie:id"
        service = [{ name = "app", servers = [{ address = "3000" }] }]
        [[rule]]
        name = "all"
        host = "app"
        methods = ["GET", "POST"]
        headers = { X-Canary = true, x-env = { prefix = "prod-" } }
        client = ["10.0.0.0/8", "192.0.2.1"]
        to = ["web/app", { to = "billing", weight = 9 }]
        set_host = "wiki.lan:8080"
        strip_prefix = "/api"
        set_headers = { X-From = "tunnel" }
        [[rule]]
        name = "old"
        host = "*.old.example.com"
        redirect = { to = "https://new.example.com{path}", status = 308 }
        [[rule]]
        name = "robots"
        path_prefix = "/robots.txt"
        respond = { body = "User-agent: *", content_type = "text/plain" }
        "#,
    );
    let [all, old, robots] = config.rules.as_slice() else { panic!("{:?}", config.rules) };
    assert_eq!(all.matcher.host.as_ref().unwrap().to_string(), "app.t.example.com");
    let headers: BTreeMap<_, _> =
        all.matcher.headers.iter().map(|header| (header.name.as_str(), &header.value)).collect();
    assert_eq!(headers["x-canary"], &ValueMatcher::Present);
    assert_eq!(headers["x-env"], &ValueMatcher::Prefix("prod-".to_owned()));
    let Action::Forward(to) = &all.action else { panic!("{:?}", all.action) };
    assert_eq!(to.iter().map(|it| it.weight).collect::<Vec<_>>(), [1, 9]);
    assert_eq!(all.matcher.clients.len(), 2);
    assert_eq!(all.treatment.set_headers, [("x-from".to_owned(), "tunnel".to_owned())]);
    assert!(matches!(&old.action, Action::Redirect { status: 308, .. }));
    assert!(matches!(&robots.action, Action::Respond { status: 200, .. }));
}

#[test]
fn everything_wrong_is_said_at_once_with_its_place() {
    let source = r#"domian = "t.example.com"
public_url = "https://x"
advertise = ["nowhere"]
trusted_proxies = ["10.0.0.0/40"]
timeouts = { request = "soon", heartbeat = "9m", drain = "30d", head = 5 }
limits = { max_concurrent_requests = 0 }
listen = { tunnel = "[::]:7443", http = { adress = ":80" }, https = "127.0.0.1:7443", ops = 7480 }
certificate = [{ cert = "not.pem" }]
principal = [{ name = "bob", hosts = ["*"], ports = ["0"] }, { name = "bob", reach = ["biling"] }, { name = "default" }]
service = [{ name = "billing", servers = [] }, { name = "billing", servers = [{ address = "ftp://x" }] }]
plugin = [{ name = "a", kind = "rate-limitt" }]

[[group]]
name = "web"
balance = "fast"
hash = "ip"
service = [
  { name = "app", servers = [{ address = "3000", weight = 0 }, { address = "3001", weight = 0 }] },
  { name = "api", servers = [{ address = "3000", weight = -1, send_proxy = "v3" }], health = { kind = "htp", path = "x", interval = "1ms" } },
]
ingress = [{ listen = "9000", kind = "udp", to = "billing" }]

[[group]]
name = "web"

[[rule]]
name = "a"
host = "a_b.example.com"
path_prefix = "api"
methods = ["get"]
headers = { "x y" = "1", z = false }
to = "web/ap"
retries = 11
plugins = ["b"]

[[rule]]
name = "a"
to = [{ to = "web/app", weight = 0 }]

[[rule]]
name = "c"
grpc_service = "a/b"
to = "wbe/app"
redirect = "elsewhere"

[[rule]]
name = "d e"
respond = { status = 99 }
timeout = "2days"

[[tcp]]
listen = "[::]:7443"
to = "db"
idle_timeout = "x"

[[tls]]
to = "~/1"
"#;
    let found = wrong(source);
    let expected = include_str!("tests/everything_wrong.txt");
    assert_eq!(found.join("\n"), expected.trim_end(), "\n{}", found.join("\n"));
}

#[test]
fn the_report_shows_the_line_and_where_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tunneld.toml");
    std::fs::write(&path, "domian = \"x\"\n[[rule]]\nname = \"a\"\nto = \"web/app\"\n").unwrap();
    let report = load(&path, None, &Kinds::built_in(), &env).unwrap_err().to_string();
    let report = report.replace(&folder.path().display().to_string(), "");
    assert_eq!(report, include_str!("tests/report.txt").trim_end(), "\n{report}");
}

#[test]
fn no_report_shows_a_secret() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tunneld.toml");
    let source = r#"
domain = "${SECRET}"
plugin = [{ name = "a", kind = "basic-auth", users = ["bob:hunter2"], realm = "${SECRET}" }]
rule = [{ name = "a", host = "${SECRET}", to = "x" }]
"#;
    std::fs::write(&path, source).unwrap();
    let report = load(&path, None, &Kinds::built_in(), &env).unwrap_err().to_string();
    assert!(!report.contains("hunter2"), "{report}");
    assert!(report.contains("domain = \"${SECRET}\""), "{report}");
    let debug = format!(
        "{:?}",
        good("plugin = [{ name = \"a\", kind = \"headers\", request = { set = { x = \"${SECRET}\" } } }]")
    );
    assert!(!debug.contains("hunter2"), "{debug}");
}

#[test]
fn what_is_wrong_with_a_plugin_stands_at_its_key() {
    let source = r#"
plugin = [
  { name = "a", kind = "rate-limit", rate = "often", brust = 1 },
  { name = "b", kind = "headers", request = { set = { host = "x" } } },
  { name = "c", kind = "basic-auth" },
]
"#;
    let found = wrong(source);
    assert_eq!(found.len(), 4, "{found:?}");
    for (found, expected) in
        found.iter().zip(["3:38 `rate`", "3:54 `brust`", "4:35 `request.set`", "5:3 `users`"])
    {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn the_admin_listener_is_on_this_machine_unless_it_is_asked_for_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tunneld.toml");
    let tokens = folder.path().join("tokens");
    std::fs::write(&tokens, "ci:0123456789abcdef0123456789abcdef\n").unwrap();
    let said = |listen: &str| match parse(&path, &format!("[listen]\nadmin = {listen}\n")) {
        Ok(document) => Ok(document.listen.admin.unwrap()),
        Err(problems) => Err(problems.found.into_iter().map(|it| it.message).collect::<Vec<_>>().join("; ")),
    };
    let here = said("{ address = \"[::1]:7482\", token_file = \"tokens\", hosts = [\"ops.lan\"] }").unwrap();
    assert_eq!((here.address, here.hosts), ("[::1]:7482".parse().unwrap(), vec!["ops.lan".to_owned()]));
    let elsewhere = said("{ address = \"[::]:7482\", token_file = \"tokens\" }").unwrap_err();
    assert!(elsewhere.contains("can be reached from other machines"), "{elsewhere}");
    said("{ address = \"[::]:7482\", token_file = \"tokens\", remote = true }").unwrap();
    let missing = said("{ address = \"7482\", token_file = \"none\" }").unwrap_err();
    assert!(missing.contains("cannot read the secret file") && missing.contains("ADDRESS:PORT"), "{missing}");
    std::fs::write(&tokens, "hunter2-hunter2-hunter2-hunter2\n").unwrap();
    let bare = said("{ address = \"[::1]:7482\", token_file = \"tokens\" }").unwrap_err();
    assert!(bare.contains("line 1 of") && !bare.contains("hunter2"), "{bare}");
    assert!(said("\"127.0.0.1:7482\"").unwrap_err().contains("wants a table"));
}

#[test]
fn a_key_file_that_does_not_fit_is_named() {
    let (folder, path) = example();
    let other = rcgen::KeyPair::generate().unwrap();
    std::fs::write(folder.path().join("tls/wildcard.key"), other.serialize_pem()).unwrap();
    let problems = parse(&path, EXAMPLE).unwrap_err().found;
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("wildcard.key does not belong"), "{}", problems[0].message);
}
