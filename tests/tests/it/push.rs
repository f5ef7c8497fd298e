//! What the members of a group serve changes while they serve it.

use std::net::SocketAddr;

use serde_json::Value;
use tests::fixture::HttpService;
use tests::load::Load;
use tests::place::nobody;
use tests::program::{Finished, Program};
use tests::tunnelc::{Home, SESSIONS};
use tests::tunneld::Tunneld;
use tests::visitor;
use tests::wait::{SOON, until};

const HOST: &str = "app.localhost";

/// A group `web` whose service `app` is at `app`, with more keys of the group.
fn config(app: SocketAddr, more: &str) -> String {
    format!(
        "principal = [{{ name = \"edge\", groups = [\"web\"] }}]\n\
         rule = [{{ name = \"app\", host = \"{HOST}\", to = \"web/app\" }}]\n\
         [[group]]\nname = \"web\"\n{more}\
         service = [{{ name = \"app\", servers = [{{ address = \"http://{app}\" }}] }}]\n"
    )
}

/// A server with members of `web`, and two services that it can be at.
struct Stage {
    server: Tunneld,
    join: String,
    one: HttpService,
    other: HttpService,
    _members: Vec<(Program, Home)>,
}

impl Stage {
    /// With `free` members that allow both services, and one for each of `bound` that allows the first one only.
    async fn new(free: usize, bound: usize) -> Self {
        let (one, other) = (HttpService::start().await, HttpService::start().await);
        let first = config(one.addr(), "");
        let server = Tunneld::configured(|_| first, &[]).await;
        let join = server.invite("edge", &[]).await;
        let mut stage = Self { server, join, one, other, _members: Vec::new() };
        for place in 0..free + bound {
            let only = if place < free {
                vec![stage.one.addr(), stage.other.addr()]
            } else {
                vec![stage.one.addr()]
            };
            let member = stage.member(&format!("member-{place}"), &only);
            stage._members.push(member);
        }
        stage.server.has_sessions(SESSIONS * (free + bound) as u64, SOON).await;
        stage.has_members(&vec!["ready"; free + bound]).await;
        stage
    }

    fn member(&self, name: &str, dial: &[SocketAddr]) -> (Program, Home) {
        let home = Home::new();
        let dial: Vec<_> = dial.iter().map(|address| format!("\"{address}\"")).collect();
        let program =
            home.run(&self.join, &format!("name = \"{name}\"\n[allow]\ndial = [{}]\n", dial.join(", ")));
        (program, home)
    }

    /// The members' states and reasons, by their names.
    async fn members(&self) -> Vec<(String, String, String)> {
        let status = self.server.status().await;
        let members = status["groups"][0]["members"].as_array().cloned().unwrap_or_default();
        let word = |member: &Value, key: &str| member[key].as_str().unwrap_or_default().to_owned();
        let mut members: Vec<_> =
            members.iter().map(|it| (word(it, "name"), word(it, "state"), word(it, "reason"))).collect();
        members.sort();
        members
    }

    async fn has_members(&self, states: &[&str]) {
        let look = async || {
            let members = self.members().await;
            members.iter().map(|(_, state, _)| state.as_str()).eq(states.iter().copied()).then_some(())
        };
        until(&format!("the members are {states:?}"), SOON, look).await;
    }

    /// `tunneld config apply` of a file with this text.
    async fn apply(&self, text: &str, more: &[&str]) -> Finished {
        let file = self.server.home().join("next.toml");
        std::fs::write(&file, text).unwrap();
        self.server.admin(&[&["config", "apply", file.to_str().unwrap()], more].concat()).await
    }

    async fn leads_to(&self, service: &HttpService) {
        let requests = || service.tally().get(|tally| &tally.requests);
        let seen = requests();
        let come = async || (self.server.visit(HOST, "/").await == 200 && requests() > seen).then_some(());
        until("requests come out at the service", SOON, come).await;
    }
}

#[tokio::test]
async fn a_service_of_a_group_that_moves_ten_times_loses_no_request() {
    let stage = Stage::new(2, 0).await;
    let load = Load::on(stage.server.listen().http, HOST, 300);
    for turn in 1..=10 {
        let now = if turn % 2 == 0 { &stage.one } else { &stage.other };
        let done = stage.apply(&config(now.addr(), ""), &[]).await;
        assert_eq!(done.code, Some(0), "{}", done.text());
        stage.leads_to(now).await;
    }
    let report = load.end().await;
    println!("while the service moved ten times: {report}");
    report.is_flawless(false);
    stage.has_members(&["ready", "ready"]).await;
}

#[tokio::test]
async fn an_ingress_of_a_group_that_leads_elsewhere_loses_no_request() {
    let (billing, payroll, door) = (HttpService::start().await, HttpService::start().await, nobody());
    let config = |to: &str| {
        let at = |name: &str, at: SocketAddr| {
            format!("{{ name = \"{name}\", servers = [{{ address = \"http://{at}\" }}] }}")
        };
        format!(
            "principal = [{{ name = \"edge\", groups = [\"web\"] }}]\n\
             service = [{}, {}]\n\
             [[group]]\nname = \"web\"\ningress = [{{ listen = \"{door}\", kind = \"http\", to = \"{to}\" }}]\n",
            at("billing", billing.addr()),
            at("payroll", payroll.addr()),
        )
    };
    let server = Tunneld::configured(|_| config("billing"), &[]).await;
    let (join, home) = (server.invite("edge", &[]).await, Home::new());
    let _client = home.run(&join, &format!("[allow]\nlisten = [\"{door}\"]\n"));
    let open = async || visitor::try_get(door, "x", "/").await.ok().filter(|answer| answer.status == 200);
    drop(until("the ingress leads to billing", SOON, open).await);
    let load = Load::on(door, "x", 200);
    for turn in 1..=6 {
        let (to, service) = if turn % 2 == 0 { ("billing", &billing) } else { ("payroll", &payroll) };
        let file = server.home().join("next.toml");
        std::fs::write(&file, config(to)).unwrap();
        let done = server.admin(&["config", "apply", file.to_str().unwrap()]).await;
        assert_eq!(done.code, Some(0), "{}", done.text());
        // All of them, those included who have kept their connections.
        let other = if turn % 2 == 0 { &payroll } else { &billing };
        let requests = |of: &HttpService| of.tally().get(|tally| &tally.requests);
        let moved = async || {
            let (here, there) = (requests(service), requests(other));
            let more = async || (requests(service) > here + 20).then_some(());
            until("more requests", SOON, more).await;
            (requests(other) == there).then_some(())
        };
        until(&format!("turn {turn}: all go to {to}"), SOON, moved).await;
    }
    let report = load.end().await;
    println!("while the ingress was turned six times: {report}");
    report.is_flawless(false);
}

#[tokio::test]
async fn a_member_that_does_not_allow_it_is_behind_and_the_others_serve() {
    let stage = Stage::new(1, 1).await;
    let load = Load::on(stage.server.listen().http, HOST, 100);
    let done = stage.apply(&config(stage.other.addr(), ""), &[]).await;
    assert_eq!(done.code, Some(0), "{}", done.text());
    stage.leads_to(&stage.other).await;
    let line = format!("add to [allow]: dial = [\"{}\"]", stage.other.addr());
    let members = stage.members().await;
    assert_eq!(
        (members[0].1.as_str(), members[1].1.as_str(), members[1].2.as_str()),
        ("ready", "behind", line.as_str())
    );
    stage.server.counts("tunnel_group_members", &["state=\"behind\""], |count| count == 1.0).await;
    load.end().await.is_flawless(false);
    let seen = stage.one.tally().get(|tally| &tally.requests);
    for _ in 0..10 {
        assert_eq!(stage.server.visit(HOST, "/").await, 200);
    }
    assert_eq!(stage.one.tally().get(|tally| &tally.requests), seen, "who refused gets none");
    // Who comes late undoes nothing.
    let _late = stage.member("zoe", &[]);
    stage.has_members(&["ready", "behind", "behind"]).await;
    assert_eq!(stage.server.visit(HOST, "/").await, 200);
}

#[tokio::test]
async fn with_too_few_that_take_it_a_configuration_is_refused_and_says_what_each_lacks() {
    let stage = Stage::new(1, 1).await;
    let line = format!("add to [allow]: dial = [\"{}\"]", stage.other.addr());
    for (more, flags) in [("", &["--require-all"][..]), ("min_ack = 51\n", &[][..])] {
        let done = stage.apply(&config(stage.other.addr(), more), flags).await;
        assert_eq!(done.code, Some(2), "{}", done.text());
        for part in ["1 of its 2 connected members take it, and 2 must", "member-1 (edge)", &line] {
            assert!(done.text().contains(part), "{part}: {}", done.text());
        }
    }
    stage.has_members(&["ready", "ready"]).await;
    stage.leads_to(&stage.one).await;
    assert_eq!(stage.other.tally().get(|tally| &tally.requests), 0);
}
