//! Building a world: devices, links, addresses, routes.

use std::collections::{BTreeSet, VecDeque};

use crate::attack::{Tap, TapLogic};
use crate::id::{Direction, LinkId, NodeId};
use crate::link::{Lane, LinkSpec, StageSpec};
use crate::nat::{Firewall, FirewallSpec, Nat, NatSpec};
use crate::node::{Clock, Node};
use crate::route::{Prefix, RouteTable};
use crate::time::Time;
use crate::world::World;
use crate::world::device::{Device, Host, HostColdState, Interface, Kind, Wiring};

/// Bytes of waiting datagrams that the socket of a frozen host holds, unless told otherwise (Linux's default).
const SOCKET_LIMIT: usize = 212_992;

impl World {
    fn add_device(&mut self, name: &str, kind: Kind) -> NodeId {
        let id = NodeId(u32::try_from(self.devices.len()).unwrap_or(u32::MAX));
        let wiring = Wiring { name: name.to_owned(), ports: Vec::new(), transit: Vec::new() };
        self.devices.push(Device { kind, first_lane: None, wiring: Box::new(wiring) });
        self.by_name.insert(name.to_owned(), id);
        id
    }

    /// Adds a host that runs `node`. Names must differ: random decisions and [`find`](Self::find) go by them.
    pub fn add_host(&mut self, name: &str, node: impl Node) -> NodeId {
        self.add_boxed_host(name, Box::new(node))
    }

    /// The same with a node that is already in a box.
    pub fn add_boxed_host(&mut self, name: &str, node: Box<dyn Node>) -> NodeId {
        let cold = HostColdState {
            interfaces: Vec::new(),
            routes: RouteTable::default(),
            raw: false,
            socket: VecDeque::new(),
            socket_limit: SOCKET_LIMIT,
        };
        let host = Host {
            node,
            sole: None,
            started: false,
            generation: 0,
            armed: Time::NEVER,
            clock: Clock::default(),
            busy_at: Time::ZERO,
            busy: 0,
            cold: Box::new(cold),
        };
        let id = self.add_device(name, Kind::Host(host));
        // In a running world it starts with the next event or call.
        self.started = false;
        id
    }

    /// Adds a router. It learns of addresses by itself.
    pub fn add_router(&mut self, name: &str) -> NodeId {
        self.add_device(name, Kind::Router(Box::default()))
    }

    /// Adds a NAT. The first link connected to it is its outside, all others are inside.
    pub fn add_nat(&mut self, name: &str, spec: NatSpec) -> NodeId {
        let key = self.key(name, "nat");
        self.add_device(name, Kind::Nat(Box::new(Nat::new(spec, key))))
    }

    /// Adds a firewall. The first link connected to it is its outside, the second its inside.
    pub fn add_firewall(&mut self, name: &str, spec: FirewallSpec) -> NodeId {
        self.add_device(name, Kind::Firewall(Box::new(Firewall::new(spec))))
    }

    /// Adds a tap between the first and the second link connected to it.
    pub fn add_tap(&mut self, name: &str, logic: impl TapLogic) -> NodeId {
        let tap = Tap { logic: Box::new(logic), armed: None, generation: 0 };
        self.add_device(name, Kind::Tap(Box::new(tap)))
    }

    /// Connects two devices. Each end takes the next port of its device; a host's ports are its interfaces. Connect
    /// everything before giving addresses: routes are learnt when an address is added.
    pub fn connect(&mut self, name: &str, a: NodeId, b: NodeId, spec: &LinkSpec) -> LinkId {
        let link = LinkId(u32::try_from(self.link_names.len()).unwrap_or(u32::MAX));
        self.link_names.push(name.to_owned());
        self.link_by_name.insert(name.to_owned(), link);
        let port_a = self.add_port(a, link.lane(Direction::Forward), b);
        let port_b = self.add_port(b, link.lane(Direction::Backward), a);
        let ends = [((a, port_a), (b, port_b)), ((b, port_b), (a, port_a))];
        for ((from, to), (direction, stages)) in
            ends.into_iter().zip([(Direction::Forward, &spec.forward), (Direction::Backward, &spec.backward)])
        {
            let purpose = if direction == Direction::Forward { "forward" } else { "backward" };
            let key = self.key(name, purpose);
            self.lanes.push(Lane::new(link.lane(direction), key, from, to, stages));
        }
        // What is behind a NAT sends what it has no route for to the NAT.
        for ((id, port), _) in ends {
            if port > 0 && matches!(self.device(id).map(|device| &device.kind), Some(Kind::Nat(_))) {
                self.announce(id, port, Prefix::ALL);
            }
        }
        link
    }

    fn add_port(&mut self, id: NodeId, out: u32, to: NodeId) -> u16 {
        let passes_on = matches!(
            self.device(to).map(|device| &device.kind),
            Some(Kind::Router(_) | Kind::Firewall(_) | Kind::Tap(_) | Kind::Nat(_))
        );
        let Some(device) = self.devices.get_mut(id.0 as usize) else { return 0 };
        let port = u16::try_from(device.wiring.ports.len()).unwrap_or(u16::MAX);
        device.first_lane.get_or_insert(out);
        device.wiring.ports.push(out);
        if passes_on {
            device.wiring.transit.push(port);
        }
        if let Kind::Host(host) = &mut device.kind {
            host.cold.interfaces.push(Interface { addresses: Vec::new(), former: Vec::new(), up: true });
            host.rewired();
        }
        port
    }

    /// Replaces the stages of one direction of a link. Packets that already have their time of arrival keep it.
    pub fn set_stages(&mut self, link: LinkId, direction: Direction, stages: &[StageSpec]) {
        if let Some(lane) = self.lanes.get_mut(link.lane(direction) as usize) {
            lane.set_stages(&mut self.core, stages);
        }
        self.flush_signals();
    }

    /// Sets a host's clock.
    pub fn set_clock(&mut self, host: NodeId, clock: Clock) {
        if let Some(host) = self.host_mut(host) {
            host.clock = clock;
        }
        self.rearm(host);
    }

    /// Lets a host forge sources and signals.
    pub fn allow_raw(&mut self, host: NodeId) {
        if let Some(host) = self.host_mut(host) {
            host.cold.raw = true;
        }
    }

    /// Bytes of datagrams that a host's socket holds while it is frozen.
    pub fn set_socket_limit(&mut self, host: NodeId, bytes: usize) {
        if let Some(host) = self.host_mut(host) {
            host.cold.socket_limit = bytes;
        }
    }

    /// Makes a router send a prefix through a link.
    pub fn add_route(&mut self, router: NodeId, prefix: Prefix, through: LinkId) {
        let lanes = [through.lane(Direction::Forward), through.lane(Direction::Backward)];
        let Some(device) = self.devices.get_mut(router.0 as usize) else { return };
        let port =
            device.wiring.ports.iter().position(|lane| lanes.contains(lane)).and_then(|port| u16::try_from(port).ok());
        if let Some(port) = port {
            match &mut device.kind {
                Kind::Router(device) => device.routes.insert(prefix, port),
                Kind::Host(host) => {
                    host.cold.routes.insert(prefix, port);
                    host.rewired();
                }
                Kind::Nat(nat) if port > 0 => nat.inside.insert(prefix, port),
                Kind::Nat(_) | Kind::Firewall(_) | Kind::Tap(_) => {}
            }
        }
    }

    /// Makes a NAT's outside addresses known on its outside. Done by itself at the start for those that were not.
    pub(crate) fn announce_nats(&mut self) {
        for number in 0..self.devices.len() {
            let id = NodeId(u32::try_from(number).unwrap_or(u32::MAX));
            let Some(Kind::Nat(nat)) = self.device(id).map(|device| &device.kind) else { continue };
            for address in nat.spec.outside.clone() {
                self.announce(id, 0, Prefix::host(address));
            }
        }
    }

    /// Tells all routers, and NATs on their inside, that `prefix` is reached through a device's port.
    pub(crate) fn announce(&mut self, from: NodeId, port: u16, prefix: Prefix) {
        self.flood(from, port, prefix, |routes, through| {
            routes.insert(prefix, through);
            true
        });
    }

    /// Takes an announcement back. Only routes that lead to the device's port are removed.
    pub(crate) fn withdraw(&mut self, from: NodeId, port: u16, prefix: Prefix) {
        self.flood(from, port, prefix, |routes, through| {
            let leads_there = routes.exact(prefix) == Some(through);
            if leads_there {
                routes.remove(prefix);
            }
            leads_there
        });
    }

    /// Changes the routes of all routers that a device's port reaches without passing a NAT, nearest first. NATs change
    /// theirs on the inside, unless `prefix` is everything. A router passes the news on if `change` returns true.
    fn flood(&mut self, from: NodeId, port: u16, prefix: Prefix, mut change: impl FnMut(&mut RouteTable, u16) -> bool) {
        let mut seen = BTreeSet::from([from]);
        let mut todo: VecDeque<u32> = self.port_lane(from, port).into_iter().collect();
        while let Some(lane) = todo.pop_front() {
            let Some((to, to_port)) = self.lanes.get(lane as usize).map(|lane| lane.to) else { continue };
            if !seen.insert(to) {
                continue;
            }
            let Some(device) = self.devices.get_mut(to.0 as usize) else { continue };
            match &mut device.kind {
                Kind::Router(router) => {
                    if change(&mut router.routes, to_port) {
                        let onwards = device.wiring.transit.iter().filter(|&&port| port != to_port);
                        todo.extend(onwards.filter_map(|&port| device.wiring.ports.get(usize::from(port))));
                    }
                }
                Kind::Firewall(_) | Kind::Tap(_) => {
                    todo.extend(device.wiring.ports.get(usize::from(1 - to_port.min(1))));
                }
                Kind::Nat(nat) if to_port > 0 && prefix != Prefix::ALL => {
                    change(&mut nat.inside, to_port);
                }
                Kind::Nat(_) | Kind::Host(_) => {}
            }
        }
    }

    pub(crate) fn port_lane(&self, id: NodeId, port: u16) -> Option<u32> {
        let device = self.device(id)?;
        if port == 0 { device.first_lane } else { device.wiring.ports.get(usize::from(port)).copied() }
    }
}
