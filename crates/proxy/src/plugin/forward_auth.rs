//! `forward-auth`: another HTTP service decides, as with `forwardAuth` of traefik and `auth_request` of nginx.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri, Version};

use super::{Call, Flow, Options, Plugin, PluginError, Reply, RequestHead};
use crate::context::Context;
use crate::exchange::RequestBody;
use crate::headers::{Listed, forward_response, is_forwarded, is_hop_by_hop};
use crate::service::{Address, HttpPool, ServiceTarget, Speech};

/// The longest answer that a visitor is given, in bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// What the service is shown of a request if the configuration does not say.
const SHOWN: [HeaderName; 4] = [header::AUTHORIZATION, header::COOKIE, header::ACCEPT, header::USER_AGENT];

const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

struct ForwardAuth {
    target: ServiceTarget,
    /// `Host` for the service.
    authority: HeaderValue,
    path: PathAndQuery,
    /// Fields of the request that the service is shown.
    shown: Vec<HeaderName>,
    /// Fields of its answer that go into the request.
    copied: Vec<HeaderName>,
    /// The field of its answer that says who the visitor is.
    principal: Option<HeaderName>,
    /// None until it is started.
    client: OnceLock<HttpPool>,
}

pub(super) fn build(options: &mut Options) -> Option<Arc<dyn Plugin>> {
    let url = options.required("url", "http://127.0.0.1:9091/verify");
    let shown = options.field_names("request_headers");
    let shown = if shown.is_empty() { SHOWN.to_vec() } else { shown };
    let copied = options.field_names("response_headers");
    let ours = |name: &&HeaderName| {
        is_hop_by_hop(name)
            || matches!(**name, header::HOST | header::CONTENT_LENGTH | header::EXPECT)
            || is_forwarded(name.as_str())
    };
    for (key, names) in [("request_headers", &shown), ("response_headers", &copied)] {
        for name in names.iter().filter(ours) {
            options.wrong(key, format_args!("holds {name}, which the tunnel sets by itself"));
        }
    }
    let principal = options.field_name("principal_header");
    let target = url.map(|url| target(&url)).transpose();
    let (target, authority, path) = match target {
        Ok(target) => target?,
        Err(error) => {
            options.wrong("url", error);
            return None;
        }
    };
    let client = OnceLock::new();
    Some(Arc::new(ForwardAuth { target, authority, path, shown, copied, principal, client }))
}

/// Where the service is, and what to ask there.
fn target(url: &str) -> Result<(ServiceTarget, HeaderValue, PathAndQuery), String> {
    let is_url = || "is a URL: http://127.0.0.1:9091/verify".to_owned();
    let uri: Uri = url.parse().map_err(|_| is_url())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(is_url()) };
    let target = ServiceTarget::parse_http(&format!("{scheme}://{authority}"))
        .map_err(|error| format!("can not be reached: {error}"))?;
    if target.speech == Speech::H2c {
        return Err("is asked over HTTP/1.1: write http:// or https://".to_owned());
    }
    let host = HeaderValue::try_from(authority.as_str()).map_err(|_| is_url())?;
    let path = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    Ok((target, host, path))
}

impl ForwardAuth {
    /// The request to the service. What it says of the visitor is never what the visitor says of itself.
    fn question(&self, request: &RequestHead) -> Result<Request<RequestBody>, PluginError> {
        let unfit = || PluginError::new("the request can not be told to the service");
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, self.authority.clone());
        for name in &self.shown {
            for value in request.headers.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        let value = |text: &str| HeaderValue::try_from(text).map_err(|_| unfit());
        headers.insert(METHOD, value(request.method().as_str())?);
        headers.insert(PROTO, HeaderValue::from_static(request.scheme_name()));
        // In its one spelling, by which rules go too: the service may have rules of its own.
        let host = request.host();
        let host = request.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        headers.insert(HOST, value(&host)?);
        headers.insert(URI, value(request.path.as_str())?);
        headers.insert(FOR, value(&request.visitor().ip().to_string())?);
        let mut question = Request::new(RequestBody::empty());
        *question.method_mut() = Method::GET;
        *question.uri_mut() = Uri::from(self.path.clone());
        *question.version_mut() = Version::HTTP_11;
        *question.headers_mut() = headers;
        Ok(question)
    }

    async fn decide(&self, request: &mut RequestHead) -> Result<Flow, PluginError> {
        let pool = self.client.get().ok_or(PluginError::new("it was not started"))?;
        let asked = pool.ask(self.question(request)?, ANSWER_MAX).await;
        let answer = asked.map_err(|_| PluginError::new("the service that decides can not be asked"))?;
        if !answer.status().is_success() {
            return Ok(Flow::Answer(Box::new(denial(answer)?)));
        }
        for name in self.copied.iter().chain(&self.principal) {
            // Whatever the visitor has put there is not what the service said.
            request.take_over(name);
        }
        for name in &self.copied {
            for value in answer.headers().get_all(name) {
                request.headers.append(name, value.clone());
            }
        }
        if let Some(name) = &self.principal
            && let Some(who) = answer.headers().get(name)
        {
            let text = who.to_str().map_err(|_| PluginError::new("the service names nobody"))?;
            request.principal = Some(text.into());
            request.headers.insert(name, who.clone());
        }
        Ok(Flow::Pass)
    }
}

/// The answer of the service, for the visitor.
fn denial(answer: Response<Option<Bytes>>) -> Result<Reply, PluginError> {
    let (parts, body) = answer.into_parts();
    if parts.status.is_informational() {
        return Err(PluginError::new("the service that decides gave no answer"));
    }
    let listed = Listed::of(&parts.headers);
    let mut headers = HeaderMap::new();
    for (name, value) in forward_response(parts.status, &parts.headers, &listed) {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers.remove(header::CONTENT_LENGTH);
    let body = body.ok_or(PluginError::new("the answer of the service is too long, or cut"))?;
    Ok(Reply::given(parts.status, headers, body))
}

impl Plugin for ForwardAuth {
    fn start(&self, context: &Context) {
        match HttpPool::to(self.target.clone(), context) {
            // It is started once.
            Ok(pool) => drop(self.client.set(pool)),
            // Every call fails then.
            Err(error) => tracing::error!(service = %self.target, %error, "forward-auth can not be started"),
        }
    }

    fn dials(&self) -> Vec<Address> {
        vec![self.target.address.clone()]
    }

    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        Call::later(self.decide(request))
    }
}
