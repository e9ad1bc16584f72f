//! What can be reached from where: the world as the oracle of direct paths sees it.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::NodeId;
use crate::nat::{AddressRealms, FirewallCrossing, HostLocation, Topology, direct_path_possible};
use crate::world::World;
use crate::world::device::Kind;

impl World {
    /// The NAT right above a device's port, if any: the realm that its addresses are in.
    fn realm_above(&self, id: NodeId, port: u16) -> Option<NodeId> {
        let mut seen = BTreeMap::new();
        seen.insert(id, ());
        let mut todo: VecDeque<u32> = self.port_lane(id, port).into_iter().collect();
        while let Some(lane) = todo.pop_front() {
            let (to, to_port) = self.lanes.get(lane as usize)?.to;
            if seen.insert(to, ()).is_some() {
                continue;
            }
            let device = self.device(to)?;
            match &device.kind {
                Kind::Nat(_) if to_port > 0 => return Some(to),
                Kind::Router(_) => {
                    let onwards = device.wiring.transit.iter().filter(|&&port| port != to_port);
                    todo.extend(onwards.filter_map(|&port| device.wiring.ports.get(usize::from(port))));
                }
                Kind::Firewall(_) | Kind::Tap(_) => {
                    todo.extend(device.wiring.ports.get(usize::from(1 - to_port.min(1))))
                }
                Kind::Nat(_) | Kind::Host(_) => {}
            }
        }
        None
    }

    /// These NATs and all above them.
    fn realms_above(&self, lowest: [Option<u32>; 2]) -> AddressRealms {
        let mut realms = AddressRealms::new();
        for mut below in lowest {
            while let Some(number) = below.filter(|number| !realms.contains_key(number)) {
                let Some(Kind::Nat(nat)) = self.device(NodeId(number)).map(|device| &device.kind) else { break };
                below = self.realm_above(NodeId(number), 0).map(|id| id.0);
                realms.insert(number, (nat.spec.clone(), below));
            }
        }
        realms
    }

    /// The firewalls that a packet crosses from a device to another of the same realm, by the shortest way. Without
    /// another, those on the way to the open network: all that can be crossed from their inside. Of a NAT, `outwards`
    /// says on which side the way begins.
    fn crossings(&self, (from, outwards): (u32, bool), to: Option<u32>) -> Vec<FirewallCrossing> {
        let mut seen = BTreeSet::from([from]);
        let mut left = Vec::new();
        let Some(start) = self.device(NodeId(from)) else { return left };
        let is_nat = matches!(start.kind, Kind::Nat(_));
        let ports = start.wiring.ports.iter().enumerate().filter(|&(port, _)| !is_nat || (port == 0) == outwards);
        let mut todo: VecDeque<(u32, Vec<FirewallCrossing>)> = ports.map(|(_, &lane)| (lane, Vec::new())).collect();
        while let Some((lane, mut crossed)) = todo.pop_front() {
            let Some((id, port)) = self.lanes.get(lane as usize).map(|lane| lane.to) else { continue };
            if to == Some(id.0) {
                return crossed;
            }
            let Some(device) = self.device(id) else { continue };
            if !seen.insert(id.0) {
                continue;
            }
            match &device.kind {
                Kind::Router(_) => {
                    let onwards =
                        device.wiring.ports.iter().enumerate().filter(|&(other, _)| other != usize::from(port));
                    todo.extend(onwards.map(|(_, &lane)| (lane, crossed.clone())));
                }
                Kind::Firewall(_) => {
                    let from_inside = port != 0;
                    crossed.push((id.0, from_inside));
                    if to.is_none() {
                        if !from_inside {
                            continue;
                        }
                        left.push((id.0, true));
                    }
                    todo.extend(device.wiring.ports.get(usize::from(1 - port.min(1))).map(|&lane| (lane, crossed)));
                }
                Kind::Tap(_) => {
                    todo.extend(device.wiring.ports.get(usize::from(1 - port.min(1))).map(|&lane| (lane, crossed)));
                }
                Kind::Nat(_) | Kind::Host(_) => {}
            }
        }
        left
    }

    /// Whether two hosts can come to talk directly, by their first interfaces. A public introducer has told each the
    /// outside address of the other, and with `local_candidates` its own.
    ///
    /// This is an oracle that knows the NATs and firewalls but no protocol. A firewall that lets in answers is no
    /// obstacle as long as both hosts send to the addresses that the other's packets come from. A firewall that
    /// blocks UDP is one. So is a firewall that wants the right port, if the other side's NAT takes a new port for
    /// each destination.
    #[must_use]
    pub fn direct_path_possible(&self, a: NodeId, b: NodeId, local_candidates: bool) -> bool {
        let mut firewalls = BTreeMap::new();
        for (number, device) in (0..).zip(&self.devices) {
            if let Kind::Firewall(firewall) = &device.kind {
                firewalls.insert(number, firewall.spec.clone());
            }
        }
        let place = |id: NodeId| {
            let Kind::Host(host) = &self.device(id)?.kind else { return None };
            let address = *host.cold.interfaces.first()?.addresses.first()?;
            let above = self.realm_above(id, 0).map(|id| id.0);
            Some(HostLocation { device: id.0, socket: SocketAddr::new(address, 1_935), above })
        };
        let (Some(place_a), Some(place_b)) = (place(a), place(b)) else { return false };
        let introducer: IpAddr = if place_a.socket.is_ipv4() {
            core::net::Ipv4Addr::new(192, 0, 2, 255).into()
        } else {
            core::net::Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 1).into()
        };
        let realms = self.realms_above([place_a.above, place_b.above]);
        let crossed = !firewalls.is_empty();
        let between = |from: (u32, bool), to: Option<u32>| if crossed { self.crossings(from, to) } else { Vec::new() };
        let topology = Topology { realms, firewalls, between: &between };
        direct_path_possible(&topology, SocketAddr::new(introducer, 1_935), [place_a, place_b], local_candidates)
    }
}
