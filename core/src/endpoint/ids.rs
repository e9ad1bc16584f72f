//! Receive session IDs (RFC 7016 §2.2.2, §3.3): random, unique, and found in constant time.

use alloc::vec;
use alloc::vec::Vec;

use rand_core::CryptoRng;

/// The least size of the table; always a power of two.
const MIN_CAPACITY: usize = 16;

/// Which slot a receive session ID belongs to.
///
/// An open-addressing table indexed by the low bits of the ID. No hash is needed: every ID in it was drawn here,
/// uniformly at random, so nobody outside can choose where entries fall.
#[derive(Debug)]
pub(super) struct SessionIds {
    /// `(id, slot)`; ID 0 is reserved for startup (§3.3) and marks an empty place.
    places: Vec<(u32, u32)>,
    len: usize,
}

impl SessionIds {
    pub(super) fn new() -> Self {
        Self { places: vec![(0, 0); MIN_CAPACITY], len: 0 }
    }

    const fn mask(&self) -> usize {
        self.places.len() - 1
    }

    /// The place that holds `id`, or else the empty place where its search ends.
    fn find(&self, id: u32) -> usize {
        let mut place = id as usize & self.mask();
        loop {
            match self.places.get(place) {
                Some(&(found, _)) if found != id && found != 0 => place = (place + 1) & self.mask(),
                _ => return place,
            }
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<u32> {
        if id == 0 {
            return None;
        }
        self.places.get(self.find(id)).filter(|(found, _)| *found == id).map(|(_, slot)| *slot)
    }

    /// Draws an ID that no session has, and gives it to `slot`.
    pub(super) fn allocate(&mut self, slot: u32, rng: &mut dyn CryptoRng) -> u32 {
        if (self.len + 1) * 2 > self.places.len() {
            self.grow();
        }
        loop {
            let id = rng.next_u32();
            if id != 0 && self.get(id).is_none() {
                self.insert(id, slot);
                return id;
            }
        }
    }

    fn insert(&mut self, id: u32, slot: u32) {
        let place = self.find(id);
        if let Some(entry) = self.places.get_mut(place) {
            *entry = (id, slot);
            self.len += 1;
        }
    }

    fn grow(&mut self) {
        let larger = vec![(0, 0); self.places.len() * 2];
        let old = core::mem::replace(&mut self.places, larger);
        self.len = 0;
        for (id, slot) in old.into_iter().filter(|(id, _)| *id != 0) {
            self.insert(id, slot);
        }
    }

    /// Frees an ID, moving back the entries behind it so that no search ends too early.
    pub(super) fn remove(&mut self, id: u32) {
        if self.get(id).is_none() {
            return;
        }
        let mut hole = self.find(id);
        let mut place = hole;
        loop {
            place = (place + 1) & self.mask();
            let Some(&(moved, slot)) = self.places.get(place) else { break };
            if moved == 0 {
                break;
            }
            // The entry may fill the hole unless its search begins behind it.
            let home = moved as usize & self.mask();
            if (place.wrapping_sub(home) & self.mask()) >= (place.wrapping_sub(hole) & self.mask()) {
                if let Some(entry) = self.places.get_mut(hole) {
                    *entry = (moved, slot);
                }
                hole = place;
            }
        }
        if let Some(entry) = self.places.get_mut(hole) {
            *entry = (0, 0);
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use chacha20::ChaCha20Rng;
    use quickcheck::quickcheck;
    use rand_core::SeedableRng;

    quickcheck! {
        fn behaves_like_a_map(ops: Vec<(bool, u8)>) -> bool {
            let mut rng = ChaCha20Rng::from_seed([7; 32]);
            let (mut ids, mut model) = (SessionIds::new(), BTreeMap::new());
            for (step, (insert, pick)) in ops.into_iter().enumerate() {
                if insert || model.is_empty() {
                    let id = ids.allocate(step as u32, &mut rng);
                    assert!(model.insert(id, step as u32).is_none());
                } else {
                    let id = *model.keys().nth(pick as usize % model.len()).unwrap();
                    model.remove(&id);
                    ids.remove(id);
                    assert_eq!(ids.get(id), None);
                }
                assert!(model.iter().all(|(id, slot)| ids.get(*id) == Some(*slot)));
            }
            ids.len == model.len()
        }
    }

    #[test]
    fn the_startup_id_names_no_session() {
        assert_eq!(SessionIds::new().get(0), None);
    }

    #[test]
    fn colliding_entries_survive_a_removal_across_the_wrap() {
        let mut ids = SessionIds::new();
        let last = MIN_CAPACITY as u32 - 1;
        // All four begin their search at the last place, so three wrap around to the front.
        let colliding = [last, last + 16, last + 32, last + 48];
        for (slot, id) in colliding.into_iter().enumerate() {
            ids.insert(id, slot as u32);
        }
        ids.remove(last + 16);
        assert_eq!(colliding.map(|id| ids.get(id)), [Some(0), None, Some(2), Some(3)]);
    }

    #[test]
    fn half_of_the_places_are_used_before_there_are_more() {
        let mut rng = ChaCha20Rng::from_seed([7; 32]);
        let mut ids = SessionIds::new();
        for (slot, places) in (0..17).zip([[16; 8], [32; 8], [64; 8]].as_flattened()) {
            ids.allocate(slot, &mut rng);
            assert_eq!(ids.places.len(), *places, "{} IDs", ids.len);
        }
    }
}
