//! Changes of a running world: addresses, interfaces, links, clocks, NATs.

use core::net::IpAddr;

use crate::id::{Direction, LinkId, NodeId};
use crate::nat::Nat;
use crate::node::{NetChange, Node};
use crate::route::Prefix;
use crate::time::{Duration, Time};
use crate::trace::RecordKind;
use crate::world::World;
use crate::world::device::{InFlight, Kind};

/// The codes of [`RecordKind::Changed`].
mod code {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const INTERFACE: u16 = 2;
    pub(super) const LINK: u16 = 3;
    pub(super) const CLOCK: u16 = 4;
    pub(super) const NAT: u16 = 5;
    pub(super) const NODE: u16 = 6;
}

impl World {
    fn changed(&mut self, id: NodeId, code: u16) {
        self.core.record(RecordKind::Changed(code), (id.0, false), None);
    }

    /// Tells a host's node of a change, if it is awake.
    fn tell(&mut self, id: NodeId, change: NetChange) {
        let now = self.core.now;
        let Some(host) = self.host_mut(id) else { return };
        if host.started && !host.clock.is_frozen() {
            let local = host.clock.local(now);
            host.node.on_network_change(local, change);
            self.poll_host(id);
            self.flush_signals();
        }
    }

    /// Gives an interface of a host an address, which all routers around learn of. In a running world the node is told
    /// if `notify`.
    pub fn add_address(&mut self, host: NodeId, interface: u16, address: IpAddr, notify: bool) {
        let Some(owner) = self.host_mut(host) else { return };
        let Some(found) = owner.cold.interfaces.get_mut(usize::from(interface)) else { return };
        found.former.retain(|&(former, _)| former != address);
        if !found.addresses.contains(&address) {
            found.addresses.push(address);
        }
        owner.rewired();
        self.announce(host, interface, Prefix::host(address));
        if self.started {
            self.changed(host, code::ADDRESS);
            if notify {
                self.tell(host, NetChange::InterfaceUp { interface, address });
            }
        }
    }

    /// Takes an address from an interface. `in_flight` says whether packets for it that are already on the host's link are
    /// lost or still come in. Later ones go nowhere, unless another host takes the address.
    pub fn remove_address(&mut self, host: NodeId, interface: u16, address: IpAddr, in_flight: InFlight) {
        let Some(owner) = self.host_mut(host) else { return };
        let Some(found) = owner.cold.interfaces.get_mut(usize::from(interface)) else { return };
        found.addresses.retain(|&mine| mine != address);
        if let InFlight::DeliveredUntil(until) = in_flight {
            found.former.push((address, until));
        }
        owner.rewired();
        self.withdraw(host, interface, Prefix::host(address));
        self.changed(host, code::ADDRESS);
    }

    /// Changes an interface's addresses to this one: [`remove_address`](Self::remove_address) for each, then
    /// [`add_address`](Self::add_address).
    pub fn rebind(&mut self, host: NodeId, interface: u16, to: IpAddr, in_flight: InFlight, notify: bool) {
        let old = self.addresses(host, interface);
        for address in old {
            self.remove_address(host, interface, address, in_flight);
        }
        self.add_address(host, interface, to, notify);
    }

    /// The addresses of an interface.
    #[must_use]
    pub fn addresses(&self, host: NodeId, interface: u16) -> Vec<IpAddr> {
        match self.device(host).map(|device| &device.kind) {
            Some(Kind::Host(host)) => host
                .cold
                .interfaces
                .get(usize::from(interface))
                .map(|found| found.addresses.clone())
                .unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Switches an interface on or off. The node is told if `notify`. With the interface off, nothing is sent by it
    /// and what comes is lost.
    pub fn set_interface(&mut self, host: NodeId, interface: u16, up: bool, notify: bool) {
        let Some(owner) = self.host_mut(host) else { return };
        let Some(found) = owner.cold.interfaces.get_mut(usize::from(interface)) else { return };
        found.up = up;
        let address = found.addresses.first().copied();
        owner.rewired();
        self.changed(host, code::INTERFACE);
        if notify {
            match (up, address) {
                (true, Some(address)) => self.tell(host, NetChange::InterfaceUp { interface, address }),
                (true, None) => {}
                (false, _) => self.tell(host, NetChange::InterfaceDown { interface }),
            }
        }
    }

    /// Cuts a link or mends it. `in_flight` says what becomes of packets that are on it when it is cut: lost, or (with
    /// a span) so much late.
    pub fn set_link(&mut self, link: LinkId, up: bool, in_flight: Option<Duration>) {
        for direction in [Direction::Forward, Direction::Backward] {
            let Some(lane) = self.lanes.get_mut(link.lane(direction) as usize) else { return };
            if up {
                lane.up = true;
            } else {
                lane.cut(in_flight);
            }
            let place = (lane.id, true);
            self.core.record(RecordKind::Changed(code::LINK), place, None);
        }
    }

    /// Sets a host's clock forwards or backwards.
    pub fn step_clock(&mut self, host: NodeId, nanos: i64) {
        let now = self.core.now;
        if let Some(host) = self.host_mut(host) {
            host.clock.step(now, nanos);
            host.armed = Time::NEVER;
        }
        self.changed(host, code::CLOCK);
        self.rearm(host);
    }

    /// Changes the drift of a host's clock.
    pub fn set_drift(&mut self, host: NodeId, drift_ppb: i32) {
        let now = self.core.now;
        if let Some(host) = self.host_mut(host) {
            host.clock.set_drift(now, drift_ppb);
            host.armed = Time::NEVER;
        }
        self.changed(host, code::CLOCK);
        self.rearm(host);
    }

    /// Suspends a host: its clock stands still, it sends nothing, and what comes waits in its socket.
    pub fn freeze(&mut self, host: NodeId) {
        let now = self.core.now;
        if let Some(host) = self.host_mut(host) {
            host.clock.freeze(now);
        }
        self.changed(host, code::CLOCK);
    }

    /// Wakes a host up, its clock `jump` ahead of where it stopped: first what is due, then what waits in the socket.
    pub fn thaw(&mut self, host: NodeId, jump: Duration) {
        let now = self.core.now;
        let Some(found) = self.host_mut(host) else { return };
        if !found.clock.is_frozen() {
            return;
        }
        found.clock.thaw(now, jump);
        found.armed = Time::NEVER;
        let waiting = core::mem::take(&mut found.cold.socket);
        let local = found.clock.local(now);
        if found.started && found.node.poll_timeout().is_some_and(|deadline| deadline <= local) {
            found.node.on_timeout(local);
        }
        self.changed(host, code::CLOCK);
        self.poll_host(host);
        for (packet, port) in waiting {
            self.deliver(host, port, packet);
            self.poll_host(host);
        }
        self.flush_signals();
    }

    /// Puts another node in a host's place, as after a crash and restart; the old one is dropped without a word.
    pub fn replace_node(&mut self, host: NodeId, node: Box<dyn Node>) {
        if let Some(found) = self.host_mut(host) {
            found.node = node;
            found.started = false;
            found.armed = Time::NEVER;
            found.generation = found.generation.wrapping_add(1);
        }
        self.changed(host, code::NODE);
        self.started = false;
        self.start();
    }

    fn nat_mut(&mut self, nat: NodeId) -> Option<&mut Nat> {
        match &mut self.devices.get_mut(nat.0 as usize)?.kind {
            Kind::Nat(nat) => Some(nat),
            Kind::Host(_) | Kind::Router(_) | Kind::Firewall(_) | Kind::Tap(_) => None,
        }
    }

    /// Makes a NAT (or firewall) forget everything. With `new_ports`, a NAT does not give the ports of before again:
    /// every connection behind it appears to come from elsewhere.
    pub fn flush_nat(&mut self, nat: NodeId, new_ports: bool) {
        if let Some(nat) = self.nat_mut(nat) {
            nat.flush(new_ports);
        } else if let Some(Kind::Firewall(firewall)) =
            self.devices.get_mut(nat.0 as usize).map(|device| &mut device.kind)
        {
            firewall.flush();
        }
        self.changed(nat, code::NAT);
    }

    /// Gives a NAT another outside address in place of all it has; its mappings are lost.
    pub fn readdress_nat(&mut self, nat: NodeId, to: IpAddr) {
        let Some(found) = self.nat_mut(nat) else { return };
        let old = core::mem::replace(&mut found.spec.outside, vec![to]);
        found.flush(false);
        for address in old {
            self.withdraw(nat, 0, Prefix::host(address));
        }
        self.announce(nat, 0, Prefix::host(to));
        self.changed(nat, code::NAT);
    }

    /// Changes how long a NAT's mappings live from their next use on.
    pub fn set_nat_timeout(&mut self, nat: NodeId, timeout: Duration) {
        if let Some(nat) = self.nat_mut(nat) {
            nat.set_timeout(timeout);
        }
        self.changed(nat, code::NAT);
    }

    /// Makes a firewall lose all UDP, or stop doing so.
    pub fn block_udp(&mut self, firewall: NodeId, block: bool) {
        if let Some(Kind::Firewall(firewall)) = self.devices.get_mut(firewall.0 as usize).map(|device| &mut device.kind)
        {
            firewall.spec.block_udp = block;
        }
        self.changed(firewall, code::NAT);
    }
}
