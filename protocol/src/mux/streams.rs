//! The substreams of a session: by slot for those who hold them, by id for the wire.

use std::collections::HashMap;
use std::hash::RandomState;

use super::id::{Key, Role};
use super::stream::Stream;

#[derive(Debug)]
pub(super) struct Streams {
    slots: Vec<Option<Stream>>,
    free: Vec<usize>,
    /// Those that the peer may still send frames for.
    by_id: HashMap<u32, usize, RandomState>,
    inbound: usize,
    outbound: usize,
    next_id: u32,
    /// Substreams so far.
    generation: u32,
}

impl Streams {
    pub(super) fn new(role: Role, hasher: RandomState) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::with_hasher(hasher),
            inbound: 0,
            outbound: 0,
            next_id: role.first_id(),
            generation: 0,
        }
    }

    /// Substreams that the peer opened and that still take a place here.
    pub(super) fn inbound(&self) -> usize {
        self.inbound
    }

    /// Substreams that this end opened and that still take a place here.
    pub(super) fn outbound(&self) -> usize {
        self.outbound
    }

    /// Substreams so far, of both ends; from 2^32 on it counts anew.
    pub(super) fn ever(&self) -> u32 {
        self.generation
    }

    /// An id for a new substream of this end. After the last of 2^31 it starts again with those that are free.
    pub(super) fn fresh_id(&mut self) -> u32 {
        loop {
            let id = self.next_id;
            self.next_id = match id.checked_add(2) {
                Some(next) => next,
                None => 2_u32.saturating_sub(id % 2),
            };
            if !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    /// Goes on with this id.
    #[cfg(test)]
    pub(super) fn skip_to(&mut self, id: u32) {
        self.next_id = id;
    }

    pub(super) fn insert(&mut self, mut stream: Stream) -> Key {
        self.generation = self.generation.wrapping_add(1);
        stream.generation = self.generation;
        let count = if stream.inbound { &mut self.inbound } else { &mut self.outbound };
        *count = count.saturating_add(1);
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                self.slots.len().saturating_sub(1)
            }
        };
        let key = stream.key(slot);
        self.by_id.insert(key.id, slot);
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(stream);
        }
        key
    }

    pub(super) fn get(&self, key: Key) -> Option<&Stream> {
        self.slots.get(key.slot)?.as_ref().filter(|stream| stream.generation == key.generation)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        self.slots.get_mut(key.slot)?.as_mut().filter(|stream| stream.generation == key.generation)
    }

    pub(super) fn find(&self, id: u32) -> Option<Key> {
        let slot = *self.by_id.get(&id)?;
        self.slots.get(slot)?.as_ref().map(|stream| stream.key(slot))
    }

    /// The peer is done with it: frames for its id are for an unknown substream now.
    pub(super) fn unmap(&mut self, key: Key) {
        if self.by_id.get(&key.id) == Some(&key.slot) {
            self.by_id.remove(&key.id);
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Stream> {
        let place = self.slots.get_mut(key.slot)?;
        let stream = place.take_if(|stream| stream.generation == key.generation)?;
        self.free.push(key.slot);
        self.unmap(key);
        let count = if stream.inbound { &mut self.inbound } else { &mut self.outbound };
        *count = count.saturating_sub(1);
        if self.by_id.is_empty() && self.free.len() == self.slots.len() {
            // A burst has passed: its room is given back.
            *self = Self { slots: Vec::new(), free: Vec::new(), by_id: self.empty_map(), ..*self };
        }
        Some(stream)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Stream)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, stream)| stream.as_ref().map(|stream| (stream.key(slot), stream)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.slots.iter_mut().flatten()
    }

    fn empty_map(&self) -> HashMap<u32, usize, RandomState> {
        HashMap::with_hasher(self.by_id.hasher().clone())
    }
}
