//! The worked examples of RFC 7016 §2.3, byte by byte.

use alloc::vec::Vec;

use super::packet;
use crate::wire::{AckBitmap, AckRanges, Chunk, Chunks, FragmentControl, NextUserData, UserData};

#[test]
fn figure_3_next_user_data() {
    let bytes = [
        0x10, 0x00, 0x07, 0x00, 0x02, 0x05, 0x03, 0x00, 0x01, 0x02, // flowID=2, seq#=5, fsn=(5-3)=2
        0x11, 0x00, 0x04, 0x00, 0x03, 0x04, 0x05, // seq#=6
        0x11, 0x00, 0x04, 0x00, 0x06, 0x07, 0x08, // seq#=7
    ];
    let first = UserData {
        control: FragmentControl::Whole,
        abandon: false,
        last: false,
        flow_id: 2,
        sequence_number: 5,
        fsn_offset: 3,
        options: None,
        data: &[0, 1, 2],
    };
    assert_eq!(first.forward_sequence_number(), 2);
    let next =
        |data| NextUserData { control: FragmentControl::Whole, abandon: false, last: false, options: None, data };
    let (second, third) = (next(&[3, 4, 5][..]), next(&[6, 7, 8][..]));
    let chunks: Vec<_> = Chunks::new(&bytes).collect();
    assert_eq!(chunks, [Ok(Chunk::UserData(first)), Ok(Chunk::NextUserData(second)), Ok(Chunk::NextUserData(third))]);
    let resolved = third.resolve(2, 7, 5);
    assert_eq!((resolved.forward_sequence_number(), resolved.data), (2, &[6, 7, 8][..]));

    let written = packet(100, |packet| {
        assert!(packet.push(&first) && packet.push(&second) && packet.push(&third));
    });
    assert_eq!(written[1..], bytes);
}

#[test]
fn figure_4_bitmap_ack() {
    let bytes = [0x50, 0x00, 0x05, 0x05, 0x7f, 0x10, 0x79, 0x06];
    let Some(Ok(Chunk::AckBitmap(ack))) = Chunks::new(&bytes).next() else {
        panic!("not an AckBitmap");
    };
    assert_eq!((ack.flow_id, ack.blocks_available, ack.cumulative_ack), (5, 127, 16));
    let ranges = [(18, 18), (21, 24), (27, 28)];
    assert!(ack.ranges().eq(ranges));
    let written = packet(100, |packet| assert!(AckBitmap::write(packet, 5, 127, 16, ranges, false)));
    assert_eq!(written[1..], bytes);
    assert_eq!(AckBitmap::encoded_len(5, 127, 16, Some(28)), 5);
}

#[test]
fn figure_5_range_ack() {
    let bytes = [0x51, 0x00, 0x07, 0x05, 0x7f, 0x10, 0x00, 0x00, 0x01, 0x03];
    let Some(Ok(Chunk::AckRanges(ack))) = Chunks::new(&bytes).next() else {
        panic!("not an AckRanges");
    };
    assert_eq!((ack.flow_id, ack.blocks_available, ack.cumulative_ack), (5, 127, 16));
    let ranges = [(18, 18), (21, 24)];
    assert!(ack.ranges().eq(ranges));
    let written = packet(100, |packet| assert!(AckRanges::write(packet, 5, 127, 16, ranges, false)));
    assert_eq!(written[1..], bytes);
    assert_eq!(AckRanges::encoded_len(5, 127, 16, ranges), 7);
}

#[test]
fn figure_6_truncated_range_ack() {
    // The figure's text says length 9 where its bytes, rightly, say 7: the last VLU would go on behind the chunk.
    let bytes = [0x51, 0x00, 0x07, 0x05, 0x7f, 0x10, 0x00, 0x00, 0x01, 0x83, 0x0c, 0x00, 0x00];
    let mut chunks = Chunks::new(&bytes);
    let Some(Ok(Chunk::AckRanges(ack))) = chunks.next() else {
        panic!("not an AckRanges");
    };
    assert_eq!((ack.flow_id, ack.blocks_available, ack.cumulative_ack), (5, 127, 16));
    assert!(ack.ranges().eq([(18, 18)]));
    assert!(matches!(chunks.next(), Some(Ok(Chunk::Close(_)))));
    // With the length of the text, the chunk does not fit its packet: it is padding.
    assert_eq!(Chunks::new(&[0x51, 0x00, 0x09, 0x05, 0x7f, 0x10, 0x00, 0x00, 0x01, 0x83]).next(), None);
}
