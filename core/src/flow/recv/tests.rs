use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use quickcheck::quickcheck;

use super::*;
use crate::flow::reassembly::MESSAGE_OVERHEAD;
use crate::flow::tests::link::{RECV, chunks, packet};
use crate::wire::Chunk;
use crate::wire::option::encode_option;

/// A receiving flow and what surrounds it.
struct Rig {
    now: Instant,
    flow: RecvFlow,
    budget: RecvBudget,
    events: EventQueue,
}

/// In order, with no abandoned number: what most tests vary.
fn plain(sequence: u64) -> Fragment<'static> {
    let control = FragmentControl::Whole;
    Fragment { sequence, fsn: 0, control, abandon: false, last: false, options: None, data: b"abc" }
}

impl Rig {
    fn new(recv_buffer: usize) -> Self {
        Self {
            now: Instant::from_millis(5),
            flow: RecvFlow::new(RECV, 3, "name".into(), None, recv_buffer),
            budget: RecvBudget::new(1 << 20),
            events: EventQueue::default(),
        }
    }

    fn on(&mut self, fragment: Fragment<'_>) -> Result<bool, DropReason> {
        self.flow.on_fragment(self.now, &fragment, &mut self.budget, &mut self.events)
    }

    fn part(&mut self, sequence: u64, control: FragmentControl, data: &[u8]) {
        self.on(Fragment { control, data, ..plain(sequence) }).unwrap();
    }

    fn read(&mut self) -> Option<Message> {
        self.flow.read(self.now, &mut self.budget, &mut self.events)
    }

    fn ack(&mut self, limit: usize, ranges_only: bool) -> String {
        let bytes = packet(limit, |writer| assert!(self.flow.write_ack(writer, true, ranges_only)));
        chunks(&bytes).iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    fn events(&mut self) -> Vec<Event> {
        core::iter::from_fn(|| self.events.pop()).collect()
    }
}

/// RFC 7016 §3.6.3.4.1: what makes an acknowledgement due at once, and what does not.
#[test]
fn when_an_acknowledgement_is_due_at_once() {
    let mut rig = Rig::new(1 << 16);
    assert_eq!(rig.on(plain(1)), Ok(true), "starts a new flow");
    assert!(rig.flow.ack_due());
    assert_eq!(rig.on(plain(2)), Ok(false), "in order");
    assert_eq!(rig.on(plain(2)), Ok(true), "a duplicate");
    assert_eq!(rig.on(plain(4)), Ok(true), "makes a gap");
    assert_eq!(rig.on(plain(3)), Ok(true), "there was a gap before");
    assert_eq!(rig.on(plain(5)), Ok(false), "and now there is none");
    assert_eq!(rig.on(Fragment { abandon: true, fsn: 6, ..plain(6) }), Ok(true), "abandoned");
    rig.ack(300, true);
    assert!(!rig.flow.ack_due());
    assert!(rig.flow.on_buffer_probe(rig.now, Duration::from_millis(100), &rig.budget) && rig.flow.ack_due());
    assert_eq!(rig.on(Fragment { last: true, ..plain(8) }), Ok(true), "the final number");
    assert_eq!(rig.on(plain(7)), Ok(true), "completes the flow");
    assert_eq!(rig.on(plain(7)), Ok(true), "not RF_OPEN");
    assert_eq!(rig.on(plain(9)), Err(DropReason::Unexpected), "behind the final number");
}

/// RFC 7016 §3.6.3.2 step 6, §3.6.3.4.1: a small window.
#[test]
fn a_small_window_makes_acknowledgements_prompt() {
    let mut rig = Rig::new(3_000);
    rig.on(plain(1)).unwrap();
    assert_eq!(rig.on(Fragment { data: &[0; 500], ..plain(2) }), Ok(false));
    assert_eq!(rig.on(Fragment { data: &[0; 1_400], ..plain(3) }), Ok(true), "less than a block is left");
    assert_eq!(rig.ack(300, true), "AckRanges flow=3 blocks=1 cum=3");
    while rig.read().is_some() {}
    assert!(rig.flow.ack_now_after_read() && rig.flow.ack_due());
    assert_eq!(rig.on(plain(4)), Ok(true), "fewer than two blocks were advertised");
    rig.ack(300, true);
    assert_eq!(rig.on(plain(5)), Ok(false));
}

#[test]
fn a_window_of_two_blocks_is_not_small() {
    let mut rig = Rig::new(2_100);
    rig.on(plain(1)).unwrap();
    assert_eq!(rig.ack(300, true), "AckRanges flow=3 blocks=2 cum=1");
    assert_eq!(rig.on(plain(2)), Ok(false));
}

/// A sender that may send one block makes progress.
#[test]
fn a_window_of_one_block_is_told_to_have_opened_once_half_of_it_is_free() {
    let mut rig = Rig::new(8_192);
    for (sequence, len) in [(1, 1_000), (2, 1_000), (3, 1_000), (4, 4_000)] {
        rig.part(sequence, FragmentControl::Whole, &vec![0; len]);
    }
    assert_eq!(rig.ack(300, true), "AckRanges flow=3 blocks=1 cum=4");
    let told = [(); 3].map(|()| {
        rig.read().unwrap();
        rig.flow.ack_now_after_read()
    });
    assert_eq!(told, [false, false, true], "2, 3 and 5 blocks of 8");
}

#[test]
fn a_flow_counts_what_is_read_and_what_comes_again() {
    let mut rig = Rig::new(1 << 16);
    for sequence in [1, 1, 3, 2, 3] {
        rig.on(plain(sequence)).unwrap();
    }
    while rig.read().is_some() {}
    let stats = rig.flow.stats();
    assert_eq!((stats.messages, stats.bytes, stats.repeated, stats.abandoned), (3, 9, 2, 0));
}

/// RFC 7016 §3.6.3.5. What is held is a whole message, or the beginning of one.
#[test]
fn the_window_is_what_is_free_in_blocks() {
    use FragmentControl::{Begin, Whole};
    for (capacity, control, held, suspended, blocks) in [
        (0, Whole, 0, false, 0),
        (1, Whole, 0, false, 1),
        (1_024, Whole, 0, false, 1),
        (1_025, Whole, 0, false, 2),
        (4_096, Whole, 1_024, false, 3),
        (4_096, Whole, 1_025, false, 3),
        (4_096, Whole, 3_072 + 1, false, 1),
        (4_096, Whole, 4_096, false, 0),
        (4_096, Whole, 5_000, false, 0),
        (4_096, Begin, 5_000, false, 1),
        (4_096, Begin, 5_000, true, 0),
        (4_096, Whole, 100, true, 4),
        (0, Begin, 100, false, 0),
    ] {
        let mut rig = Rig::new(1 << 16);
        assert!(rig.budget.lift_limit(99, true), "all the room is for another flow");
        if held > 0 {
            rig.part(1, control, &vec![0; held - 64]);
        }
        rig.flow.set_window(capacity, &mut rig.budget);
        if suspended {
            rig.flow.suspend(&mut rig.budget);
        }
        assert_eq!(rig.flow.blocks_available(), blocks, "{capacity} {control:?} {held} {suspended}");
        rig.flow.never_advertise_zero();
        assert_eq!(rig.flow.blocks_available(), blocks.max(1));
    }
}

/// A window that nobody reads closes; the first read opens it, and asks for an acknowledgement that says so.
#[test]
fn a_full_window_closes_until_something_is_read() {
    let mut rig = Rig::new(2_000);
    rig.part(1, FragmentControl::Whole, &[0; 1_000]);
    rig.part(2, FragmentControl::Whole, &[0; 1_000]);
    assert_eq!(rig.ack(300, true), "AckRanges flow=3 blocks=0 cum=2");
    assert!(!rig.flow.ack_now_after_read() && !rig.flow.ack_due());
    assert!(rig.read().is_some());
    assert!(rig.flow.ack_now_after_read() && rig.flow.ack_due());
    assert_eq!(rig.ack(300, true), "AckRanges flow=3 blocks=1 cum=2");
}

/// What the session may take bounds the window of each flow.
#[test]
fn the_window_shrinks_with_the_memory_of_the_session() {
    let mut rig = Rig::new(1 << 16);
    rig.budget.grant(8_000, 0);
    rig.part(1, FragmentControl::Begin, &[0; 1_000]);
    let room = rig.budget.room();
    assert!(room < 7_000);
    assert_eq!(rig.flow.blocks_available(), room.div_ceil(1_024) as u64);
    rig.budget.grant(0, 0);
    let more = Fragment { control: FragmentControl::Middle, data: &[0; 2_000], ..plain(2) };
    assert_eq!(rig.on(more), Err(DropReason::OverLimit));
    rig.flow.on_buffer_probe(rig.now, Duration::ZERO, &rig.budget);
    // Nothing can be read, and the message may be completed yet.
    assert_eq!(rig.ack(300, true), "AckRanges flow=3 blocks=1 cum=1");
    rig.budget.grant(usize::MAX, usize::MAX);
    assert_eq!(rig.on(more), Ok(true), "a small window was advertised");
}

/// RFC 7016 §3.6.3.4.3: the more compact form, ranges where equal, truncated where asked to (§3.6.3.4.2).
#[test]
fn acknowledgements_take_the_compact_form() {
    let mut rig = Rig::new(1 << 16);
    for sequence in [1, 3] {
        rig.on(plain(sequence)).unwrap();
    }
    assert_eq!(rig.ack(300, false), "AckBitmap flow=3 blocks=64 cum=1 3");
    assert_eq!(rig.ack(300, true), "AckRanges flow=3 blocks=64 cum=1 3");
    for sequence in [12, 13, 14] {
        rig.on(plain(sequence)).unwrap();
    }
    assert_eq!(rig.ack(300, false), "AckBitmap flow=3 blocks=64 cum=1 3 12-14");
    for sequence in [30, 60] {
        rig.on(plain(sequence)).unwrap();
    }
    assert_eq!(rig.ack(300, false), "AckRanges flow=3 blocks=64 cum=1 3 12-14 30 60");
    // One byte of packet header, three of chunk header, three of fields, and room for two ranges.
    assert_eq!(rig.ack(1 + 3 + 3 + 4, false), "AckRanges flow=3 blocks=64 cum=1 3 12-14");
    rig.flow.acknowledge_again();
    let nothing = packet(11, |writer| assert!(!rig.flow.write_ack(writer, false, false)));
    assert_eq!(nothing.len(), 1);
    assert!(rig.flow.ack_due());
}

/// RFC 7016 §3.6.3.3: incomplete segments are discarded when the numbers around them are seen or abandoned.
#[test]
fn abandoned_segments_are_discarded_and_told_as_gaps() {
    use FragmentControl::{Begin, End, Middle, Whole};
    let mut rig = Rig::new(1 << 16);
    // A message cut off after two fragments, no end fragment ever coming.
    rig.part(1, Begin, b"lo");
    rig.part(2, Middle, b"st");
    assert!(rig.read().is_none() && rig.budget.held() > 0);
    rig.part(3, Whole, b"kept");
    assert_eq!(rig.read(), Some(Message { data: "kept".into(), sequence: 3, gap: true }));
    // The beginning is missing: 4 is forwarded over.
    rig.part(5, Middle, b"x");
    rig.part(6, End, b"y");
    rig.on(Fragment { fsn: 4, ..plain(7) }).unwrap();
    assert_eq!(rig.read(), Some(Message { data: "abc".into(), sequence: 7, gap: true }));
    // The end is missing.
    rig.part(8, Begin, b"x");
    rig.part(10, Begin, b"who");
    rig.part(11, End, b"le");
    assert!(rig.read().is_none());
    rig.on(Fragment { abandon: true, fsn: 9, data: b"ignored", ..plain(9) }).unwrap();
    assert_eq!(rig.read(), Some(Message { data: "whole".into(), sequence: 10, gap: true }));
    assert!(rig.read().is_none());
    assert_eq!(rig.budget.held(), 0);
    rig.part(12, Whole, b"");
    assert_eq!(rig.read(), Some(Message { data: Bytes::new(), sequence: 12, gap: false }));
    assert_eq!(rig.flow.stats().abandoned, 3, "as many as were told");
}

#[test]
fn fragments_in_any_order_make_the_message() {
    use FragmentControl::{Begin, End, Middle};
    for order in [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3], [3, 1, 4, 2], [1, 3, 4, 2]] {
        let mut rig = Rig::new(1 << 16);
        for sequence in order {
            let (control, data): (_, &[u8]) = match sequence {
                1 => (Begin, b"ab"),
                2 => (Middle, b"cd"),
                3 => (Middle, b"ef"),
                _ => (End, b"gh"),
            };
            assert!(rig.read().is_none());
            rig.part(sequence, control, data);
        }
        assert_eq!(rig.read().unwrap().data, "abcdefgh", "{order:?}");
        assert_eq!(rig.budget.held(), 0);
    }
}

#[test]
fn network_order_delivers_what_is_whole() {
    let mut rig = Rig::new(1 << 16);
    rig.on(plain(3)).unwrap();
    assert!(rig.read().is_none());
    rig.flow.set_order(ReceiveOrder::Network, &mut rig.budget, &mut rig.events);
    assert_eq!(rig.events(), [Event::FlowReadable { flow: RECV }]);
    assert_eq!(rig.read().map(|message| (message.sequence, message.gap)), Some((3, false)));
    rig.on(plain(1)).unwrap();
    assert_eq!(rig.read().map(|message| (message.sequence, message.gap)), Some((1, false)));
    rig.on(Fragment { fsn: 2, ..plain(4) }).unwrap();
    rig.on(plain(5)).unwrap();
    let gaps: Vec<_> = core::iter::from_fn(|| rig.read()).map(|message| message.gap).collect();
    assert_eq!(gaps, [false, true], "2 is abandoned, as came with 4");
    rig.on(plain(6)).unwrap();
    assert_eq!(rig.read().map(|message| (message.sequence, message.gap)), Some((6, false)));
    rig.on(Fragment { abandon: true, ..plain(7) }).unwrap();
    rig.on(plain(8)).unwrap();
    assert_eq!(rig.read().map(|message| (message.sequence, message.gap)), Some((8, true)), "so is 7");
}

#[test]
fn memory_that_is_kept_for_small_messages_is_freed_in_part_once_all_is_read() {
    let mut rig = Rig::new(1 << 20);
    for sequence in 1..=1_500 {
        rig.on(Fragment { data: &[7; 150], ..plain(sequence) }).unwrap();
    }
    let full = rig.budget.pool.memory();
    let left = |rig: &mut Rig, count| (0..count).for_each(|_| drop(rig.read().unwrap()));
    left(&mut rig, 1_499);
    assert_eq!(rig.budget.pool.memory(), full, "one waits");
    left(&mut rig, 1);
    assert!(rig.budget.pool.memory() < full * 2 / 3, "{full}");
}

/// A whole message counts less than its fragments, whenever it becomes one.
#[test]
fn a_change_of_order_leaves_nothing_in_the_budget() {
    let mut rig = Rig::new(1 << 16);
    rig.part(2, FragmentControl::Begin, b"ab");
    rig.part(3, FragmentControl::End, b"cd");
    rig.flow.set_order(ReceiveOrder::Network, &mut rig.budget, &mut rig.events);
    assert_eq!(rig.read().unwrap().data, "abcd");
    assert_eq!(rig.budget.held(), rig.flow.seen.memory());
}

#[test]
fn readable_is_told_once_until_a_read_finds_nothing() {
    let readable = [Event::FlowReadable { flow: RECV }];
    let mut rig = Rig::new(1 << 16);
    rig.on(plain(1)).unwrap();
    assert_eq!(rig.events(), readable);
    rig.on(plain(2)).unwrap();
    assert!(rig.read().is_some());
    rig.on(plain(3)).unwrap();
    assert_eq!(rig.events(), []);
    while rig.read().is_some() {}
    rig.flow.suspend(&mut rig.budget);
    rig.on(plain(4)).unwrap();
    assert_eq!(rig.events(), []);
    assert!(rig.read().is_none());
    rig.flow.resume(&mut rig.budget, &mut rig.events);
    assert_eq!(rig.events(), readable);
    assert!(rig.read().is_some());
}

/// RFC 7016 §3.6.3.8, §3.6.3.3: complete with the last number, finished with the last read, gone after 120 s.
#[test]
fn a_complete_flow_lingers() {
    let mut rig = Rig::new(1 << 16);
    rig.on(Fragment { last: true, ..plain(1) }).unwrap();
    assert_eq!(rig.flow.state(), RecvFlowState::CompleteLinger);
    assert_eq!(rig.events(), [Event::FlowReadable { flow: RECV }]);
    assert!(rig.read().is_some());
    assert_eq!(rig.events(), [Event::FlowFinished { flow: RECV, end: FlowEnd::Complete }]);
    let end = rig.now + params::RECV_FLOW_LINGER;
    assert_eq!(rig.flow.next_timeout(), Some(end));
    rig.flow.handle_timeout(Instant::from_micros(end.as_micros() - 1), &mut rig.budget);
    assert!(!rig.flow.is_gone());
    rig.flow.handle_timeout(end, &mut rig.budget);
    assert!(rig.flow.is_gone() && rig.flow.next_timeout().is_none());
    assert_eq!(rig.on(plain(1)), Err(DropReason::Unexpected));
}

/// A flow that ends within a message holds nothing back.
#[test]
fn a_flow_ends_though_its_last_message_has_no_end() {
    let mut rig = Rig::new(1 << 16);
    rig.on(Fragment { control: FragmentControl::Begin, last: true, ..plain(1) }).unwrap();
    assert_eq!(rig.events(), [Event::FlowFinished { flow: RECV, end: FlowEnd::Complete }]);
    assert_eq!(rig.budget.held(), 0);
}

/// RFC 7016 §3.6.3.7, §2.3.16.
#[test]
fn a_rejected_flow_reports_with_every_acknowledgement() {
    let mut rig = Rig::new(1 << 16);
    rig.on(plain(1)).unwrap();
    rig.events();
    rig.flow.reject(rig.now, 77, &mut rig.budget, &mut rig.events);
    assert_eq!(rig.events(), [Event::FlowFinished { flow: RECV, end: FlowEnd::Rejected }]);
    assert!(rig.flow.ack_due() && rig.budget.held() == 0);
    for sequence in 2..4 {
        assert_eq!(rig.on(plain(sequence)), Ok(true));
        assert_eq!(rig.budget.held(), 0, "acknowledged, not kept");
        let acks = rig.ack(300, true);
        assert!(acks.contains("FlowException") && acks.contains("77"), "{acks}");
        assert!(acks.ends_with(&alloc::format!("cum={sequence}")));
    }
    rig.on(Fragment { last: true, ..plain(4) }).unwrap();
    assert_eq!(rig.flow.state(), RecvFlowState::CompleteLinger);
    assert!(rig.ack(300, true).contains("FlowException"));
    assert_eq!(rig.events(), []);
}

/// What was received is acknowledged before the exception, what was thrown away after it.
#[test]
fn what_a_rejected_flow_had_kept_is_told_apart_from_what_it_throws_away() {
    let mut rig = Rig::new(1 << 16);
    rig.on(plain(1)).unwrap();
    rig.flow.reject(rig.now, 77, &mut rig.budget, &mut rig.events);
    rig.on(plain(2)).unwrap();
    // What little was received may pay for no more than a short packet.
    for limit in [300, 300, 60] {
        let acks = rig.ack(limit, true);
        let places = ["cum=1", "FlowException", "cum=2"].map(|part| acks.find(part).expect(part));
        assert!(places.is_sorted(), "{acks}");
        rig.flow.acknowledge_again();
    }
    assert!(rig.ack(40, true).starts_with("FlowException"), "there is no room for all three");
    rig.flow.acknowledge_again();
    packet(40, |writer| assert!(!rig.flow.write_ack(writer, false, true), "it waits for a packet with room"));
}

/// If the acknowledgement that was sent before is lost, its sender took what it covered for rejected.
#[test]
fn what_was_acknowledged_before_a_rejection_is_said_until_the_sender_knows() {
    let mut rig = Rig::new(1 << 16);
    rig.on(plain(1)).unwrap();
    rig.ack(300, true);
    rig.flow.reject(rig.now, 77, &mut rig.budget, &mut rig.events);
    for _ in 0..3 {
        rig.on(plain(2)).unwrap();
        let acks = rig.ack(300, true);
        let places = ["cum=1", "FlowException", "cum=2"].map(|part| acks.find(part).expect(part));
        assert!(places.is_sorted(), "{acks}");
    }
    rig.on(Fragment { fsn: 1, ..plain(3) }).unwrap();
    assert!(rig.ack(300, true).starts_with("FlowException"));
    // Of a flow of which nothing had come, nothing is said.
    let mut rig = Rig::new(1 << 16);
    rig.flow.reject(rig.now, 77, &mut rig.budget, &mut rig.events);
    rig.on(plain(1)).unwrap();
    assert!(rig.ack(300, true).starts_with("FlowException"));
}

/// RFC 7016 §3.6.3.2 step 4.
#[test]
fn a_critical_option_on_any_chunk_rejects() {
    let mut options = Vec::new();
    encode_option(0x1fff, b"", &mut options);
    let mut rig = Rig::new(1 << 16);
    rig.on(plain(1)).unwrap();
    assert_eq!(rig.on(Fragment { options: Some(&options), ..plain(2) }), Ok(true));
    assert_eq!((rig.flow.state(), rig.flow.exception), (RecvFlowState::Rejected, Some(0)));
}

/// A flow of which every second number came, from 3 on, and was acknowledged with as little as possible.
fn full_of_gaps(gaps: u64) -> Rig {
    let mut rig = Rig::new(1 << 30);
    rig.budget = RecvBudget::new(1 << 30);
    rig.on(plain(1)).unwrap();
    (1..=gaps).for_each(|gap| assert_eq!(rig.on(plain(1 + 2 * gap)), Ok(true)));
    rig.flow.reporting = Reporting::default();
    rig
}

/// The ranges of an acknowledgement of at most `limit` bytes.
fn reported(rig: &mut Rig, limit: usize) -> Vec<(u64, u64)> {
    let bytes = packet(limit, |writer| assert!(rig.flow.write_ack(writer, true, true)));
    assert!(bytes.len() <= limit);
    let all = chunks(&bytes);
    let Some(Chunk::AckRanges(ack)) = all.last() else { panic!("no acknowledgement") };
    ack.ranges().collect()
}

/// A thousand million bits a second, 200 ms and a loss of a tenth make as many gaps as this.
#[test]
fn more_gaps_than_a_packet_reports_are_all_remembered_and_all_reported_in_turn() {
    let mut rig = full_of_gaps(2_000);
    assert_eq!(rig.flow.seen.gaps(), 2_000);
    let mut missing: alloc::collections::BTreeSet<u64> = (1..=2_000).map(|gap| 1 + 2 * gap).collect();
    let mut acks = 0;
    while !missing.is_empty() {
        let ranges = reported(&mut rig, 1_200);
        assert!(ranges.starts_with(&[(3, 3), (5, 5), (7, 7)]), "the lowest are in each");
        assert!(ranges.len() > 50 || missing.len() < 50, "the room is used: {}", ranges.len());
        assert!(ranges.iter().all(|range| range.0 == range.1 && rig.flow.seen.contains(range.0)));
        ranges.iter().for_each(|range| assert!(missing.remove(&range.0) || acks > 0));
        acks += 1;
    }
    assert!(acks < 120, "{acks}");
}

#[test]
fn what_came_last_is_in_the_next_acknowledgement_however_many_gaps_there_are() {
    let mut rig = full_of_gaps(2_000);
    for sequence in [2_100, 3_900, 4_003, 4_004, 10_000, 900] {
        // One at a time, and with others.
        rig.on(plain(sequence)).unwrap();
        rig.on(plain(3_001)).unwrap();
        let ranges = reported(&mut rig, 300);
        for sequence in [sequence, 3_001] {
            let has = |range: &(u64, u64)| (range.0..=range.1).contains(&sequence);
            assert_eq!(ranges.iter().filter(|range| has(range)).count(), 1, "{sequence} in {ranges:?}");
        }
    }
}

/// As many steps as there is room, not as many as there are ranges.
#[test]
fn an_acknowledgement_takes_steps_for_what_it_reports_only() {
    let steps = |gaps, limit, ranges_only| {
        let mut rig = full_of_gaps(gaps);
        rig.flow.seen.visited.set(0);
        packet(limit, |writer| assert!(rig.flow.write_ack(writer, true, ranges_only)));
        rig.flow.seen.visited.get()
    };
    for ranges_only in [true, false] {
        assert!(steps(100_000, 100, ranges_only) < 300);
        assert!(steps(100_000, 1_200, ranges_only) < 3_600);
    }
    // A bitmap has a bit for each number, and so at most four ranges to a byte.
    assert!(steps(1_000, 1_200, false) < 2_000);
}

#[test]
fn ranges_are_limited_by_the_budget() {
    let mut rig = Rig::new(1 << 20);
    rig.on(plain(1)).unwrap();
    while rig.read().is_some() {}
    // Another flow holds some: alone, the flow would be rejected.
    rig.budget.charge(0, 1_000);
    let abandoned = |sequence| Fragment { abandon: true, data: b"", ..plain(sequence) };
    let mut sequence = 3;
    while rig.on(abandoned(sequence)).is_ok() {
        sequence += 2;
    }
    assert!(rig.flow.seen.memory() <= 1 << 20 && rig.flow.seen.memory() > (1 << 20) - 1_100);
    assert!(rig.flow.seen.gaps() > 20_000, "an honest sender is never held up by this");
    assert!(!rig.flow.seen.contains(sequence), "not acknowledged");
    assert_eq!(rig.on(abandoned(sequence - 1)), Ok(true), "one that touches a range is taken");
    assert_eq!(rig.on(Fragment { fsn: 5, ..abandoned(sequence + 2) }), Ok(true), "and one whose FSN makes room");
}

/// A flow with nothing to read that fills the budget with gaps is rejected, as one with data is.
#[test]
fn a_flow_of_nothing_but_gaps_is_rejected_and_forgets_them() {
    let mut rig = full_of_gaps(100);
    while rig.read().is_some() {}
    let held = rig.budget.held();
    rig.budget = RecvBudget::new(held);
    rig.budget.charge(0, held);
    rig.budget.count_gaps(0, 100);
    assert_eq!(rig.on(plain(1_000)), Ok(true));
    assert_eq!(rig.flow.state(), RecvFlowState::Rejected);
    assert_eq!((rig.budget.held(), rig.budget.gaps()), (0, (0, 100)));
}

/// What nobody is to read is acknowledged in order only: gaps in it cost nothing.
#[test]
fn a_rejected_flow_is_acknowledged_cumulatively() {
    let mut rig = full_of_gaps(100);
    rig.flow.reject(rig.now, 0, &mut rig.budget, &mut rig.events);
    (1..=100).for_each(|number| assert_eq!(rig.on(plain(1_000 + 2 * number)), Ok(true)));
    assert!(rig.ack(300, false).ends_with("cum=1") && rig.budget.held() == 0);
    rig.on(plain(2)).unwrap();
    rig.on(plain(3)).unwrap();
    assert!(rig.ack(300, false).ends_with("cum=3"));
    // Its sender abandons it all, and says so.
    rig.on(Fragment { abandon: true, last: true, fsn: 1_201, ..plain(1_201) }).unwrap();
    assert!(rig.ack(300, false).ends_with("cum=1201"));
    assert_eq!(rig.flow.state(), RecvFlowState::CompleteLinger);
}

#[test]
fn buffer_probes_are_answered_once_a_round_trip() {
    let mut rig = Rig::new(1 << 16);
    rig.on(plain(1)).unwrap();
    let mut answers = 0;
    // The last comes just when a round trip is over.
    for _ in 0..901 {
        rig.ack(300, true);
        rig.now += Duration::from_millis(1);
        answers += usize::from(rig.flow.on_buffer_probe(rig.now, Duration::from_millis(100), &rig.budget));
    }
    assert_eq!(answers, 10);
}

/// RFC 7016 §2.3.13, §2.3.14.
#[test]
fn an_acknowledgement_is_never_below_the_forward_sequence_number() {
    let mut rig = Rig::new(1 << 16);
    rig.on(Fragment { fsn: 7, ..plain(9) }).unwrap();
    assert_eq!(rig.ack(300, true), "AckRanges flow=3 blocks=64 cum=7 9");
    assert_eq!(rig.ack(300, false), "AckBitmap flow=3 blocks=64 cum=7 9");
    // An older chunk that comes late takes nothing back.
    rig.on(Fragment { fsn: 2, ..plain(3) }).unwrap();
    assert_eq!(rig.ack(300, true), "AckRanges flow=3 blocks=64 cum=7 9");
    rig.on(Fragment { abandon: true, fsn: 12, ..plain(12) }).unwrap();
    assert_eq!(rig.ack(300, true), "AckRanges flow=3 blocks=64 cum=12");
}

/// Every fragment counts, however little it brings.
#[test]
fn a_flood_of_empty_fragments_is_limited_by_the_budget() {
    let mut rig = Rig::new(1 << 20);
    rig.budget = RecvBudget::new(MESSAGE_OVERHEAD * 100);
    for sequence in 1..=100 {
        assert!(rig.on(Fragment { data: b"", ..plain(sequence) }).is_ok());
    }
    assert_eq!(rig.on(Fragment { data: b"", ..plain(101) }), Err(DropReason::OverLimit));
    assert!(!rig.flow.seen.contains(101));
    assert!(rig.read().is_some());
    assert!(rig.on(Fragment { data: b"", ..plain(101) }).is_ok());
}

#[test]
fn a_message_that_no_budget_can_hold_rejects_its_flow() {
    let mut rig = Rig::new(1 << 20);
    rig.budget = RecvBudget::new(10_000);
    rig.part(1, FragmentControl::Begin, &[0; 5_000]);
    let large = Fragment { control: FragmentControl::Middle, data: &[0; 5_000], ..plain(2) };
    // Another flow holds what is missing: it may be read.
    rig.budget.charge(0, 4_000);
    let fits_alone = Fragment { data: &[0; 4_000], ..large };
    assert_eq!(rig.on(fits_alone), Err(DropReason::OverLimit));
    assert_eq!(rig.flow.state(), RecvFlowState::Open);
    rig.budget.charge(4_000, 0);
    assert_eq!(rig.on(large), Ok(true));
    assert_eq!(rig.flow.state(), RecvFlowState::Rejected);
    assert_eq!((rig.flow.exception, rig.budget.held()), (Some(0), 0));
}

#[test]
fn the_end_of_the_session_ends_the_flow() {
    let mut rig = Rig::new(1 << 16);
    rig.on(plain(1)).unwrap();
    rig.events();
    rig.flow.session_ended(&mut rig.budget, &mut rig.events);
    assert_eq!(rig.events(), [Event::FlowFinished { flow: RECV, end: FlowEnd::SessionEnded }]);
    assert!(rig.flow.is_gone() && rig.read().is_none() && rig.budget.held() == 0);
}

quickcheck! {
    fn hostile_fragments_never_panic_and_hold_no_more_than_the_budget(
        fragments: Vec<(u64, u8, u8, u8)>, near: bool, network: bool
    ) -> bool {
        let mut rig = Rig::new(2_048);
        rig.budget = RecvBudget::new(4_096);
        if network {
            rig.flow.set_order(ReceiveOrder::Network, &mut rig.budget, &mut rig.events);
        }
        for (sequence, below, flags, len) in fragments {
            let sequence = if near { sequence % 40 } else { sequence };
            let control = match flags % 4 {
                0 => FragmentControl::Whole,
                1 => FragmentControl::Begin,
                2 => FragmentControl::End,
                _ => FragmentControl::Middle,
            };
            let data = vec![flags; usize::from(len) * 3];
            let fragment = Fragment {
                sequence,
                fsn: sequence.saturating_sub(u64::from(below)),
                control,
                abandon: flags & 0x30 == 0x30,
                last: flags & 0xc0 == 0xc0,
                options: (below == 7).then_some(data.as_slice()),
                data: &data,
            };
            let _ = rig.on(fragment);
            assert!(rig.budget.held() <= rig.budget.limit() && rig.budget.held() == rig.flow.memory());
            assert_eq!(rig.budget.gaps().0, rig.flow.seen.gaps());
            rig.ack(100, flags.is_multiple_of(2));
            if len.is_multiple_of(16) {
                rig.read();
            }
        }
        while rig.read().is_some() {}
        true
    }
}

/// §3.6.3.3: what has lost its beginning can never be delivered, and must not hold memory while its rest comes.
#[test]
fn the_rest_of_a_message_without_its_beginning_is_not_kept() {
    let mut rig = Rig::new(1 << 16);
    let fragment = |sequence| Fragment { fsn: 1, control: FragmentControl::Middle, ..plain(sequence) };
    for sequence in 2..50 {
        rig.on(fragment(sequence)).unwrap();
    }
    assert_eq!(rig.flow.stats().buffered, 0);
}

/// As many gaps as 64 MiB in flight have with a loss of 1 %. Each packet's acknowledgement would be as long as the packet.
#[test]
fn an_acknowledgement_of_many_ranges_is_short_and_the_next_ones_tell_the_rest() {
    let mut rig = Rig::new(1 << 20);
    (2..=1_400).step_by(2).for_each(|sequence| assert_eq!(rig.on(plain(sequence)), Ok(true)));
    let mut told = alloc::collections::BTreeSet::new();
    for _ in 0..40 {
        rig.flow.seen.visited.set(0);
        // It may go with data, too.
        let bytes = packet(1_200, |writer| assert!(rig.flow.write_ack(writer, false, true)));
        assert!(bytes.len() < 160, "{} bytes", bytes.len());
        assert!(rig.flow.seen.visited.get() < 250, "{} ranges were looked at", rig.flow.seen.visited.get());
        let ranges = chunks(&bytes).iter().find_map(|chunk| {
            if let Chunk::AckRanges(ack) = chunk { Some(ack.ranges().collect::<Vec<_>>()) } else { None }
        });
        told.extend(ranges.unwrap());
    }
    assert_eq!(told.len(), 700, "all are told within 40 acknowledgements");
}

/// While a flow is suspended, another has the room for a long message. Once it goes on, it wants that again.
#[test]
fn a_flow_that_is_suspended_leaves_the_room_to_others() {
    use FragmentControl::{Begin, Middle};
    let mut rig = Rig::new(100_000);
    let mut other = RecvFlow::new(RecvFlowHandle { slot: RECV.slot + 1, ..RECV }, 4, "b".into(), None, 100_000);
    rig.part(1, Begin, &[0; 60_000]);
    assert_eq!(rig.budget.unlimited(), Some(RECV.slot));
    let mut other_window = |rig: &mut Rig, sequence, control| {
        let fragment = Fragment { control, data: &[0; 55_000], ..plain(sequence) };
        other.on_fragment(rig.now, &fragment, &mut rig.budget, &mut rig.events).unwrap();
        other.window_bytes()
    };
    assert!(other_window(&mut rig, 1, Begin) < 100_000);
    rig.flow.suspend(&mut rig.budget);
    assert_eq!(rig.budget.unlimited(), None, "nobody takes it for one that may hold more than others");
    assert!(other_window(&mut rig, 2, Middle) > 500_000);
    rig.flow.resume(&mut rig.budget, &mut rig.events);
    assert_eq!((rig.budget.unlimited(), rig.flow.lifted), (Some(RECV.slot + 1), 0), "the other has it now");
    rig.flow.suspend(&mut rig.budget);
    assert_eq!(rig.budget.unlimited(), Some(RECV.slot + 1));
    other.reject(rig.now, 0, &mut rig.budget, &mut rig.events);
    rig.flow.resume(&mut rig.budget, &mut rig.events);
    assert_eq!(rig.budget.unlimited(), Some(RECV.slot));
    assert!(rig.flow.window_bytes() > 700_000);
}
