//! How requests of a rule are changed and treated on their way, in the form in which the hot path needs it.

use std::borrow::Cow;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use policy::rule::{self, is_below};

use crate::headers::is_ours;

/// The treatment of a rule, ready for use.
#[derive(Debug, Clone, Default)]
pub struct Treatment {
    /// The `Host` that the service sees.
    pub(crate) set_host: Option<HeaderValue>,
    /// What is taken off the front of the path; without a `/` at its end.
    strip_prefix: Option<Box<str>>,
    /// Fields that take the place of those that the visitor sent, and of ours.
    pub(crate) set_headers: Vec<(HeaderName, HeaderValue)>,
    /// From the end of a request to the response head.
    pub(crate) timeout: Option<Duration>,
    /// How many further members may be tried.
    pub(crate) retries: Option<u8>,
    /// The longest body of a request; 0: no limit.
    pub(crate) max_body: Option<u64>,
    /// How many requests may be worked on at once; 0: no limit.
    pub(crate) max_requests: Option<usize>,
}

/// A rule that can not be followed. Whoever wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreatmentError {
    /// The text is no value of a `Host` field.
    #[error("set_host: {0:?} is not a host")]
    Host(String),
    /// It does not begin with `/`.
    #[error("strip_prefix: {0:?} does not begin with '/'")]
    Prefix(String),
    /// The text is no name or value of a field.
    #[error("set_headers: {0:?} is not a field")]
    Field(String),
    /// A field that decides about framing or routing, or that is of one connection only.
    #[error("set_headers: {0:?} can not be set by a rule")]
    NotSettable(String),
}

impl Treatment {
    /// What `written` asks for.
    ///
    /// # Errors
    /// The first thing that can not be done.
    pub fn of(written: &rule::Treatment) -> Result<Self, TreatmentError> {
        let set_host = written.set_host.as_ref().map(|host| {
            let value = HeaderValue::from_str(host).ok();
            let named = value.filter(|_| !host.is_empty() && !host.contains([' ', '/', '@', ',']));
            named.ok_or_else(|| TreatmentError::Host(host.clone()))
        });
        let strip_prefix = written.strip_prefix.as_ref().map(|prefix| match prefix.starts_with('/') {
            true => Ok(prefix.trim_end_matches('/').into()),
            false => Err(TreatmentError::Prefix(prefix.clone())),
        });
        let set_headers: Result<_, _> = written.set_headers.iter().map(field).collect();
        Ok(Self {
            set_host: set_host.transpose()?,
            strip_prefix: strip_prefix.transpose()?,
            set_headers: set_headers?,
            // What never comes to an end has no limit.
            timeout: written.timeout.map(|limit| if limit.is_zero() { Duration::MAX } else { limit }),
            retries: written.retries,
            max_body: written.max_body,
            max_requests: written
                .max_concurrent_requests
                .map(|most| usize::try_from(most).unwrap_or(usize::MAX)),
        })
    }

    /// Whether requests pass as they are.
    #[must_use]
    pub fn is_none(&self) -> bool {
        let Self { set_host, strip_prefix, set_headers, timeout, retries, max_body, max_requests } = self;
        let kept = set_host.is_none() && strip_prefix.is_none() && set_headers.is_empty();
        kept && timeout.is_none() && retries.is_none() && max_body.is_none() && max_requests.is_none()
    }

    /// Path and query as the service sees them. A path that is not below the prefix stays as it is.
    pub(crate) fn path<'p>(&self, path_and_query: &'p str) -> Cow<'p, str> {
        let Some(prefix) = &self.strip_prefix else { return Cow::Borrowed(path_and_query) };
        let path = path_and_query.split_once('?').map_or(path_and_query, |(path, _)| path);
        if !is_below(path, prefix) {
            return Cow::Borrowed(path_and_query);
        }
        let rest = path_and_query.get(prefix.len()..).unwrap_or(path_and_query);
        if rest.starts_with('/') || prefix.is_empty() {
            Cow::Borrowed(rest)
        } else {
            Cow::Owned(format!("/{rest}"))
        }
    }
}

fn field((name, value): &(String, String)) -> Result<(HeaderName, HeaderValue), TreatmentError> {
    let bad = || TreatmentError::Field(name.clone());
    let known = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
    if is_ours(&known) {
        return Err(TreatmentError::NotSettable(name.clone()));
    }
    Ok((known, HeaderValue::from_str(value).map_err(|_| bad())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> rule::Treatment {
        rule::Treatment::default()
    }

    #[test]
    fn a_prefix_is_taken_off_at_the_border_of_a_segment() {
        let strip = Some("/api/".to_owned());
        let treatment = Treatment::of(&rule::Treatment { strip_prefix: strip, ..written() }).unwrap();
        for (path, expected) in [
            ("/api/x?y=/api", "/x?y=/api"),
            ("/api", "/"),
            ("/api?x", "/?x"),
            ("/api/", "/"),
            ("/apix", "/apix"),
            ("/x?/api/", "/x?/api/"),
            ("*", "*"),
        ] {
            assert_eq!(treatment.path(path), expected, "{path}");
        }
        let all =
            Treatment::of(&rule::Treatment { strip_prefix: Some("/".to_owned()), ..written() }).unwrap();
        assert_eq!((all.path("/x"), all.path("*")), ("/x".into(), "*".into()));
    }

    #[test]
    fn what_a_rule_can_not_set_is_refused() {
        for name in
            ["connection", "content-length", "transfer-encoding", "host", "x-tunnel-hops", "te", "expect"]
        {
            let set_headers = vec![(name.to_owned(), "1".to_owned())];
            let refused = Treatment::of(&rule::Treatment { set_headers, ..written() }).unwrap_err();
            assert_eq!(refused, TreatmentError::NotSettable(name.to_owned()));
        }
        for (name, value) in [("", "x"), ("a b", "x"), ("x-a", "one\r\ntwo: 2")] {
            let set_headers = vec![(name.to_owned(), value.to_owned())];
            let refused = Treatment::of(&rule::Treatment { set_headers, ..written() }).unwrap_err();
            assert_eq!(refused, TreatmentError::Field(name.to_owned()));
        }
        for host in ["", "a b", "a\r\nb: c", "http://a"] {
            let set_host = Some(host.to_owned());
            assert!(Treatment::of(&rule::Treatment { set_host, ..written() }).is_err(), "{host}");
        }
        let strip_prefix = Some("api".to_owned());
        assert!(Treatment::of(&rule::Treatment { strip_prefix, ..written() }).is_err());
        assert!(Treatment::of(&written()).unwrap().is_none());
    }
}
