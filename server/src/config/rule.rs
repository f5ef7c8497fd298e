//! `rule`: which requests go where (INTERFACE, "Rule keys").

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use ops::config::{Placed, Problems, Section, Value};
use policy::host::Host;
use policy::rule::{Action, GrpcMatcher, HeaderMatcher, Matcher, Rule, Treatment, ValueMatcher};

use protocol::service_name::ServiceName;

use super::document::networks;
use super::limits::BODY_MOST;
use super::names::Names;
use super::principal::pattern;
use super::target::targets;
use super::timeouts::or_none;

/// A rule's `timeout`.
const TIMEOUT: (Duration, Duration) = (Duration::from_millis(1), Duration::from_secs(24 * 3600));
const RETRIES_MAX: u8 = 10;
const REQUESTS_MAX: u32 = 1_000_000;
const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];
const FOUND: u16 = 302;

pub(super) fn rules(
    sections: Vec<Section<'_>>,
    domain: &Host,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<Rule> {
    sections.into_iter().filter_map(|section| rule(section, domain, names, problems)).collect()
}

/// The rules of a listener at a client, which lead to services next to the server.
pub(super) fn reaching(
    sections: Vec<Section<'_>>,
    domain: &Host,
    names: &mut Names,
    problems: &mut Problems,
) -> Vec<Rule> {
    let read = |section: Section<'_>| {
        let span = section.span.clone();
        let rule = rule(section, domain, names, problems)?;
        if let Action::Forward(targets) = &rule.action
            && targets.iter().any(|target| !matches!(target.target, ServiceName::Plain(_)))
        {
            problems.add(span, "a rule of an ingress leads to services next to the server: to = \"SERVICE\"");
        }
        Some(rule)
    };
    sections.into_iter().filter_map(read).collect()
}

fn rule(mut section: Section<'_>, domain: &Host, names: &mut Names, problems: &mut Problems) -> Option<Rule> {
    let name = section.text("name", problems);
    let matcher = matcher(&mut section, domain, problems);
    let action = action(&mut section, names, problems);
    let treatment = treatment(&mut section, names, problems);
    section.require("name", "\"NAME\"", problems);
    section.finish(&[], problems);
    let name = names.add("rule", &name?, problems)?.into();
    Some(Rule { name, matcher, action: action?, treatment })
}

fn matcher(section: &mut Section<'_>, domain: &Host, problems: &mut Problems) -> Matcher {
    let host = section.text("host", problems).and_then(|text| pattern(&text, domain, problems));
    let path_prefix = section.text("path_prefix", problems).and_then(|text| text.parse(path, problems));
    let methods = section.texts("methods", problems);
    let methods = methods.iter().filter_map(|text| text.parse(method, problems)).collect();
    let headers = section.section("headers", problems).map_or_else(Vec::new, |it| headers(it, problems));
    let service = section.text("grpc_service", problems).and_then(|text| text.parse(grpc, problems));
    let method = section.text("grpc_method", problems).and_then(|text| text.parse(grpc, problems));
    let grpc = (service.is_some() || method.is_some()).then_some(GrpcMatcher { service, method });
    let clients = networks(section, "client", problems);
    Matcher { host, path_prefix, methods, headers, grpc, clients }
}

fn headers(mut section: Section<'_>, problems: &mut Problems) -> Vec<HeaderMatcher> {
    let entries = section.rest().into_iter();
    let read = |(name, value): (Placed<String>, Value<'_>)| {
        let value = value_matcher(value, problems);
        Some(HeaderMatcher { name: name.parse(field_name, problems)?, value: value? })
    };
    entries.filter_map(read).collect()
}

/// `"TEXT"` for exactly that, `true` for anything, `{ prefix = "TEXT" }` for a beginning.
fn value_matcher(value: Value<'_>, problems: &mut Problems) -> Option<ValueMatcher> {
    if value.is_text() {
        return Some(ValueMatcher::Exact(value.text(problems)?.value));
    }
    if value.is_flag() {
        let there = value.flag(problems)?;
        if !there.value {
            problems.add(there.span, "that a field is not there can not be asked for");
            return None;
        }
        return Some(ValueMatcher::Present);
    }
    if !value.is_table() {
        value.wrong_type("a string, true, or { prefix = \"…\" }", problems);
        return None;
    }
    let mut section = value.section(problems)?;
    let prefix = section.text("prefix", problems);
    section.require("prefix", "\"…\"", problems);
    section.finish(&[], problems);
    Some(ValueMatcher::Prefix(prefix?.value))
}

/// One of `to`, `redirect` and `respond`.
fn action(section: &mut Section<'_>, names: &mut Names, problems: &mut Problems) -> Option<Action> {
    let (to, redirect, respond) = (section.value("to"), section.value("redirect"), section.value("respond"));
    let actions: Vec<_> = [&to, &redirect, &respond].into_iter().flatten().map(Value::span).collect();
    match actions.as_slice() {
        [] => problems.add(
            section.span.clone(),
            "nothing is said about what becomes of a request: add to = \"GROUP/SERVICE\", redirect or respond",
        ),
        [_] => {}
        [.., extra] => problems.add(extra.clone(), "a rule has one of `to`, `redirect` and `respond`"),
    }
    let to = to.map(|value| targets(value, names, problems)).map(Action::Forward);
    let redirect = redirect.and_then(|value| self::redirect(value, problems));
    let respond = respond.and_then(|value| self::respond(value, problems));
    to.or(redirect).or(respond)
}

/// `"URL"`, or `{ to = "URL", status = 308 }`.
fn redirect(value: Value<'_>, problems: &mut Problems) -> Option<Action> {
    if value.is_text() {
        let to = value.text(problems)?.parse(location, problems)?;
        return Some(Action::Redirect { status: FOUND, to });
    }
    let mut section = value.section(problems)?;
    let to = section.text("to", problems);
    let status = section.number("status", 300..=399, problems);
    section.require("to", "\"https://example.com{path}\"", problems);
    section.finish(&[], problems);
    if let Some(status) = status.as_ref().filter(|status| !REDIRECTS.contains(&status.value)) {
        problems.add(status.span.clone(), "a redirect is 301, 302, 303, 307 or 308");
    }
    Some(Action::Redirect { status: status.map_or(FOUND, |it| it.value), to: to?.parse(location, problems)? })
}

/// `{ status = 200, body = "…", content_type = "text/plain" }`.
fn respond(value: Value<'_>, problems: &mut Problems) -> Option<Action> {
    let mut section = value.section(problems)?;
    let status = section.number("status", 200..=599, problems).map_or(200, |status| status.value);
    let content_type = section.text("content_type", problems);
    let body = section.text("body", problems).map_or_else(String::new, |body| body.value);
    section.finish(&[], problems);
    let content_type = content_type.and_then(|text| text.parse(field_value, problems));
    Some(Action::Respond { status, content_type, body })
}

fn treatment(section: &mut Section<'_>, names: &mut Names, problems: &mut Problems) -> Treatment {
    let set_host = section.text("set_host", problems).and_then(|text| text.parse(authority, problems));
    let strip_prefix = section.text("strip_prefix", problems).and_then(|text| text.parse(path, problems));
    let set_headers = section.section("set_headers", problems);
    let set_headers = set_headers.map_or_else(Vec::new, |it| fields(it, problems));
    let timeout = or_none(section, "timeout", TIMEOUT, problems).map(|timeout| timeout.value);
    let retries = section.number("retries", 0..=RETRIES_MAX, problems).map(|retries| retries.value);
    let max_body = section.bytes("max_body", 0..=BODY_MOST, problems).map(|bytes| bytes.value);
    let max_concurrent_requests = section.number("max_concurrent_requests", 0..=REQUESTS_MAX, problems);
    let max_concurrent_requests = max_concurrent_requests.map(|most| most.value);
    let plugins = section.texts("plugins", problems);
    let plugins = plugins.iter().map(|text| names.plugin(text).into()).collect();
    Treatment {
        set_host,
        strip_prefix,
        set_headers,
        timeout,
        retries,
        max_body,
        max_concurrent_requests,
        plugins,
    }
}

fn fields(mut section: Section<'_>, problems: &mut Problems) -> Vec<(String, String)> {
    let entries = section.rest().into_iter();
    let read = |(name, value): (Placed<String>, Value<'_>)| {
        let value = value.text(problems).and_then(|text| text.parse(field_value, problems));
        Some((name.parse(field_name, problems)?, value?))
    };
    entries.filter_map(read).collect()
}

fn path(text: &str) -> Result<String, &'static str> {
    let fits =
        text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
    if fits { Ok(text.to_owned()) } else { Err("a path begins with / and has no spaces, no ? and no #") }
}

fn method(text: &str) -> Result<String, String> {
    match http::Method::from_bytes(text.as_bytes()) {
        Ok(_) if text == text.to_ascii_uppercase() => Ok(text.to_owned()),
        Ok(_) => Err(format!("methods are case-sensitive: write {:?}", text.to_ascii_uppercase())),
        Err(_) => Err(format!("{text:?} is no method")),
    }
}

fn grpc(text: &str) -> Result<String, &'static str> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_');
    match !text.is_empty() && text.bytes().all(known) {
        true => Ok(text.to_owned()),
        false => Err("a gRPC name is of letters, digits, '.' and '_': pkg.Service, and Method for itself"),
    }
}

fn field_name(text: &str) -> Result<String, String> {
    HeaderName::from_bytes(text.as_bytes())
        .map(|name| name.as_str().to_owned())
        .map_err(|_| format!("{text:?} is no name of a field"))
}

fn field_value(text: &str) -> Result<String, &'static str> {
    match HeaderValue::from_str(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a field can not have this value"),
    }
}

fn authority(text: &str) -> Result<String, String> {
    match text.parse::<http::uri::Authority>() {
        Ok(authority) if !authority.as_str().contains('@') => Ok(text.to_owned()),
        _ => Err(format!("{text:?} is no host: write wiki.lan or wiki.lan:8080")),
    }
}

fn location(text: &str) -> Result<String, &'static str> {
    let complete = text.starts_with('/') || text.starts_with("http://") || text.starts_with("https://");
    let fits = complete && text.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(text.to_owned()) } else { Err("a redirect leads to http://…, https://… or a path") }
}
