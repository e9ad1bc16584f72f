//! Where sessions live: a slab whose handles carry a generation, so that a stale one names nothing.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::index::{Identity, Indexed};
use super::initiator::Opening;
use super::memory::Charge;
use super::reintroduce::Reintroduction;
use super::responder::Answered;
use crate::handle::SessionHandle;
use crate::session::Session;
use crate::time::Instant;
use crate::transmit::Path;
use crate::wire::Address;

/// One place for a session.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) occupant: Option<Box<Occupant>>,
}

/// A session, and what the endpoint keeps beside it.
#[derive(Debug)]
pub(super) struct Occupant {
    pub(super) session: Session,
    /// What of the endpoint's memory is charged to it.
    pub(super) charge: Charge,
    /// Startup as initiator, until S_OPEN.
    pub(super) opening: Option<Box<Opening>>,
    /// What was answered as responder.
    pub(super) answered: Option<Answered>,
    /// The receive session ID, 0 while there is none.
    pub(super) rx_id: u32,
    /// Since when it is in S_OPEN, or was.
    pub(super) opened: Option<Instant>,
    /// The far end has shown the session's keys.
    pub(super) proved: bool,
    /// Who the far end is, or claims to be, if that is known.
    pub(super) identity: Option<Identity>,
    /// Where the session is in the index.
    pub(super) indexed: Option<Indexed>,
    /// Further addresses to introduce the far end at (§3.5.1.6).
    pub(super) introduce_at: Vec<Address>,
    /// Who can introduce this end to the far end again.
    pub(super) introducers: Vec<Path>,
    /// They are being asked to.
    pub(super) reintroduction: Option<Box<Reintroduction>>,
}

impl Occupant {
    /// A session of which nothing is known yet.
    pub(super) fn new(session: Session, opening: Option<Box<Opening>>) -> Self {
        Self {
            session,
            charge: Charge::default(),
            opening,
            answered: None,
            rx_id: 0,
            opened: None,
            proved: false,
            identity: None,
            indexed: None,
            introduce_at: Vec::new(),
            introducers: Vec::new(),
            reintroduction: None,
        }
    }
}

/// All sessions of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Slots {
    /// Sessions in it.
    pub(super) const fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The handle that the next [`insert`](Self::insert) will use.
    pub(super) fn next_handle(&self) -> SessionHandle {
        match self.free.last() {
            Some(&slot) => {
                let generation = self.slots.get(slot as usize).map_or(0, |entry| entry.generation);
                SessionHandle { slot, generation }
            }
            None => SessionHandle { slot: self.slots.len() as u32, generation: 0 },
        }
    }

    /// Puts an occupant in the place that [`next_handle`](Self::next_handle) named.
    pub(super) fn insert(&mut self, occupant: Occupant) -> u32 {
        let occupant = Some(Box::new(occupant));
        if let Some(slot) = self.free.pop() {
            if let Some(entry) = self.slots.get_mut(slot as usize) {
                entry.occupant = occupant;
            }
            return slot;
        }
        self.slots.push(Slot { generation: 0, occupant });
        (self.slots.len() - 1) as u32
    }

    /// Takes the occupant out; handles of it are stale from now on.
    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Occupant>> {
        let entry = self.slots.get_mut(slot as usize)?;
        let occupant = entry.occupant.take()?;
        // A slot whose generations are used up is not used again.
        if let Some(generation) = entry.generation.checked_add(1) {
            entry.generation = generation;
            self.free.push(slot);
        }
        Some(occupant)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Occupant> {
        self.slots.get(slot as usize)?.occupant.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Occupant> {
        self.slots.get_mut(slot as usize)?.occupant.as_deref_mut()
    }

    /// The slot of a handle that is not stale.
    pub(super) fn resolve(&self, handle: SessionHandle) -> Option<u32> {
        let entry = self.slots.get(handle.slot as usize)?;
        (entry.generation == handle.generation && entry.occupant.is_some()).then_some(handle.slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Occupant)> {
        (0u32..).zip(&self.slots).filter_map(|(slot, entry)| Some((slot, entry.occupant.as_deref()?)))
    }
}
