//! `headers`: sets, adds and removes fields of requests and responses.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Call, Flow, Options, Plugin, RequestHead, ResponseHead};
use crate::headers::{is_forwarded, is_hop_by_hop};

/// What is done to fields: first removed, then set, then added.
#[derive(Debug, Default)]
struct Changes {
    remove: Vec<HeaderName>,
    set: Vec<(HeaderName, HeaderValue)>,
    add: Vec<(HeaderName, HeaderValue)>,
}

impl Changes {
    fn read(options: &mut Options, decided_elsewhere: impl Fn(&HeaderName) -> bool) -> Self {
        let changes = Self {
            remove: options.field_names("remove"),
            set: options.fields("set"),
            add: options.fields("add"),
        };
        let set = changes.set.iter().map(|(name, _)| ("set", name));
        let add = changes.add.iter().map(|(name, _)| ("add", name));
        let remove = changes.remove.iter().map(|name| ("remove", name));
        for (key, name) in set.chain(add).chain(remove).filter(|(_, name)| decided_elsewhere(name)) {
            options.wrong(key, format_args!("holds {name}, which the tunnel sets by itself"));
        }
        changes
    }

    fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }

    const fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

#[derive(Debug)]
struct Headers {
    request: Changes,
    response: Changes,
}

pub(super) fn build(options: &mut Options) -> Option<Arc<dyn Plugin>> {
    let framing = |name: &HeaderName| is_hop_by_hop(name) || *name == header::CONTENT_LENGTH;
    let request = options.within("request", |options| {
        Changes::read(options, |name| {
            framing(name) || matches!(*name, header::HOST | header::EXPECT) || is_forwarded(name.as_str())
        })
    });
    let response = options.within("response", |options| Changes::read(options, framing));
    if request.is_empty() && response.is_empty() {
        options.wrong("request", "and `response` are empty: add request = { set = { x-name = \"value\" } }");
    }
    Some(Arc::new(Headers { request, response }))
}

impl Plugin for Headers {
    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        let Changes { remove, set, .. } = &self.request;
        for name in remove.iter().chain(set.iter().map(|(name, _)| name)) {
            request.take_over(name);
        }
        self.request.apply(&mut request.headers);
        Call::now(Flow::Pass)
    }

    fn on_response<'a>(&'a self, _request: &'a RequestHead, response: &'a mut ResponseHead) -> Call<'a, ()> {
        self.response.apply(&mut response.headers);
        Call::now(())
    }
}
