//! A map for numbers that are given in order and done with in about the same order: fragments and messages.

use alloc::collections::VecDeque;

/// Memory for no more entries is kept while there are none: those of a send buffer of the default size, in messages of
/// 200 bytes. With less, a sender that is acknowledged in full after each burst would ask for it again each time.
const KEPT: usize = 1_024;

/// An ordered map from `u64`, stored side by side from the lowest live key to the highest.
///
/// Appending, finding and removing take constant time and, once it has grown, no allocation. Removed entries between
/// live ones stay as holes that know how far they reach, so that no run of them is walked twice; the owner limits how
/// far keys may spread, by asking [`span`](Self::span).
#[derive(Debug)]
pub(super) struct SeqMap<T> {
    slots: VecDeque<Slot<T>>,
    /// The key of the front slot, which is live unless there is none.
    base: u64,
    live: usize,
}

#[derive(Debug)]
enum Slot<T> {
    Live(T),
    /// Nothing is live from here to this key, which is not included.
    Hole(u64),
}

impl<T> SeqMap<T> {
    pub(super) const fn new() -> Self {
        Self { slots: VecDeque::new(), base: 0, live: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.live == 0
    }

    pub(super) const fn len(&self) -> usize {
        self.live
    }

    /// From the lowest live key to the highest, holes included.
    pub(super) fn span(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of memory that are taken, for entries to come too.
    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Slot<T>>()
    }

    /// What an entry takes, at most: memory that is full is doubled.
    pub(super) const ENTRY: usize = 2 * size_of::<Slot<T>>();

    fn index(&self, key: u64) -> Option<usize> {
        usize::try_from(key.checked_sub(self.base)?).ok()
    }

    pub(super) fn get(&self, key: u64) -> Option<&T> {
        match self.slots.get(self.index(key)?)? {
            Slot::Live(value) => Some(value),
            Slot::Hole(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let index = self.index(key)?;
        match self.slots.get_mut(index)? {
            Slot::Live(value) => Some(value),
            Slot::Hole(_) => None,
        }
    }

    pub(super) fn contains(&self, key: u64) -> bool {
        self.get(key).is_some()
    }

    /// Adds an entry behind all others: one with a lower key than any that was ever added is not taken.
    pub(super) fn append(&mut self, key: u64, value: T) {
        if self.slots.is_empty() {
            self.base = key;
        }
        let end = self.base + self.slots.len() as u64;
        if key < end {
            debug_assert!(false, "{key} is not behind {end}");
            return;
        }
        self.slots.extend((end..key).map(|_| Slot::Hole(key)));
        self.slots.push_back(Slot::Live(value));
        self.live += 1;
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<T> {
        let index = self.index(key)?;
        let slot = self.slots.get_mut(index).filter(|slot| matches!(slot, Slot::Live(_)))?;
        let slot = if index == 0 {
            self.base += 1;
            self.slots.pop_front()?
        } else {
            core::mem::replace(slot, Slot::Hole(key + 1))
        };
        let Slot::Live(value) = slot else { return None };
        self.live -= 1;
        while let Some(Slot::Hole(_)) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
        while let Some(Slot::Hole(_)) = self.slots.back() {
            self.slots.pop_back();
        }
        if self.slots.is_empty() && self.slots.capacity() > KEPT {
            self.slots = VecDeque::new();
        }
        Some(value)
    }

    /// The lowest live key.
    pub(super) fn first_key(&self) -> Option<u64> {
        (!self.slots.is_empty()).then_some(self.base)
    }

    pub(super) fn first(&self) -> Option<(u64, &T)> {
        let key = self.first_key()?;
        Some((key, self.get(key)?))
    }

    pub(super) fn last(&self) -> Option<(u64, &T)> {
        let key = self.base + (self.slots.len() as u64).checked_sub(1)?;
        Some((key, self.get(key)?))
    }

    pub(super) fn pop_first(&mut self) -> Option<(u64, T)> {
        let key = self.first_key()?;
        Some((key, self.remove(key)?))
    }

    /// The lowest live key that is not below `from`.
    pub(super) fn next_from(&mut self, from: u64) -> Option<u64> {
        let from = from.max(self.base);
        let mut key = from;
        while let Slot::Hole(end) = self.slots.get(self.index(key)?)? {
            key = *end;
        }
        // What was walked now leads straight there.
        let mut hole = from;
        while hole < key {
            let index = self.index(hole)?;
            let Some(Slot::Hole(end)) = self.slots.get_mut(index) else { break };
            hole = core::mem::replace(end, key);
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::vec::Vec;
    use quickcheck::quickcheck;

    quickcheck! {
        fn behaves_like_an_ordered_map(ops: Vec<(u8, u8)>) -> bool {
            let (mut map, mut model) = (SeqMap::new(), BTreeMap::new());
            let mut next = 0_u64;
            for (step, (op, number)) in ops.into_iter().enumerate() {
                let number = u64::from(number);
                match op % 4 {
                    0 | 1 => {
                        next += if op >= 128 { number % 5 } else { 0 };
                        map.append(next, step);
                        model.insert(next, step);
                        next += 1;
                    }
                    2 => {
                        let key = next.saturating_sub(number);
                        assert_eq!(map.remove(key), model.remove(&key));
                    }
                    _ => assert_eq!(map.pop_first(), model.pop_first()),
                }
                let from = next.saturating_sub(number);
                assert_eq!(map.next_from(from), model.range(from..).next().map(|(key, _)| *key));
                assert_eq!(map.first().map(|(key, value)| (key, *value)), model.first_key_value().map(|(k, v)| (*k, *v)));
                assert_eq!(map.last().map(|(key, value)| (key, *value)), model.last_key_value().map(|(k, v)| (*k, *v)));
                assert_eq!(map.get(from), model.get(&from));
                assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
                let span = model.last_key_value().map_or(0, |(last, _)| last - model.first_key_value().unwrap().0 + 1);
                assert_eq!(map.span() as u64, span);
            }
            true
        }
    }

    #[test]
    fn the_memory_of_many_entries_is_given_back() {
        let mut map = SeqMap::new();
        for count in [KEPT as u64, 10_000] {
            (0..count).for_each(|key| map.append(key, [0_u64; 4]));
            assert!(map.memory() >= count as usize * size_of::<Slot<[u64; 4]>>());
            (0..count).for_each(|key| assert!(map.remove(key).is_some()));
        }
        assert_eq!(map.memory(), 0);
    }

    #[test]
    fn a_run_of_holes_is_walked_once() {
        let mut map = SeqMap::new();
        (0..10_000).for_each(|key| map.append(key, ()));
        (1..9_999).for_each(|key| assert!(map.remove(key).is_some()));
        assert_eq!(map.next_from(1), Some(9_999));
        assert!(map.slots.iter().skip(1).take(9_998).all(|slot| matches!(slot, Slot::Hole(9_999))));
    }
}
