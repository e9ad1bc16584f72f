//! Whether two hosts behind NATs and firewalls can talk directly once each knows the other's outside address.
//!
//! The oracle plays the exchange with fresh NATs and firewalls of the same kinds. Both hosts have talked to a public
//! introducer, which tells each the outside address of the other. Both send to that a few times, and answer to the
//! address that something came from. No port is guessed.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use crate::arena::PacketKind;
use crate::fault::DropCause;
use crate::nat::{Firewall, FirewallSpec, Nat, NatSpec};
use crate::rng::Key;
use crate::time::{Duration, Time};

/// The tree of NATs: each has a kind and the NAT that it is itself behind.
pub(crate) type AddressRealms = BTreeMap<u32, (NatSpec, Option<u32>)>;

/// A firewall on a way, and whether it is entered from its inside.
pub(crate) type FirewallCrossing = (u32, bool);

/// Where a host is: its device, its socket, and the NAT right above it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostLocation {
    pub(crate) device: u32,
    pub(crate) socket: SocketAddr,
    pub(crate) above: Option<u32>,
}

/// What the oracle knows of a world.
pub(crate) struct Topology<'a> {
    pub(crate) realms: AddressRealms,
    pub(crate) firewalls: BTreeMap<u32, FirewallSpec>,
    /// The firewalls between two devices of a realm; of a NAT, the side to start from is its outside if `true`. Without
    /// a second device, those on the way to the open network.
    pub(crate) between: &'a dyn Fn((u32, bool), Option<u32>) -> Vec<FirewallCrossing>,
}

struct Exchange<'a> {
    nats: BTreeMap<u32, (Nat, Option<u32>)>,
    firewalls: BTreeMap<u32, Firewall>,
    topology: &'a Topology<'a>,
    hosts: [HostLocation; 2],
    now: Time,
}

impl Exchange<'_> {
    /// Where a packet within a realm goes: to a host there or to a NAT whose outside is there.
    fn find(&self, realm: Option<u32>, dst: IpAddr) -> Option<Result<usize, u32>> {
        if let Some(host) = self.hosts.iter().position(|host| host.above == realm && host.socket.ip() == dst) {
            return Some(Ok(host));
        }
        self.nats.iter().find(|(_, (nat, above))| *above == realm && nat.is_own(dst)).map(|(&id, _)| Err(id))
    }

    /// Takes a packet through the firewalls between two places.
    fn cross(&mut self, from: (u32, bool), to: Option<u32>, src: SocketAddr, dst: SocketAddr) -> Result<(), DropCause> {
        for (id, from_inside) in (self.topology.between)(from, to) {
            if let Some(firewall) = self.firewalls.get_mut(&id) {
                firewall.pass(self.now, from_inside, (src, dst), PacketKind::Datagram)?;
            }
        }
        Ok(())
    }

    /// Sends a packet from a host: who gets it and from what address. If it leaves for a public address that no host
    /// here has (the introducer's), there is only the address that it left from.
    fn send(&mut self, from: usize, dst: SocketAddr) -> Result<(Option<usize>, SocketAddr), DropCause> {
        let &HostLocation { device, socket: mut src, above: mut realm } =
            self.hosts.get(from).ok_or(DropCause::NoSuchHost)?;
        let mut dst = dst;
        let mut at = (device, true);
        loop {
            match self.find(realm, dst.ip()) {
                Some(Ok(host)) => {
                    let device = self.hosts.get(host).ok_or(DropCause::NoSuchHost)?.device;
                    self.cross(at, Some(device), src, dst)?;
                    return Ok((Some(host), src));
                }
                // Down into a NAT.
                Some(Err(below)) => {
                    self.cross(at, Some(below), src, dst)?;
                    let (nat, _) = self.nats.get_mut(&below).ok_or(DropCause::NoRoute)?;
                    dst = nat.inbound(self.now, src, dst)?;
                    (realm, at) = (Some(below), (below, false));
                }
                // Up, and perhaps straight down again.
                None => {
                    self.cross(at, realm, src, dst)?;
                    let Some(up) = realm else { return Ok((None, src)) };
                    let (nat, above) = self.nats.get_mut(&up).ok_or(DropCause::NoRoute)?;
                    if nat.is_own(dst.ip()) {
                        (src, dst) = nat.hairpin(self.now, src, dst)?;
                        at = (up, false);
                    } else {
                        src = nat.outbound(self.now, src, dst)?;
                        (realm, at) = (*above, (up, true));
                    }
                }
            }
        }
    }
}

/// See the module.
pub(crate) fn direct_path_possible(
    topology: &Topology<'_>,
    introducer: SocketAddr,
    hosts: [HostLocation; 2],
    local_candidates: bool,
) -> bool {
    // Nothing times out during the exchange.
    let timeout = Duration::secs(3_600);
    let nat = |(&id, (spec, above)): (&u32, &(NatSpec, Option<u32>))| {
        (id, (Nat::new(NatSpec { timeout, ..spec.clone() }, Key::mix(u64::from(id), "oracle", "nat")), *above))
    };
    let firewall = |(&id, spec): (&u32, &FirewallSpec)| (id, Firewall::new(FirewallSpec { timeout, ..spec.clone() }));
    let mut exchange = Exchange {
        nats: topology.realms.iter().map(nat).collect(),
        firewalls: topology.firewalls.iter().map(firewall).collect(),
        topology,
        hosts,
        now: Time::ZERO,
    };
    let [a, b] = hosts;
    let mut targets: [Vec<SocketAddr>; 2] = [Vec::new(), Vec::new()];
    let seen = [0, 1].map(|host| exchange.send(host, introducer).ok().map(|(_, src)| src));
    let [targets_a, targets_b] = &mut targets;
    let [seen_a, seen_b] = seen;
    targets_a.extend(seen_b);
    targets_b.extend(seen_a);
    if local_candidates {
        targets_a.push(b.socket);
        targets_b.push(a.socket);
    }
    let mut heard = [false; 2];
    for _ in 0..4 {
        for from in 0..2 {
            for target in targets.get(from).cloned().unwrap_or_default() {
                if let Ok((Some(to), src)) = exchange.send(from, target)
                    && to != from
                {
                    if let Some(known) = targets.get_mut(to)
                        && !known.contains(&src)
                    {
                        known.push(src);
                    }
                    if let Some(heard) = heard.get_mut(to) {
                        *heard = true;
                    }
                }
            }
        }
    }
    heard == [true; 2]
}
