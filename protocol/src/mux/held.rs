//! What substreams hold: taken in, given back when they go, and given up when it is too much.

use bytes::BytesMut;

use super::Broken;
use super::id::Key;
use super::session::Mux;
use super::stream::Holder;

/// So many forgotten substreams, and as many as there are, may stand in queues.
const FORGOTTEN_MAX: usize = 1024;

impl Mux {
    pub(super) fn forget(&mut self, key: Key) {
        if let Some(stream) = self.streams.remove(key) {
            self.budget.release(stream.held());
            self.budget.retract(stream.receive.growth());
            self.forgotten = self.forgotten.saturating_add(1);
            if self.forgotten > FORGOTTEN_MAX.saturating_add(self.substreams()) {
                self.sweep();
            }
        }
    }

    /// Queues skip who is forgotten, but while nothing can be sent nobody looks at them.
    fn sweep(&mut self) {
        let Self { streams, accepts, updates, unacknowledged, orphans, scheduler, .. } = self;
        let lives = |key: &Key| streams.get(*key).is_some();
        accepts.retain(lives);
        updates.retain(lives);
        unacknowledged.retain(lives);
        orphans.retain(lives);
        scheduler.retain(lives);
        self.forgotten = 0;
    }

    /// Breaks off those that hold the most, if too much is held.
    pub(super) fn shed(&mut self) {
        let Some(goal) = self.budget.excess() else { return };
        let mut holders: Vec<(usize, Key)> = self
            .streams
            .iter()
            .filter(|(_, stream)| stream.held() > 0)
            .map(|(key, stream)| (stream.held(), key))
            .collect();
        holders.sort_unstable_by_key(|(held, _)| std::cmp::Reverse(*held));
        for (_, key) in holders {
            if self.budget.held() <= goal {
                break;
            }
            let orphan = matches!(self.streams.get(key).map(|stream| stream.holder), Some(Holder::Orphan(_)));
            self.drop_unread(key);
            self.break_off(key, Broken::OverBudget);
            // Also those that had ended or been reset before.
            self.broke(key);
            if orphan {
                self.forget(key);
            }
        }
    }

    /// Whatever had happened to the substream: what is missing now must not look like an end.
    fn drop_unread(&mut self, key: Key) {
        if let Some(stream) = self.streams.get_mut(key) {
            let unread = stream.inbox.clear();
            stream.truncated |= unread > 0;
            self.budget.release(unread);
        }
    }

    /// Adds received bytes to a substream.
    pub(super) fn store(&mut self, key: Key, piece: BytesMut) {
        let Some(stream) = self.streams.get_mut(key) else { return };
        if stream.state.is_reset() || matches!(stream.holder, Holder::Orphan(_)) {
            return;
        }
        self.budget.charge(piece.len());
        stream.inbox.push(piece);
        self.wake_reader(key);
        self.shed();
    }
}
