//! The flows of one direction, each with what the session's queues know of it.

use core::ops::Range;

use crate::slab::Slab;
use crate::time::Instant;

/// A flow in its slot.
#[derive(Debug)]
pub(in crate::session) struct Entry<T> {
    pub(in crate::session) value: T,
    /// The deadline that stands for this slot in the session's order of deadlines.
    pub(in crate::session) deadline: Option<Instant>,
    /// Whether the slot stands in a queue.
    pub(in crate::session) queued: bool,
}

/// See the module. The memory of a table is given back when it becomes empty.
#[derive(Debug)]
pub(in crate::session) struct FlowSlots<T>(Slab<Entry<T>>);

impl<T> FlowSlots<T> {
    pub(in crate::session) const fn new() -> Self {
        Self(Slab::new())
    }

    pub(in crate::session) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Puts in what `make` makes of a slot and a generation; returns the slot.
    pub(in crate::session) fn insert(&mut self, make: impl FnOnce(u32, u32) -> T) -> u32 {
        self.0.insert(|slot, generation| Entry { value: make(slot, generation), deadline: None, queued: false })
    }

    pub(in crate::session) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.0.remove(slot)?;
        self.0.trim_if_empty();
        Some(entry.value)
    }

    pub(in crate::session) fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        self.0.get_mut(slot)
    }

    pub(in crate::session) fn get(&self, slot: u32) -> Option<&T> {
        Some(&self.0.get(slot)?.value)
    }

    pub(in crate::session) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        Some(&mut self.0.get_mut(slot)?.value)
    }

    /// The flow in this slot, if it is of this generation.
    pub(in crate::session) fn get_exact(&self, slot: u32, generation: u32) -> Option<&T> {
        Some(&self.0.get_exact(slot, generation)?.value)
    }

    /// All slots that may hold a flow.
    pub(in crate::session) const fn slots(&self) -> Range<u32> {
        self.0.slots()
    }

    pub(in crate::session) fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values().map(|entry| &entry.value)
    }

    pub(in crate::session) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.values_mut().map(|entry| &mut entry.value)
    }
}
