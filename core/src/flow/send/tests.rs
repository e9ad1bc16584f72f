use alloc::vec;
use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::queue::Next;
use super::*;
use crate::event::MessageOutcome;
use crate::flow::tests::link::{ERTO, Link, SEND, chunks, fragments, packet};
use crate::wire::{Chunk, FragmentControl};

mod receipts;

const FULL: u64 = u64::MAX;

fn link(send_buffer: usize) -> Link {
    Link::new(&FlowOptions::new("name"), send_buffer, 1 << 20)
}

fn ack(link: &mut Link, cumulative: u64, blocks: u64) -> AckOutcome {
    let ack = AckRanges { flow_id: 3, blocks_available: blocks, cumulative_ack: cumulative, encoded: &[] };
    link.no_longer_outstanding(cumulative, &[]);
    link.send.on_ack(link.now, Acknowledgement::Ranges(&ack), &mut link.in_flight, &mut link.events)
}

fn write(link: &mut Link, data: &'static str, options: SendOptions) -> MessageId {
    link.send.write(link.now, data.into(), options, &mut link.events).unwrap()
}

fn sequences(bytes: &[u8]) -> Vec<(u64, u64, bool)> {
    fragments(bytes).iter().map(|data| (data.sequence_number, data.forward_sequence_number(), data.abandon)).collect()
}

/// RFC 7016 §3.6.2.3.1, §2.3.11.1.1: on the first chunk of each packet, until acknowledged.
#[test]
fn startup_options_go_out_until_acknowledged() {
    let mut link = link(1 << 16);
    link.send =
        SendFlow::new(SEND, 3, &FlowOptions::new("name"), Some(9), SendLimits { buffer: 1 << 16, unsent: 1 << 16 });
    for _ in 0..2 {
        link.write("a");
        link.write("b");
        let bytes = link.transmit(FULL).unwrap();
        let startup = crate::flow::parse_startup_options(fragments(&bytes)[0].options);
        assert_eq!((startup.metadata.as_deref(), startup.association), (Some(b"name".as_slice()), Some(9)));
        assert_eq!(fragments(&bytes)[1].options, None, "not more than once in a packet");
    }
    ack(&mut link, 1, 64);
    link.write("c");
    assert_eq!(fragments(&link.transmit(FULL).unwrap())[0].options, None);
}

/// RFC 7016 §3.6.2.3.2: Next User Data for the next number with the same FSN, User Data otherwise.
#[test]
fn contiguous_fragments_share_a_header() {
    let mut link = link(1 << 16);
    for _ in 0..4 {
        link.write("a");
    }
    let bytes = link.transmit(FULL).unwrap();
    let kinds: Vec<bool> = chunks(&bytes).iter().map(|chunk| matches!(chunk, Chunk::NextUserData(_))).collect();
    assert_eq!(kinds, [false, true, true, true]);
    let acked = AckRanges { flow_id: 3, blocks_available: 64, cumulative_ack: 1, encoded: &[0, 0] };
    link.no_longer_outstanding(1, &[(3, 3)]);
    link.send.on_ack(link.now, Acknowledgement::Ranges(&acked), &mut link.in_flight, &mut link.events);
    link.time_out();
    let bytes = link.transmit(FULL).unwrap();
    assert_eq!(sequences(&bytes), [(2, 1, false), (4, 1, false)]);
    assert!(chunks(&bytes).iter().all(|chunk| matches!(chunk, Chunk::UserData(_))));
}

/// RFC 7016 §3.6.2.2: a fragment fits a packet with the longest header and the startup options.
#[test]
fn any_fragment_can_be_sent_again_first_in_a_packet_with_startup_options() {
    let mut link = link(1 << 20);
    link.write(vec![7; 20_000]);
    let mut count = 0;
    while let Some(bytes) = link.transmit(FULL) {
        count += fragments(&bytes).len();
    }
    // The longest header has four bytes more than the test's.
    link.limit -= 4;
    link.time_out();
    let mut again = 0;
    while let Some(bytes) = link.transmit(1) {
        again += fragments(&bytes).len();
    }
    assert_eq!(again, count);
}

/// It would have this end keep a place for each of the others for ever.
#[test]
fn a_receiver_that_never_acknowledges_one_makes_the_others_wait() {
    let (mut queue, mut events) = (SendQueue::new(SEND), EventQueue::default());
    let mut count = 0_u64;
    loop {
        queue.push("a".into(), SendOptions::default(), &mut events);
        let Some(Next::New) = queue.next() else { break };
        let cut = queue.preview(1).unwrap();
        let sequence = queue.commit(cut).unwrap();
        queue.sent(sequence, sequence, 1);
        // All but the first and the last are acknowledged.
        queue.acked(2, sequence - 1, &mut events);
        count += 1;
        assert!(count < 200_000, "it sends on and on");
    }
    assert_eq!(count, 65_536);
}

#[test]
fn a_fragment_cut_for_a_larger_path_is_reported() {
    let mut link = link(1 << 20);
    link.write(vec![7; 1_000]);
    link.transmit(FULL).unwrap();
    link.time_out();
    let mut oversize = None;
    let (send, in_flight) = (&mut link.send, &mut link.in_flight);
    packet(200, |writer| oversize = send.assemble(link.now, writer, in_flight, FULL, 200, false).oversize);
    assert_eq!(oversize, Some(300), "what it was cut for");
    assert!(link.transmit(FULL).is_some());
}

#[test]
fn messages_that_fit_a_packet_are_not_split() {
    let mut link = link(1 << 20);
    link.write(vec![1; 150]);
    link.write(vec![2; 150]);
    link.write(vec![]);
    let controls = |bytes: &[u8]| fragments(bytes).iter().map(|data| data.control).collect::<Vec<_>>();
    assert_eq!(controls(&link.transmit(FULL).unwrap()), [FragmentControl::Whole]);
    assert_eq!(controls(&link.transmit(FULL).unwrap()), [FragmentControl::Whole; 2]);
    link.write(vec![3; 700]);
    let mut long = Vec::new();
    while let Some(bytes) = link.transmit(FULL) {
        long.extend(controls(&bytes));
    }
    assert_eq!(long, [FragmentControl::Begin, FragmentControl::Middle, FragmentControl::End]);
}

/// RFC 7016 §3.6.2.9, §3.6.2.3: no data while as much as the window is outstanding.
#[test]
fn the_receive_window_holds_data_back() {
    let mut link = link(1 << 20);
    for _ in 0..20 {
        link.write(vec![0; 200]);
    }
    link.transmit(FULL).unwrap();
    ack(&mut link, 1, 1);
    while link.transmit(FULL).is_some() {}
    assert!((1_024..1_300).contains(&link.in_flight.outstanding()));
    ack(&mut link, 1, 2);
    assert!(link.send.is_ready());
    ack(&mut link, 1, 0);
    assert!(!link.send.is_ready());
    link.send.on_exception(link.now, 5, &mut link.events);
    assert!(link.send.is_ready(), "unless the flow was rejected");
}

/// RFC 7016 §3.6.2.
#[test]
fn at_first_the_window_is_taken_as_64_kib() {
    let mut link = link(1 << 20);
    link.write(vec![0; 100_000]);
    while link.transmit(FULL).is_some() {}
    assert!((65_536..65_536 + 300).contains(&link.in_flight.outstanding()), "{}", link.in_flight.outstanding());
}

/// RFC 7016 §3.6.2.9.1.
#[test]
fn a_closed_window_is_probed() {
    let mut link = link(1 << 20);
    link.write("a");
    link.transmit(FULL);
    link.write("b");
    ack(&mut link, 1, 0);
    let start = link.now;
    let mut at = Vec::new();
    while at.len() < 16 {
        link.now = link.send.next_timeout().unwrap();
        link.send.handle_timeout(link.now, ERTO, &mut link.events);
        if link.send.probe_due() {
            at.push(link.now);
            link.send.probe_sent(link.now, ERTO);
            assert!(!link.send.probe_due());
        }
    }
    assert_eq!(at[0], start + Duration::from_secs(1));
    assert_eq!(at[1], at[0] + Duration::from_secs(1));
    let gaps: Vec<_> = at.windows(2).map(|pair| pair[1].saturating_duration_since(pair[0])).collect();
    assert!(gaps.windows(2).all(|pair| pair[0] < pair[1] || pair[1] == Duration::from_secs(60)));
    assert_eq!(gaps.last(), Some(&Duration::from_secs(60)));
    ack(&mut link, 1, 5);
    assert_eq!(link.send.next_timeout(), None);
    assert!(!link.send.probe_due());
    // The first waits for ERTO if that is longer.
    ack(&mut link, 1, 0);
    let closed = link.now;
    link.now = link.send.next_timeout().unwrap();
    link.send.handle_timeout(link.now, Duration::from_secs(5), &mut link.events);
    assert!(!link.send.probe_due());
    assert_eq!(link.send.next_timeout(), Some(closed + Duration::from_secs(5)));
}

/// No lost wake-ups: a refused writer hears of room, once.
#[test]
fn a_full_buffer_refuses_and_tells_when_half_is_free() {
    let mut link = link(4_000);
    assert!(link.send.write(link.now, vec![0; 9_000].into(), SendOptions::default(), &mut link.events).is_ok());
    let refused = link.send.write(link.now, vec![1; 10].into(), SendOptions::default(), &mut link.events).unwrap_err();
    assert_eq!((refused.reason, refused.data.len()), (WriteRefusal::Full, 10));
    while link.transmit(FULL).is_some() {}
    let highest = link.send.queue.highest_sent();
    ack(&mut link, highest - 8, 64);
    assert_eq!(link.drain_events(), [], "too little is free");
    ack(&mut link, highest, 64);
    assert_eq!(link.drain_events(), [Event::FlowWritable { flow: SEND }]);
    ack(&mut link, highest, 64);
    assert_eq!(link.drain_events(), []);
}

#[test]
fn empty_messages_fill_the_buffer_too() {
    let mut link = link(64 * 50);
    let mut count = 0;
    while link.send.write(link.now, Bytes::new(), SendOptions::default(), &mut link.events).is_ok() {
        count += 1;
    }
    assert_eq!(count, 50);
    // Abandoned, they still take a sequence number each, until that is told or trimmed.
    for id in 0..50 {
        assert!(link.send.abandon(MessageId(id), &mut link.events));
    }
    assert_eq!(link.drain_events(), [Event::FlowWritable { flow: SEND }]);
    assert_eq!(sequences(&link.transmit(FULL).unwrap()), [(50, 50, true)]);
}

/// RFC 7016 §3.6.2.7: deadlines, dependence, and sending once.
#[test]
fn messages_are_abandoned_as_asked() {
    let mut link = link(1 << 16);
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    let later = link.now + Duration::from_millis(100);
    let a = write(&mut link, "a", SendOptions { start_by: Some(later), ..options });
    let b = write(&mut link, "b", SendOptions { finish_by: Some(later), ..options });
    link.transmit(FULL).unwrap();
    let c = write(&mut link, "c", SendOptions { start_by: Some(later), ..options });
    let d = write(&mut link, "d", SendOptions { after: Some(c), ..options });
    let e = write(&mut link, "e", SendOptions { after: Some(d), ..options });
    let f = write(&mut link, "f", SendOptions { after: Some(a), ..options });
    assert_eq!(link.send.next_timeout(), Some(later));
    link.now = later;
    link.send.handle_timeout(link.now, ERTO, &mut link.events);
    assert_eq!(link.send.next_timeout(), None);
    let abandoned = |message| Event::MessageDone { flow: SEND, message, outcome: MessageOutcome::Abandoned };
    let delivered = |message| Event::MessageDone { flow: SEND, message, outcome: MessageOutcome::Delivered };
    assert_eq!(link.drain_events(), [c, d, e].map(abandoned), "a was started in time, f depends on it only");
    let g = write(&mut link, "g", SendOptions { after: Some(e), ..options });
    assert_eq!(link.drain_events(), [abandoned(g)], "known to be abandoned long since");
    // Each takes a sequence number (§3.6.1.2).
    assert_eq!(sequences(&link.transmit(FULL).unwrap()), [(6, 0, false)]);
    ack(&mut link, 2, 64);
    assert_eq!(link.drain_events(), [delivered(a), delivered(b)], "b was on its way when its time was over");
    ack(&mut link, 6, 64);
    assert_eq!(link.drain_events(), [delivered(f)]);
    assert!(!link.send.abandon(a, &mut link.events), "done");
    assert_eq!(sequences(&link.transmit(FULL).unwrap()), [(7, 7, true)], "an FSN update for g");
}

#[test]
fn a_message_cut_in_part_takes_no_more_numbers_when_abandoned() {
    let mut link = link(1 << 16);
    let long = link.write(vec![0; 1_000]);
    link.write("next");
    link.transmit(FULL).unwrap();
    let held = link.send.stats().buffered;
    assert!(link.send.abandon(long, &mut link.events));
    assert!(link.send.stats().buffered < held - 900, "its memory is free at once");
    assert_eq!(sequences(&link.transmit(FULL).unwrap()), [(2, 0, false)]);
    link.time_out();
    assert_eq!(sequences(&link.transmit(FULL).unwrap()), [(2, 1, false)], "carries the FSN over the abandoned one");
}

/// RFC 7016 §3.6.1.3: acknowledgements of what was never sent are no deliveries.
#[test]
fn impossible_acknowledgements_are_flagged() {
    let mut link = link(1 << 16);
    assert!(ack(&mut link, 5, 64).impossible);
    link.write("a");
    link.transmit(FULL).unwrap();
    link.write("b");
    let outcome = ack(&mut link, 2, 64);
    assert!(outcome.impossible && outcome.acked_bytes > 0);
    assert_eq!(sequences(&link.transmit(FULL).unwrap()), [(2, 1, false)]);
    assert!(ack(&mut link, u64::MAX, 64).impossible);
    assert!(!ack(&mut link, 0, 64).impossible);
}

/// RFC 7016 §3.6.2.11.
#[test]
fn closing_marks_the_last_fragment_or_adds_one() {
    let finals = |bytes: &[u8]| -> Vec<_> {
        fragments(bytes).iter().map(|data| (data.sequence_number, data.abandon, data.last)).collect()
    };
    // The tail was never sent: it is the end.
    let mut link = link(1 << 16);
    link.write("a");
    link.write("b");
    link.send.close(link.now, &mut link.events);
    assert_eq!(finals(&link.transmit(FULL).unwrap()), [(1, false, false), (2, false, true)]);
    link.time_out();
    assert_eq!(finals(&link.transmit(FULL).unwrap()), [(1, false, false), (2, false, true)]);
    let refused = link.send.write(link.now, "c".into(), SendOptions::default(), &mut link.events);
    assert_eq!(refused.unwrap_err().reason, WriteRefusal::Closed);
    ack(&mut link, 2, 64);
    assert_eq!(link.drain_events(), [Event::FlowCompleted { flow: SEND, abandoned: 0, rejected: 0 }]);
    assert_eq!(link.send.state(), SendFlowState::CompleteLinger);
    let end = link.now + Duration::from_secs(130);
    assert_eq!(link.send.next_timeout(), Some(end));
    link.send.handle_timeout(end, ERTO, &mut link.events);
    assert_eq!(link.send.state(), SendFlowState::Closed);

    // The queue is empty, or the tail was sent: an abandoned entry is the end.
    for written in 0..2 {
        let mut link = self::link(1 << 16);
        for _ in 0..written {
            link.write("a");
            link.transmit(FULL).unwrap();
        }
        link.send.close(link.now, &mut link.events);
        assert_eq!(finals(&link.transmit(FULL).unwrap()), [(written + 1, true, true)]);
    }

    // The tail is abandoned after the close, cut in part.
    let mut link = self::link(1 << 16);
    let long = link.write(vec![0; 1_000]);
    link.transmit(FULL).unwrap();
    link.send.close(link.now, &mut link.events);
    link.send.abandon(long, &mut link.events);
    assert_eq!(finals(&link.transmit(FULL).unwrap()), [(2, true, true)]);
}

/// RFC 7016 §3.6.2.10.
#[test]
fn an_exception_closes_and_abandons() {
    let mut link = link(1 << 16);
    let options = SendOptions { receipt: true, ..SendOptions::default() };
    let message = write(&mut link, "a", options);
    link.transmit(FULL).unwrap();
    link.send.on_exception(link.now, 9, &mut link.events);
    link.send.on_exception(link.now, 9, &mut link.events);
    let outcome = MessageOutcome::Unknown;
    let done = Event::MessageDone { flow: SEND, message, outcome };
    assert_eq!(link.drain_events(), [done, Event::FlowRejected { flow: SEND, code: 9, abandoned: 1, rejected: 1 }]);
    assert_eq!(sequences(&link.transmit(FULL).unwrap()), [(2, 0, true)]);
    ack(&mut link, 2, 64);
    assert_eq!(link.send.state(), SendFlowState::CompleteLinger);
    assert_eq!(link.drain_events(), [], "FlowRejected was the end");
}

/// A fragment held lost that is acknowledged after all is not sent again.
#[test]
fn a_late_acknowledgement_saves_the_repetition() {
    let mut link = link(1 << 16);
    link.write("a");
    link.transmit(FULL).unwrap();
    link.time_out();
    assert!(link.send.is_ready());
    assert_eq!(ack(&mut link, 1, 64).acked_bytes, 0);
    assert!(!link.send.is_ready());
    assert_eq!(link.in_flight.take_spurious_bytes(), 0, "a timeout is not taken back");
}

quickcheck! {
    fn hostile_acknowledgements_never_panic(acks: Vec<(u64, u64, Vec<u8>)>, bitmaps: bool) -> bool {
        let mut link = link(1 << 16);
        for (cumulative, blocks, bytes) in acks {
            let _ = link.send.write(link.now, vec![0; bytes.len() * 10].into(), SendOptions::default(), &mut link.events);
            let (send, in_flight) = (&mut link.send, &mut link.in_flight);
            packet(300, |writer| { send.assemble(link.now, writer, in_flight, FULL, 300, false); });
            let cumulative = if blocks.is_multiple_of(2) { cumulative % 8 } else { cumulative };
            let ranges = AckRanges { flow_id: 3, blocks_available: blocks, cumulative_ack: cumulative, encoded: &bytes };
            let bitmap = AckBitmap { flow_id: 3, blocks_available: blocks, cumulative_ack: cumulative, bits: &bytes };
            let ack = if bitmaps { Acknowledgement::Bitmap(&bitmap) } else { Acknowledgement::Ranges(&ranges) };
            let before = in_flight.outstanding();
            let outcome = send.on_ack(link.now, ack, in_flight, &mut link.events);
            assert_eq!(before - in_flight.outstanding(), outcome.acked_bytes);
            assert_eq!(send.queue.outstanding(), in_flight.outstanding());
            assert_eq!(outcome.impossible, cumulative > send.queue.highest_sent() || match ack {
                Acknowledgement::Bitmap(ack) => ack.ranges().any(|(_, to)| to > send.queue.highest_sent()),
                Acknowledgement::Ranges(ack) => ack.ranges().any(|(_, to)| to > send.queue.highest_sent()),
            });
        }
        true
    }
}

/// Those whom only the session's memory holds back are told when it is back, and nobody else.
#[test]
fn a_flow_that_lacked_memory_is_told_once_that_it_is_back() {
    let mut link = link(1 << 16);
    let mut budget = SendBudget::new(1 << 20);
    budget.grant(0, 1 << 20);
    link.send.memory_is_back(&mut link.events);
    assert_eq!(link.drain_events(), [], "it was not refused");
    assert!(!link.send.has_room(100, &mut budget));
    link.send.memory_is_back(&mut link.events);
    link.send.memory_is_back(&mut link.events);
    assert_eq!(link.drain_events(), [Event::FlowWritable { flow: SEND }]);
    assert!(!link.send.has_room(100, &mut budget));
    link.send.close(link.now, &mut link.events);
    link.drain_events();
    link.send.memory_is_back(&mut link.events);
    assert_eq!(link.drain_events(), [], "it was closed");
}

/// The receiver has still to hear that it is abandoned.
#[test]
fn an_entry_that_was_never_sent_is_not_acknowledged() {
    let (mut queue, mut events) = (SendQueue::new(SEND), EventQueue::default());
    for sequence in [1, 3] {
        queue.push("a".into(), SendOptions::default(), &mut events);
        let cut = queue.preview(1).unwrap();
        assert_eq!(queue.commit(cut), Some(sequence));
        queue.sent(sequence, sequence, 1);
        let abandoned = queue.push("b".into(), SendOptions::default(), &mut events);
        queue.abandon(abandoned.0, AbandonCause::User, &mut events);
    }
    let mut acked = || queue.acked(1, 4, &mut events).map(|(sequence, _)| sequence);
    assert_eq!([acked(), acked(), acked()], [Some(1), Some(3), None]);
    assert!([2, 4].iter().all(|sequence| queue.fragment(*sequence).is_some()));
}

fn limited(buffer: usize, unsent: usize) -> Link {
    let options = FlowOptions::new("name").unsent_limit(unsent);
    Link::new(&options, buffer, 1 << 20)
}

/// What is in flight fills the window of the path; only what was never sent makes a writer wait.
#[test]
fn a_writer_waits_for_what_was_never_sent_and_not_for_what_is_in_flight() {
    let mut link = limited(1 << 20, 4_000);
    let write =
        |link: &mut Link| link.send.write(link.now, vec![0; 936].into(), SendOptions::default(), &mut link.events);
    let mut written = 0;
    while link.in_flight.outstanding() < 60_000 {
        while write(&mut link).is_ok() {
            written += 1;
        }
        assert!((4_000..5_000).contains(&link.send.stats().unsent), "{}", link.send.stats().unsent);
        assert_eq!(link.drain_events(), []);
        while link.drain_events() != [Event::FlowWritable { flow: SEND }] {
            assert!(link.transmit(FULL).is_some());
            link.send.flush(&mut link.events);
        }
        assert!((1_000..=2_000).contains(&link.send.stats().unsent), "{}", link.send.stats().unsent);
    }
    assert!(written * 1_000 >= 60_000, "nothing was acknowledged");
}

#[test]
fn a_message_of_any_size_is_taken_while_less_than_the_limit_waits() {
    let mut link = limited(1 << 20, 4_000);
    let mut write = |len: usize| {
        link.send
            .write(link.now, vec![0; len].into(), SendOptions::default(), &mut link.events)
            .map_err(|error| error.reason)
    };
    assert!(write(3_900).is_ok());
    assert!(write(500_000).is_ok());
    assert_eq!(write(0), Err(WriteRefusal::Full));
    // The buffer holds no more of what is in flight, either.
    while link.transmit(FULL).is_some() {
        let highest = link.send.queue.highest_sent();
        ack(&mut link, highest - 1, 1 << 20);
    }
    assert_eq!(link.send.stats().unsent, 0);
    assert!(link.send.write(link.now, vec![0; 2 << 20].into(), SendOptions::default(), &mut link.events).is_err());
}

/// A writer that is told and then refused again would be told with each acknowledgement.
#[test]
fn a_refused_message_is_told_of_when_there_is_room_for_all_of_it() {
    let mut link = limited(10_000, usize::MAX);
    for _ in 0..9 {
        link.write(vec![0; 936]);
    }
    let refused = link.send.write(link.now, vec![0; 7_936].into(), SendOptions::default(), &mut link.events);
    assert_eq!(refused.unwrap_err().reason, WriteRefusal::Full);
    while link.transmit(FULL).is_some() {}
    let highest = link.send.queue.highest_sent();
    for sequence in 1..=highest {
        ack(&mut link, sequence, 64);
        let has_room = link.send.stats().buffered <= 2_000;
        assert_eq!(link.drain_events().is_empty(), !has_room, "{} buffered", link.send.stats().buffered);
        if has_room {
            break;
        }
    }
}

/// The span of sequence numbers is not what limits a large window.
#[test]
fn a_large_buffer_has_sequence_numbers_for_all_of_it() {
    let span = |bytes| SendQueue::for_buffer(SEND, bytes).max_span();
    assert_eq!(span(1 << 20), 65_536);
    assert!(span(64 << 20) >= 3 * (64 << 20) / 1_100);
    assert_eq!(span(usize::MAX), 1 << 20, "but not without end");
}
