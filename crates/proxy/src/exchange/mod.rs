//! One HTTP request with its response on a substream (`spec/07`): the end of the visitor opens it, the end of the service
//! answers it.

mod answer;
mod attempt;
mod bridge;
mod channel;
mod inbound;
mod interims;
mod opened;
mod opener;
mod outbox;
mod plugged;
mod replay;
mod request_body;
mod responder;
mod sending;
mod serving;
mod upgraded;
mod wait;
mod waiting;
mod wire_request;

pub(crate) use answer::AnswerBody;
pub(crate) use channel::{Broken, Channel, Order};
pub(crate) use interims::Interims;
pub(crate) use opener::{Opened, Opener, Unanswered};
pub(crate) use outbox::Frames;
pub(crate) use request_body::RequestBody;
pub(crate) use responder::respond;
pub(crate) use upgraded::carry_upgraded;
