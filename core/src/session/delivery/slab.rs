//! Slots with generations: where a session keeps its flows.

use alloc::vec::Vec;

use crate::invariant::cannot_happen;
use crate::time::Instant;

/// What stands in a slot, and what the session's queues know of it.
#[derive(Debug)]
pub(in crate::session) struct Entry<T> {
    generation: u32,
    pub(in crate::session) value: T,
    /// The deadline that stands for this slot in the session's order of deadlines.
    pub(in crate::session) deadline: Option<Instant>,
    /// Whether the slot stands in a queue.
    pub(in crate::session) queued: bool,
}

/// A table of values in slots. Every value has a generation of its own, so that a stale handle finds nothing.
#[derive(Debug)]
pub(in crate::session) struct Slab<T> {
    slots: Vec<Option<Entry<T>>>,
    free: Vec<u32>,
    next_generation: u32,
}

impl<T> Slab<T> {
    pub(in crate::session) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), next_generation: 0 }
    }

    pub(in crate::session) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    fn entry(&self, slot: u32) -> Option<&Entry<T>> {
        self.slots.get(usize::try_from(slot).ok()?)?.as_ref()
    }

    pub(in crate::session) fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry<T>> {
        self.slots.get_mut(usize::try_from(slot).ok()?)?.as_mut()
    }

    /// Puts in what `make` makes of a slot and a generation; returns the slot.
    pub(in crate::session) fn insert(&mut self, make: impl FnOnce(u32, u32) -> T) -> u32 {
        let generation = self.next_generation;
        self.next_generation = generation.wrapping_add(1);
        let slot = self.free.pop().unwrap_or(self.end());
        let entry = Some(Entry { generation, value: make(slot, generation), deadline: None, queued: false });
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = entry,
            None => self.slots.push(entry),
        }
        slot
    }

    /// The memory of a table is given back when it becomes empty.
    pub(in crate::session) fn remove(&mut self, slot: u32) -> Option<T> {
        let entry = self.slots.get_mut(usize::try_from(slot).ok()?)?.take()?;
        self.free.push(slot);
        if self.free.len() == self.slots.len() {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
        Some(entry.value)
    }

    pub(in crate::session) fn get(&self, slot: u32) -> Option<&T> {
        Some(&self.entry(slot)?.value)
    }

    pub(in crate::session) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        Some(&mut self.entry_mut(slot)?.value)
    }

    /// The value in this slot, if it is of this generation.
    pub(in crate::session) fn get_exact(&self, slot: u32, generation: u32) -> Option<&T> {
        self.entry(slot).filter(|entry| entry.generation == generation).map(|entry| &entry.value)
    }

    /// All slots that may hold something.
    pub(in crate::session) fn slots(&self) -> core::ops::Range<u32> {
        0..self.end()
    }

    /// The slot after the last.
    fn end(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or_else(|_| cannot_happen!(u32::MAX, "flows are limited"))
    }

    pub(in crate::session) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().flatten().map(|entry| &entry.value)
    }

    pub(in crate::session) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten().map(|entry| &mut entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_generation_never_finds_what_took_its_slot() {
        let mut slab = Slab::new();
        let first = slab.insert(|slot, generation| (slot, generation));
        let second = slab.insert(|slot, generation| (slot, generation));
        assert_eq!((first, second, slab.len()), (0, 1, 2));
        let (_, old) = slab.remove(first).unwrap();
        assert_eq!(slab.get(first), None);
        let third = slab.insert(|slot, generation| (slot, generation));
        assert_eq!(third, first, "slots are used again");
        assert_eq!(slab.get_exact(third, old), None);
        assert!(slab.get_exact(third, 2).is_some());
        slab.remove(second);
        slab.remove(third);
        assert_eq!(slab.len(), 0);
        let fourth = slab.insert(|slot, generation| (slot, generation));
        assert_eq!(slab.get_exact(fourth, 0), None, "generations go on after the table was emptied");
    }
}
