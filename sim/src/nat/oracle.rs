//! Whether two hosts behind NATs can talk directly once each knows the other's outside address.
//!
//! The oracle plays the exchange with fresh NATs of the same kinds: both have talked to a public introducer, which
//! tells each the outside address of the other; both send to that a few times, and answer to whatever address
//! something came from. No port is guessed.

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;

use crate::fault::Why;
use crate::nat::{Nat, NatSpec};
use crate::rng::Key;
use crate::time::{Span, Time};

/// The tree of NATs: each has a kind and the NAT that it is itself behind.
pub(crate) type Realms = BTreeMap<u32, (NatSpec, Option<u32>)>;

struct Play {
    nats: BTreeMap<u32, (Nat, Option<u32>)>,
    /// Where each host is: its socket and the NAT right above it.
    hosts: [(SocketAddr, Option<u32>); 2],
    now: Time,
}

impl Play {
    /// Where a packet within a realm goes: to a host there or to a NAT whose outside is there.
    fn find(&self, realm: Option<u32>, dst: IpAddr) -> Option<Result<usize, u32>> {
        if let Some(host) = self.hosts.iter().position(|&(socket, above)| above == realm && socket.ip() == dst) {
            return Some(Ok(host));
        }
        self.nats.iter().find(|(_, (nat, above))| *above == realm && nat.is_own(dst)).map(|(&id, _)| Err(id))
    }

    /// Sends a packet from a host: who gets it and from what address, or where it ended up going if it left for a
    /// public address that is nobody's here (the introducer's).
    fn send(&mut self, from: usize, dst: SocketAddr) -> Result<(Option<usize>, SocketAddr), Why> {
        let &(mut src, mut realm) = self.hosts.get(from).ok_or(Why::NoSuchHost)?;
        let mut dst = dst;
        loop {
            match self.find(realm, dst.ip()) {
                Some(Ok(host)) => return Ok((Some(host), src)),
                // Down into a NAT.
                Some(Err(below)) => {
                    let (nat, _) = self.nats.get_mut(&below).ok_or(Why::NoRoute)?;
                    dst = nat.inbound(self.now, src, dst)?;
                    realm = Some(below);
                }
                // Up, and perhaps straight down again.
                None => {
                    let Some(up) = realm else { return Ok((None, src)) };
                    let (nat, above) = self.nats.get_mut(&up).ok_or(Why::NoRoute)?;
                    if nat.is_own(dst.ip()) {
                        (src, dst) = nat.hairpin(self.now, src, dst)?;
                    } else {
                        src = nat.outbound(self.now, src, dst)?;
                        realm = *above;
                    }
                }
            }
        }
    }
}

/// See the module.
pub(crate) fn direct_path_possible(
    realms: &Realms,
    introducer: SocketAddr,
    a: (SocketAddr, Option<u32>),
    b: (SocketAddr, Option<u32>),
    local_candidates: bool,
) -> bool {
    let nats = realms
        .iter()
        .map(|(&id, (spec, above))| {
            // Nothing times out during the play.
            let spec = NatSpec { timeout: Span::secs(3_600), ..spec.clone() };
            (id, (Nat::new(spec, Key::mix(u64::from(id), "oracle", "nat")), *above))
        })
        .collect();
    let mut play = Play { nats, hosts: [a, b], now: Time::ZERO };
    let mut targets: [Vec<SocketAddr>; 2] = [Vec::new(), Vec::new()];
    let seen = [0, 1].map(|host| play.send(host, introducer).ok().map(|(_, src)| src));
    let [targets_a, targets_b] = &mut targets;
    let [seen_a, seen_b] = seen;
    targets_a.extend(seen_b);
    targets_b.extend(seen_a);
    if local_candidates {
        targets_a.push(b.0);
        targets_b.push(a.0);
    }
    let mut heard = [false; 2];
    for _ in 0..4 {
        for from in 0..2 {
            for target in targets.get(from).cloned().unwrap_or_default() {
                if let Ok((Some(to), src)) = play.send(from, target)
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
