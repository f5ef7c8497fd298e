//! A plugin that turns programs away by what they say of themselves: an example of a plugin of one's own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use http::header::USER_AGENT;
use proxy::access::AccessLine;
use proxy::plugin::{Call, Flow, Kinds, OnFailure, Options, Plugin, Reply, RequestHead};

/// The kinds of `tunneld` and `tunnelc`, and `refuse-agents`.
#[must_use]
pub fn kinds() -> Kinds {
    Kinds::built_in().with("refuse-agents", OnFailure::Open, build)
}

/// Refuses requests whose `User-Agent` has one of its words in it.
#[derive(Debug)]
struct RefuseAgents {
    /// In lower case.
    words: Vec<String>,
    refused: AtomicU64,
}

/// `words = ["scraper"]`
fn build(options: &mut Options) -> Option<Arc<dyn Plugin>> {
    let words: Vec<_> = options.texts("words").iter().map(|word| word.to_lowercase()).collect();
    if words.is_empty() {
        options.wrong("words", "is empty: add words = [\"scraper\"]");
        return None;
    }
    Some(Arc::new(RefuseAgents { words, refused: AtomicU64::new(0) }))
}

impl Plugin for RefuseAgents {
    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        let agent = request.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        let agent = agent.to_lowercase();
        if self.words.iter().any(|word| agent.contains(word)) {
            let sentence = "Programs of this kind are not welcome here.";
            return Call::now(Flow::Answer(Box::new(Reply::denied(StatusCode::FORBIDDEN, sentence))));
        }
        Call::now(Flow::Pass)
    }

    fn on_end(self: Arc<Self>, line: &AccessLine) -> Call<'static, ()> {
        if line.status == Some(403) {
            let refused = self.refused.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(refused, "one more was turned away");
        }
        Call::now(())
    }
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;
    use http::{HeaderValue, Method};
    use policy::host::Host;
    use protocol::exchange::Scheme;

    use super::*;

    #[test]
    fn a_request_is_refused_by_its_agent() {
        let plugin = RefuseAgents { words: vec!["scraper".to_owned()], refused: AtomicU64::new(0) };
        for (agent, passes) in [("My-Scraper/1.0", false), ("curl/8", true)] {
            let host = Host::parse("shop.example.com").unwrap();
            let visitor = "203.0.113.9:1".parse().unwrap();
            let path = PathAndQuery::from_static("/");
            let mut head = RequestHead::new(Method::GET, Scheme::Https, host, path, visitor);
            head.headers.insert(USER_AGENT, HeaderValue::from_static(agent));
            let flow = plugin.on_request(&mut head);
            assert_eq!(matches!(flow, Call::Now(Ok(Flow::Pass))), passes, "{agent}");
        }
    }
}
