//! The sessions with what every part of an endpoint uses, lent to the state machines of startup and to commands; and what
//! is done with one session after another: those that are due, ready, or concerned by a change.

use alloc::vec::Vec;
use core::time::Duration;

use super::entry::SessionEntry;
use super::shared::Shared;
use super::table::SessionTable;
use crate::handle::SessionHandle;
use crate::session::{Context, Session};
use crate::transmit::{Transmit, TransmitBuf};

/// See the module.
#[derive(Debug)]
pub(super) struct Env<'a> {
    pub(super) table: &'a mut SessionTable,
    pub(super) shared: &'a mut Shared,
}

impl Env<'_> {
    /// [`SessionTable::with`].
    pub(super) fn with<R>(&mut self, slot: u32, call: impl FnOnce(&mut SessionEntry, &mut Shared) -> R) -> Option<R> {
        self.table.with(slot, self.shared, call)
    }

    /// [`SessionTable::session`].
    pub(super) fn session<R>(
        &mut self,
        slot: u32,
        call: impl FnOnce(&mut Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        self.table.session(slot, self.shared, call)
    }

    /// The same by handle. `None` if that is stale.
    pub(super) fn by_handle<R>(
        &mut self,
        handle: SessionHandle,
        call: impl FnOnce(&mut Session, &mut Context<'_>) -> R,
    ) -> Option<R> {
        let slot = self.table.resolve(handle)?;
        self.session(slot, call)
    }

    /// Has `call` do something with each session that is `concerned`.
    pub(super) fn each(
        &mut self,
        concerned: impl Fn(&SessionEntry) -> bool,
        mut call: impl FnMut(&mut SessionEntry, &mut Shared),
    ) {
        let slots = self.table.iter().filter(|(_, entry)| concerned(entry)).map(|(slot, _)| slot);
        let slots: Vec<u32> = slots.collect();
        for slot in slots {
            self.with(slot, &mut call);
        }
    }

    /// Does everything that is due in sessions.
    pub(super) fn handle_due(&mut self) {
        let now = self.shared.now;
        while let Some(slot) = self.table.first_due(now) {
            self.with(slot, SessionEntry::handle_timeout);
            // A deadline that is still due would make the caller, and then the driver, spin.
            if self.table.first_due(now) == Some(slot) {
                debug_assert!(false, "the deadline of slot {slot} is not after {now:?}");
                self.table.postpone(slot, now + Duration::from_millis(1));
            }
        }
    }

    /// Closes sessions that hold what others need.
    pub(super) fn close_stalled(&mut self) {
        while let Some(slot) = self.table.stalled(self.shared.now) {
            self.session(slot, Session::on_stall);
        }
    }

    /// Tells writers that were refused because memory was short, and for whom there is some now.
    #[cold]
    pub(super) fn wake_writers(&mut self) {
        while self.shared.events.is_empty()
            && let Some(slot) = self.table.writable()
        {
            self.session(slot, |session, cx| {
                session.command(cx, |delivery, cx| delivery.sending.flows.memory_is_back(cx))
            });
        }
    }

    /// Something may be to be sent: startup goes first, and then what is most urgent of all sessions.
    #[inline(never)]
    pub(super) fn transmit(&mut self, buf: &mut TransmitBuf) -> Option<Transmit> {
        let mut transmit = self.shared.poll_startup(buf);
        while transmit.is_none() {
            let slot = self.table.take_ready()?;
            if self.is_held_back(slot) {
                self.table.not_ready(slot);
                continue;
            }
            transmit = self.session(slot, |session, cx| session.poll_transmit(cx, buf)).flatten();
            if transmit.is_none() {
                // It was mistaken: whatever the reason, it must not keep the others waiting, nor the caller.
                self.table.not_ready(slot);
            }
        }
        if let Some(transmit) = &transmit {
            let segment = transmit.segment_size.unwrap_or(transmit.len).max(1);
            self.shared.stats.datagrams_sent += transmit.len.div_ceil(segment) as u64;
            self.shared.stats.bytes_sent += transmit.len as u64;
        }
        transmit
    }

    /// Whether a session that is ready has to wait for its interface.
    fn is_held_back(&mut self, slot: u32) -> bool {
        let Self { table, shared } = self;
        !shared.blocked.is_empty()
            && table
                .get(slot)
                .and_then(|entry| entry.session.demand().next_path())
                .is_some_and(|path| shared.blocked.hold_back(path.interface, slot))
    }
}
