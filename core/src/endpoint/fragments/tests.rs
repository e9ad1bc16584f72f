//! Reassembly of fragmented packets, forged fragments and the limits of what is held.

use super::partial::MAX_DISPUTED;
use super::*;
use crate::params::FRAGMENT_REASSEMBLY_TIMEOUT;
use alloc::vec;
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
            whole.extend(reassembly.add(START, key(7), &fragments[index]).unwrap_or_default());
        }
        let held = reassembly.packets.values().map(Partial::cost).sum::<usize>();
        whole == [plain] && reassembly.held == held
    }
}

fn piece(id: u64, number: u64, fragment: &[u8]) -> (PacketKey, PacketFragment<'_>) {
    (key(id), PacketFragment { more_fragments: true, packet_id: id, fragment_number: number, fragment })
}

fn none() -> Result<Vec<Vec<u8>>, DropReason> {
    Ok(Vec::new())
}

#[test]
fn a_packet_is_whole_only_with_every_fragment_up_to_its_last() {
    let mut reassembly = Reassembly::default();
    let mut add = |number, more_fragments| {
        let fragment = PacketFragment { more_fragments, packet_id: 1, fragment_number: number, fragment: b"x" };
        reassembly.add(START, key(1), &fragment)
    };
    assert_eq!(add(5, true), none());
    assert_eq!(add(6, false), none());
    assert_eq!(add(6, false), Err(DropReason::Unexpected), "the same again");
    assert_eq!(add(7, true), none(), "after the end");
    for number in 0..4 {
        assert_eq!(add(number, true), none());
    }
    assert_eq!(add(4, true), Ok(vec![b"xxxxxxx".to_vec()]));
    assert_eq!(add(4, true), Err(DropReason::Unexpected), "it is whole");
}

/// Whoever sees a fragment on its way can send another in its place, and be first.
#[test]
fn a_forged_fragment_does_not_take_the_place_of_the_right_one() {
    let right = split(b"abcdef", 7, 2).collect::<Vec<_>>();
    let forged = |fragment_number, more_fragments, fragment| PacketFragment {
        more_fragments,
        packet_id: 7,
        fragment_number,
        fragment,
    };
    for forgery in [forged(0, true, b"XX"), forged(1, true, b"X"), forged(1, false, b"cd"), forged(2, false, b"")] {
        for at in 0..4 {
            let mut reassembly = Reassembly::default();
            let mut all = right.clone();
            all.insert(at, forgery);
            let made: Vec<_> =
                all.iter().flat_map(|fragment| reassembly.add(START, key(7), fragment).unwrap()).collect();
            assert_eq!(made.iter().filter(|packet| *packet == b"abcdef").count(), 1, "{forgery:?} at {at}");
            assert!(made.len() <= 2);
        }
    }
}

#[test]
fn what_is_tried_of_disputed_fragments_is_bounded() {
    let mut reassembly = Reassembly::default();
    let (mut made, mut refused) = (0, 0);
    for version in 0..3_u8 {
        for fragment_number in 0..20 {
            let more_fragments = fragment_number < 19;
            let chunk = PacketFragment { more_fragments, packet_id: 7, fragment_number, fragment: &[version] };
            match reassembly.add(START, key(7), &chunk) {
                Ok(packets) => made += packets.len(),
                Err(reason) => refused += usize::from(reason == DropReason::OverLimit),
            }
        }
    }
    assert_eq!((made, refused), (1 << MAX_DISPUTED, 2 * 20 - MAX_DISPUTED));
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
    assert_eq!(reassembly.add(START, key(1), &chunk(0, first)), none());
    assert_eq!(reassembly.add(START, (other, 0, 1), &chunk(1, second)), none());
    assert_eq!(reassembly.add(START, (key(1).0, 9, 1), &chunk(1, second)), none());
    assert_eq!(reassembly.add(START, key(2), &chunk(1, second)), none());
    assert_eq!(reassembly.add(START, key(1), &chunk(1, second)), Ok(vec![b"ab".to_vec()]));
}

fn from(host: u32, id: u64) -> PacketKey {
    (SocketAddr::from(((0x0a00_0000 + host).to_be_bytes(), 1935)), 0, id)
}

/// 300 forged fragments a second stopped all others.
#[test]
fn a_flood_of_single_fragments_gives_way_to_a_packet_that_progresses() {
    let mut reassembly = Reassembly::default();
    let right = split(b"abcdef", 7, 2).collect::<Vec<_>>();
    let (mut forged, mut whole) = (0, Vec::new());
    // Two fragments at once, and one when the sender's next period has come.
    for (round, fragments) in (0..).zip([&right[..2], &right[2..]]) {
        let now = START + Duration::from_millis(200) * round;
        for _ in 0..10_000 {
            forged += 1;
            let (_, chunk) = piece(forged, 0, b"x");
            assert_eq!(reassembly.add(now, from(forged as u32, forged), &chunk), none());
            assert!(reassembly.packets.len() <= MAX_PACKETS);
        }
        for fragment in fragments {
            whole.extend(reassembly.add(now, key(7), fragment).unwrap());
        }
    }
    assert_eq!(whole, [b"abcdef"]);
    assert!(reassembly.take_evicted() > 19_000);
}

/// Of a packet with two fragments, the first gave way to anything that came before the second.
#[test]
fn a_table_full_of_packets_that_progress_lets_a_new_one_come_in() {
    // Many sources fill the packets or the bytes, and one source its share of either.
    let large = [0; 5_000];
    for (hosts, fragment) in [(1_000, &b"x"[..]), (1_000, &large[..]), (1, b"x"), (1, &large)] {
        let mut reassembly = Reassembly::default();
        let forged = |id: u64| if hosts == 1 { key(id) } else { from((id % hosts) as u32, id) };
        let flood = |reassembly: &mut Reassembly, now, id, number| {
            let (_, chunk) = piece(id, number, fragment);
            assert_eq!(reassembly.add(now, forged(id), &chunk), none());
        };
        for id in 1_000..2_000 {
            flood(&mut reassembly, START, id, 0);
            flood(&mut reassembly, START, id, 1);
        }
        let full = reassembly.packets.len();
        let now = START + Duration::from_millis(10);
        let right = split(b"abcdef", 7, 3).collect::<Vec<_>>();
        assert_eq!(reassembly.add(now, key(7), &right[0]), none());
        flood(&mut reassembly, now, 3_000, 0);
        // And others that become as many.
        for id in 3_001..3_004 {
            flood(&mut reassembly, now, id, 0);
            flood(&mut reassembly, now, id, 1);
        }
        assert!(reassembly.packets.len() >= full, "it was full: {hosts} {}", fragment.len());
        assert_eq!(reassembly.add(now, key(7), &right[1]), Ok(vec![b"abcdef".to_vec()]), "{hosts} {}", fragment.len());
    }
}

#[test]
fn one_source_has_its_share_of_packets_and_displaces_only_its_own() {
    let mut reassembly = Reassembly::default();
    for id in 0..10_000 {
        let (key, chunk) = piece(id, id % 2, b"x");
        assert_eq!(reassembly.add(START, key, &chunk), none());
    }
    assert_eq!(reassembly.packets.len(), MAX_PACKETS / SHARES);
    // A site of IPv6 is one source.
    for net in 0..10_000_u16 {
        let ip = core::net::Ipv6Addr::new(0x2001, 0xdb8, 1, net, 0, 0, 0, 1);
        let (_, chunk) = piece(1, 0, b"x");
        assert_eq!(reassembly.add(START, (SocketAddr::new(ip.into(), 9), 0, 1), &chunk), none());
    }
    assert_eq!(reassembly.packets.len(), 2 * MAX_PACKETS / SHARES);
}

#[test]
fn packets_in_reassembly_are_bounded_and_stale_ones_give_way() {
    let mut reassembly = Reassembly::default();
    let mut add = |now, host| {
        let (_, chunk) = piece(1, 0, b"x");
        assert_eq!(reassembly.add(now, from(host, 1), &chunk), none());
        reassembly.packets.len()
    };
    for host in 0..2 * MAX_PACKETS as u32 {
        assert!(add(START, host) <= MAX_PACKETS);
    }
    let later = START + FRAGMENT_PROGRESS_TIMEOUT + Duration::from_micros(1);
    assert_eq!(add(later, 999_999), 1);
    assert_eq!(reassembly.take_evicted(), MAX_PACKETS);
}

#[test]
fn bytes_in_reassembly_are_bounded() {
    let mut reassembly = Reassembly::default();
    let fragment = [0; 1_000];
    for host in 0..200 {
        for number in 0..60 {
            let (_, chunk) = piece(1, number, &fragment);
            let _ = reassembly.add(START, from(host, 1), &chunk);
            assert!(reassembly.held <= MAX_BYTES);
        }
    }
    assert!(reassembly.held > MAX_BYTES / 2);
}

#[test]
fn a_packet_does_not_grow_beyond_65536_bytes() {
    let mut reassembly = Reassembly::default();
    let fragment = [0; 1_000];
    let results = (0..70).map(|number| {
        let (key, chunk) = piece(1, number, &fragment);
        reassembly.add(START, key, &chunk)
    });
    assert_eq!(results.filter(|result| *result == Err(DropReason::OverLimit)).count(), 5);
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
            assert_eq!(reassembly.add(now, key, &chunk), none());
            (number, now) = (number + 1, now + Duration::from_millis(pause));
        }
        let held = reassembly.packets.values().next().unwrap().fragments.len();
        if pause > 1_000 {
            assert_eq!(held, 1, "each fragment found the packet stale");
        } else {
            let (key, chunk) = piece(1, number, b"x");
            assert_eq!(reassembly.add(now, key, &chunk), none());
            assert_eq!(reassembly.packets.values().next().unwrap().fragments.len(), 1, "a minute is over");
            assert!(held > 60);
        }
    }
}

/// Each fragment was copied with all before it, once for each version of what was disputed: 130 MB for 64 KiB.
#[test]
fn what_is_made_of_many_disputed_fragments_is_not_copied_for_each() {
    let mut reassembly = Reassembly::default();
    let fragment = [7; 250];
    let mut add = |number, bytes| {
        let more_fragments = number + 1 < MAX_FRAGMENTS;
        let chunk = PacketFragment { more_fragments, packet_id: 1, fragment_number: number, fragment: bytes };
        reassembly.add(START, key(1), &chunk).unwrap()
    };
    for number in 1..MAX_FRAGMENTS {
        assert!(add(number, &fragment[..]).is_empty());
        if number <= MAX_DISPUTED as u64 {
            assert!(add(number, &fragment[1..]).is_empty());
        }
    }
    let whole = add(0, &fragment);
    assert_eq!(whole.len(), 1 << MAX_DISPUTED);
    let copied: usize = reassembly.packets.values().map(|partial| partial.copied.get()).sum();
    assert!(copied <= 2 * whole.iter().map(Vec::len).sum::<usize>(), "{copied} bytes");
    let most = MAX_FRAGMENTS as usize * fragment.len();
    assert!(whole.iter().all(|packet| (most - MAX_DISPUTED..=most).contains(&packet.len())));
}

#[test]
fn what_is_held_counts_each_packet_and_each_fragment() {
    let mut reassembly = Reassembly::default();
    for (number, fragment, held) in
        [(0, &b"ab"[..], 2 + OVERHEAD), (2, b"c", 3 + 2 * OVERHEAD), (2, b"de", 5 + 3 * OVERHEAD)]
    {
        let (key, chunk) = piece(1, number, fragment);
        assert_eq!(reassembly.add(START, key, &chunk), none());
        assert_eq!(reassembly.held, PACKET_OVERHEAD + held);
    }
}

#[test]
fn a_packet_is_waited_for_until_its_time_is_over_and_not_a_moment_less() {
    let moment = Duration::from_micros(1);
    let last = PacketFragment { more_fragments: false, packet_id: 7, fragment_number: 1, fragment: b"b" };
    let progress = FRAGMENT_PROGRESS_TIMEOUT;
    // Further fragments that keep a packet alive, and when the last one comes.
    let most = FRAGMENT_REASSEMBLY_TIMEOUT;
    let steps = (most.as_micros() / progress.as_micros()) as u32;
    for (kept, end, late) in [(0, START + progress, moment), (steps, START + most, moment)] {
        for (at, whole) in [(end, true), (end + late, false)] {
            let mut reassembly = Reassembly::default();
            let (key, first) = piece(7, 0, b"a");
            assert_eq!(reassembly.add(START, key, &first), none());
            for step in 1..=kept {
                let (_, further) = piece(7, 2 + u64::from(step), b"x");
                assert_eq!(reassembly.add(START + progress * step, key, &further), none());
            }
            assert_eq!(reassembly.add(at, key, &last), if whole { Ok(vec![b"ab".to_vec()]) } else { none() });
        }
    }
}

#[test]
fn a_packet_that_was_made_gives_way_before_an_older_one_that_was_not() {
    let mut reassembly = Reassembly::default();
    let (waiting, first) = piece(1, 0, b"a");
    assert_eq!(reassembly.add(START, waiting, &first), none());
    let later = START + Duration::from_millis(1);
    let made = PacketFragment { more_fragments: false, packet_id: 2, fragment_number: 0, fragment: b"made" };
    assert_eq!(reassembly.add(later, key(2), &made), Ok(vec![b"made".to_vec()]));
    for id in 3..=MAX_PACKETS as u64 / SHARES as u64 + 1 {
        let (key, chunk) = piece(id, 0, b"x");
        assert_eq!(reassembly.add(later, key, &chunk), none());
    }
    assert_eq!(reassembly.take_evicted(), 1);
    assert!(!reassembly.packets.contains_key(&key(2)));
    let last = PacketFragment { more_fragments: false, packet_id: 1, fragment_number: 1, fragment: b"b" };
    assert_eq!(reassembly.add(later, waiting, &last), Ok(vec![b"ab".to_vec()]));
}
