//! Packet fragmentation (RFC 7016 §3.4): startup packets too large for the path, taken apart and put together.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::error::DropReason;
use crate::params::{FRAGMENT_PACKET_MAX, FRAGMENT_PROGRESS_TIMEOUT, FRAGMENT_REASSEMBLY_TIMEOUT};
use crate::time::Instant;
use crate::wire::PacketFragment;

/// Packets that may be in reassembly at once.
const MAX_PACKETS: usize = 256;
/// Bytes that all of them may hold together.
const MAX_BYTES: usize = 1 << 20;
/// Fragments of one packet: what 64 KiB are in fragments as small as is sensible.
const MAX_FRAGMENTS: u64 = 256;
/// What a fragment costs beside its bytes.
const OVERHEAD: usize = 64;

/// Which packet a fragment belongs to: the sender's address, the session ID, and the packet's own ID.
pub(super) type PacketKey = (SocketAddr, u32, u64);

/// Packets being put together.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    packets: BTreeMap<PacketKey, Partial>,
    held: usize,
}

#[derive(Debug)]
struct Partial {
    begun: Instant,
    progressed: Instant,
    fragments: BTreeMap<u64, Vec<u8>>,
    /// How many fragments the packet has, once the last has come.
    count: Option<u64>,
    len: usize,
}

impl Partial {
    fn cost(&self) -> usize {
        self.len + OVERHEAD * (1 + self.fragments.len())
    }

    /// False for a fragment that is there already or lies behind the last one, and for a last one that is not the
    /// only one or before others: the number of fragments then tells whether all are there.
    fn has_place_for(&self, chunk: &PacketFragment<'_>) -> bool {
        let number = chunk.fragment_number;
        let fits = match self.count {
            Some(count) => chunk.more_fragments && number < count,
            None => {
                chunk.more_fragments || self.fragments.last_key_value().is_none_or(|(highest, _)| *highest < number)
            }
        };
        fits && !self.fragments.contains_key(&number)
    }

    fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.progressed) > FRAGMENT_PROGRESS_TIMEOUT
            || now.saturating_duration_since(self.begun) > FRAGMENT_REASSEMBLY_TIMEOUT
    }
}

impl Reassembly {
    /// Takes a fragment. Gives the whole plain packet if it was the last one missing.
    pub(super) fn add(
        &mut self,
        now: Instant,
        key: PacketKey,
        chunk: &PacketFragment<'_>,
    ) -> Result<Option<Vec<u8>>, DropReason> {
        if chunk.fragment_number >= MAX_FRAGMENTS {
            return Err(DropReason::OverLimit);
        }
        if self.packets.get(&key).is_some_and(|partial| partial.is_stale(now)) {
            self.forget(&key);
        }
        if !self.packets.contains_key(&key) {
            self.make_room(now, chunk.fragment.len())?;
        } else if self.held + chunk.fragment.len() + OVERHEAD > MAX_BYTES {
            return Err(DropReason::OverLimit);
        }
        let fresh = Partial { begun: now, progressed: now, fragments: BTreeMap::new(), count: None, len: 0 };
        let partial = self.packets.entry(key).or_insert(fresh);
        let before = if partial.fragments.is_empty() { 0 } else { partial.cost() };
        if !partial.has_place_for(chunk) {
            return Err(DropReason::Unexpected);
        }
        if partial.len + chunk.fragment.len() > FRAGMENT_PACKET_MAX {
            self.forget(&key);
            return Err(DropReason::OverLimit);
        }
        if !chunk.more_fragments {
            partial.count = Some(chunk.fragment_number + 1);
        }
        partial.progressed = now;
        partial.len += chunk.fragment.len();
        partial.fragments.insert(chunk.fragment_number, chunk.fragment.to_vec());
        let complete = partial.count.is_some_and(|count| partial.fragments.len() as u64 == count);
        self.held += partial.cost() - before;
        Ok(complete.then(|| self.forget(&key).into_values().flatten().collect()))
    }

    /// Room for a new packet: those that progress no more give way.
    fn make_room(&mut self, now: Instant, len: usize) -> Result<(), DropReason> {
        let full = |this: &Self| this.packets.len() >= MAX_PACKETS || this.held + len + 2 * OVERHEAD > MAX_BYTES;
        if full(self) {
            let stale: Vec<PacketKey> =
                self.packets.iter().filter(|(_, partial)| partial.is_stale(now)).map(|(key, _)| *key).collect();
            for key in stale {
                self.forget(&key);
            }
        }
        if full(self) { Err(DropReason::OverLimit) } else { Ok(()) }
    }

    fn forget(&mut self, key: &PacketKey) -> BTreeMap<u64, Vec<u8>> {
        let Some(partial) = self.packets.remove(key) else { return BTreeMap::new() };
        if !partial.fragments.is_empty() {
            self.held -= partial.cost();
        }
        partial.fragments
    }
}

/// Cuts a plain packet into fragments of at most `size` bytes each.
pub(super) fn split(plain: &[u8], packet_id: u64, size: usize) -> impl Iterator<Item = PacketFragment<'_>> {
    let count = plain.len().div_ceil(size.max(1));
    plain.chunks(size.max(1)).enumerate().map(move |(index, fragment)| PacketFragment {
        more_fragments: index + 1 < count,
        packet_id,
        fragment_number: index as u64,
        fragment,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use quickcheck::quickcheck;

    const START: Instant = Instant::from_millis(10_000);

    fn key(id: u64) -> PacketKey {
        (SocketAddr::from(([192, 0, 2, 1], 1935)), 0, id)
    }

    quickcheck! {
        fn any_order_with_repeats_gives_the_packet_back_once(plain: Vec<u8>, size: u8, order: Vec<u8>) -> bool {
            let mut reassembly = Reassembly::default();
            let fragments: Vec<_> = split(&plain, 7, usize::from(size).max(plain.len() / 200 + 1)).collect();
            if fragments.is_empty() {
                return true;
            }
            let picks = order.iter().map(|pick| usize::from(*pick) % fragments.len());
            let mut whole = Vec::new();
            for index in picks.chain(0..fragments.len()) {
                if let Ok(Some(packet)) = reassembly.add(START, key(7), &fragments[index]) {
                    whole.push(packet);
                    break;
                }
            }
            whole == [plain] && reassembly.held == 0 && reassembly.packets.is_empty()
        }
    }

    fn piece(id: u64, number: u64, fragment: &[u8]) -> (PacketKey, PacketFragment<'_>) {
        (key(id), PacketFragment { more_fragments: true, packet_id: id, fragment_number: number, fragment })
    }

    #[test]
    fn a_packet_is_whole_only_with_every_fragment_and_has_one_last_one() {
        let mut reassembly = Reassembly::default();
        let mut add = |number, more_fragments| {
            let fragment = PacketFragment { more_fragments, packet_id: 1, fragment_number: number, fragment: b"x" };
            reassembly.add(START, key(1), &fragment)
        };
        assert_eq!(add(5, true), Ok(None));
        // As many fragments as a packet of two has, but not the two.
        assert_eq!(add(1, false), Err(DropReason::Unexpected));
        assert_eq!(add(6, false), Ok(None));
        assert_eq!(add(0, false), Err(DropReason::Unexpected), "a second end");
        assert_eq!(add(7, true), Err(DropReason::Unexpected), "behind the end");
        for number in 0..4 {
            assert_eq!(add(number, true), Ok(None));
        }
        assert_eq!(add(4, true), Ok(Some(b"xxxxxxx".to_vec())));
    }

    #[test]
    fn fragments_belong_together_by_source_address_session_id_and_packet_id() {
        let mut reassembly = Reassembly::default();
        let (first, second) = (b"a".as_slice(), b"b".as_slice());
        let other = SocketAddr::from(([192, 0, 2, 1], 1936));
        let chunk = |number, fragment| PacketFragment {
            more_fragments: number == 0,
            packet_id: 1,
            fragment_number: number,
            fragment,
        };
        assert_eq!(reassembly.add(START, key(1), &chunk(0, first)), Ok(None));
        assert_eq!(reassembly.add(START, (other, 0, 1), &chunk(1, second)), Ok(None));
        assert_eq!(reassembly.add(START, (key(1).0, 9, 1), &chunk(1, second)), Ok(None));
        assert_eq!(reassembly.add(START, key(2), &chunk(1, second)), Ok(None));
        assert_eq!(reassembly.add(START, key(1), &chunk(1, second)), Ok(Some(b"ab".to_vec())));
    }

    #[test]
    fn packets_in_reassembly_are_bounded_and_stale_ones_give_way() {
        let mut reassembly = Reassembly::default();
        let mut add = |now, id| {
            let (key, chunk) = piece(id, 0, b"x");
            reassembly.add(now, key, &chunk)
        };
        for id in 0..MAX_PACKETS as u64 {
            assert_eq!(add(START, id), Ok(None));
        }
        assert_eq!(add(START, 999_999), Err(DropReason::OverLimit));
        let later = START + FRAGMENT_PROGRESS_TIMEOUT + Duration::from_micros(1);
        assert_eq!(add(later, 999_999), Ok(None));
    }

    #[test]
    fn bytes_in_reassembly_are_bounded() {
        let mut reassembly = Reassembly::default();
        let fragment = [0; 1_000];
        for id in 0..200 {
            for number in 0..100 {
                let (key, chunk) = piece(id, number, &fragment);
                let _ = reassembly.add(START, key, &chunk);
                assert!(reassembly.held <= MAX_BYTES + OVERHEAD);
            }
        }
        assert!(reassembly.held > MAX_BYTES / 2);
    }

    #[test]
    fn a_packet_larger_than_65536_bytes_is_given_up() {
        let mut reassembly = Reassembly::default();
        let fragment = [0; 1_000];
        let results = (0..70).map(|number| {
            let (key, chunk) = piece(1, number, &fragment);
            reassembly.add(START, key, &chunk)
        });
        assert_eq!(results.filter(|result| *result == Err(DropReason::OverLimit)).count(), 1);
        let (key, chunk) = piece(1, MAX_FRAGMENTS, &fragment);
        assert_eq!(reassembly.add(START, key, &chunk), Err(DropReason::OverLimit));
    }

    #[test]
    fn a_packet_without_progress_for_a_second_or_older_than_a_minute_starts_anew() {
        for pause in [1_001, 900] {
            let mut reassembly = Reassembly::default();
            let mut now = START;
            let mut number = 0;
            while now <= START + FRAGMENT_REASSEMBLY_TIMEOUT && number < 100 {
                let (key, chunk) = piece(1, number, b"x");
                assert_eq!(reassembly.add(now, key, &chunk), Ok(None));
                (number, now) = (number + 1, now + Duration::from_millis(pause));
            }
            let held = reassembly.packets.values().next().unwrap().fragments.len();
            if pause > 1_000 {
                assert_eq!(held, 1, "each fragment found the packet stale");
            } else {
                let (key, chunk) = piece(1, number, b"x");
                assert_eq!(reassembly.add(now, key, &chunk), Ok(None));
                assert_eq!(reassembly.packets.values().next().unwrap().fragments.len(), 1, "a minute is over");
                assert!(held > 60);
            }
        }
    }
}
