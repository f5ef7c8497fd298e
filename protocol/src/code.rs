//! Why a substream or an exchange did not go well (`spec/08-errors.md`).

use crate::codec::wire_code;

wire_code! {
    /// The reason in `refused`, `failed`, `reset` and `stop`.
    Code {
        /// No such service in the receiver's table for this session.
        UNKNOWN_SERVICE = 1, "unknown-service";
        /// The service exists, but this session may not reach it.
        NOT_ALLOWED = 2, "not-allowed";
        /// The session carries as many substreams as the receiver takes.
        SESSION_FULL = 3, "session-full";
        /// A rate or a quota is used up.
        OVER_LIMIT = 4, "over-limit";
        /// Too many bytes are buffered; the substreams with the most go first.
        OVER_BUDGET = 5, "over-budget";
        /// The receiver takes no new work.
        DRAINING = 6, "draining";
        /// The substream broke the rules: bad frame, bad order, or a request that can not be passed on.
        BAD_REQUEST = 7, "bad-request";
        /// The service refused the connection, or it could not be dialled.
        SERVICE_REFUSED = 8, "service-refused";
        /// The service did not answer in time.
        SERVICE_TIMEOUT = 9, "service-timeout";
        /// The service broke off in the middle.
        SERVICE_CUT = 10, "service-cut";
        /// TLS with the service failed.
        SERVICE_TLS = 11, "service-tls";
        /// No byte came for longer than the idle limit.
        IDLE_TIMEOUT = 12, "idle-timeout";
        /// A fault of the program that says so.
        INTERNAL = 13, "internal";
        /// Whoever asked has gone away.
        CANCEL = 14, "cancel";
        /// The rest of the body is of no use: the response is complete without it.
        NOT_WANTED = 15, "not-wanted";
        /// The service did not accept the connection in time.
        SERVICE_UNREACHABLE = 16, "service-unreachable";
        /// The service says that it has not looked at the request.
        NOT_PROCESSED = 17, "not-processed";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_code_keeps_its_number() {
        assert_eq!(Code::SERVICE_CUT.to_string(), "service-cut");
        assert_eq!(Code(999).name(), None);
        assert_eq!(Code(999).to_string(), "code 999");
        assert_eq!(format!("{:?}", Code::CANCEL), "Code(cancel)");
    }

    #[test]
    fn codes_and_names_are_distinct() {
        let mut names: Vec<_> = Code::ALL.iter().filter_map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }
}
