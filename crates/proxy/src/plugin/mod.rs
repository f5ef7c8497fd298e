//! Plugins: code that sees the heads of requests and responses and how they ended, at the ingress where the visitor came
//! in (DESIGN 5, step 3). Bodies pass them by.
//!
//! | module | what it is |
//! |---|---|
//! | [`Plugin`], [`Call`] | the phases, and how a plugin answers a call |
//! | [`RequestHead`], [`ResponseHead`], [`Reply`] | what plugins see and change, and what they answer |
//! | [`Chain`] | the plugins of a route, run in order, each call bounded in time and contained |
//! | [`Kinds`], [`Options`] | from a configuration to plugins; a program adds kinds of its own |
//! | the other files | one built-in kind each; their keys are in `spec/plugins.md` |

mod basic_auth;
mod call;
mod chain;
mod cors;
mod forward_auth;
mod head;
mod headers;
mod ip_allow;
mod kinds;
mod lacking;
mod options;
mod rate_limit;
mod reply;
mod seat;
mod set;
mod written;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::access::AccessLine;
use crate::context::Context;
use crate::service::Address;

pub use call::{Call, PluginError};
pub use chain::Chain;
pub(crate) use chain::{Ending, Plugged};
pub use head::{RequestHead, ResponseHead};
pub use kinds::{Kinds, NotBuilt};
pub use options::{Mistake, Options};
pub use reply::{Flow, Reply};
pub use seat::{OnFailure, Seat};
pub use set::{Plugins, PluginsError};

/// A plugin: every phase does nothing unless it is written.
///
/// A phase that has its result at once returns [`Call::now`] and costs no allocation; one that has to wait returns
/// [`Call::later`]. Calls of many requests run at the same time, on every worker. A phase must not block its thread, because
/// no time limit can reach it there.
///
/// What a call that fails, panics or takes too long has changed is undone; then [`OnFailure`] says what becomes of the
/// request.
pub trait Plugin: Send + Sync + 'static {
    /// It will be called from now on, in the program that `context` is of. Called once, before every other phase; never
    /// when a configuration is only checked.
    fn start(&self, _context: &Context) {}

    /// Everything that it connects to. Where the configuration comes from a server, the client's own user has to allow it.
    fn dials(&self) -> Vec<Address> {
        Vec::new()
    }

    /// A request has come in and its route is known, but no member has been chosen. The plugin may let it pass, change it,
    /// or answer it.
    fn on_request<'a>(&'a self, _request: &'a mut RequestHead) -> Call<'a, Flow> {
        Call::now(Flow::Pass)
    }

    /// The response is there, from a service or from a plugin further back in the chain, or it is a page of ours. Called
    /// for plugins that have let the request pass, the last one first.
    fn on_response<'a>(&'a self, _request: &'a RequestHead, _response: &'a mut ResponseHead) -> Call<'a, ()> {
        Call::now(())
    }

    /// The request is over, with all bytes of its response: `line` says how it ended. Called for plugins that have seen the
    /// request. What is to outlive the call is copied.
    fn on_end(self: Arc<Self>, _line: &AccessLine) -> Call<'static, ()> {
        Call::now(())
    }
}
