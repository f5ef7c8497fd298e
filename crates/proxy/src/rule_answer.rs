//! Answers that rules give themselves: nobody behind the tunnel is asked.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Response, StatusCode};
use policy::host::Host;
use policy::rule::Action;

/// An answer of a rule.
#[derive(Debug, Clone)]
pub enum RuleAnswer {
    /// The visitor is sent elsewhere.
    Redirect {
        /// With what.
        status: StatusCode,
        /// Where to.
        to: Template,
    },
    /// It is given this.
    Respond {
        /// The status.
        status: StatusCode,
        /// The content type of the body.
        content_type: Option<HeaderValue>,
        /// All of it.
        body: Bytes,
    },
}

/// The target of a redirect, with places for what comes from the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Host,
    Path,
    Query,
}

/// An answer that can not be given. Whoever wrote the rule is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleAnswerError {
    /// A status that does not fit.
    #[error("{0} is not a status for this answer")]
    Status(u16),
    /// The target of a redirect is none.
    #[error(
        "redirect: {0:?} is not a target; {{host}}, {{path}} and {{query}} stand for those of the request"
    )]
    Target(String),
    /// Not the value of a `Content-Type`.
    #[error("respond: {0:?} is not a content type")]
    ContentType(String),
}

impl RuleAnswer {
    /// The answer of `action`; none if it sends requests on.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(action: &Action) -> Result<Option<Self>, RuleAnswerError> {
        Ok(match action {
            Action::Forward(_) => None,
            Action::Redirect { status, to } => {
                let known = StatusCode::from_u16(*status).ok();
                let known = known.filter(|status| matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308));
                let status = known.ok_or(RuleAnswerError::Status(*status))?;
                Some(Self::Redirect { status, to: Template::parse(to)? })
            }
            Action::Respond { status, content_type, body } => {
                let known = StatusCode::from_u16(*status).ok();
                let known = known.filter(|status| (200..600).contains(&status.as_u16()));
                // These have no body (RFC 9110 section 6.4.1).
                let bodyless = matches!(status, 204 | 205 | 304);
                let known = known.filter(|_| !bodyless || body.is_empty());
                let value = |text: &String| {
                    HeaderValue::from_str(text).map_err(|_| RuleAnswerError::ContentType(text.clone()))
                };
                Some(Self::Respond {
                    status: known.ok_or(RuleAnswerError::Status(*status))?,
                    content_type: content_type.as_ref().map(value).transpose()?,
                    body: Bytes::copy_from_slice(body.as_bytes()),
                })
            }
        })
    }

    /// The answer to a request for `path` and `query` at `host`; none if it would be no valid one.
    pub(crate) fn response(&self, host: &Host, path: &str, query: Option<&str>) -> Option<Response<Bytes>> {
        match self {
            Self::Redirect { status, to } => {
                let mut response = Response::new(Bytes::new());
                *response.status_mut() = *status;
                let location = HeaderValue::try_from(to.fill(host, path, query.unwrap_or_default())).ok()?;
                response.headers_mut().insert(LOCATION, location);
                Some(response)
            }
            Self::Respond { status, content_type, body } => {
                let mut response = Response::new(body.clone());
                *response.status_mut() = *status;
                if let Some(content_type) = content_type {
                    response.headers_mut().insert(CONTENT_TYPE, content_type.clone());
                }
                // Who changes the rule wants the change to be seen.
                response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                Some(response)
            }
        }
    }
}

impl Template {
    fn parse(text: &str) -> Result<Self, RuleAnswerError> {
        let error = || RuleAnswerError::Target(text.to_owned());
        if !leads_somewhere(text) || text.chars().any(|c| !c.is_ascii_graphic()) {
            return Err(error());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(error)?;
            pieces.push(Piece::Text(before.into()));
            pieces.push(match name {
                "host" => Piece::Host,
                "path" => Piece::Path,
                "query" => Piece::Query,
                _ => return Err(error()),
            });
            rest = after;
        }
        if rest.contains('}') {
            return Err(error());
        }
        pieces.push(Piece::Text(rest.into()));
        Ok(Self(pieces))
    }

    fn fill(&self, host: &Host, path: &str, query: &str) -> String {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Host => filled.push_str(host.as_str()),
                Piece::Path if filled.ends_with('/') => filled.push_str(path.trim_start_matches(['/', '*'])),
                Piece::Path => filled.push_str(if path == "*" { "/" } else { path }),
                // Without a query there is no `?` in front of it.
                Piece::Query if query.is_empty() && filled.ends_with('?') => drop(filled.pop()),
                Piece::Query => filled.push_str(query),
            }
        }
        // `//other.example` would be the name of a host, chosen by the visitor.
        match filled.strip_prefix('/') {
            Some(rest) => format!("/{}", rest.trim_start_matches(['/', '\\'])),
            None => filled,
        }
    }
}

/// Whether the host of a target is written in it, or that of the request: the rest of a request must not choose it.
fn leads_somewhere(target: &str) -> bool {
    let Some(rest) = target.strip_prefix("https://").or_else(|| target.strip_prefix("http://")) else {
        return target.starts_with("{path}") || (target.starts_with('/') && !target.starts_with("//"));
    };
    let ends = ["/", "?", "#", "{path}"].iter().filter_map(|end| rest.find(end)).min();
    let authority = rest.get(..ends.unwrap_or(rest.len())).unwrap_or_default();
    !authority.is_empty() && !authority.contains("{query}") && !authority.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(to: &str, path: &str, query: Option<&str>) -> String {
        let action = Action::Redirect { status: 308, to: to.to_owned() };
        let answer = RuleAnswer::of(&action).unwrap().unwrap();
        let response = answer.response(&Host::parse("a.test").unwrap(), path, query).unwrap();
        assert_eq!(response.status(), StatusCode::PERMANENT_REDIRECT);
        response.headers()[LOCATION].to_str().unwrap().to_owned()
    }

    #[test]
    fn a_redirect_takes_host_path_and_query_over() {
        let whole = "https://{host}{path}?{query}";
        assert_eq!(location(whole, "/a/b", Some("c=d")), "https://a.test/a/b?c=d");
        assert_eq!(location(whole, "/a/b", None), "https://a.test/a/b");
        assert_eq!(
            location("https://b.test/?from={host}&{query}", "/x", None),
            "https://b.test/?from=a.test&"
        );
        assert_eq!(location("/new{path}", "/a", None), "/new/a");
        assert_eq!(location("/new/{path}", "/a", None), "/new/a");
        assert_eq!(location(whole, "*", None), "https://a.test/");
    }

    #[test]
    fn a_redirect_never_leads_to_a_host_of_the_visitors_choice() {
        for path in ["//evil.test/x", "///evil.test/x", "/\\evil.test/x"] {
            assert_eq!(location("{path}", path, None), "/evil.test/x");
            assert_eq!(location("/{path}", path, None), "/evil.test/x");
        }
        assert_eq!(location("/{query}", "/", Some("/evil.test")), "/evil.test");
        assert_eq!(location("https://{host}{path}", "//evil.test", None), "https://a.test//evil.test");
    }

    #[test]
    fn answers_that_can_not_be_given_are_refused() {
        for (status, to) in [
            (200, "/x"),
            (308, "x"),
            (308, "//b.test"),
            (308, "https://{path}"),
            (308, "https://{host}{query}"),
            (308, ""),
            (308, "/{x}"),
            (308, "/{path"),
            (308, "/path}"),
            (308, "/a\r\nb"),
        ] {
            assert!(
                RuleAnswer::of(&Action::Redirect { status, to: to.to_owned() }).is_err(),
                "{status} {to}"
            );
        }
        let respond = |status, content_type: Option<&str>| {
            let content_type = content_type.map(str::to_owned);
            RuleAnswer::of(&Action::Respond { status, content_type, body: "x".to_owned() })
        };
        assert!(respond(200, Some("text/plain")).is_ok());
        for status in [0, 100, 101, 204, 304, 600] {
            assert_eq!(respond(status, None).unwrap_err(), RuleAnswerError::Status(status));
        }
        assert!(respond(200, Some("a\nb")).is_err());
    }
}
