//! `ip-allow`: lets visitors in by their address.

use std::sync::Arc;

use http::StatusCode;
use ipnet::IpNet;

use super::{Call, Flow, Options, Plugin, Reply, RequestHead};

#[derive(Debug)]
struct IpAllow {
    /// Empty: all that are not denied.
    allow: Vec<IpNet>,
    /// Whatever `allow` says.
    deny: Vec<IpNet>,
}

pub(super) fn build(options: &mut Options) -> Option<Arc<dyn Plugin>> {
    let (allow, deny) = (options.networks("allow"), options.networks("deny"));
    if allow.is_empty() && deny.is_empty() {
        options.wrong("allow", "and `deny` are empty: add allow = [\"203.0.113.0/24\"]");
        return None;
    }
    Some(Arc::new(IpAllow { allow, deny }))
}

impl Plugin for IpAllow {
    fn on_request<'a>(&'a self, request: &'a mut RequestHead) -> Call<'a, Flow> {
        let address = request.visitor().ip().to_canonical();
        let within = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        let welcome = !within(&self.deny) && (self.allow.is_empty() || within(&self.allow));
        Call::now(if welcome {
            Flow::Pass
        } else {
            let sentence = "This address may not be visited from where you are.";
            Flow::Answer(Box::new(Reply::denied(StatusCode::FORBIDDEN, sentence)))
        })
    }
}
