//! From a scenario to a world: devices, links, addresses.

use core::net::{IpAddr, Ipv4Addr};
use std::collections::BTreeMap;

use datagram_sim::attack::{Mutator, Replayer, TapVerdict};
use datagram_sim::{Clock, Config, Duration, LinkId, LinkSpec, Node, NodeId, Prefix, Silent, World};

use super::{Nat, Role, Scenario, ScenarioError, TapText};

/// The port of every endpoint.
pub(crate) const PORT: u16 = 1_935;

/// Where things of a scenario are in its world.
#[derive(Clone, Debug, Default)]
pub(crate) struct Map {
    pub(crate) nodes: BTreeMap<String, NodeId>,
    pub(crate) nats: BTreeMap<String, NodeId>,
    pub(crate) taps: BTreeMap<String, NodeId>,
    /// The hop of each link that has its stages.
    pub(crate) links: BTreeMap<String, LinkId>,
    /// All hops of each link.
    pub(crate) hops: BTreeMap<String, Vec<LinkId>>,
    /// Where a node is to be found from outside: its own address, or that of the NAT in front of it.
    pub(crate) reach: BTreeMap<String, IpAddr>,
    addresses: BTreeMap<String, IpAddr>,
    moves: u8,
}

fn v4(a: u8, b: u8, c: usize, d: usize) -> IpAddr {
    let byte = |n: usize| u8::try_from(n & 255).unwrap_or(0);
    Ipv4Addr::new(a, b, byte(c), byte(d)).into()
}

impl Map {
    /// An address for a node that moves: of the network it is in, and never used before.
    pub(crate) fn fresh_address(&mut self, node: &str) -> Option<IpAddr> {
        self.moves = self.moves.wrapping_add(1);
        let moves = usize::from(self.moves);
        let old = self.addresses.get(node)?;
        Some(match old {
            IpAddr::V4(old) => {
                let [a, b, ..] = old.octets();
                if a == 10 { v4(a, b, 200, moves) } else { v4(198, 19, 200, moves) }
            }
            IpAddr::V6(old) => {
                let [.., low] = old.octets();
                IpAddr::V6((old.to_bits() ^ (u128::from(self.moves) << 16) ^ u128::from(low)).into())
            }
        })
    }
}

/// The place of each NAT on a path: how many of the middle devices have their inside on the left.
fn insides_left(path: &[String]) -> usize {
    let middle = path.len().saturating_sub(2);
    match (path.first().map(String::as_str), path.last().map(String::as_str)) {
        (Some("net"), _) => 0,
        (_, Some("net")) => middle,
        _ => middle.div_ceil(2),
    }
}

impl Scenario {
    /// Builds the world; `make` gives each node that is not silent its state machine.
    pub(crate) fn build(
        &self,
        config: Config,
        mut make: impl FnMut(&str, &Map) -> Result<Box<dyn Node>, ScenarioError>,
    ) -> Result<(World, Map), ScenarioError> {
        let mut world = World::with_config(config);
        let mut map = Map::default();
        let mut routers = BTreeMap::new();
        if self.link.values().any(|link| link.path.iter().any(|end| end == "net")) {
            routers.insert("net".to_owned(), world.add_router("net"));
        }
        // Addresses first: state machines know where others are.
        self.plan_addresses(&mut map);
        for (name, node) in &self.node {
            let made = if node.silent { Box::new(Silent::default()) } else { make(name, &map)? };
            map.nodes.insert(name.clone(), world.add_boxed_host(name, made));
        }
        for (name, tap) in &self.tap {
            map.taps.insert(name.clone(), add_tap(&mut world, name, tap));
        }
        for (index, (name, nat)) in self.nat.iter().enumerate() {
            map.nats.insert(name.clone(), add_nat(&mut world, name, nat, index).map_err(ScenarioError)?);
        }
        self.connect(&mut world, &mut map, &routers)?;
        for (name, node) in &self.node {
            let Some(&id) = map.nodes.get(name) else { continue };
            if node.clock_offset.0 != Duration::ZERO || node.clock_drift_ppm != 0 {
                world.set_clock(id, Clock::new(node.clock_offset.0, node.clock_drift_ppm.saturating_mul(1_000)));
            }
            if node.plays.as_ref().is_some_and(Role::forges) {
                world.allow_raw(id);
            }
            if let Some(&address) = map.addresses.get(name) {
                world.add_address(id, 0, address, false);
            }
        }
        let unknown = world.add_faults(self.faults.iter().map(|fault| fault.0.clone()));
        match unknown.first() {
            Some(fault) => Err(ScenarioError(format!("there is no link `{}` for a fault", fault.link))),
            None => Ok((world, map)),
        }
    }

    fn plan_addresses(&self, map: &mut Map) {
        for (index, (name, node)) in self.node.iter().enumerate() {
            let path = self.link.values().map(|link| &link.path).find(|path| path.contains(name));
            let front = path.and_then(|path| {
                let left = path.first() == Some(name);
                let count = insides_left(path);
                let middle = path.get(1..path.len().saturating_sub(1)).unwrap_or_default();
                let (mine, other) = middle.split_at_checked(count)?;
                // The NAT next to the node, and the outermost on its side; firewalls change nothing.
                let mut mine: Vec<&String> = if left { mine.iter().collect() } else { other.iter().rev().collect() };
                mine.retain(|name| self.nat.get(*name).is_some_and(|nat| !nat.is_firewall()));
                Some((self.nat_index(mine.first()?)?, self.nat_index(mine.last()?)?))
            });
            let own = match (node.address, front) {
                (Some(address), _) => address,
                (None, Some((nearest, _))) => {
                    v4(10, u8::try_from(nearest & 127).unwrap_or(0), index / 250, index % 250 + 2)
                }
                (None, None) => v4(198, 18, index / 250, index % 250 + 1),
            };
            map.addresses.insert(name.clone(), own);
            map.reach.insert(name.clone(), front.map_or(own, |(_, outermost)| outside(outermost, 0)));
        }
    }

    fn nat_index(&self, name: &str) -> Option<usize> {
        self.nat.keys().position(|known| known == name)
    }

    fn connect(
        &self,
        world: &mut World,
        map: &mut Map,
        routers: &BTreeMap<String, NodeId>,
    ) -> Result<(), ScenarioError> {
        let mut done: BTreeMap<(NodeId, NodeId), LinkId> = BTreeMap::new();
        for (name, link) in &self.link {
            let spec = link.spec().map_err(|error| ScenarioError(format!("link `{name}`: {error}")))?;
            let ids: Vec<NodeId> = link
                .path
                .iter()
                .filter_map(|end| {
                    let device = map.nodes.get(end).or_else(|| map.nats.get(end));
                    device.or_else(|| map.taps.get(end)).or_else(|| routers.get(end)).copied()
                })
                .collect();
            let main = insides_left(&link.path);
            let pairs: Vec<(NodeId, NodeId)> =
                ids.iter().zip(ids.get(1..).unwrap_or_default()).map(|(&a, &b)| (a, b)).collect();
            // The stages go to the middle hop, or to the nearest one to the node if that is there already.
            let staged = if pairs.get(main).is_some_and(|pair| !done.contains_key(pair)) { main } else { 0 };
            // A NAT's outside is connected before its inside.
            let order = (0..=main).rev().chain(main + 1..pairs.len());
            let mut hops = vec![None; pairs.len()];
            for at in order {
                let Some(&pair) = pairs.get(at) else { continue };
                let id = match done.get(&pair) {
                    Some(&id) => id,
                    None => {
                        let hop_name = if at == staged { name.clone() } else { format!("{name}#{at}") };
                        let ideal = LinkSpec::default();
                        let id = world.connect(&hop_name, pair.0, pair.1, if at == staged { &spec } else { &ideal });
                        done.insert(pair, id);
                        id
                    }
                };
                if let Some(hop) = hops.get_mut(at) {
                    *hop = Some(id);
                }
                if at == staged {
                    map.links.insert(name.clone(), id);
                }
            }
            map.hops.insert(name.clone(), hops.into_iter().flatten().collect());
        }
        self.default_routes(world, map);
        Ok(())
    }

    /// A host with several links sends what it has no better way for through the first of them that leads to `net`.
    fn default_routes(&self, world: &mut World, map: &Map) {
        for (name, &id) in &map.nodes {
            let through =
                self.link.iter().find(|(_, link)| link.path.contains(name) && link.path.iter().any(|end| end == "net"));
            let hops = through.and_then(|(link, _)| map.hops.get(link).zip(self.link.get(link)));
            let Some((hops, link)) = hops else { continue };
            let hop = if link.path.first() == Some(name) { hops.first() } else { hops.last() };
            if let Some(&hop) = hop {
                world.add_route(id, Prefix::ALL_V4, hop);
            }
        }
    }
}

/// Eight outside addresses for each NAT: the first few of the documentation's network, the others of a wider one.
fn outside(nat: usize, which: usize) -> IpAddr {
    const FEW: usize = 31;
    match nat.checked_sub(FEW) {
        None => v4(203, 0, 113, nat * 8 + which + 1),
        Some(nat) => v4(100, 64 + u8::try_from(nat / 8_192 % 64).unwrap_or(0), nat / 32, nat % 32 * 8 + which),
    }
}

fn add_nat(world: &mut World, name: &str, nat: &Nat, index: usize) -> Result<NodeId, String> {
    if nat.is_firewall() {
        return Ok(world.add_firewall(name, nat.firewall()?));
    }
    let others: Vec<IpAddr> = (1..usize::from(nat.addresses.unwrap_or(1)).min(8)).map(|n| outside(index, n)).collect();
    Ok(world.add_nat(name, nat.spec(outside(index, 0), &others)?))
}

fn add_tap(world: &mut World, name: &str, tap: &TapText) -> NodeId {
    match tap {
        TapText::Replay { after, times } => world.add_tap(name, Replayer::new(after.0, *times)),
        TapText::Flip { every } => {
            let flip = |number: u64, _, bytes: &mut Vec<u8>| {
                let bit = usize::try_from(number % (bytes.len().max(1) as u64 * 8)).unwrap_or(0);
                if let Some(byte) = bytes.get_mut(bit / 8) {
                    *byte ^= 1 << (bit % 8);
                }
                TapVerdict::Pass
            };
            world.add_tap(name, Mutator::new(*every, flip))
        }
        TapText::Swallow { every } => {
            world.add_tap(name, Mutator::new(*every, |_, _, _: &mut Vec<u8>| TapVerdict::Drop))
        }
    }
}
