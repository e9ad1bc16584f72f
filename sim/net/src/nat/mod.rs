//! NATs (RFC 4787) and firewalls.

mod firewall;
pub mod nat64;
mod oracle;
mod spec;
#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) use firewall::Firewall;
pub(crate) use oracle::{AddressRealms, FirewallCrossing, HostLocation, Topology, direct_path_possible};
pub use spec::{Filtering, FirewallSpec, Hairpin, Mapping, NatSpec, Pooling, Ports};

use crate::fault::DropCause;
use crate::rng::Key;
use crate::route::RouteTable;
use crate::time::{Duration, Time};

/// Whose packets are let in, and until when. Shared by NATs (for each mapping) and firewalls (for each inside socket).
#[derive(Clone, Debug, Default)]
pub(crate) struct Permits {
    until: BTreeMap<(IpAddr, u16), Time>,
    prune_at: usize,
}

impl Permits {
    /// What identifies a remote under a filtering behaviour.
    const fn key(filtering: Filtering, remote: SocketAddr) -> (IpAddr, u16) {
        match filtering {
            Filtering::EndpointIndependent => (IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED), 0),
            Filtering::AddressDependent => (remote.ip(), 0),
            Filtering::AddressAndPortDependent => (remote.ip(), remote.port()),
        }
    }

    fn open(&mut self, now: Time, filtering: Filtering, remote: SocketAddr, until: Time) {
        if self.until.len() > self.prune_at {
            self.until.retain(|_, until| *until > now);
            self.prune_at = self.until.len() * 2 + 64;
        }
        self.until.insert(Self::key(filtering, remote), until);
    }

    fn is_open(&self, now: Time, filtering: Filtering, remote: SocketAddr) -> bool {
        self.until.get(&Self::key(filtering, remote)).is_some_and(|&until| until > now)
    }
}

/// The most mappings of a NAT, even if it has more ports.
const ENTRIES: usize = 1 << 18;

/// What a mapping is found by from inside: the inside socket, and what the mapping behaviour adds.
type InsideKey = (SocketAddr, Option<IpAddr>, Option<u16>);

#[derive(Clone, Debug)]
struct Entry {
    inside: SocketAddr,
    outside: SocketAddr,
    key: InsideKey,
    expires: Time,
    permits: Permits,
}

/// A mapping as others may see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MappingView {
    /// The inside socket.
    pub inside: SocketAddr,
    /// The outside socket.
    pub outside: SocketAddr,
    /// When it ends unless it is used.
    pub expires: Time,
}

/// A NAT at work. Port 0 of the device is the outside; all others are inside.
#[derive(Clone, Debug)]
pub(crate) struct Nat {
    pub(crate) spec: NatSpec,
    /// Inside addresses, by port.
    pub(crate) inside: RouteTable,
    key: Key,
    /// How many random choices were made.
    drawn: u64,
    sequence: u16,
    entries: BTreeMap<u64, Entry>,
    next_entry: u64,
    by_inside: BTreeMap<InsideKey, u64>,
    by_outside: BTreeMap<SocketAddr, u64>,
    per_host: BTreeMap<IpAddr, u32>,
    /// Not to be given out again after a rebinding.
    avoid: BTreeSet<SocketAddr>,
}

impl Nat {
    pub(crate) fn new(spec: NatSpec, key: Key) -> Self {
        let sequence = spec.port_range.0;
        Self {
            spec,
            inside: RouteTable::default(),
            key,
            drawn: 0,
            sequence,
            entries: BTreeMap::new(),
            next_entry: 0,
            by_inside: BTreeMap::new(),
            by_outside: BTreeMap::new(),
            per_host: BTreeMap::new(),
            avoid: BTreeSet::new(),
        }
    }

    pub(crate) fn is_own(&self, address: IpAddr) -> bool {
        self.spec.outside.contains(&address)
    }

    pub(crate) fn mappings(&self, now: Time) -> impl Iterator<Item = MappingView> {
        self.entries.values().filter(move |entry| entry.expires > now).map(|entry| MappingView {
            inside: entry.inside,
            outside: entry.outside,
            expires: entry.expires,
        })
    }

    /// Forgets everything, as in a reboot. If `new_ports`, the outside ports of before are not used again (until the
    /// next time).
    pub(crate) fn flush(&mut self, new_ports: bool) {
        self.avoid.clear();
        if new_ports {
            self.avoid.extend(self.by_outside.keys().copied());
        }
        self.entries.clear();
        self.by_inside.clear();
        self.by_outside.clear();
        self.per_host.clear();
        self.sequence = if new_ports { self.sequence } else { self.spec.port_range.0 };
    }

    fn inside_key(&self, src: SocketAddr, dst: SocketAddr) -> InsideKey {
        match self.spec.mapping {
            Mapping::EndpointIndependent => (src, None, None),
            Mapping::AddressDependent => (src, Some(dst.ip()), None),
            Mapping::AddressAndPortDependent => (src, Some(dst.ip()), Some(dst.port())),
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.by_inside.remove(&entry.key);
        if self.by_outside.get(&entry.outside) == Some(&id) {
            self.by_outside.remove(&entry.outside);
        }
        if let Some(count) = self.per_host.get_mut(&entry.inside.ip()) {
            *count -= 1;
            if *count == 0 {
                self.per_host.remove(&entry.inside.ip());
            }
        }
    }

    /// The living mapping of an outside socket; one that has ended is cleared away.
    fn at_outside(&mut self, now: Time, outside: SocketAddr) -> Option<u64> {
        let id = *self.by_outside.get(&outside)?;
        if self.entries.get(&id).is_none_or(|entry| entry.expires <= now) {
            self.remove(id);
            return None;
        }
        Some(id)
    }

    fn sweep(&mut self, now: Time) {
        let ended: Vec<u64> =
            self.entries.iter().filter(|(_, entry)| entry.expires <= now).map(|(&id, _)| id).collect();
        for id in ended {
            self.remove(id);
        }
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.key.decide(self.drawn)
    }

    fn pick_address(&mut self, inside: IpAddr) -> Option<IpAddr> {
        let count = self.spec.outside.len() as u64;
        let word = match self.spec.pooling {
            // Depends on the inside address alone.
            Pooling::Paired => self.key.sub(1).decide(crate::route::bits(inside) as u64),
            Pooling::Arbitrary if count > 1 => self.draw(),
            Pooling::Arbitrary => 0,
        };
        self.spec.outside.get(crate::rng::below(word, count) as usize).copied()
    }

    /// The first free port from `start` on, in steps, going round.
    fn free_from(&mut self, now: Time, address: IpAddr, start: u16, step: u16) -> Option<u16> {
        let (first, last) = self.spec.port_range;
        let count = u32::from(last.saturating_sub(first)) + 1;
        let offset = u32::from(start.saturating_sub(first));
        // With an odd number of ports, steps of two would change parity when going round.
        let rounded = count - count % u32::from(step);
        for n in 0..count.div_ceil(step.into()) {
            let at = (offset + n * u32::from(step)) % rounded.max(1);
            let port = u16::try_from(u32::from(first) + at).unwrap_or(last);
            let socket = SocketAddr::new(address, port);
            if self.at_outside(now, socket).is_none() && !self.avoid.contains(&socket) {
                return Some(port);
            }
        }
        None
    }

    fn pick_port(&mut self, now: Time, address: IpAddr, inside: u16) -> Option<u16> {
        let (first, last) = self.spec.port_range;
        let count = u64::from(last.saturating_sub(first)) + 1;
        let preserved = SocketAddr::new(address, inside);
        let in_range = (first..=last).contains(&inside) && !self.avoid.contains(&preserved);
        let is_free = in_range && self.at_outside(now, preserved).is_none();
        match self.spec.ports {
            Ports::Preserve => is_free.then_some(inside),
            Ports::PreserveOrRandom | Ports::Overload if is_free => Some(inside),
            Ports::Overload if in_range => Some(inside),
            Ports::Sequential => {
                let port = self.free_from(now, address, self.sequence, 1)?;
                self.sequence = if port >= last { first } else { port + 1 };
                Some(port)
            }
            Ports::Random | Ports::PreserveOrRandom | Ports::Overload => {
                let start = first + crate::rng::below(self.draw(), count) as u16;
                self.free_from(now, address, start, 1)
            }
            Ports::RandomParity => {
                let start = first + crate::rng::below(self.draw(), count) as u16;
                let fits = if start % 2 == inside % 2 { start } else { start ^ 1 };
                let fits = if fits < first || fits > last { first + (first ^ inside) % 2 } else { fits };
                self.free_from(now, address, fits, 2)
            }
        }
    }

    fn make(&mut self, now: Time, key: InsideKey) -> Result<u64, DropCause> {
        let src = key.0;
        if self.spec.per_host.is_some_and(|most| self.per_host.get(&src.ip()).copied().unwrap_or(0) >= most) {
            self.sweep(now);
            if self.spec.per_host.is_some_and(|most| self.per_host.get(&src.ip()).copied().unwrap_or(0) >= most) {
                return Err(DropCause::PortsExhausted);
            }
        }
        // Overloaded ports would let the table grow without end.
        if self.entries.len() >= ENTRIES {
            self.sweep(now);
            if self.entries.len() >= ENTRIES {
                return Err(DropCause::PortsExhausted);
            }
        }
        let address = self.pick_address(src.ip()).ok_or(DropCause::PortsExhausted)?;
        let port = self.pick_port(now, address, src.port()).ok_or(DropCause::PortsExhausted)?;
        let outside = SocketAddr::new(address, port);
        let id = self.next_entry;
        self.next_entry += 1;
        self.by_inside.insert(key, id);
        self.by_outside.insert(outside, id);
        *self.per_host.entry(src.ip()).or_default() += 1;
        let expires = now + self.spec.timeout;
        self.entries.insert(id, Entry { inside: src, outside, key, expires, permits: Permits::default() });
        Ok(id)
    }

    /// A packet from inside: its new source.
    ///
    /// # Errors
    /// Why it is lost.
    pub(crate) fn outbound(&mut self, now: Time, src: SocketAddr, dst: SocketAddr) -> Result<SocketAddr, DropCause> {
        let key = self.inside_key(src, dst);
        let known = self.by_inside.get(&key).copied();
        let living = known.filter(|id| self.entries.get(id).is_some_and(|entry| entry.expires > now));
        let id = match living {
            Some(id) => id,
            None => {
                if let Some(id) = known {
                    self.remove(id);
                }
                self.make(now, key)?
            }
        };
        let until = now + self.spec.timeout;
        let entry = self.entries.get_mut(&id).ok_or(DropCause::NoMapping)?;
        // RFC 4787 §4.3, REQ-6: outbound refresh is a must.
        entry.expires = until;
        entry.permits.open(now, self.spec.filtering, dst, until);
        Ok(entry.outside)
    }

    /// The outside socket of an inside one, without making or refreshing a mapping.
    pub(crate) fn existing(&self, now: Time, src: SocketAddr, dst: SocketAddr) -> Option<SocketAddr> {
        let entry = self.entries.get(self.by_inside.get(&self.inside_key(src, dst))?)?;
        (entry.expires > now).then_some(entry.outside)
    }

    /// A packet from outside: its new destination.
    ///
    /// # Errors
    /// Why it is lost.
    pub(crate) fn inbound(&mut self, now: Time, src: SocketAddr, dst: SocketAddr) -> Result<SocketAddr, DropCause> {
        let id = self.at_outside(now, dst).ok_or(DropCause::NoMapping)?;
        let until = now + self.spec.timeout;
        let entry = self.entries.get_mut(&id).ok_or(DropCause::NoMapping)?;
        // Endpoint-independent filtering needs no permit: the mapping is one.
        let free = self.spec.filtering == Filtering::EndpointIndependent;
        if !free && !entry.permits.is_open(now, self.spec.filtering, src) {
            return Err(DropCause::Filtered);
        }
        if self.spec.inbound_refresh {
            entry.expires = until;
            entry.permits.open(now, self.spec.filtering, src, until);
        }
        Ok(entry.inside)
    }

    /// The inside socket of an outside one, for signals about packets of its.
    pub(crate) fn inbound_signal(&mut self, now: Time, dst: SocketAddr) -> Result<SocketAddr, DropCause> {
        let id = self.at_outside(now, dst).ok_or(DropCause::NoMapping)?;
        self.entries.get(&id).map(|entry| entry.inside).ok_or(DropCause::NoMapping)
    }

    /// A packet from inside to one of the outside addresses: its new source and destination.
    ///
    /// # Errors
    /// Why it is lost.
    pub(crate) fn hairpin(
        &mut self,
        now: Time,
        src: SocketAddr,
        dst: SocketAddr,
    ) -> Result<(SocketAddr, SocketAddr), DropCause> {
        if self.spec.hairpin == Hairpin::None {
            return Err(DropCause::NoHairpin);
        }
        let outside = self.outbound(now, src, dst)?;
        let inside = self.inbound(now, outside, dst)?;
        let seen = if self.spec.hairpin == Hairpin::InternalSource { src } else { outside };
        Ok((seen, inside))
    }

    /// Whether its inside has IPv6 alone.
    pub(crate) const fn is_nat64(&self) -> bool {
        self.spec.nat64
    }

    /// Changes the timeout of what is used from now on.
    pub(crate) const fn set_timeout(&mut self, timeout: Duration) {
        self.spec.timeout = timeout;
    }
}
