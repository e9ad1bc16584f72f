//! What a driver tells of the endpoint's interfaces: they changed, they are full, they cannot send.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::Endpoint;
use super::env::Env;
use crate::handle::SessionHandle;
use crate::session::{MoveBasis, NetworkChange};
use crate::time::Instant;
use crate::transmit::{InterfaceId, Path};

/// Up to so many sessions probe when the network changes though they wait for nothing.
const PROBED_SESSIONS: usize = 64;

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

    /// Whether a session has to wait for its interface. It is [released](Self::release) with that.
    pub(super) fn hold_back(&mut self, interface: InterfaceId, slot: u32) -> bool {
        let blocked = self.contains(interface);
        if blocked {
            self.sessions.insert((interface, slot));
        }
        blocked
    }

    /// The interface takes more again. Returns the sessions that have waited for it.
    fn release(&mut self, interface: InterfaceId) -> Vec<u32> {
        self.interfaces.remove(&interface);
        let waiting: Vec<_> = self.sessions.range((interface, 0)..=(interface, u32::MAX)).copied().collect();
        waiting.iter().for_each(|session| {
            self.sessions.remove(session);
        });
        waiting.into_iter().map(|(_, slot)| slot).collect()
    }
}

impl Endpoint {
    /// Says that an interface came up, or has another address or network now: its sessions probe at once, so that
    /// their far ends learn of the change and an outage ends without waiting for a timer (RFC 7016 §3.5.4.1).
    pub fn interface_changed(&mut self, now: Instant, interface: InterfaceId) {
        self.shared.advance(now);
        self.env().change_network(|path| path.interface == interface, NetworkChange::Interface);
    }

    /// Says that a local address of an interface is gone, as when a laptop leaves a network. Sessions whose datagrams
    /// came to it do not send from it any more: they leave the source to the driver, and probe at once, so that their far
    /// ends learn of the change and follow (RFC 7016 §3.5.4.1, §3.5.4.2). Before there is another address that reaches
    /// the far end this changes nothing, and [`network_changed`](Self::network_changed) has them try again.
    pub fn local_address_removed(&mut self, now: Instant, interface: InterfaceId, address: IpAddr) {
        let uses = |path: &Path| path.interface == interface && path.local == Some(address);
        self.shared.advance(now);
        self.env().change_network(uses, NetworkChange::AddressRemoved);
    }

    /// Says that something changed in this machine's network: an address, a link or a route. Sessions that have heard
    /// nothing for longer than an answer takes probe at once, and send again with the first sign of life. If there are
    /// more than 64 sessions these are only those that wait for an answer: a server does not move, and its network may
    /// change often. Sessions that are opening send again what the system had refused.
    pub fn network_changed(&mut self, now: Instant) {
        self.shared.advance(now);
        let waiting_only = self.table.iter().nth(PROBED_SESSIONS).is_some();
        let mut env = self.env();
        env.change_network(|_| true, NetworkChange::Any { waiting_only });
        env.each(
            |entry| entry.opening().is_some(),
            |entry, shared| {
                if let Some(opening) = entry.opening_mut() {
                    opening.on_network_change(shared.now);
                }
                entry.drive_opening(shared);
            },
        );
    }

    /// Has an open session send over another interface, whose addresses have to be of the far end's family. What was
    /// measured on the old path is forgotten, and the far end follows as if this end's address had changed (RFC 7016
    /// §3.5.4.2). [`PathChanged`](crate::Event::PathChanged) follows. For a session whose own interface has no address or
    /// no route any more: nothing proves before that the other one reaches the far end.
    ///
    /// False if it sends over that interface already, or is not open.
    pub fn switch_interface(&mut self, now: Instant, session: SessionHandle, interface: InterfaceId) -> bool {
        self.shared.advance(now);
        let moved = self.env().by_handle(session, |session, cx| {
            let remote = session.transport().path()?.remote;
            Some(session.move_to(cx, Path::new(interface, remote), MoveBasis::Chosen))
        });
        moved.flatten().unwrap_or(false)
    }

    /// Says that an interface takes nothing more for now, or does so again. As long as it is blocked,
    /// [`poll_transmit`](Self::poll_transmit) gives nothing for it, and goes on with the others.
    pub fn set_blocked(&mut self, now: Instant, interface: InterfaceId, blocked: bool) {
        self.shared.advance(now);
        if blocked {
            self.shared.blocked.interfaces.insert(interface);
            return;
        }
        for slot in self.shared.blocked.release(interface) {
            // It is ready again.
            self.env().with(slot, |_, _| {});
        }
    }

    /// Says that the system refused to send to `path`, with its error code. For the protocol such a datagram is lost on
    /// the way, and is sent again. If nothing else comes of it, the session's end tells the code:
    /// [`OpenFailure::NotSent`](crate::OpenFailure::NotSent), [`CloseReason::NotSent`](crate::CloseReason::NotSent).
    pub fn handle_send_error(&mut self, now: Instant, path: Path, os_error: i32) {
        self.shared.advance(now);
        let mut env = self.env();
        let opening: Vec<u32> = env.table.index.opening_to(path.remote).collect();
        for slot in opening {
            env.with(slot, |entry, _| {
                if let Some(opening) = entry.opening_mut() {
                    opening.on_send_error(path, os_error);
                }
            });
        }
        for slot in env.sessions_at(path.remote) {
            env.session(slot, |session, _| session.on_send_error(path, os_error));
        }
    }
}

impl Env<'_> {
    /// The network of all sessions has changed whose path is so.
    fn change_network(&mut self, concerns: impl Fn(&Path) -> bool, change: NetworkChange) {
        self.each(
            |entry| entry.session.transport().path().is_some_and(|path| concerns(&path)),
            |entry, shared| entry.session.on_network_change(&mut shared.context(), change),
        );
    }
}
