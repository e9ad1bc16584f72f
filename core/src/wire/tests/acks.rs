//! RFC 7016 §2.3.13 and §2.3.14: ranges of both acknowledgements, near the limits and cut short.

use alloc::vec;
use alloc::vec::Vec;

use super::arbitrary::Number;
use super::{check, packet};
use crate::wire::{AckBitmap, AckRanges, Chunk, PacketHeader, PacketWriter};

const HEADERS: usize = 4; // of the packet and the chunk

/// The procedure of RFC 7016 §2.3.13, one sequence number after the other.
fn bitmap_by_the_letter(cumulative_ack: u64, bits: &[u8]) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let mut ack_cursor = u128::from(cumulative_ack) + 1;
    for byte in bits {
        for bit_position in 1..=8 {
            if byte >> (bit_position - 1) & 1 != 0 {
                acknowledged.push(ack_cursor + bit_position);
            }
        }
        ack_cursor += 8;
    }
    acknowledged.into_iter().filter_map(|number| u64::try_from(number).ok()).collect()
}

/// Makes ascending ranges with holes between them out of whatever.
fn make_ranges(cumulative_ack: u64, runs: &[(u8, u8)]) -> Vec<(u64, u64)> {
    let mut end = cumulative_ack;
    let next = |&(holes, received): &(u8, u8)| {
        let from = end.checked_add(2)?.checked_add(holes.into())?;
        end = from.checked_add(received.into())?;
        Some((from, end))
    };
    runs.iter().map_while(next).collect()
}

#[test]
fn bitmap_ranges_follow_the_procedure() {
    fn property(cumulative: Number, bits: Vec<u8>) -> bool {
        let ack = AckBitmap { flow_id: 1, blocks_available: 1, cumulative_ack: cumulative.0, bits: &bits };
        let ranges: Vec<_> = ack.ranges().collect();
        let numbers: Vec<u64> = ranges.iter().flat_map(|&(from, to)| from..=to).collect();
        numbers == bitmap_by_the_letter(cumulative.0, &bits) && ranges.windows(2).all(|two| two[0].1 + 1 < two[1].0)
    }
    check(property as fn(Number, Vec<u8>) -> bool);
}

#[test]
fn bitmap_ranges_merge_across_bytes() {
    let bits = [0x00, 0xf0, 0xff, 0xff, 0x01, 0x00, 0x80];
    let ack = AckBitmap { flow_id: 0, blocks_available: 0, cumulative_ack: 98, bits: &bits };
    assert!(ack.ranges().eq([(112, 132), (155, 155)]));
}

#[test]
fn bitmap_near_the_end_of_the_numbers() {
    let ranges = |cumulative_ack| -> Vec<_> {
        AckBitmap { flow_id: 0, blocks_available: 0, cumulative_ack, bits: &[0xff, 0xf0] }.ranges().collect()
    };
    assert_eq!(ranges(u64::MAX), []);
    assert_eq!(ranges(u64::MAX - 1), []);
    assert_eq!(ranges(u64::MAX - 2), [(u64::MAX, u64::MAX)]);
    assert_eq!(ranges(u64::MAX - 10), [(u64::MAX - 8, u64::MAX - 1)]);
    assert_eq!(ranges(u64::MAX - 14), [(u64::MAX - 12, u64::MAX - 5), (u64::MAX, u64::MAX)]);
}

#[test]
fn ranges_stop_at_what_does_not_parse() {
    let ranges = |cumulative_ack, encoded: &[u8]| -> Vec<_> {
        AckRanges { flow_id: 0, blocks_available: 0, cumulative_ack, encoded }.ranges().collect()
    };
    assert_eq!(ranges(16, &[]), []);
    assert_eq!(ranges(16, &[0]), []);
    assert_eq!(ranges(16, &[0, 0, 1]), [(18, 18)]);
    assert_eq!(ranges(16, &[0x80]), []);
    assert_eq!(ranges(0, &[0x81, 0x00, 0x81, 0x00]), [(130, 258)]);
    // A number above 2^64 - 1, be it a run or what it comes to.
    assert_eq!(ranges(16, &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0, 0, 0]), [(18, 18)]);
    assert_eq!(ranges(u64::MAX, &[0, 0]), []);
    assert_eq!(ranges(u64::MAX - 1, &[0, 0]), []);
    assert_eq!(ranges(u64::MAX - 2, &[0, 0, 0, 0]), [(u64::MAX, u64::MAX)]);
    assert_eq!(ranges(u64::MAX - 3, &[0, 1, 0, 0]), [(u64::MAX - 1, u64::MAX)]);
    assert_eq!(ranges(u64::MAX - 3, &[0, 2, 0, 0]), []);
}

#[test]
fn a_range_iterator_stays_at_its_end() {
    let mut ranges =
        AckRanges { flow_id: 0, blocks_available: 0, cumulative_ack: u64::MAX, encoded: &[0, 0, 0, 0] }.ranges();
    assert_eq!((ranges.next(), ranges.next()), (None, None));
}

/// Reads the only chunk of a packet that [`packet`] made.
fn read(packet: &[u8]) -> (u64, u64, u64, Vec<(u64, u64)>) {
    let (_, mut chunks) = PacketHeader::parse(packet).unwrap();
    match chunks.next() {
        Some(Ok(Chunk::AckBitmap(ack))) => {
            (ack.flow_id, ack.blocks_available, ack.cumulative_ack, ack.ranges().collect())
        }
        Some(Ok(Chunk::AckRanges(ack))) => {
            (ack.flow_id, ack.blocks_available, ack.cumulative_ack, ack.ranges().collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn whole_acks_come_back() {
    fn property(flow: Number, blocks: Number, cumulative: Number, runs: Vec<(u8, u8)>) -> bool {
        let (flow, blocks, cumulative) = (flow.0, blocks.0, cumulative.0);
        let ranges = make_ranges(cumulative, &runs);
        let expected = (flow, blocks, cumulative, ranges.clone());
        let highest = ranges.last().map(|&(_, to)| to);
        let as_ranges = packet(10_000, |packet| {
            assert!(AckRanges::write(packet, flow, blocks, cumulative, ranges.iter().copied(), false));
        });
        let as_bitmap = packet(10_000, |packet| {
            assert!(AckBitmap::write(packet, flow, blocks, cumulative, ranges.iter().copied(), false));
        });
        read(&as_ranges) == expected
            && read(&as_bitmap) == expected
            && as_ranges.len() == HEADERS + AckRanges::encoded_len(flow, blocks, cumulative, ranges)
            && as_bitmap.len() == HEADERS + AckBitmap::encoded_len(flow, blocks, cumulative, highest)
    }
    check(property as fn(Number, Number, Number, Vec<(u8, u8)>) -> bool);
}

#[test]
fn truncated_acks_hold_as_many_whole_ranges_as_fit() {
    fn property(cumulative: Number, runs: Vec<(u8, u8)>, limit: u8) -> bool {
        let (cumulative, limit) = (cumulative.0, usize::from(limit) + 1);
        let ranges = make_ranges(cumulative, &runs);
        let ranges_len = |count: usize| HEADERS + AckRanges::encoded_len(3, 4, cumulative, ranges[..count].to_vec());
        let bitmap_len = |count: usize| {
            let highest = ranges[..count].last().map(|&(_, to)| to);
            HEADERS + AckBitmap::encoded_len(3, 4, cumulative, highest)
        };
        let fit = |length: &dyn Fn(usize) -> usize| (0..=ranges.len()).rev().find(|&count| length(count) <= limit);
        let check = |length: &dyn Fn(usize) -> usize, write: &dyn Fn(&mut PacketWriter<'_>, bool) -> bool| {
            let (fit, all) = (fit(length), length(ranges.len()) <= limit);
            let truncated = packet(limit, |packet| assert_eq!(write(packet, true), fit.is_some()));
            let whole = packet(limit, |packet| assert_eq!(write(packet, false), all));
            assert!(all || whole.len() == 1, "what does not fit leaves nothing");
            assert_eq!(truncated.len(), fit.map_or(1, length));
            fit.is_none_or(|fit| read(&truncated) == (3, 4, cumulative, ranges[..fit].to_vec()))
        };
        check(&ranges_len, &|packet, cut| AckRanges::write(packet, 3, 4, cumulative, ranges.iter().copied(), cut))
            && check(&bitmap_len, &|packet, cut| {
                AckBitmap::write(packet, 3, 4, cumulative, ranges.iter().copied(), cut)
            })
    }
    check(property as fn(Number, Vec<(u8, u8)>, u8) -> bool);
}

#[test]
fn ranges_that_cannot_be_encoded_are_left_out() {
    // Below, touching and within what is acknowledged already; empty; out of order; touching the one before.
    let ranges = [(3, 4), (10, 10), (11, 12), (13, 15), (20, 19), (17, 18), (16, 17), (19, 21), (30, 31), (25, 26)];
    let expected = (1, 2, 10, vec![(13, 15), (17, 18), (30, 31)]);
    for write in [AckRanges::write, AckBitmap::write] {
        let written = packet(100, |packet| assert!(write(packet, 1, 2, 10, ranges, false)));
        assert_eq!(read(&written), expected);
    }
}

#[test]
fn a_bitmap_of_a_far_range_is_refused_without_growing() {
    let mut buf = Vec::new();
    let mut writer = PacketWriter::new(&mut buf, 1000);
    assert!(writer.header(&PacketHeader::new(crate::wire::Mode::Responder)));
    let ranges = [(3, 4), (1 << 20, u64::MAX)];
    assert!(!AckBitmap::write(&mut writer, 1, 1, 1, ranges, false));
    assert!(AckBitmap::write(&mut writer, 1, 1, 1, ranges, true));
    assert!(buf.capacity() < 1000);
    assert_eq!(read(&buf).3, [(3, 4)]);
    assert_eq!(AckBitmap::encoded_len(1, 1, 1, Some(u64::MAX)), 3 + (1 << 61));
}
