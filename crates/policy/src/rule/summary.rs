//! Whether a rule is for a request, and how specific it is.

use std::cmp::Reverse;

use super::{Asked, HeaderMatcher, Matcher, ValueMatcher};
use crate::host_pattern::HostPattern;

/// How specific a rule is; the greatest of those that match wins. The fields are in the order of INTERFACE, "Precedence".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Summary {
    /// It names one host.
    pub exact_host: bool,
    /// Bytes of the suffix of its wildcard; 0 if it has none.
    pub wildcard: usize,
    /// Bytes of its path prefix.
    pub path: usize,
    /// It names a gRPC method.
    pub grpc_method: bool,
    /// It names a gRPC service.
    pub grpc_service: bool,
    /// The number of fields that it asks for.
    pub headers: usize,
    /// It names methods.
    pub method: bool,
    /// It names addresses of visitors.
    pub client: bool,
    /// Its place in the file.
    pub place: Reverse<usize>,
}

/// What two rules differ in, where that decides between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Criterion {
    /// The kind of host pattern.
    Host,
    /// The length of the wildcard.
    Wildcard,
    /// The length of the path prefix.
    Path,
    /// A gRPC method.
    GrpcMethod,
    /// A gRPC service.
    GrpcService,
    /// The number of fields.
    Headers,
    /// A method.
    Method,
    /// Addresses of visitors.
    Client,
    /// The place in the file.
    Place,
}

/// Why a rule is not for a request: the first thing that does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Miss<'r> {
    /// Another host.
    Host,
    /// Another path.
    Path,
    /// Another method.
    Method,
    /// No gRPC call, or another service or method.
    Grpc,
    /// This field is not there, or has other values.
    Header(&'r HeaderMatcher),
    /// The visitor comes from somewhere else.
    Client,
}

impl Summary {
    /// That of a rule at `place` in the file.
    #[must_use]
    pub fn of(matcher: &Matcher, place: usize) -> Self {
        let grpc = matcher.grpc.as_ref();
        Self {
            exact_host: matches!(matcher.host, Some(HostPattern::Exact(_))),
            wildcard: match &matcher.host {
                Some(HostPattern::Wildcard(suffix)) => suffix.as_str().len(),
                Some(HostPattern::Exact(_)) | None => 0,
            },
            path: matcher.prefix().len(),
            grpc_method: grpc.is_some_and(|grpc| grpc.method.is_some()),
            grpc_service: grpc.is_some_and(|grpc| grpc.service.is_some()),
            headers: matcher.headers.len(),
            method: !matcher.methods.is_empty(),
            client: !matcher.clients.is_empty(),
            place: Reverse(place),
        }
    }

    /// What decides between this one and a greater one.
    #[must_use]
    pub fn loses_by(&self, winner: &Self) -> Criterion {
        let differ = [
            (Criterion::Host, self.exact_host != winner.exact_host),
            (Criterion::Wildcard, self.wildcard != winner.wildcard),
            (Criterion::Path, self.path != winner.path),
            (Criterion::GrpcMethod, self.grpc_method != winner.grpc_method),
            (Criterion::GrpcService, self.grpc_service != winner.grpc_service),
            (Criterion::Headers, self.headers != winner.headers),
            (Criterion::Method, self.method != winner.method),
            (Criterion::Client, self.client != winner.client),
        ];
        differ.into_iter().find(|(_, differs)| *differs).map_or(Criterion::Place, |(criterion, _)| criterion)
    }
}

impl Matcher {
    /// The path prefix without the `/` that it may end with: what it means is the same.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.path_prefix.as_deref().map_or("", |prefix| prefix.trim_end_matches('/'))
    }

    /// Whether it is for `asked`.
    ///
    /// # Errors
    /// Why not.
    pub fn matches(&self, asked: &Asked<'_>) -> Result<(), Miss<'_>> {
        if self.host.as_ref().is_some_and(|host| !host.matches(asked.host)) {
            return Err(Miss::Host);
        }
        if !is_below(asked.path, self.prefix()) {
            return Err(Miss::Path);
        }
        self.matches_beyond_path(asked)
    }

    /// As [`Matcher::matches`], where host and path are known to fit.
    pub(super) fn matches_beyond_path(&self, asked: &Asked<'_>) -> Result<(), Miss<'_>> {
        if !self.methods.is_empty() && !self.methods.iter().any(|method| method == asked.method) {
            return Err(Miss::Method);
        }
        if let Some(wanted) = &self.grpc {
            let (service, method) = asked.grpc_call().ok_or(Miss::Grpc)?;
            let fits = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
            if !fits(&wanted.service, service) || !fits(&wanted.method, method) {
                return Err(Miss::Grpc);
            }
        }
        if let Some(missing) = self.headers.iter().find(|header| !header.matches(asked)) {
            return Err(Miss::Header(missing));
        }
        let client = asked.client.to_canonical();
        if !self.clients.is_empty() && !self.clients.iter().any(|net| net.contains(&client)) {
            return Err(Miss::Client);
        }
        Ok(())
    }
}

impl HeaderMatcher {
    fn matches(&self, asked: &Asked<'_>) -> bool {
        asked.fields.any(&self.name, &mut |value| match &self.value {
            ValueMatcher::Exact(exact) => value == exact.as_bytes(),
            ValueMatcher::Present => true,
            ValueMatcher::Prefix(prefix) => value.starts_with(prefix.as_bytes()),
        })
    }
}

/// Whether `path` is `prefix`, or goes on behind it with a new segment. `prefix` does not end with `/`.
#[must_use]
pub fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| prefix.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::fakes::{asked, matcher};

    #[test]
    fn prefixes_end_where_segments_end() {
        for (prefix, path, expected) in [
            ("/api", "/api", true),
            ("/api", "/api/", true),
            ("/api", "/api/x", true),
            ("/api", "/apix", false),
            ("/api", "/API", false),
            ("/api/", "/api", true),
            ("/api/", "/apix", false),
            ("/", "/anything", true),
            ("/", "*", true),
            ("/a", "*", false),
            ("/a/b", "/a", false),
        ] {
            let matcher = matcher(&format!("path={prefix}"));
            assert_eq!(
                asked("a.test", path, |asked| matcher.matches(asked).is_ok()),
                expected,
                "{prefix} {path}"
            );
        }
    }

    #[test]
    fn each_matcher_says_what_does_not_fit() {
        for (text, expected) in [
            ("", None),
            ("host=a.test path=/x method=GET header=x-a:1 client=192.0.2.0/24", None),
            ("host=*.test", None),
            ("host=b.test", Some(Miss::Host)),
            ("host=*.a.test", Some(Miss::Host)),
            ("path=/y", Some(Miss::Path)),
            ("method=get", Some(Miss::Method)),
            ("method=POST method=GET", None),
            ("service=x", Some(Miss::Grpc)),
            ("client=192.0.3.0/24", Some(Miss::Client)),
            ("client=192.0.3.0/24 client=192.0.2.7/32", None),
            // Over all values of a field.
            ("header=x-a:2", None),
            ("header=x-a header=x-b:pre*", None),
        ] {
            let matcher = matcher(text);
            let miss = asked("a.test", "/x/y", |asked| matcher.matches(asked).err());
            assert_eq!(miss, expected, "{text}");
        }
        for text in ["header=x-a:3", "header=x-c", "header=x-b:fix*"] {
            let matcher = matcher(text);
            let miss = asked("a.test", "/x/y", |asked| matcher.matches(asked).err());
            assert_eq!(miss, Some(Miss::Header(&matcher.headers[0])), "{text}");
        }
    }

    #[test]
    fn an_ipv4_visitor_is_the_same_in_an_ipv6_socket() {
        let matcher = matcher("client=192.0.2.0/24");
        let mapped = asked("a.test", "/", |asked| {
            let asked = Asked { client: "::ffff:192.0.2.9".parse().unwrap(), ..*asked };
            matcher.matches(&asked).is_ok()
        });
        assert!(mapped);
    }

    #[test]
    fn the_precedence_of_the_interface() {
        // Each beats all that follow, whatever these have besides.
        let rest = "method=GET client=::/0";
        let ordered = [
            "host=a.b.test".to_owned(),
            format!("host=*.b.test path=/long/prefix {rest}"),
            format!("host=*.test path=/long/prefix {rest}"),
            format!("path=/long/prefix {rest}"),
            format!("path=/p service=S rpc=M {rest}"),
            format!("path=/p rpc=M header=a header=b {rest}"),
            format!("path=/p service=S header=a header=b {rest}"),
            format!("path=/p header=a header=b {rest}"),
            "path=/p header=a header=b method=GET".to_owned(),
            "path=/p header=a header=b client=::/0".to_owned(),
            format!("path=/p header=a {rest}"),
            "path=/p method=GET".to_owned(),
            "path=/p client=::/0".to_owned(),
            "path=/p".to_owned(),
            "path=/p".to_owned(),
            format!("header=a {rest}"),
        ];
        let summaries: Vec<Summary> =
            ordered.iter().enumerate().map(|(place, text)| Summary::of(&matcher(text), place)).collect();
        for pair in summaries.windows(2) {
            assert!(pair[0] > pair[1], "{pair:#?}");
        }
        assert_eq!(summaries[14].loses_by(&summaries[13]), Criterion::Place);
        assert_eq!(summaries[2].loses_by(&summaries[1]), Criterion::Wildcard);
    }
}
