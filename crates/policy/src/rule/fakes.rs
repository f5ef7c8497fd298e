//! For tests: rules written as short texts, and a request to ask them with.

use std::sync::Arc;

use proptest::prelude::*;

use super::{
    Action, Asked, GrpcMatcher, HeaderMatcher, Matcher, Rule, Treatment, ValueMatcher, WeightedTarget,
};
use crate::host::Host;
use crate::host_pattern::HostPattern;

/// `host=… path=… method=… header=NAME[:VALUE[*]] service=… rpc=… client=…`, each as often as it makes sense.
pub(crate) fn matcher(text: &str) -> Matcher {
    let mut matcher = Matcher::default();
    for word in text.split_whitespace() {
        let (key, value) = word.split_once('=').unwrap();
        match key {
            "host" => matcher.host = Some(HostPattern::parse(value).unwrap()),
            "path" => matcher.path_prefix = Some(value.to_owned()),
            "method" => matcher.methods.push(value.to_owned()),
            "service" => {
                matcher.grpc.get_or_insert_with(GrpcMatcher::default).service = Some(value.to_owned())
            }
            "rpc" => matcher.grpc.get_or_insert_with(GrpcMatcher::default).method = Some(value.to_owned()),
            "client" => matcher.clients.push(value.parse().unwrap()),
            "header" => {
                let (name, value) = match value.split_once(':') {
                    None => (value, ValueMatcher::Present),
                    Some((name, value)) => match value.strip_suffix('*') {
                        Some(prefix) => (name, ValueMatcher::Prefix(prefix.to_owned())),
                        None => (name, ValueMatcher::Exact(value.to_owned())),
                    },
                };
                matcher.headers.push(HeaderMatcher { name: name.to_owned(), value });
            }
            other => panic!("{other}"),
        }
    }
    matcher
}

pub(crate) fn rule(name: &str, text: &str) -> Rule {
    let target = WeightedTarget { target: "web/app".parse().unwrap(), weight: 1 };
    Rule {
        name: Arc::from(name),
        matcher: matcher(text),
        action: Action::Forward(vec![target]),
        treatment: Treatment::default(),
    }
}

/// Asks with a GET from 192.0.2.7 that has two fields `x-a` and one `x-b`.
pub(crate) fn asked<T>(host: &str, path: &str, ask: impl FnOnce(&Asked<'_>) -> T) -> T {
    let fields = [("x-a", "1"), ("x-a", "2"), ("x-b", "prefix")];
    request(host, "GET", path, &fields, "192.0.2.7", ask)
}

pub(crate) fn request<T>(
    host: &str,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    client: &str,
    ask: impl FnOnce(&Asked<'_>) -> T,
) -> T {
    let host = Host::parse(host).unwrap();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let fields: Vec<(String, String)> = fields.iter().map(owned).collect();
    ask(&Asked { host: &host, method, path, fields: &fields, client: client.parse().unwrap() })
}

/// Matchers from few words, so that many of them are for the same request.
pub(crate) fn matchers() -> impl Strategy<Value = Matcher> {
    let maybe = |words: &'static [&'static str]| prop::option::of(prop::sample::select(words));
    let several = |words: &'static [&'static str]| prop::collection::vec(prop::sample::select(words), 0..3);
    (
        maybe(&["host=a.x.test", "host=b.x.test", "host=*.x.test", "host=*.test", "host=x.test"]),
        maybe(&[
            "path=/",
            "path=/a",
            "path=/a/",
            "path=/a/b",
            "path=/a/b/c",
            "path=/pkg.S",
            "path=/ab",
            "path=/a//b",
        ]),
        several(&["method=GET", "method=POST"]),
        several(&["header=h:1", "header=h:2", "header=h", "header=g:1", "header=g:x*", "header=h:1*"]),
        maybe(&["service=pkg.S", "service=pkg.T"]),
        maybe(&["rpc=M", "rpc=N"]),
        several(&["client=192.0.2.0/24", "client=192.0.2.7/32", "client=2001:db8::/32"]),
    )
        .prop_map(|(host, path, methods, headers, service, rpc, clients)| {
            let words = [host, path, service, rpc].into_iter().flatten();
            let words: Vec<&str> = words.chain(methods).chain(headers).chain(clients).collect();
            matcher(&words.join(" "))
        })
}

/// A request made of the words that [`matchers`] look for.
#[derive(Debug, Clone)]
pub(crate) struct Drawn {
    pub(crate) host: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) fields: Vec<(&'static str, &'static str)>,
    pub(crate) client: &'static str,
}

pub(crate) fn requests() -> impl Strategy<Value = Drawn> {
    let pick = |words: &'static [&'static str]| prop::sample::select(words);
    let field = prop::sample::select(vec![
        ("h", "1"),
        ("h", "2"),
        ("h", "12"),
        ("g", "1"),
        ("g", "x1"),
        ("content-type", "application/grpc"),
        ("content-type", "application/grpc"),
    ]);
    (
        pick(&["a.x.test", "b.x.test", "x.test", "c.x.test", "a.test"]),
        pick(&["GET", "POST", "get"]),
        pick(&[
            "/", "/a", "/a/", "/a/b", "/a/b/c/d", "/a//b", "/ab", "/pkg.S/M", "/pkg.T/N", "/pkg.S/N", "*",
        ]),
        prop::collection::vec(field, 0..4),
        pick(&["192.0.2.7", "192.0.2.8", "2001:db8::1", "198.51.100.1"]),
    )
        .prop_map(|(host, method, path, fields, client)| Drawn { host, method, path, fields, client })
}
