//! Why a request gets the rule that it gets: every rule, and what it says to the request.

use std::fmt;

use super::{Action, Asked, Criterion, GrpcMatcher, Matcher, Miss, Rule, Summary, Treatment, ValueMatcher};

/// What every rule says to one request. Its text has one line per rule, the winner first, with what becomes of the request.
#[derive(Debug, Clone)]
pub struct Explanation<'t> {
    /// Every rule; first the winner, then those that match, the most specific first, then the others as in the file.
    pub tried: Vec<Tried<'t>>,
}

/// One rule, and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'t> {
    /// The rule.
    pub rule: &'t Rule,
    /// What became of it.
    pub verdict: Verdict<'t>,
}

/// What became of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict<'t> {
    /// It is the one.
    Wins,
    /// It matches, but the winner comes before it.
    LessSpecific {
        /// The name of the winner.
        than: &'t str,
        /// What decides between them.
        by: Criterion,
    },
    /// It is for other requests.
    Misses(Miss<'t>),
}

impl<'t> Explanation<'t> {
    pub(super) fn new(
        rules: impl Iterator<Item = (&'t Rule, &'t Summary)>,
        winner: Option<usize>,
        asked: &Asked<'_>,
    ) -> Self {
        let rules: Vec<_> = rules.collect();
        let winner = winner.and_then(|place| rules.get(place).copied());
        let mut tried: Vec<(Option<&Summary>, Tried<'t>)> = rules
            .into_iter()
            .map(|(rule, summary)| match (rule.matcher.matches(asked), winner) {
                (Err(miss), _) => (None, Tried { rule, verdict: Verdict::Misses(miss) }),
                (Ok(()), Some((than, best))) if best != summary => {
                    let by = summary.loses_by(best);
                    (Some(summary), Tried { rule, verdict: Verdict::LessSpecific { than: &than.name, by } })
                }
                (Ok(()), _) => (Some(summary), Tried { rule, verdict: Verdict::Wins }),
            })
            .collect();
        // Stable: those that miss stay in the order of the file.
        tried.sort_by_key(|(summary, _)| std::cmp::Reverse(*summary));
        Self { tried: tried.into_iter().map(|(_, tried)| tried).collect() }
    }

    /// The rule that the request gets.
    #[must_use]
    pub fn winner(&self) -> Option<&'t Rule> {
        self.tried.iter().find(|tried| tried.verdict == Verdict::Wins).map(|tried| tried.rule)
    }
}

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.tried.iter().map(|tried| tried.rule.name.len()).max().unwrap_or(0);
        for tried in &self.tried {
            writeln!(f, "{:width$}  {tried}", tried.rule.name)?;
            if tried.verdict == Verdict::Wins {
                let Rule { action, treatment, .. } = tried.rule;
                writeln!(f, "{:width$}    {action}", "")?;
                for line in lines(treatment) {
                    writeln!(f, "{:width$}    {line}", "")?;
                }
            }
        }
        Ok(())
    }
}

/// What became of the rule, without its name.
impl fmt::Display for Tried<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let matcher = &self.rule.matcher;
        match self.verdict {
            Verdict::Wins => write!(f, "wins: {matcher}"),
            Verdict::LessSpecific { than, by } => write!(f, "matches, but {than} {by}"),
            Verdict::Misses(miss) => write!(f, "{}", Missed { matcher, miss }),
        }
    }
}

/// What becomes of a request; not what it is answered, which may be long.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(targets) => {
                let weighted = targets.len() > 1;
                let targets = targets.iter().map(|target| match weighted {
                    true => format!("{} (weight {})", target.target, target.weight),
                    false => target.target.to_string(),
                });
                write!(f, "to {}", targets.collect::<Vec<_>>().join(", "))
            }
            Self::Redirect { status, to } => write!(f, "redirect {status} to {to}"),
            Self::Respond { status, body, .. } => write!(f, "respond {status} with {} bytes", body.len()),
        }
    }
}

/// How a request is treated, as the keys of a rule. The values of fields are not shown: they may be secrets.
fn lines(treatment: &Treatment) -> Vec<String> {
    let Treatment {
        set_host,
        strip_prefix,
        set_headers,
        timeout,
        retries,
        max_body,
        max_concurrent_requests,
        plugins,
    } = treatment;
    let mut lines = Vec::new();
    if !plugins.is_empty() {
        lines.push(format!("plugins {}", plugins.join(", ")));
    }
    lines.extend(set_host.as_ref().map(|host| format!("set_host {host}")));
    lines.extend(strip_prefix.as_ref().map(|prefix| format!("strip_prefix {prefix}")));
    if !set_headers.is_empty() {
        let names: Vec<_> = set_headers.iter().map(|(name, _)| name.as_str()).collect();
        lines.push(format!("set_headers {}", names.join(", ")));
    }
    lines.extend(timeout.map(|timeout| match timeout.is_zero() {
        true => "timeout none".to_owned(),
        false => format!("timeout {timeout:?}"),
    }));
    lines.extend(retries.map(|retries| format!("retries {retries}")));
    lines.extend(max_body.map(|bytes| format!("max_body {bytes}")));
    lines.extend(max_concurrent_requests.map(|most| format!("max_concurrent_requests {most}")));
    lines
}

/// As in "matches, but the other one …".
impl fmt::Display for Criterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Host => "names the host more exactly",
            Self::Wildcard => "has the longer wildcard",
            Self::Path => "has the longer path prefix",
            Self::GrpcMethod => "names a gRPC method",
            Self::GrpcService => "names a gRPC service",
            Self::Headers => "asks for more fields",
            Self::Method => "names the method",
            Self::Client => "names the visitor's address",
            Self::Place => "is as specific and comes first in the file",
        })
    }
}

/// All that a rule asks for.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.host.as_ref().map(|host| format!("host {host}")));
        parts.extend(self.path_prefix.as_ref().map(|prefix| format!("path {prefix}")));
        parts.extend(self.grpc.as_ref().map(|grpc| format!("gRPC {}", Call(grpc))));
        parts.extend(self.headers.iter().map(|header| format!("{} {}", header.name, Value(&header.value))));
        if !self.methods.is_empty() {
            parts.push(format!("method {}", self.methods.join(" or ")));
        }
        if !self.clients.is_empty() {
            parts.push(format!("visitor in {}", Nets(self)));
        }
        f.write_str(if parts.is_empty() { "every request" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}

struct Missed<'r> {
    matcher: &'r Matcher,
    miss: Miss<'r>,
}

impl fmt::Display for Missed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { matcher, miss } = self;
        match (miss, &matcher.host, &matcher.grpc) {
            (Miss::Host, Some(host), _) => write!(f, "host is not {host}"),
            (Miss::Path, _, _) => write!(f, "path is not below {}", matcher.prefix()),
            (Miss::Method, _, _) => write!(f, "method is not {}", matcher.methods.join(" or ")),
            (Miss::Grpc, _, Some(grpc)) => write!(f, "is no gRPC call of {}", Call(grpc)),
            (Miss::Header(header), _, _) => write!(f, "no {} {}", header.name, Value(&header.value)),
            (Miss::Client, _, _) => write!(f, "visitor is not in {}", Nets(matcher)),
            // A rule that does not ask for it does not miss by it.
            (Miss::Host | Miss::Grpc, _, _) => f.write_str("does not match"),
        }
    }
}

struct Call<'r>(&'r GrpcMatcher);

impl fmt::Display for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |word: &Option<String>| word.clone().unwrap_or_else(|| "*".to_owned());
        write!(f, "{}/{}", word(&self.0.service), word(&self.0.method))
    }
}

struct Value<'r>(&'r ValueMatcher);

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ValueMatcher::Exact(value) => write!(f, "= {value:?}"),
            ValueMatcher::Present => f.write_str("of any value"),
            ValueMatcher::Prefix(prefix) => write!(f, "= {prefix:?}…"),
        }
    }
}

struct Nets<'r>(&'r Matcher);

impl fmt::Display for Nets<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nets: Vec<String> = self.0.clients.iter().map(ToString::to_string).collect();
        f.write_str(&nets.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::rule::fakes::{asked, matchers, request, requests, rule};
    use crate::rule::{Table, WeightedTarget};
    use proptest::prelude::*;

    #[test]
    fn every_rule_says_why_it_lost() {
        let table = Table::new(vec![
            rule("other", "host=*.other.test path=/x"),
            rule("app", "host=app.test"),
            rule("write", "host=app.test path=/api method=PUT method=POST"),
            rule("api", "host=app.test path=/api header=x-a"),
            rule("canary", "host=app.test path=/api header=x-a:9"),
            rule("beta", "path=/api header=x-b:beta*"),
            rule("greeter", "host=app.test service=pkg.Greeter"),
            rule("inside", "client=10.0.0.0/8 client=192.168.0.0/16"),
            rule("deep", "path=/api/v2/"),
            rule("again", "host=app.test path=/api header=x-b"),
            rule("all", ""),
        ]);
        let text = asked("app.test", "/api/v1", |asked| table.explain(asked).to_string());
        let expected = "\
api      wins: host app.test, path /api, x-a of any value
           to web/app
again    matches, but api is as specific and comes first in the file
app      matches, but api has the longer path prefix
all      matches, but api names the host more exactly
other    host is not *.other.test
write    method is not PUT or POST
canary   no x-a = \"9\"
beta     no x-b = \"beta\"…
greeter  is no gRPC call of pkg.Greeter/*
inside   visitor is not in 10.0.0.0/8 or 192.168.0.0/16
deep     path is not below /api/v2
";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_winner_says_what_becomes_of_the_request() {
        let mut api = rule("api", "path=/api");
        let target = |text: &str, weight| WeightedTarget { target: text.parse().unwrap(), weight };
        api.action = Action::Forward(vec![target("web/api", 9), target("billing", 1)]);
        api.treatment = Treatment {
            set_host: Some("api.lan:8080".to_owned()),
            strip_prefix: Some("/api".to_owned()),
            set_headers: vec![
                ("x-key".to_owned(), "hunter2".to_owned()),
                ("x-env".to_owned(), "p".to_owned()),
            ],
            timeout: Some(Duration::from_millis(1500)),
            retries: Some(2),
            max_body: None,
            max_concurrent_requests: None,
            plugins: vec!["auth".into(), "per-ip".into()],
        };
        let mut old = rule("old", "path=/old");
        old.action = Action::Redirect { status: 308, to: "/new".to_owned() };
        let mut robots = rule("robots", "path=/robots.txt");
        robots.action = Action::Respond { status: 200, content_type: None, body: "none".to_owned() };
        let table = Table::new(vec![api, old, robots]);
        let winner = |path| {
            let text = asked("app.test", path, |asked| table.explain(asked).to_string());
            text.lines().take_while(|line| !line.contains("not below")).collect::<Vec<_>>().join("\n")
        };
        let expected = "\
api     wins: path /api
          to web/api (weight 9), billing (weight 1)
          plugins auth, per-ip
          set_host api.lan:8080
          strip_prefix /api
          set_headers x-key, x-env
          timeout 1.5s
          retries 2";
        assert_eq!(winner("/api"), expected);
        assert_eq!(winner("/old"), "old     wins: path /old\n          redirect 308 to /new");
        assert_eq!(
            winner("/robots.txt"),
            "robots  wins: path /robots.txt\n          respond 200 with 4 bytes"
        );
    }

    #[test]
    fn where_no_rule_matches_nobody_wins() {
        let table = Table::new(vec![rule("app", "host=app.test")]);
        asked("other.test", "/", |asked| {
            let explanation = table.explain(asked);
            assert!(explanation.winner().is_none());
            assert_eq!(explanation.tried[0].verdict, Verdict::Misses(Miss::Host));
        });
    }

    proptest! {
        #[test]
        fn the_winner_of_an_explanation_is_the_rule_that_is_found(
            matchers in prop::collection::vec(matchers(), 0..20),
            drawn in requests(),
        ) {
            let named = |(place, matcher)| Rule { matcher, ..rule(&format!("r{place}"), "") };
            let table = Table::new(matchers.into_iter().enumerate().map(named).collect());
            request(drawn.host, drawn.method, drawn.path, &drawn.fields, drawn.client, |asked| {
                let explanation = table.explain(asked);
                prop_assert_eq!(explanation.tried.len(), table.rules().len());
                prop_assert_eq!(explanation.winner(), table.find(asked).map(|found| found.rule));
                let matching = explanation.tried.iter();
                let matching = matching.filter(|tried| !matches!(tried.verdict, Verdict::Misses(_))).count();
                let naive = table.rules().iter().filter(|rule| rule.matcher.matches(asked).is_ok()).count();
                prop_assert_eq!(matching, naive);
                Ok(())
            })?;
        }
    }
}
