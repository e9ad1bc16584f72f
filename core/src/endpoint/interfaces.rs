//! What a driver tells of the endpoint's interfaces: they changed, they are full, they cannot send.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::Endpoint;
use super::entry::SessionEntry;
use crate::time::Instant;
use crate::transmit::{InterfaceId, Path};

/// Interfaces that take nothing more for now, and the sessions that wait for them.
#[derive(Debug, Default)]
pub(super) struct Blocked {
    interfaces: BTreeSet<InterfaceId>,
    sessions: BTreeSet<(InterfaceId, u32)>,
}

impl Blocked {
    pub(super) fn is_empty(&self) -> bool {
        self.interfaces.is_empty()
    }

    pub(super) fn contains(&self, interface: InterfaceId) -> bool {
        self.interfaces.contains(&interface)
    }
}

impl Endpoint {
    /// Says that an interface came up, or has another address or network now: its sessions probe at once, so that
    /// their far ends learn of the change and an outage ends without waiting for a timer (RFC 7016 §3.5.4.1).
    pub fn interface_changed(&mut self, now: Instant, interface: InterfaceId) {
        self.shared.advance(now);
        let uses =
            |entry: &SessionEntry| entry.session.transport().path().is_some_and(|path| path.interface == interface);
        let slots: Vec<u32> = self.table.iter().filter(|(_, entry)| uses(entry)).map(|(slot, _)| slot).collect();
        for slot in slots {
            self.with_session(slot, |session, cx| session.on_interface_change(cx));
        }
    }

    /// Says that an interface takes nothing more for now, or does so again. As long as it is blocked,
    /// [`poll_transmit`](Self::poll_transmit) gives nothing for it, and goes on with the others.
    pub fn set_blocked(&mut self, now: Instant, interface: InterfaceId, blocked: bool) {
        self.shared.advance(now);
        if blocked {
            self.shared.blocked.interfaces.insert(interface);
            return;
        }
        self.shared.blocked.interfaces.remove(&interface);
        let waiting = (interface, 0)..=(interface, u32::MAX);
        let slots: Vec<u32> = self.shared.blocked.sessions.range(waiting).map(|(_, slot)| *slot).collect();
        for slot in slots {
            self.shared.blocked.sessions.remove(&(interface, slot));
            // It is ready again.
            self.with_entry(slot, |_, _| {});
        }
    }

    /// Whether a session that is ready has to wait for its interface. It is taken out of the ring then.
    pub(super) fn holds_back(&mut self, slot: u32) -> bool {
        let Self { table, shared, .. } = self;
        if shared.blocked.is_empty() {
            return false;
        }
        let path = table.get(slot).and_then(|entry| entry.session.next_path());
        let Some(interface) = path.map(|path| path.interface).filter(|interface| shared.blocked.contains(*interface))
        else {
            return false;
        };
        table.not_ready(slot);
        shared.blocked.sessions.insert((interface, slot));
        true
    }

    /// Says that the system refused to send to `path`, with its error code. For the protocol such a datagram is lost on
    /// the way, and is sent again. If nothing else comes of it, the session's end tells the code:
    /// [`OpenFailure::NotSent`](crate::OpenFailure::NotSent), [`CloseReason::NotSent`](crate::CloseReason::NotSent).
    pub fn handle_send_error(&mut self, now: Instant, path: Path, os_error: i32) {
        self.shared.advance(now);
        let opening: Vec<u32> = self.table.index.opening_to(path.remote).collect();
        for slot in opening {
            self.with_entry(slot, |entry, _| {
                if let Some(opening) = entry.opening_mut() {
                    opening.not_sent = Some((path.remote, os_error));
                }
            });
        }
        let (_, env) = self.split();
        for slot in env.sessions_at(path.remote) {
            self.with_session(slot, |session, _| session.on_send_error(path, os_error));
        }
    }
}
