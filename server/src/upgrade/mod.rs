//! `tunneld upgrade`: another process of the program takes over, and nobody outside notices (DESIGN 6, "Drain and upgrade").
//!
//! ```text
//! the old process                                    the new process
//! takes no more clients, writes no more
//! starts it, gives it all sockets, lock ───────────▶ reads configuration and state, listens with what it was given
//!                                       ◀── ready ── could serve
//!                                        ─── go ───▶ writes, takes clients
//!                                       ◀─ serving ─
//! tells its clients to move, as many at
//! once as arrive                        ◀─ settled ─ whoever has come over and is registered
//! all are there, or have had 10 s ────────── take ─▶ closes sockets that are nobody's here, takes visitors
//! takes nobody any more                 ◀── taken ──
//! finishes what it has, and ends
//! ```
//!
//! A listening socket is one queue with two processes at its end: no connection is refused or lost, whoever accepts. Visitors
//! stay with the old process until the clients are at the new one, so that none of them waits for a member. Up to `take`
//! everything can be undone, and is if the old process is told to stop: it takes clients again and ends the new one.

mod candidate;
mod new;
mod old;
mod program;

pub(crate) use new::Inheritance;
pub(crate) use old::{Answer, Calls, Handing, Upgrade, UpgradeError};
pub(crate) use program::Program;

use std::net::SocketAddr;

use ops::sockets::Label;
use policy::principal::Principal;
use serde::{Deserialize, Serialize};

use crate::registry::InstanceKey;

/// What the old process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "say")]
enum Old {
    /// Sockets, a descriptor each; more may come.
    Sockets { labels: Vec<Label> },
    /// Those were all; with the lock of the state directory, and the admin socket.
    Rest,
    /// It is the new process's turn to write, and to let clients in.
    Go,
    /// A client that has come by a listener for visitors; its connection, of which nothing was read.
    Client { peer: SocketAddr },
    /// Visitors may come.
    Take,
}

/// What the new process says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "say")]
enum New {
    /// All that can fail has not.
    Ready,
    /// It has, and this is what there is to say about it.
    Refused { text: String },
    /// Clients may come.
    Serving,
    /// These instances have registered.
    Settled { instances: Vec<Moved> },
    /// Visitors are taken in.
    Taken,
}

/// An instance, as both processes know it.
#[derive(Debug, Serialize, Deserialize)]
struct Moved {
    principal: String,
    client: String,
    instance: String,
}

impl Moved {
    /// None if this version does not call anybody so.
    fn key(&self) -> Option<InstanceKey> {
        Some(InstanceKey {
            principal: Principal::parse(&self.principal).ok()?,
            client: self.client.parse().ok()?,
            instance: self.instance.parse().ok()?,
        })
    }
}

impl From<&InstanceKey> for Moved {
    fn from(key: &InstanceKey) -> Self {
        Self {
            principal: key.principal.to_string(),
            client: key.client.to_string(),
            instance: key.instance.to_string(),
        }
    }
}
