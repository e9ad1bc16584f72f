//! What all parts of a world share: its time, its queue of events, its packets, and the record of what happened.

use crate::arena::{Arena, Packet, PacketId};
use crate::counters::Counters;
use crate::fault::{DropCause, Edit, Faults};
use crate::id::NodeId;
use crate::queue::Effects;
use crate::rng::Key;
use crate::time::Time;
use crate::trace::{RecordKind, Trace};
use crate::wheel::Wheel;

/// An event of the world's queue.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Arrive {
        lane: u32,
        packet: PacketId,
    },
    Stage {
        lane: u32,
        packet: PacketId,
        stage: u8,
        generation: u16,
    },
    Dequeue {
        lane: u32,
        stage: u8,
        generation: u16,
    },
    Timer {
        node: u32,
        generation: u32,
    },
    /// A packet that a tap held back goes on from it through a port.
    Release {
        node: u32,
        port: u16,
        packet: PacketId,
    },
}

/// What lanes and devices share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) now: Time,
    pub(crate) wheel: Wheel<Event>,
    pub(crate) arena: Arena,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
    pub(crate) counters: Counters,
    /// Signals that lanes want sent: from where, about what, the MTU.
    pub(crate) signals: Vec<((NodeId, u16), Packet, u32)>,
    /// What the queue at work has done; empty in between.
    pub(crate) effects: Effects,
}

impl Core {
    pub(crate) fn record(&mut self, kind: RecordKind, place: (u32, bool), packet: Option<PacketId>) {
        self.trace.record(self.now, kind, place, packet.map(|id| self.arena.get(id)));
        if self.trace.observer.is_some() {
            self.show(kind, place, packet);
        }
    }

    /// Records that a packet goes on unchanged.
    #[inline]
    pub(crate) fn record_passing(&mut self, kind: RecordKind, place: (u32, bool), id: PacketId) {
        self.trace.pass(self.now, kind, place, self.arena.get(id));
        if self.trace.observer.is_some() {
            self.show(kind, place, Some(id));
        }
    }

    #[cold]
    fn show(&mut self, kind: RecordKind, place: (u32, bool), packet: Option<PacketId>) {
        let packet = packet.map(|id| (self.arena.get(id), self.arena.bytes(id)));
        self.trace.show(self.now, kind, place, packet);
    }

    pub(crate) fn lose(&mut self, id: PacketId, cause: DropCause, place: (u32, bool)) {
        self.record(RecordKind::Dropped(cause), place, Some(id));
        self.counters.drop_one(cause);
        self.arena.remove(id);
    }

    /// Changes a packet's bytes.
    pub(crate) fn corrupt(&mut self, id: PacketId, edit: Edit) {
        let ordinal = self.arena.get(id).decision_ordinal();
        let bytes = self.arena.bytes_mut(id);
        let old = bytes.len();
        match edit {
            Edit::FlipBit(bit) if old > 0 => {
                let bit = bit as usize % (old * 8);
                if let Some(byte) = bytes.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Edit::FlipBit(_) => {}
            Edit::Truncate(to) => bytes.truncate(to as usize),
            Edit::Extend(by) => {
                let by = (by as usize).min(65_507_usize.saturating_sub(old));
                let key = Key::mix(ordinal, "extend", "bytes");
                bytes.extend((0..by as u64).map(|n| (key.decide(n) & 0xff) as u8));
            }
        }
        self.arena.changed(id, old);
    }
}
