//! What hosts are behind, for the kernel and for the simulator.

use core::net::{IpAddr, Ipv4Addr};

use datagram_sim::{Filtering, FirewallSpec, Hairpin, LinkSpec, NatSpec, NodeId, World};

use super::super::guest::Program;
use super::super::node;
use rtmfp_sim::rtmfp::SimRandom;

/// Ports of those who ask begin here. Each has another, so that all are known apart behind one gateway.
pub(super) const FIRST_PORT: u16 = 2_000;
/// Ports of those who are asked for begin here. In a site of two hosts they are on the second.
pub(super) const SECOND_HOST: u16 = 3_000;

/// What is between hosts and the rest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Gateway {
    None,
    /// Every port leads to a host inside (`dnat`), and what leaves keeps its port.
    FullCone,
    /// The same, also for what comes from inside.
    FullConeHairpin,
    /// `masquerade`, as it is by default.
    Masquerade,
    /// `masquerade fully-random`.
    Random,
    /// `masquerade` behind another, as carriers do it.
    Twice,
    /// `masquerade`, and nothing of UDP gets through.
    NoUdp,
}

/// A gateway with hosts behind it.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) name: String,
    pub(super) gateway: Gateway,
    pub(super) hosts: u8,
    /// Its place in the list.
    pub(super) number: u8,
}

impl Site {
    /// Its address outside.
    pub(super) fn outside(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.number * 4 + 2)
    }

    /// The router's address on its wire.
    pub(super) fn uplink(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 51, 100, self.number * 4 + 1)
    }

    pub(super) const fn inside(host: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, host, 2)
    }

    /// The namespace of a host.
    pub(super) fn host(&self, number: u8) -> String {
        format!("{}-{number}", self.name)
    }

    /// The rules of its gateway for `nft`.
    pub(super) fn translation(&self) -> String {
        let how = if self.gateway == Gateway::Random { "masquerade fully-random" } else { "masquerade" };
        let outside = self.outside();
        let from_where = if self.gateway == Gateway::FullConeHairpin { "" } else { "iifname \"wan\"" };
        let ports = [(FIRST_PORT, Self::inside(0)), (SECOND_HOST, Self::inside(self.hosts - 1))];
        let to_host = ports.map(|(port, host)| {
            let last = port + 999;
            format!("ip daddr {outside} {from_where} udp dport {port}-{last} dnat to {host};")
        });
        let into = match self.gateway {
            Gateway::FullCone | Gateway::FullConeHairpin => to_host.join(" "),
            Gateway::None | Gateway::Masquerade | Gateway::Random | Gateway::Twice | Gateway::NoUdp => String::new(),
        };
        // What comes back in bears the address outside (RFC 4787, REQ-9).
        let back = format!("ct status dnat ip saddr 192.168.0.0/16 oifname != \"wan\" snat to {outside};");
        let back = if self.gateway == Gateway::FullConeHairpin { back.as_str() } else { "" };
        let blocked =
            "table ip block { chain forward { type filter hook forward priority -1; ip protocol udp drop; }\n}";
        let blocked = if self.gateway == Gateway::NoUdp { blocked } else { "" };
        format!(
            "table ip nat {{
            chain pre {{ type nat hook prerouting priority -100; {into} }}
            chain post {{ type nat hook postrouting priority 100; {back} oifname \"wan\" {how}; }}
            }}\n{blocked}\n"
        )
    }

    /// The same gateway in the simulator, with its hosts.
    fn simulate(&self, world: &mut World, net: NodeId) -> Vec<NodeId> {
        let outside = IpAddr::V4(self.outside());
        let link = LinkSpec::symmetric(Vec::new());
        let masquerade = |outside| NatSpec { hairpin: Hairpin::None, ..NatSpec::port_restricted(outside) };
        let cone = |hairpin| NatSpec { hairpin, ..NatSpec::full_cone(outside) };
        let nat = match self.gateway {
            Gateway::None => None,
            Gateway::FullCone => Some(cone(Hairpin::None)),
            Gateway::FullConeHairpin => Some(cone(Hairpin::ExternalSource)),
            Gateway::Masquerade | Gateway::Twice | Gateway::NoUdp => Some(masquerade(outside)),
            Gateway::Random => Some(NatSpec::symmetric(outside)),
        };
        let mut above = net;
        if let Some(nat) = nat {
            let nat = world.add_nat(&format!("{}'s gateway", self.name), nat);
            world.connect(&format!("{}'s line", self.name), nat, above, &link);
            above = nat;
        }
        if self.gateway == Gateway::Twice {
            let nat = masquerade(Ipv4Addr::new(100, 64, 0, 2).into());
            let nat = world.add_nat(&format!("{}'s second gateway", self.name), nat);
            world.connect(&format!("{}'s second line", self.name), nat, above, &link);
            above = nat;
        }
        if self.gateway == Gateway::NoUdp {
            let spec =
                FirewallSpec { block_udp: true, filtering: Filtering::EndpointIndependent, ..Default::default() };
            let firewall = world.add_firewall(&format!("{}'s firewall", self.name), spec);
            world.connect(&format!("{}'s second line", self.name), firewall, above, &link);
            above = firewall;
        }
        let hosts: Vec<NodeId> = (0..self.hosts)
            .map(|number| {
                let rng = SimRandom::new(world.key(&self.host(number), "guest"));
                let config = rtmfp_core::EndpointConfig::default();
                let host = node(world, &self.host(number), config, Program::new(None, rng));
                world.connect(&format!("{}'s home", self.host(number)), above, host, &link);
                host
            })
            .collect();
        for (number, host) in (0..self.hosts).zip(&hosts) {
            let inside = if self.gateway == Gateway::None { outside } else { Self::inside(number).into() };
            world.add_address(*host, 0, inside, false);
        }
        hosts
    }
}

/// Whether the simulator's oracle says that two hosts can meet directly: the first of two sites, or both of one.
pub(super) fn is_possible(from: &Site, to: &Site) -> bool {
    let mut world = World::new(1);
    let net = world.add_router("net");
    let near = from.simulate(&mut world, net);
    let far = if from.name == to.name { near.clone() } else { to.simulate(&mut world, net) };
    world.direct_path_possible(near[0], far[far.len() - 1], false)
}
