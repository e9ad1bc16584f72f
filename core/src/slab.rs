//! Slots with generations: where an endpoint keeps its sessions, and a session its flows.

use alloc::vec::Vec;

/// A place for a value, and the generation of what is in it now, or will be next.
#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// A table of values in slots. A slot that is used again has another generation, so that a stale handle finds nothing.
/// A slot whose generations are used up is not used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// Slots that are never used again.
    retired: usize,
    /// The generation that new slots begin with.
    first_generation: u32,
    /// The largest generation that a slot may begin with next.
    next_generation: u32,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), retired: 0, first_generation: 0, next_generation: 0 }
    }

    pub(crate) const fn len(&self) -> usize {
        self.slots.len() - self.free.len() - self.retired
    }

    /// Puts in what `make` makes of a slot and a generation; returns the slot.
    pub(crate) fn insert(&mut self, make: impl FnOnce(u32, u32) -> T) -> u32 {
        let slot = self.free.pop().unwrap_or_else(|| {
            // A vector begins with room for four, and most sessions of a server have one flow each way.
            if self.slots.len() == self.slots.capacity() {
                self.slots.reserve_exact(self.slots.len().max(1));
            }
            self.slots.push(Slot { generation: self.first_generation, value: None });
            (self.slots.len() - 1) as u32
        });
        if let Some(place) = self.slots.get_mut(slot as usize) {
            place.value = Some(make(slot, place.generation));
        }
        slot
    }

    /// Takes a value out; handles of it are stale from now on.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let place = self.slots.get_mut(slot as usize)?;
        let value = place.value.take()?;
        match place.generation.checked_add(1) {
            Some(generation) => {
                place.generation = generation;
                self.next_generation = self.next_generation.max(generation);
                self.free.push(slot);
            }
            None => self.retired += 1,
        }
        Some(value)
    }

    /// Gives the memory of an empty table back. What comes next has generations of its own, so a table with a slot that is
    /// retired is kept.
    pub(crate) fn trim_if_empty(&mut self) {
        if self.free.len() == self.slots.len() {
            self.first_generation = self.next_generation;
            self.slots = Vec::new();
            self.free = Vec::new();
        }
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.slots.get(slot as usize)?.value.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize)?.value.as_mut()
    }

    /// The value in this slot, if it is of this generation.
    #[inline]
    pub(crate) fn get_exact(&self, slot: u32, generation: u32) -> Option<&T> {
        self.slots.get(slot as usize).filter(|place| place.generation == generation)?.value.as_ref()
    }

    /// The same, to change it.
    #[inline]
    pub(crate) fn get_exact_mut(&mut self, slot: u32, generation: u32) -> Option<&mut T> {
        self.slots.get_mut(slot as usize).filter(|place| place.generation == generation)?.value.as_mut()
    }

    /// All slots that may hold something.
    pub(crate) const fn slots(&self) -> core::ops::Range<u32> {
        0..self.slots.len() as u32
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(slot, place)| Some((slot, place.value.as_ref()?)))
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|place| place.value.as_ref())
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|place| place.value.as_mut())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use quickcheck::quickcheck;

    type Handle = (u32, u32);

    fn insert(slab: &mut Slab<Handle>) -> Handle {
        let slot = slab.insert(|slot, generation| (slot, generation));
        *slab.get(slot).unwrap()
    }

    #[test]
    fn a_stale_handle_never_finds_what_took_its_slot() {
        let mut slab = Slab::new();
        let (first, second) = (insert(&mut slab), insert(&mut slab));
        assert_eq!((first.0, second.0, slab.len()), (0, 1, 2));
        assert_eq!(slab.remove(first.0), Some(first));
        assert_eq!((slab.get(first.0), slab.get_exact(first.0, first.1)), (None, None));
        assert_eq!(slab.remove(first.0), None);
        let third = insert(&mut slab);
        assert_eq!(third.0, first.0, "slots are used again");
        assert_eq!((slab.get_exact(first.0, first.1), slab.get_exact(third.0, third.1)), (None, Some(&third)));
        // Also not after its memory was given back.
        slab.remove(second.0);
        slab.remove(third.0);
        slab.trim_if_empty();
        assert_eq!((slab.len(), slab.slots()), (0, 0..0));
        let fourth = insert(&mut slab);
        for stale in [first, second, third] {
            assert_eq!(slab.get_exact(stale.0, stale.1), None);
        }
        assert_eq!(slab.get_exact(fourth.0, fourth.1), Some(&fourth));
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_not_used_again() {
        let mut slab = Slab::new();
        slab.first_generation = u32::MAX - 1;
        let (first, last) = {
            let first = insert(&mut slab);
            slab.remove(first.0);
            (first, insert(&mut slab))
        };
        assert_eq!((first, last), ((0, u32::MAX - 1), (0, u32::MAX)));
        assert_eq!(slab.remove(0), Some(last));
        assert_eq!(slab.len(), 0);
        slab.trim_if_empty();
        let next = insert(&mut slab);
        assert_eq!((next.0, slab.len()), (1, 1));
        for stale in [first, last] {
            assert_eq!(slab.get_exact(stale.0, stale.1), None);
        }
    }

    quickcheck! {
        fn no_handle_is_given_twice(ops: Vec<Option<u8>>) -> bool {
            let (mut slab, mut model, mut stale) = (Slab::new(), BTreeMap::new(), Vec::new());
            for op in ops {
                match op {
                    Some(pick) if !model.is_empty() => {
                        let slot = *model.keys().nth(usize::from(pick) % model.len()).unwrap();
                        assert_eq!(slab.remove(slot), model.get(&slot).copied());
                        stale.extend(model.remove(&slot));
                        slab.trim_if_empty();
                    }
                    _ => {
                        let handle: Handle = insert(&mut slab);
                        assert!(model.insert(handle.0, handle).is_none() && !stale.contains(&handle));
                    }
                }
                assert_eq!(slab.len(), model.len());
                assert!(stale.iter().all(|(slot, generation)| slab.get_exact(*slot, *generation).is_none()));
                assert!(slab.iter().eq(model.iter().map(|(slot, handle)| (*slot, handle))));
            }
            true
        }
    }
}
