//! What a switch leaves to be written into the state directory: it must not wait for the disk, and nothing of it may be
//! overtaken by what an earlier switch has left.

use std::sync::Arc;
use std::time::SystemTime;

use ops::spawn::Spawner;
use ops::state_dir::StateDir;
use parking_lot::Mutex;

use crate::identity::{JoinMaker, NewCertificate, Store};

/// Writes what the last switch has left.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// What is to be written yet; newer things take the place of older ones.
    waiting: Mutex<Waiting>,
    /// Held by who writes.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    certificate: Option<NewCertificate>,
    joins: Option<JoinMaker>,
}

impl Keeping {
    /// Writes the server's own certificate, and makes the join string of `default` follow, as far as they are new.
    pub(super) fn keep(
        self: &Arc<Self>,
        (state, identity): (&StateDir, &Arc<Store>),
        certificate: Option<NewCertificate>,
        joins: Option<JoinMaker>,
        spawner: &Spawner,
    ) {
        if certificate.is_none() && joins.is_none() {
            return;
        }
        {
            let mut waiting = self.waiting.lock();
            waiting.certificate = certificate.or(waiting.certificate.take());
            waiting.joins = joins.or(waiting.joins.take());
        }
        let (keeping, state, identity) = (self.clone(), state.clone(), identity.clone());
        spawner.spawn(spawner.here(), "keep identity", async move {
            let _turn = keeping.turn.lock().await;
            // Whoever comes later finds what this one has not taken: nothing, or something newer.
            let waiting = std::mem::take(&mut *keeping.waiting.lock());
            if tokio::task::spawn_blocking(move || waiting.write(&state, &identity)).await.is_err() {
                tracing::warn!("the server's certificate and the join string of `default` were not kept");
            }
        });
    }
}

impl Waiting {
    fn write(self, state: &StateDir, identity: &Store) {
        if let Some(Err(error)) = self.certificate.map(|certificate| certificate.keep(state)) {
            tracing::warn!(%error, "the server's own certificate can not be kept; the next start makes it anew");
        }
        let kept = self.joins.map(|joins| joins.keep_default(state, identity, SystemTime::now()));
        if let Some(Err(error)) = kept {
            tracing::warn!(%error, "the join string of `default` can not be kept");
        }
    }
}
