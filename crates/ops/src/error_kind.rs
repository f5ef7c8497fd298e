//! The closed list of kinds of failure (INTERFACE, "Errors").

use std::fmt;

macro_rules! error_kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// Why a request or a connection failed: the error page, the header `x-tunnel-error`, the
        /// log field `error` and the metric label `kind` all say this word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ErrorKind {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl ErrorKind {
            /// Every kind, in the order of INTERFACE.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The kind as users see it, in kebab case.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

error_kinds! {
    /// The service could not be connected to.
    ServiceRefused = "service-refused",
    /// The service did not answer in time.
    ServiceTimeout = "service-timeout",
    /// The service ended the exchange before it was complete.
    ServiceCut = "service-cut",
    /// TLS towards the service failed.
    ServiceTls = "service-tls",
    /// The name is known, but nobody is connected who could serve it.
    NoMember = "no-member",
    /// The name is not known.
    NoRoute = "no-route",
    /// The session that carried the substream died.
    SessionLost = "session-lost",
    /// No substream could be opened in time.
    OpenTimeout = "open-timeout",
    /// The visitor, or the opener of a substream, may not reach this.
    NotAllowed = "not-allowed",
    /// A limit or a budget is used up.
    OverLimit = "over-limit",
    /// The visitor's request is malformed.
    BadRequest = "bad-request",
    /// A rule or a plugin denied the request.
    Denied = "denied",
    /// The end that should serve the request takes no new work.
    Draining = "draining",
    /// A fault of ours.
    Internal = "internal",
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorKind;

    #[test]
    fn the_list_is_the_one_of_the_interface() {
        let names: Vec<_> = ErrorKind::ALL.iter().map(|kind| kind.as_str()).collect();
        assert_eq!(
            names.join(" "),
            "service-refused service-timeout service-cut service-tls no-member no-route session-lost \
             open-timeout not-allowed over-limit bad-request denied draining internal"
        );
    }
}
