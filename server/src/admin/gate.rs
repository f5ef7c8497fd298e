//! What a request over TCP goes through before a page sees it: who may ask, and from where.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use ops::admin::{Caller, Problem};
use ops::metrics::Metrics;

use super::tokens::Tokens;
use crate::admission::Warnings;

/// Lines in the log a second of refused requests.
const REFUSAL_LINES: u32 = 10;

/// What is checked at one listener.
#[derive(Debug)]
pub struct Gate {
    tokens: Tokens,
    /// Names by which it may be asked, in lower case, addresses of IPv6 in brackets. A page of a browser whose name was made
    /// to lead here (DNS rebinding) comes with another one.
    hosts: HashSet<String>,
    metrics: Metrics,
    warnings: Warnings,
}

impl Gate {
    /// Lets in who has one of `tokens` and asks for an address of this machine, for `at`, or for one of `hosts`.
    #[must_use]
    pub fn new(tokens: Tokens, at: SocketAddr, hosts: &[String], metrics: Metrics) -> Self {
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let at = name_of(&at.to_string()).map(str::to_owned);
        let hosts = own.into_iter().chain(at).chain(hosts.iter().map(|host| host.to_ascii_lowercase()));
        let warnings = Warnings::new(Instant::now(), REFUSAL_LINES);
        Self { tokens, hosts: hosts.collect(), metrics, warnings }
    }

    /// `pages`, behind it.
    pub fn before(self, pages: Router) -> Router {
        pages.layer(from_fn_with_state(Arc::new(self), check))
    }

    /// The name of the token that comes with a request, which names its host in its target too if it is as for a proxy.
    fn admits(&self, target: Option<&str>, fields: &HeaderMap) -> Result<Arc<str>, Refused> {
        let is_ours = |host: &str| self.hosts.contains(&host.to_ascii_lowercase());
        let mut hosts = fields.get_all(HOST).iter();
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok().and_then(name_of),
            _ => None,
        };
        if !host.is_some_and(is_ours) || !target.is_none_or(|target| name_of(target).is_some_and(is_ours)) {
            return Err(Refused::Host);
        }
        if fields.contains_key(ORIGIN) {
            return Err(Refused::Page);
        }
        let token = fields.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(bearer);
        token.and_then(|token| self.tokens.name(token)).ok_or(Refused::Token)
    }
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Host,
    Page,
    Token,
}

impl Refused {
    const fn code(self) -> &'static str {
        match self {
            Self::Host => "wrong-host",
            Self::Page => "no-pages",
            Self::Token => "no-token",
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let problem = match self {
            Self::Host => Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                self.code(),
                "this listener has another name: add the one you use to `hosts` of listen.admin",
            ),
            Self::Page => {
                Problem::new(StatusCode::FORBIDDEN, self.code(), "pages of browsers may not ask here")
            }
            Self::Token => Problem::new(
                StatusCode::UNAUTHORIZED,
                self.code(),
                "send `authorization: Bearer TOKEN` with a token of `token_file`",
            ),
        };
        let mut response = problem.into_response();
        if self == Self::Token {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

async fn check(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let from = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(from)| *from);
    let Some(from) = from else { return Refused::Token.into_response() };
    match gate.admits(request.uri().authority().map(Authority::as_str), request.headers()) {
        Ok(name) => {
            request.extensions_mut().insert(Caller::Token { name, from });
            next.run(request).await
        }
        Err(refused) => {
            if refused == Refused::Token {
                gate.metrics.auth_failure();
            }
            if let Some(left_out) = gate.warnings.take(Instant::now()) {
                let (refusal, path) = (refused.code(), request.uri().path());
                tracing::warn!(%from, refusal, path, left_out, "a request to the admin listener is refused");
            }
            refused.into_response()
        }
    }
}

/// A host without its port.
fn name_of(authority: &str) -> Option<&str> {
    match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').and_then(|end| authority.get(..end.checked_add(2)?)),
        None => authority.split(':').next(),
    }
}

/// The token of `Bearer TOKEN`; the scheme's case does not matter (RFC 9110, 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789abcdef";

    fn gate() -> Gate {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens");
        std::fs::write(&path, format!("ci:{TOKEN}\n")).unwrap();
        let tokens = Tokens::read(&path).unwrap();
        Gate::new(tokens, "[2001:db8::1]:7482".parse().unwrap(), &["Ops.lan".to_owned()], Metrics::new("0"))
    }

    fn asked(fields: &[(&'static str, &str)]) -> Result<Arc<str>, Refused> {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        gate().admits(None, &map)
    }

    #[test]
    fn a_token_a_name_of_this_place_and_no_page() {
        let bearer = format!("Bearer {TOKEN}");
        for host in
            ["localhost:1", "LOCALHOST", "127.0.0.1:7482", "[::1]:7482", "[2001:db8::1]", "ops.LAN:7482"]
        {
            assert_eq!(asked(&[("host", host), ("authorization", &bearer)]).as_deref(), Ok("ci"), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:7482", "", "[::2]", "[::1"]
        {
            assert_eq!(asked(&[("host", host), ("authorization", &bearer)]), Err(Refused::Host), "{host}");
        }
        assert_eq!(asked(&[("authorization", &bearer)]), Err(Refused::Host));
        let two = [("host", "localhost"), ("host", "evil.example"), ("authorization", bearer.as_str())];
        assert_eq!(asked(&two), Err(Refused::Host));
        let page =
            [("host", "localhost"), ("origin", "http://localhost"), ("authorization", bearer.as_str())];
        assert_eq!(asked(&page), Err(Refused::Page));
        for wrong in ["", "Bearer", "Bearer ", "Basic Y2k6", &bearer[..bearer.len() - 1], TOKEN] {
            assert_eq!(
                asked(&[("host", "localhost"), ("authorization", wrong)]),
                Err(Refused::Token),
                "{wrong}"
            );
        }
        assert_eq!(asked(&[("host", "localhost")]), Err(Refused::Token));
        let mut fields = HeaderMap::new();
        fields.insert("host", HeaderValue::from_static("localhost"));
        fields.insert("authorization", HeaderValue::from_str(&bearer).unwrap());
        assert!(gate().admits(Some("localhost:7482"), &fields).is_ok());
        for target in ["evil.example", "somebody@localhost"] {
            assert_eq!(gate().admits(Some(target), &fields), Err(Refused::Host), "{target}");
        }
        let lower = format!("bearer  {TOKEN}");
        assert!(asked(&[("host", "localhost"), ("authorization", &lower)]).is_ok());
    }
}
