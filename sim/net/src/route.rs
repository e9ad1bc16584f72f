//! Longest-prefix routing, and the table that it and others look addresses up in.

use core::net::{IpAddr, Ipv6Addr};

use crate::rng::fold;

/// An address as a number: IPv6 as it is, IPv4 mapped into it (`::ffff:a.b.c.d`).
pub(crate) const fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A range of addresses with a common beginning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Prefix {
    bits: u128,
    len: u8,
}

impl Prefix {
    /// All IPv4 addresses.
    pub const ALL_V4: Self = Self { bits: Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0).to_bits(), len: 96 };
    /// All addresses.
    pub const ALL: Self = Self { bits: 0, len: 0 };

    /// The addresses that share their first `len` bits with `address`; more bits than it has are taken as all.
    #[must_use]
    pub const fn new(address: IpAddr, len: u8) -> Self {
        let len = match address {
            IpAddr::V4(_) => {
                if len > 32 {
                    128
                } else {
                    96 + len
                }
            }
            IpAddr::V6(_) => {
                if len > 128 {
                    128
                } else {
                    len
                }
            }
        };
        Self { bits: bits(address) & mask(len), len }
    }

    /// This address alone.
    #[must_use]
    pub const fn host(address: IpAddr) -> Self {
        Self { bits: bits(address), len: 128 }
    }

    /// Whether an address is within.
    #[must_use]
    pub const fn contains(&self, address: IpAddr) -> bool {
        bits(address) & mask(self.len) == self.bits
    }
}

const fn mask(len: u8) -> u128 {
    if len == 0 { 0 } else { u128::MAX << (128 - len as u32) }
}

/// A hash table from numbers to small values. Its hash is fixed and it is never iterated over, so nothing of its
/// inner order is ever seen.
#[derive(Clone, Debug)]
pub(crate) struct NumberMap<V> {
    slots: Vec<Slot<V>>,
    len: usize,
}

/// Two halves instead of the whole, which would want an alignment of 16 and more room than it has use for.
#[derive(Clone, Copy, Debug)]
struct Slot<V> {
    high: u64,
    low: u64,
    value: Option<V>,
}

impl<V> Slot<V> {
    const EMPTY: Self = Self { high: 0, low: 0, value: None };

    const fn key(&self) -> u128 {
        (self.high as u128) << 64 | self.low as u128
    }
}

impl<V> Default for NumberMap<V> {
    fn default() -> Self {
        Self { slots: Vec::new(), len: 0 }
    }
}

#[expect(clippy::indexing_slicing, reason = "indices are masked to the table's length, a power of two")]
impl<V: Copy> NumberMap<V> {
    fn home(&self, key: u128) -> usize {
        let hash = fold((key >> 64) as u64 ^ 0x9e37_79b9_7f4a_7c15, key as u64 ^ 0xd1b5_4a32_d192_ed03);
        (hash ^ hash >> 32) as usize & (self.slots.len() - 1)
    }

    fn find(&self, key: u128) -> Option<usize> {
        if self.slots.is_empty() {
            return None;
        }
        let (high, low) = ((key >> 64) as u64, key as u64);
        let mut index = self.home(key);
        loop {
            let slot = &self.slots[index];
            slot.value?;
            if slot.low == low && slot.high == high {
                return Some(index);
            }
            index = (index + 1) & (self.slots.len() - 1);
        }
    }

    pub(crate) fn get(&self, key: u128) -> Option<V> {
        self.find(key).and_then(|index| self.slots[index].value)
    }

    pub(crate) fn insert(&mut self, key: u128, value: V) {
        if let Some(index) = self.find(key) {
            self.slots[index].value = Some(value);
            return;
        }
        if (self.len + 1) * 2 > self.slots.len() {
            let bigger = (self.slots.len() * 2).max(8);
            let old = core::mem::replace(&mut self.slots, vec![Slot::EMPTY; bigger]);
            for slot in old.into_iter().filter(|slot| slot.value.is_some()) {
                self.place(slot);
            }
        }
        self.place(Slot { high: (key >> 64) as u64, low: key as u64, value: Some(value) });
        self.len += 1;
    }

    fn place(&mut self, slot: Slot<V>) {
        let mut index = self.home(slot.key());
        while self.slots[index].value.is_some() {
            index = (index + 1) & (self.slots.len() - 1);
        }
        self.slots[index] = slot;
    }

    pub(crate) fn remove(&mut self, key: u128) {
        let Some(mut hole) = self.find(key) else { return };
        self.slots[hole] = Slot::EMPTY;
        self.len -= 1;
        // Whatever stands behind the hole only because the hole was full moves into it.
        let mask = self.slots.len() - 1;
        let mut index = (hole + 1) & mask;
        while self.slots[index].value.is_some() {
            let slot = self.slots[index];
            let home = self.home(slot.key());
            if (index.wrapping_sub(home) & mask) >= (index.wrapping_sub(hole) & mask) {
                self.slots[hole] = slot;
                self.slots[index] = Slot::EMPTY;
                hole = index;
            }
            index = (index + 1) & mask;
        }
    }
}

/// Routes: the most specific prefix wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct RouteTable {
    /// One table for each length that occurs, the longest first.
    lengths: Vec<(u8, NumberMap<u16>)>,
}

impl RouteTable {
    pub(crate) fn insert(&mut self, prefix: Prefix, port: u16) {
        let at = self.lengths.partition_point(|(len, _)| *len > prefix.len);
        if self.lengths.get(at).is_none_or(|(len, _)| *len != prefix.len) {
            self.lengths.insert(at, (prefix.len, NumberMap::default()));
        }
        if let Some((_, table)) = self.lengths.get_mut(at) {
            table.insert(prefix.bits, port);
        }
    }

    pub(crate) fn remove(&mut self, prefix: Prefix) {
        for (len, table) in &mut self.lengths {
            if *len == prefix.len {
                table.remove(prefix.bits);
            }
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    pub(crate) fn exact(&self, prefix: Prefix) -> Option<u16> {
        self.lengths.iter().find(|(len, _)| *len == prefix.len).and_then(|(_, table)| table.get(prefix.bits))
    }

    pub(crate) fn lookup(&self, address: IpAddr) -> Option<u16> {
        let bits = bits(address);
        self.lengths.iter().find_map(|(len, table)| table.get(bits & mask(*len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use std::collections::BTreeMap;

    quickcheck! {
        fn map_is_a_map(ops: Vec<(bool, u8, u16)>) -> bool {
            let (mut map, mut model) = (NumberMap::default(), BTreeMap::new());
            for (insert, key, value) in ops {
                // Few keys, so that they collide and go again.
                let key = u128::from(key % 48) << 60;
                if insert {
                    map.insert(key, value);
                    model.insert(key, value);
                } else {
                    map.remove(key);
                    model.remove(&key);
                }
            }
            map.len == model.len() && (0..48).all(|key| map.get(key << 60) == model.get(&(key << 60)).copied())
        }
    }

    #[test]
    fn longest_prefix() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut table = RouteTable::default();
        table.insert(Prefix::ALL_V4, 1);
        table.insert(Prefix::new(ip("10.0.0.0"), 8), 2);
        table.insert(Prefix::new(ip("10.1.0.0"), 16), 3);
        table.insert(Prefix::host(ip("10.1.2.3")), 4);
        table.insert(Prefix::new(ip("2001:db8::"), 32), 5);
        let routes = ["8.8.8.8", "10.2.0.1", "10.1.9.9", "10.1.2.3", "2001:db8::1"].map(|a| table.lookup(ip(a)));
        assert_eq!(routes, [Some(1), Some(2), Some(3), Some(4), Some(5)]);
        assert_eq!(table.lookup(ip("2001:db9::1")), None);
        table.remove(Prefix::host(ip("10.1.2.3")));
        assert_eq!(table.lookup(ip("10.1.2.3")), Some(3));
    }
}
