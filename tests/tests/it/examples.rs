//! The reference examples of the documents: checked as they are, and started with addresses of this machine.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use tests::fixture::{HttpService, TcpService};
use tests::place::nobody;
use tests::program::{Program, command};
use tests::tls;
use tests::tunnelc::Home;
use tests::tunneld::Tunneld;
use tests::visitor::{self, Answer, End, Raw, Visitor, empty, request};
use tests::wait::{SOON, until};

const SERVER: &str = include_str!("../../../docs/examples/tunneld.toml");
const CLIENT: &str = include_str!("../../../docs/examples/tunnelc.toml");
const HOST: &str = "app.t.example.com";

/// The text with every address that is another's replaced; each must be in it.
fn placed(text: &str, places: &[(&str, String)]) -> String {
    places.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from} is not in the example");
        text.replace(from, to)
    })
}

fn with_certificate(home: &Path) {
    let folder = home.join("tls");
    std::fs::create_dir(&folder).unwrap();
    tls::certificate(&folder, "wildcard", &["*.t.example.com"]);
}

#[tokio::test]
async fn the_examples_are_good_as_they_are() {
    let home = tempfile::tempdir().unwrap();
    with_certificate(home.path());
    let path = home.path().join("tunneld.toml");
    std::fs::write(&path, SERVER).unwrap();
    let mut check = command("tunneld", home.path());
    check.arg("check").arg(&path);
    let done = Program::start(check).finished(SOON).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
}

/// A GET over TLS, which must show the certificate of the example.
async fn get(server: &Tunneld, host: &str, path: &str, canary: bool) -> Option<Answer> {
    let root = tls::read(&server.home().join("tls"), "wildcard");
    let stream = tls::connect(server.listen().https.unwrap(), host, &root).await.ok()?;
    let mut asked = request("GET", host, path, empty());
    if canary {
        asked.headers_mut().insert("x-canary", "1".parse().unwrap());
    }
    Visitor::over(stream).await.ok()?.whole(asked).await.ok()
}

async fn state_of(server: &Tunneld, name: &str) -> (String, String) {
    let status = server.status().await;
    let web =
        status["groups"].as_array().unwrap().iter().find(|group| group["name"] == "web").unwrap().clone();
    let member = web["members"].as_array().unwrap().iter().find(|member| member["name"] == name).cloned();
    let text =
        |key: &str| member.as_ref().and_then(|member| member[key].as_str()).unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

#[tokio::test]
async fn the_examples_start_and_serve_what_they_say() {
    let (app, api, canary, billing, wiki) = (
        HttpService::start().await,
        HttpService::start().await,
        HttpService::start().await,
        HttpService::start().await,
        HttpService::start().await,
    );
    let (db, ssh) = (TcpService::sink().await, TcpService::after_fin().await);
    let [public_port, door, forward] = [(); 3].map(|()| nobody().port());
    let places = [
        ("127.0.0.1:3000", app.addr().to_string()),
        ("127.0.0.1:4000", api.addr().to_string()),
        ("127.0.0.1:4001", api.addr().to_string()),
        ("127.0.0.1:3100", canary.addr().to_string()),
        ("127.0.0.1:5432", db.addr().to_string()),
        ("10.0.0.5:8080", billing.addr().to_string()),
        ("127.0.0.1:9000", format!("127.0.0.1:{door}")),
        ("[::]:5432", "127.0.0.1:0".to_owned()),
        ("203.0.113.0/24", "127.0.0.0/8".to_owned()),
        ("\"2222\"", format!("\"{public_port}\"")),
    ];
    let write = |home: &Path| {
        with_certificate(home);
        placed(SERVER, &places)
    };
    // The flags of the harness put the other listeners on free ports of the loopback.
    let server = Tunneld::configured(write, &["--https", "127.0.0.1:0"]).await;

    let join = server
        .invite("edge-1", &[])
        .await
        .replace("tunnel.t.example.com:7443", &server.listen().tunnel.to_string());
    let home = Home::new();
    let folder = home.write("join", &join);
    std::fs::set_permissions(&folder, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let ops = nobody().port();
    let client = placed(
        CLIENT,
        &[
            ("tunnel.t.example.com:7443", server.listen().tunnel.to_string()),
            ("127.0.0.1:7481", format!("127.0.0.1:{ops}")),
            ("http://127.0.0.1:8081", format!("http://{}", wiki.addr())),
            ("port = 2222", format!("port = {public_port}")),
            ("127.0.0.1:22\"", format!("{}\"", ssh.addr())),
            ("203.0.113.0/24", "127.0.0.0/8".to_owned()),
            ("listen = \"127.0.0.1:9000\"", format!("listen = \"127.0.0.1:{forward}\"")),
            ("127.0.0.1:9000-9099", format!("127.0.0.1:{door}-{door}")),
            ("127.0.0.1:3000", app.addr().to_string()),
            ("127.0.0.1:4000-4001", api.addr().to_string()),
        ],
    );
    let start = |text: &str| {
        let path = home.write("tunnelc.toml", text);
        let mut tunnelc = home.prepare(&["run", "--config", path.to_str().unwrap()]);
        tunnelc.env("CREDENTIALS_DIRECTORY", path.parent().unwrap());
        Program::start(tunnelc)
    };
    // The example of the client does not permit all that the one of the server asks for, and is told what to paste.
    let first = start(&client);
    // Who has not answered yet is behind too.
    let lacks = format!("add to [allow]: dial = [\"{}\"]", db.addr());
    let refused = async || {
        let (state, reason) = state_of(&server, "edge-1").await;
        (state == "behind" && reason.contains(&lacks)).then_some(())
    };
    until("edge-1 is behind, and says why", SOON, refused).await;
    drop(first);
    let client = client
        .replace("[allow]", "# [allow]")
        .replace("dial   = [", &format!("[allow]\ndial = [\"{}\", ", db.addr()));
    let _edge = start(&client);
    until("edge-1 serves its part", SOON, async || {
        (state_of(&server, "edge-1").await.0 == "ready").then_some(())
    })
    .await;

    // Rules: the group's services, the plugin, the redirect.
    let found = async |path: &str, canary: bool| {
        // A service answers, whatever it makes of the path.
        let of_service = |answer: &Answer| answer.field("x-tunnel-error").is_empty();
        let answered = async || get(&server, HOST, path, canary).await.filter(of_service);
        until("a rule is served", SOON, answered).await.0
    };
    found("/", false).await;
    found("/api/x", false).await;
    let seen = |service: &HttpService| service.tally().get(|tally| &tally.requests);
    assert!(seen(&app) > 0 && seen(&api) > 0);
    let plain = visitor::get(server.listen().http, HOST, "/x?y=1").await;
    assert_eq!((plain.status, plain.field("location")), (308, "https://app.t.example.com/x?y=1"));
    // Nobody is in the group of the canary; then somebody is.
    assert_eq!(get(&server, HOST, "/", true).await.unwrap().status, 503);
    let other = Home::new();
    let text = format!(
        "name = \"edge-2\"\nservers = [\"{}\"]\n[allow]\ndial = [\"{}\"]\n",
        server.listen().tunnel,
        canary.addr()
    );
    let _second = other.run(&server.invite("edge-2", &[]).await, &text);
    found("/", true).await;
    assert!(seen(&canary) > 0);

    // Tunnels of the client, by name and by port.
    until("the wiki is served", SOON, async || {
        get(&server, "wiki.t.example.com", "/", false).await.filter(|it| it.status == 200)
    })
    .await;
    assert!(seen(&wiki) > 0);
    let mut raw = Raw::open(SocketAddr::from(([127, 0, 0, 1], public_port))).await;
    raw.send(tests::pattern::all(1000)).await;
    raw.finish().await;
    let (answer, end) = raw.rest(SOON).await;
    assert_eq!((String::from_utf8(answer).unwrap().as_str(), end), ("1000 bytes, intact: true\n", End::Fin));

    // The configured port, whose server is told who the visitor is.
    let mut raw = Raw::open(server.ingress(0).await).await;
    raw.send("select").await;
    until("the database gets a PROXY header and the bytes", SOON, async || {
        (db.bytes_in() == 28 + "select".len() as u64).then_some(())
    })
    .await;

    // The other direction: what the group opens at its members, and what the client opens itself.
    for port in [door, forward] {
        let at = SocketAddr::from(([127, 0, 0, 1], port));
        let answered =
            async || visitor::try_get(at, "billing.lan", "/").await.ok().filter(|it| it.status == 200);
        until("billing is reached", SOON, answered).await;
    }
    assert!(seen(&billing) >= 2);
    let ready = visitor::get(SocketAddr::from(([127, 0, 0, 1], ops)), "localhost", "/readyz").await;
    assert_eq!(ready.status, 200);
    let routes = server.admin(&["routes", "--json"]).await;
    let routes: Value = serde_json::from_str(&routes.stdout).unwrap();
    assert!(routes["routes"].as_array().unwrap().iter().all(|route| route["state"] == "served"), "{routes}");
}
