//! What a client may ask the server for: services next to the server, by name, as far as they are granted to it.

use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use policy::open_rate::OpenRate;
use protocol::code::Code;
use protocol::control::CloseReason;
use protocol::frame::FrameType;
use protocol::service_name::ServiceName;
use proxy::service::{Offered, Service};

use super::Live;
use crate::registry::Registry;

/// The other direction of one session.
pub(super) struct Reach {
    live: Arc<Live>,
    registry: Arc<Registry>,
    rate: Mutex<OpenRate>,
}

impl Reach {
    pub(super) fn new(live: Arc<Live>, registry: Arc<Registry>) -> Self {
        Self { live, registry, rate: Mutex::new(OpenRate::new(Instant::now())) }
    }
}

impl Offered for Reach {
    fn admit(&self) -> Result<(), Code> {
        if self.rate.lock().admit(Instant::now()) { Ok(()) } else { Err(Code::OVER_LIMIT) }
    }

    /// The grant is asked for first, so that a client can not find out which services there are.
    fn find(&self, name: &ServiceName) -> Result<Arc<Service>, Code> {
        let ServiceName::Plain(name) = name else { return Err(Code::UNKNOWN_SERVICE) };
        if !self.registry.may_reach(&self.live.login.principal, name) {
            return Err(Code::NOT_ALLOWED);
        }
        let service = self.registry.nearby().service(name);
        service.filter(|service| !service.is_disabled()).ok_or(Code::UNKNOWN_SERVICE)
    }

    fn without_head(&self, first: FrameType) {
        if (FrameType::PART..=FrameType::NOTICE).contains(&first) {
            self.live.cut(CloseReason::PROTOCOL_ERROR, "a session has one control substream");
        }
    }
}
