//! What it costs to find the rule of a request among 10,000, by the index and by trying them all.
#![expect(clippy::unwrap_used, reason = "a bench that fails shows nothing")]

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use policy::host::Host;
use policy::host_pattern::HostPattern;
use policy::rule::{
    Action, Asked, GrpcMatcher, HeaderMatcher, Matcher, Rule, Summary, Table, Treatment, ValueMatcher,
    WeightedTarget,
};

const RULES: usize = 10_000;

fn rule(number: usize, matcher: Matcher) -> Rule {
    let target = WeightedTarget { target: "web/app".parse().unwrap(), weight: 1 };
    let action = Action::Forward(vec![target]);
    Rule { name: Arc::from(format!("rule-{number}")), matcher, action, treatment: Treatment::default() }
}

fn table(matcher: impl Fn(usize) -> Matcher) -> Table {
    Table::new((0..RULES).map(|number| rule(number, matcher(number))).collect())
}

fn on_host(number: usize) -> Matcher {
    let host = HostPattern::parse(&format!("h{number}.t.example.com")).unwrap();
    Matcher { host: Some(host), ..Matcher::default() }
}

fn naive(table: &Table, asked: &Asked<'_>) -> Option<usize> {
    let all = table.rules().iter().enumerate();
    let matching = all.filter(|(_, rule)| rule.matcher.matches(asked).is_ok());
    matching.max_by_key(|(place, rule)| Summary::of(&rule.matcher, *place)).map(|(place, _)| place)
}

fn find(c: &mut Criterion) {
    let deep = table(|number| Matcher {
        path_prefix: Some(format!("/v1/r{}", number % 10)),
        ..on_host(number / 10)
    });
    let one_host = table(|number| Matcher { path_prefix: Some(format!("/v1/r{number}/x")), ..on_host(7) });
    let tenants = table(|number| {
        let value = ValueMatcher::Exact(format!("t{number}"));
        Matcher { headers: vec![HeaderMatcher { name: "x-tenant".to_owned(), value }], ..on_host(7) }
    });
    let calls = table(|number| {
        let service = Some(format!("pkg.S{number}"));
        Matcher { grpc: Some(GrpcMatcher { service, method: None }), ..on_host(7) }
    });
    let methods = table(|number| Matcher { methods: vec![format!("M{number}")], ..on_host(7) });
    let clients = table(|number| {
        let [_, _, high, low] = u32::try_from(number).unwrap().to_be_bytes();
        Matcher { clients: vec![format!("10.{high}.{low}.0/24").parse().unwrap()], ..on_host(7) }
    });
    let names = table(|number| {
        let header = HeaderMatcher { name: format!("x-{number}"), value: ValueMatcher::Present };
        Matcher { headers: vec![header], ..on_host(7) }
    });
    let beginnings = table(|number| {
        let value = ValueMatcher::Prefix(format!("t{number}/"));
        Matcher { headers: vec![HeaderMatcher { name: "x-path".to_owned(), value }], ..on_host(7) }
    });
    // All of them share the method and a field: what tells them apart is what they are found by.
    let mixed = table(|number| {
        let [_, _, high, low] = u32::try_from(number).unwrap().to_be_bytes();
        let value = ValueMatcher::Exact("1".to_owned());
        Matcher {
            methods: vec!["GET".to_owned()],
            headers: vec![HeaderMatcher { name: "x-9000".to_owned(), value }],
            clients: vec![format!("10.{high}.{low}.0/24").parse().unwrap()],
            ..on_host(7)
        }
    });
    let fields: Vec<(String, String)> = [
        ("user-agent", "grpc-rust/1.0"),
        ("content-type", "application/grpc"),
        ("accept", "*/*"),
        ("x-tenant", "t9000"),
        ("x-9000", "1"),
        ("x-path", "t9000/a"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    let (host, client) = (Host::parse("h7.t.example.com").unwrap(), IpAddr::from([10, 35, 40, 1]));
    let asking = |path| Asked { host: &host, method: "GET", path, fields: &fields, client };

    let mut group = c.benchmark_group("a rule among 10,000");
    for (name, table, asked) in [
        ("by host and path", &deep, asking("/v1/r7/and/more")),
        ("by path on one host", &one_host, asking("/v1/r9000/x/y")),
        ("by a field", &tenants, asking("/")),
        ("by a gRPC service", &calls, asking("/pkg.S9000/Call")),
        ("by a method", &methods, Asked { method: "M9000", ..asking("/") }),
        ("by the visitor", &clients, asking("/")),
        ("by the name of a field", &names, asking("/")),
        ("by the beginning of a field", &beginnings, asking("/")),
        ("by the rarest of several", &mixed, asking("/")),
        ("none", &deep, asking("/v2")),
    ] {
        assert_eq!(table.find(&asked).map(|found| found.place), naive(table, &asked), "{name}");
        group.bench_function(name, |b| b.iter(|| black_box(table).find(black_box(&asked)).is_some()));
    }
    let asked = asking("/v1/r7/and/more");
    group.bench_function("by trying them all", |b| b.iter(|| naive(black_box(&deep), black_box(&asked))));
    group.finish();
}

criterion_group!(rules, find);
criterion_main!(rules);
