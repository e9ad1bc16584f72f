//! Interfaces that come and go while a pump runs.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::UdpSocket;
use std::sync::Arc;

use rtmfp_core::{Instant, InterfaceId, SessionHandle, Transmit, TransmitBuf};

use super::Pump;
use super::rebind::{Failures, Rebind};
use crate::addresses::{self, Addresses};
use crate::locals::Locals;
use crate::socket::{Binding, Socket};
use crate::watch::Watch;

/// A socket, and what it could not send yet.
#[derive(Debug)]
pub(super) struct Interface {
    /// None: it has failed and is bound again, or was removed.
    pub(super) socket: Option<Socket>,
    /// Where it is bound, or is to be bound again.
    pub(super) binding: Binding,
    /// Its address is one of this machine's.
    present: bool,
    removed: bool,
    pub(super) failures: Failures,
    pub(super) rebind: Option<Rebind>,
    /// A flight of which the part from the given offset on is not sent: the socket is full.
    pub(super) unsent: Option<(Transmit, usize, TransmitBuf)>,
    /// The endpoint was told that the socket is full.
    pub(super) blocked: bool,
}

impl Interface {
    pub(super) fn new(now: Instant, socket: Socket) -> Self {
        Self {
            binding: socket.binding(),
            socket: Some(socket),
            present: true,
            removed: false,
            failures: Failures::new(now),
            rebind: None,
            unsent: None,
            blocked: false,
        }
    }

    pub(super) const fn is_removed(&self) -> bool {
        self.removed
    }

    /// Something may arrive over it.
    pub(super) const fn is_up(&self) -> bool {
        self.socket.is_some() && self.present
    }
}

/// Whether the system has a route from the address to the other. None: it has other troubles.
fn has_route(from: SocketAddr, to: SocketAddr) -> Option<bool> {
    use io::ErrorKind::{AddrNotAvailable, HostUnreachable, InvalidInput, NetworkDown, NetworkUnreachable};
    let mut any_port = from;
    any_port.set_port(0);
    match UdpSocket::bind(any_port).and_then(|socket| socket.connect(to)) {
        Ok(()) => Some(true),
        Err(error) => {
            let no_route = matches!(
                error.kind(),
                AddrNotAvailable | HostUnreachable | InvalidInput | NetworkDown | NetworkUnreachable
            );
            no_route.then_some(false)
        }
    }
}

/// An interface that reaches so many far ends of a kind is taken to reach the others.
const ROUTES_ASKED: usize = 16;

/// What was found of routes while sessions are looked at one after the other.
#[derive(Default)]
struct Routes {
    known: BTreeMap<(InterfaceId, IpAddr), Option<bool>>,
    reached: BTreeMap<InterfaceId, usize>,
}

impl Routes {
    /// As [`has_route`]. Whether there is one for many is asked of a few: one session more costs no system call.
    fn lead(&mut self, interface: InterfaceId, from: SocketAddr, to: SocketAddr) -> Option<bool> {
        let reached = self.reached.entry(interface).or_default();
        if *reached >= ROUTES_ASKED {
            return Some(true);
        }
        let known = self.known.entry((interface, to.ip())).or_insert_with(|| {
            let route = has_route(from, to);
            *reached += usize::from(route == Some(true));
            route
        });
        *known
    }
}

impl Pump {
    /// Adds an interface. Identifiers of removed ones are not used again.
    ///
    /// # Errors
    /// `OutOfMemory` if all identifiers are used.
    pub fn add_socket(&mut self, socket: Socket) -> io::Result<InterfaceId> {
        let id = u16::try_from(self.interfaces.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.interfaces.push(Interface::new(self.clock.now(), socket));
        self.sockets_changed();
        Ok(InterfaceId(id))
    }

    /// Closes an interface's socket. Its sessions go on over another interface that has a route to their far end, if
    /// there is one. False if there is no such interface.
    pub fn remove_interface(&mut self, interface: InterfaceId) -> bool {
        let now = self.clock.now();
        let Some(state) = self.interfaces.get_mut(usize::from(interface.0)).filter(|state| !state.removed) else {
            return false;
        };
        (state.removed, state.rebind) = (true, None);
        self.close(now, interface);
        self.move_sessions(now);
        true
    }

    /// Gives an interface another socket. Its sessions probe at once, and their far ends follow. False if there is no
    /// such interface.
    pub fn replace_socket(&mut self, interface: InterfaceId, socket: Socket) -> bool {
        let now = self.clock.now();
        if self.interfaces.get(usize::from(interface.0)).is_none_or(|state| state.removed) {
            return false;
        }
        self.close(now, interface);
        self.open(now, interface, socket, Failures::new(now));
        true
    }

    /// Changes whenever [`sockets`](Self::sockets) gives others: whoever waits on them has to wait on the new ones.
    #[must_use]
    pub const fn sockets_version(&self) -> u64 {
        self.sockets_version
    }

    /// Has the machine's addresses, links and routes watched, and `wake` called on another thread when they change: call
    /// [`turn`](Self::turn) soon then. It looks after the interfaces, as [`check_interfaces`](Self::check_interfaces)
    /// does. One thread watches for all endpoints of a process. The drivers call this, and go on without it if it fails.
    /// Without effect if it was [switched off](Self::set_watching).
    ///
    /// # Errors
    /// As the system tells; `Unsupported` on other systems than Linux.
    pub fn watch_interfaces(&mut self, wake: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
        if self.watching {
            self.watch = Some(Watch::new(wake)?);
        }
        Ok(())
    }

    /// Whether [`watch_interfaces`](Self::watch_interfaces) has an effect. On unless switched off.
    pub fn set_watching(&mut self, on: bool) {
        self.watching = on;
        if !on {
            self.watch = None;
        }
    }

    /// Whether changes of the machine's network are noticed. Otherwise sessions survive them too, but take longer.
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watch.as_ref().is_some_and(Watch::works)
    }

    /// Looks which addresses the machine has, and tells the endpoint what that means. Sessions whose address is gone
    /// probe from another, or go on over another interface that has a route to their far end. Those that wait for an
    /// answer try again at once. Sockets that have failed are bound again. For programs that notice changes themselves.
    pub fn check_interfaces(&mut self) {
        let now = self.clock.now();
        let addresses = Addresses::now();
        for id in self.ids() {
            let Some(state) = self.interfaces.get_mut(usize::from(id.0)) else { continue };
            if state.rebind.is_some() {
                self.rebind_after_change(now, id);
            } else if state.socket.as_ref().is_some_and(|socket| !socket.is_wildcard()) {
                let present = addresses.has(state.binding.address);
                if core::mem::replace(&mut state.present, present) != present && present {
                    self.endpoint.interface_changed(now, id);
                }
            }
        }
        for (interface, address) in self.addresses_in_use() {
            if !addresses.has(SocketAddr::new(address, 0)) {
                self.endpoint.local_address_removed(now, interface, address);
            }
        }
        self.move_sessions(now);
        self.endpoint.network_changed(now);
        if self.locals.as_ref().is_some_and(|locals| locals.set_machine(addresses::list())) {
            // The application may want to know.
            self.wake();
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = InterfaceId> + use<> {
        (0..=u16::MAX).map(InterfaceId).take(self.interfaces.len())
    }

    pub(super) fn open(&mut self, now: Instant, interface: InterfaceId, socket: Socket, failures: Failures) {
        if let Some(state) = self.interfaces.get_mut(usize::from(interface.0)) {
            *state = Interface { failures, ..Interface::new(now, socket) };
            self.sockets_changed();
            self.endpoint.interface_changed(now, interface);
        }
    }

    /// Without its socket an interface sends nothing, and keeps nothing to be sent: to the endpoint that is lost.
    pub(super) fn close(&mut self, now: Instant, interface: InterfaceId) {
        let Some(state) = self.interfaces.get_mut(usize::from(interface.0)) else { return };
        if let Some(socket) = state.socket.take() {
            state.binding = socket.binding();
        }
        state.unsent = None;
        if core::mem::take(&mut state.blocked) {
            self.endpoint.set_blocked(now, interface, false);
        }
        self.sockets_changed();
    }

    /// Has the addresses of the interfaces told from now on. One without a socket has that where it is bound again.
    pub(crate) fn publish_locals(&mut self, locals: Arc<Locals>) {
        locals.set_machine(addresses::list());
        self.locals = Some(locals);
    }

    fn sockets_changed(&mut self) {
        self.sockets_version += 1;
        if let Some(locals) = &self.locals {
            locals.set(self.interfaces.iter().map(|state| (!state.removed).then_some(state.binding.address)));
        }
    }

    /// Addresses of this machine that far ends of sessions know, where a socket has all of them.
    fn addresses_in_use(&self) -> BTreeSet<(InterfaceId, IpAddr)> {
        let wildcard = |id: InterfaceId| {
            let state = self.interfaces.get(usize::from(id.0));
            state.and_then(|state| state.socket.as_ref()).is_some_and(Socket::is_wildcard)
        };
        let paths = self.endpoint.sessions().filter_map(|session| self.endpoint.session(session)?.path());
        let local = paths.filter_map(|path| Some((path.interface, path.local?)));
        local.filter(|(id, _)| wildcard(*id)).collect()
    }

    /// Has sessions go on over another interface if theirs has no socket, address or route to the far end any more.
    pub(super) fn move_sessions(&mut self, now: Instant) {
        let mut moves: Vec<(SessionHandle, InterfaceId)> = Vec::new();
        let mut routes = Routes::default();
        for session in self.endpoint.sessions() {
            let Some(path) = self.endpoint.session(session).and_then(|session| session.path()) else { continue };
            let up = self.ids().zip(&self.interfaces).filter(|(_, state)| state.is_up());
            let (own, others): (Vec<_>, Vec<_>) = up
                .filter(|(_, state)| state.binding.address.is_ipv4() == path.remote.is_ipv4())
                .partition(|(id, _)| *id == path.interface);
            let mut route =
                |(id, state): &(InterfaceId, &Interface)| routes.lead(*id, state.binding.address, path.remote);
            // It stays where it is unless the system says that there is no way from there.
            if others.is_empty() || own.first().is_some_and(|own| route(own) != Some(false)) {
                continue;
            }
            if let Some((id, _)) = others.iter().find(|other| route(other) == Some(true)) {
                moves.push((session, *id));
            }
        }
        for (session, interface) in moves {
            self.endpoint.switch_interface(now, session, interface);
        }
    }
}
