//! `cors`: which web pages may read the answers, by the origin of the page (Fetch standard, "CORS protocol").

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use policy::host::Host;
use policy::host_pattern::HostPattern;

use super::{Call, Flow, Options, Plugin, Reply, RequestHead, ResponseHead};

/// Browsers keep less than this anyway.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// The usual ones.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";

/// Whose pages.
#[derive(Debug)]
enum Origins {
    Any,
    These(Vec<OriginPattern>),
}

/// `https://app.example.com`, `https://*.example.com:8443` or `null`.
#[derive(Debug)]
struct OriginPattern {
    scheme: String,
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Debug)]
struct Cors {
    origins: Origins,
    methods: HeaderValue,
    /// None: those that the page asks for.
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: Option<HeaderValue>,
}

pub(super) fn build(options: &mut Options) -> Option<Arc<dyn Plugin>> {
    let origins = options.texts("origins");
    let credentials = options.flag("credentials", false);
    let origins = if origins.iter().any(|origin| origin == "*") {
        if credentials {
            options.wrong("origins", "is every page, which can not be together with credentials = true");
        }
        Origins::Any
    } else {
        if origins.is_empty() {
            options.wrong("origins", "is empty: add origins = [\"https://app.example.com\"]");
        }
        let mut these = Vec::new();
        for (origin, number) in origins.into_iter().zip(1_u64..) {
            match OriginPattern::parse(&origin) {
                Ok(pattern) => these.push(pattern),
                Err(error) => {
                    options.wrong("origins", format_args!("is wrong in its entry {number}: {error}"))
                }
            }
        }
        Origins::These(these)
    };
    let methods = options.parsed("methods", |text| text.parse::<Method>().map_err(|_| "that is no method"));
    let methods = match joined(&methods) {
        Some(methods) => methods,
        None => HeaderValue::from_static(METHODS),
    };
    let headers = joined(&options.field_names("headers"));
    let expose = joined(&options.field_names("expose"));
    let max_age = options.duration("max_age", Duration::ZERO..=MAX_AGE);
    let max_age = max_age.map(|age| HeaderValue::from(age.as_secs()));
    Some(Arc::new(Cors { origins, methods, headers, expose, credentials, max_age }))
}

/// The value of a field that lists `items`; none if there are none.
fn joined<T: Display>(items: &[T]) -> Option<HeaderValue> {
    let list = items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    HeaderValue::try_from(list).ok().filter(|list| !list.is_empty())
}

impl OriginPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (scheme, host, port) =
            split(text).ok_or("an origin is a scheme, a host and maybe a port: https://app.example.com")?;
        let host = HostPattern::parse(host).map_err(|error| error.to_string())?;
        Ok(Self { scheme: scheme.to_ascii_lowercase(), host, port })
    }

    fn matches(&self, origin: &str) -> bool {
        let Some((scheme, host, port)) = split(origin) else { return false };
        scheme == self.scheme
            && port == self.port
            && Host::parse(host).is_ok_and(|host| self.host.matches(&host))
    }
}

/// Scheme, host, and the port unless it is the scheme's own.
fn split(origin: &str) -> Option<(&str, &str, Option<u16>)> {
    let (scheme, authority) = origin.split_once("://")?;
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return None;
    }
    let digits = |port: &&str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
        Some((host, port)) => (host, Some(Some(port).filter(digits)?.parse::<u16>().ok()?)),
        None => (authority, None),
    };
    let own = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Some((scheme, host, port.filter(|port| Some(*port) != own)))
}

impl Cors {
    /// What the origin of the page is told; none if it is told nothing.
    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let mut origins = request.get_all(ORIGIN).iter();
        let (Some(origin), None) = (origins.next(), origins.next()) else { return None };
        match &self.origins {
            Origins::Any => Some(HeaderValue::from_static("*")),
            Origins::These(patterns) => {
                let text = origin.to_str().ok()?;
                patterns.iter().any(|pattern| pattern.matches(text)).then(|| origin.clone())
            }
        }
    }

    fn allow(&self, origin: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// The answer to a browser that asks before the request itself.
    fn preflight(&self, request: &HeaderMap) -> Reply {
        let mut headers = HeaderMap::new();
        let vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
        headers.insert(VARY, HeaderValue::from_static(vary));
        if let Some(origin) = self.allowed(request) {
            self.allow(origin, &mut headers);
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
            let asked = || request.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
            if let Some(names) = self.headers.clone().or_else(asked) {
                headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
            }
            if let Some(age) = &self.max_age {
                headers.insert(ACCESS_CONTROL_MAX_AGE, age.clone());
            }
        }
        Reply::given(StatusCode::NO_CONTENT, headers, Bytes::new())
    }
}

impl Plugin for Cors {
    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        let headers = &request.headers;
        let asks = *request.method() == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        Call::now(if asks { Flow::Answer(Box::new(self.preflight(headers))) } else { Flow::Pass })
    }

    fn on_response<'a>(&'a self, request: &'a RequestHead, response: &'a mut ResponseHead) -> Call<'a, ()> {
        let headers = &mut response.headers;
        // This is the place that decides; two answers would be none to a browser.
        for name in
            [ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_EXPOSE_HEADERS]
        {
            headers.remove(name);
        }
        if matches!(self.origins, Origins::These(_)) {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
        if let Some(origin) = self.allowed(&request.headers) {
            self.allow(origin, headers);
            if let Some(names) = &self.expose {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, names.clone());
            }
        }
        Call::now(())
    }
}
