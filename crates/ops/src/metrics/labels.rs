//! Label sets. Every one is bounded: by a closed enum, or by [`Bounded`](super::bounded::Bounded).

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{
    EncodeLabel, EncodeLabelSet, EncodeLabelValue, LabelSetEncoder, LabelValueEncoder,
};

use crate::error_kind::ErrorKind;

/// What a request was for: names from the configuration or of tunnels, never a raw host or path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Route {
    pub(super) route: Arc<str>,
    pub(super) group: Arc<str>,
    pub(super) service: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Request {
    #[prometheus(flatten)]
    pub(super) route: Route,
    pub(super) code: Code,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Error {
    pub(super) kind: ErrorKind,
    pub(super) route: Arc<str>,
    pub(super) group: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Ingress {
    pub(super) ingress: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Service {
    pub(super) group: Arc<str>,
    pub(super) service: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Server {
    #[prometheus(flatten)]
    pub(super) service: Service,
    #[prometheus(flatten)]
    pub(super) state: ServerState,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Plugin {
    pub(super) plugin: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PluginError {
    #[prometheus(flatten)]
    pub(super) plugin: Plugin,
    #[prometheus(flatten)]
    pub(super) reason: PluginFailure,
}

/// A status code, or `other` once a route has shown too many different ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Code {
    Status(u16),
    Other,
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => code.encode(encoder),
            Self::Other => "other".encode(encoder),
        }
    }
}

impl EncodeLabelValue for ErrorKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

/// A closed enum that is a label set of one label by itself.
macro_rules! closed_label {
    (
        $(#[doc = $doc:literal])+
        $label:ident as $key:literal { $($(#[doc = $word_doc:literal])+ $variant:ident = $word:literal,)+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $label {
            $($(#[doc = $word_doc])+ $variant,)+
        }

        impl $label {
            /// The value of the label.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl EncodeLabelSet for $label {
            fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
                ($key, self.as_str()).encode(encoder.encode_label())
            }
        }
    };
}

closed_label! {
    /// Which way bytes went.
    Direction as "direction" {
        /// From visitors to services.
        In = "in",
        /// From services to visitors.
        Out = "out",
    }
}

closed_label! {
    /// What is known of a server of a service.
    ServerState as "state" {
        /// It gets its share.
        Healthy = "healthy",
        /// Connections to it failed: it is put off for a while.
        Ejected = "ejected",
        /// Its probes fail.
        Sick = "sick",
        /// The operator has taken it out of service.
        Disabled = "disabled",
    }
}

closed_label! {
    /// Why a session gave way to a newer one, or left its place empty for one (DESIGN 6, "Sessions").
    ReplacedReason as "reason" {
        /// The newer session named it in `replaces`: it drains.
        Replaces = "replaces",
        /// The same client, instance and slot logged in anew: the old session is a corpse.
        Reconnected = "reconnected",
        /// Another instance of the same client logged in.
        Superseded = "superseded",
        /// Its other end fell silent: the path or the machine is gone.
        Silent = "silent",
        /// Its link failed, or its other end went without a word.
        Lost = "lost",
    }
}

closed_label! {
    /// How a retry at another member, or on another connection, ended.
    RetryOutcome as "outcome" {
        /// It was answered.
        Succeeded = "succeeded",
        /// It failed as well.
        Failed = "failed",
        /// It was not made: the retry budget was used up.
        OverBudget = "over-budget",
        /// It was not made: the request may have been processed already.
        Unsafe = "unsafe",
    }
}

closed_label! {
    /// How a plugin failed a request.
    PluginFailure as "reason" {
        /// It said so.
        Error = "error",
        /// It took too long.
        Timeout = "timeout",
        /// It panicked.
        Panic = "panic",
    }
}

closed_label! {
    /// How reading something again ended that had changed.
    ReloadOutcome as "outcome" {
        /// The new one is in use.
        Applied = "applied",
        /// The new one can not be used; the one before stays.
        Failed = "failed",
        /// The new one was used and undone, by an operator or by itself.
        RolledBack = "rolled-back",
    }
}

closed_label! {
    /// Why a guard closed a connection or a session before it cost anybody else anything.
    GuardReason as "reason" {
        /// The visitor's request head did not arrive in time.
        SlowHead = "slow-head",
        /// The visitor's request head is too large.
        LargeHead = "large-head",
        /// The visitor's request head is malformed or ambiguous.
        BadHead = "bad-head",
        /// The visitor's request body is not what its framing says.
        BadBody = "bad-body",
        /// A visitor's connection was idle for too long.
        Idle = "idle",
        /// Too many connections at once.
        TooMany = "too-many",
        /// A login was told to come back later: there were too many at once.
        Busy = "busy",
        /// A login or a registration was beyond what its principal may have.
        OverQuota = "over-quota",
        /// The TLS handshake of a peer failed.
        Tls = "tls",
        /// A peer's handshake did not arrive in time.
        SlowHandshake = "slow-handshake",
        /// A peer's handshake is malformed.
        BadHandshake = "bad-handshake",
        /// A peer broke the protocol within a session.
        Protocol = "protocol",
        /// A peer used up its flood budget.
        Flood = "flood",
    }
}
