//! The control substream: the first that the client opens, for as long as the session lives (`spec/05-control.md`).

mod close;
mod drain;
mod health;
mod heartbeat;
mod message;
mod notice;
mod part;
mod pieces;
mod register;
mod registered;
mod unregister;

pub use close::{Close, CloseReason};
pub use drain::Drain;
pub use health::{Health, ServerHealth, ServerState, ServiceHealth};
pub use heartbeat::{Heartbeat, HeartbeatAck};
pub use message::Control;
pub use notice::{Notice, NoticeCode, NoticeLevel};
pub use part::{Part, PartAnswer, PartId, Parts};
pub use pieces::{OutOfOrder, Pieces, WholePart};
pub use register::{Register, Registration, RegistrationKind};
pub use registered::{Outcome, RegisterCode, Registered, RegistrationAnswer};
pub use unregister::Unregister;
