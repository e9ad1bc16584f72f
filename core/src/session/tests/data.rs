//! User data and acknowledgements between two sessions.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use bytes::Bytes;

use super::network::{
    A, ACK_BITMAP, ACK_RANGES, B, BUFFER_PROBE, ECN_REPORT, EXCEPTION, Fate, NEXT_USER_DATA, Network, PING, Sent,
    USER_DATA, path_to,
};
use super::packets::{header_of, packet};
use crate::config::{FlowOptions, Priority, SendOptions, SessionConfig};
use crate::congestion::CongestionControl;
use crate::event::{Event, FlowEnd, MessageOutcome};
use crate::flow::RecvFlow;
use crate::transmit::RecvMeta;
use crate::wire::Chunk;

fn transfer(network: &mut Network, from: usize, messages: usize) {
    let flow = network.open_flow_with(from, FlowOptions::new("test").send_buffer(usize::MAX));
    for _ in 0..messages {
        network.write(from, flow, 4_000);
    }
}

#[test]
fn a_megabyte_passes_both_ways_at_once() {
    let mut network = Network::open(SessionConfig::default());
    for end in [A, B] {
        transfer(&mut network, end, 250);
    }
    network.run(20_000);
    for end in [A, B] {
        assert_eq!(network.ends[end].bytes_read(), 1_000_000);
        let stats = network.ends[end].session.stats();
        assert_eq!((stats.fragments_lost, stats.timeouts, stats.outstanding), (0, 0, 0));
        assert_eq!(stats.packets_sent, network.sent_by(end, |_| true).len() as u64);
        let bytes: usize = network.sent_by(end, |_| true).iter().map(|sent| sent.datagram_len).sum();
        assert_eq!(stats.bytes_sent, bytes as u64);
        assert_eq!(network.ends[1 - end].session.stats().bytes_received, bytes as u64);
    }
}

#[test]
fn flows_written_before_the_session_opens_are_sent_when_it_does() {
    let mut network = Network::opening(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(5_000);
    assert!(network.sent.is_empty() && !network.ends[A].session.demand().any());
    network.establish(true);
    network.run(100);
    assert_eq!(network.ends[B].bytes_read(), 100);
}

/// RFC 7016 §3.6.3.4.1: at once for a new flow, after 200 ms for a lone packet, at once for every second packet.
#[test]
fn acknowledgements_come_at_once_late_or_for_every_second_packet() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 10);
    network.run(1_000);
    network.write(A, flow, 10);
    network.run(1_000);
    network.write(A, flow, 1_100);
    network.run(50);
    network.write(A, flow, 1_100);
    network.run(950);
    assert_eq!(network.times(B, Sent::has_ack), [20, 1_220, 2_070]);
}

/// RFC 7016 §3.6.3.4.6.
#[test]
fn a_late_acknowledgement_rides_on_data_that_goes_the_other_way() {
    let mut network = Network::open(SessionConfig::default());
    let (there, back) = (network.open_flow(A), network.open_flow(B));
    network.write(A, there, 10);
    network.write(B, back, 10);
    network.run(1_000);
    network.write(A, there, 10);
    network.run(100);
    network.write(B, back, 10);
    network.run(1_000);
    let acks = network.sent_by(B, |sent| sent.has_ack() && sent.millis() >= 1_001_000);
    assert_eq!(acks.len(), 1);
    assert_eq!(acks[0].kinds(), [ECN_REPORT, ACK_RANGES, USER_DATA]);
    assert_eq!(acks[0].at, super::network::at(1_100));
}

/// RFC 7016 §3.5.2.3: however large the window has grown, after a pause not all of it is sent at once.
#[test]
fn not_more_than_six_data_packets_go_out_between_acknowledgements() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow_with(A, FlowOptions::new("test").send_buffer(usize::MAX));
    for _ in 0..100 {
        network.write(A, flow, 10_000);
    }
    while network.ends[B].bytes_read() < 1_000_000 || network.ends[A].session.stats().outstanding > 0 {
        network.run(1);
    }
    assert!(network.ends[A].session.stats().cwnd > 100_000);
    let before = network.sent_by(A, Sent::has_data).len();
    network.filter = Box::new(|sent| if sent.from == 1 { Fate::Lost } else { Fate::Arrives });
    for _ in 0..100 {
        network.write(A, flow, 10_000);
    }
    network.run(200);
    assert_eq!(network.sent_by(A, Sent::has_data).len() - before, 6);
    // The timeout allows as many again, and an acknowledgement does.
    network.run(100);
    assert_eq!(network.ends[A].session.stats().timeouts, 1);
    network.filter = Box::new(|_| Fate::Arrives);
    network.run(20_000);
    assert_eq!(network.ends[B].bytes_read(), 2_000_000);
}

/// Together they let no more out than one of them does.
#[test]
fn acknowledgements_of_nothing_new_do_not_add_up() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow_with(A, FlowOptions::new("test").send_buffer(usize::MAX));
    for _ in 0..100 {
        network.write(A, flow, 10_000);
    }
    while network.ends[B].bytes_read() < 1_000_000 || network.ends[A].session.stats().outstanding > 0 {
        network.run(1);
    }
    network.filter = Box::new(|sent| if sent.from == 1 { Fate::Lost } else { Fate::Arrives });
    for _ in 0..100 {
        network.write(A, flow, 10_000);
    }
    let before = network.sent_by(A, Sent::has_data).len();
    network.pump();
    let flow_id = network.ends[A].session.delivery().send_flow(flow).unwrap().flow_id();
    for _ in 0..40 {
        let plain = packet(header_of(B), |writer| {
            assert!(writer.push_with(ACK_RANGES, |out| out.extend_from_slice(&[flow_id as u8, 127, 1])));
        });
        let mut bytes = [&[0x5f], &plain[..], &[0x5b]].concat();
        network.with(A, |session, cx| session.handle_packet(cx, path_to(B), RecvMeta::default(), &mut bytes)).unwrap();
    }
    network.pump();
    assert_eq!(network.sent_by(A, Sent::has_data).len() - before, 12);
}

#[test]
fn a_lost_packet_is_repaired_without_a_timeout() {
    let mut network =
        Network::open(SessionConfig { congestion: CongestionControl::Rfc7016, ..SessionConfig::default() });
    let mut count = 0;
    network.filter = Box::new(move |sent| {
        count += u32::from(sent.from == 0 && sent.has_data());
        if sent.from == 0 && sent.has_data() && count % 40 == 20 { Fate::Lost } else { Fate::Arrives }
    });
    transfer(&mut network, A, 100);
    network.run(20_000);
    assert_eq!(network.ends[B].bytes_read(), 400_000);
    let stats = network.ends[A].session.stats();
    assert!(stats.fragments_lost >= 8, "{stats:?}");
    assert_eq!(stats.timeouts, 0);
    assert!(stats.ssthresh < u64::MAX);
}

/// Even lengths are asserted of every flight by the network; this shows that there are flights, and full ones.
#[test]
fn bulk_data_goes_in_flights_of_full_datagrams() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow_with(A, FlowOptions::new("test").send_buffer(usize::MAX));
    for _ in 0..10 {
        network.write(A, flow, 100_000);
    }
    network.run(20_000);
    let data = network.sent_by(A, Sent::has_data);
    let full = data.iter().filter(|sent| sent.datagram_len >= 1_150).count();
    assert!(full * 100 >= data.len() * 95, "{full} of {}", data.len());
    let in_flights = data.iter().filter(|sent| sent.index > 0).count();
    assert!(in_flights * 100 >= data.len() * 30, "{in_flights} of {}", data.len());
    assert!(data.iter().any(|sent| sent.has(NEXT_USER_DATA)));
}

/// Messages are whole in their packets, which so have room left; they are sealed and sent in number all the same.
#[test]
fn small_messages_go_in_flights_and_none_is_split() {
    for (length, most_chunks) in [(200, 5), (500, 2), (700, 1)] {
        let mut network = Network::open(SessionConfig::default());
        let flow = network.open_flow_with(A, FlowOptions::new("test").send_buffer(usize::MAX));
        (0..2_000).for_each(|_| network.write(A, flow, length));
        network.run(60_000);
        assert_eq!(network.ends[B].bytes_read(), 2_000 * length);
        let data = network.sent_by(A, Sent::has_data);
        // A few more where the window ends a packet early.
        let least = 2_000_usize.div_ceil(most_chunks);
        assert!((least..=least * 5 / 4).contains(&data.len()), "{length}: {} packets", data.len());
        let in_flights = data.iter().filter(|sent| sent.index > 0).count();
        assert!(in_flights * 100 >= data.len() * 30, "{length}: {in_flights} of {} packets", data.len());
    }
}

#[test]
fn one_segment_at_a_time_works_as_well() {
    let mut network = Network::open(SessionConfig::default());
    network.segments = 1;
    transfer(&mut network, A, 50);
    network.run(5_000);
    assert_eq!(network.ends[B].bytes_read(), 200_000);
    assert!(network.sent.iter().all(|sent| sent.index == 0));
}

/// The smallest datagram size, where flows have to be cut small, with many flows and losses.
#[test]
fn small_datagrams_and_many_flows() {
    let mut network = Network::open(SessionConfig { base_datagram: 576, ..SessionConfig::default() });
    let mut count = 0;
    network.filter = Box::new(move |_| {
        count += 1;
        if count % 11 == 0 { Fate::Lost } else { Fate::Arrives }
    });
    for number in 0..40 {
        let flow = network.open_flow(number % 2);
        for length in [1, 300, 2_000, 555, 0, 700] {
            network.write(number % 2, flow, length);
        }
        network
            .with(number % 2, |session, cx| session.command(cx, |delivery, cx| delivery.sending.flows.close(cx, flow)));
    }
    network.run(60_000);
    for end in [A, B] {
        assert_eq!(network.ends[end].bytes_read(), 20 * 3_556);
        let complete = |event: &&Event| matches!(event, Event::FlowFinished { end: FlowEnd::Complete, .. });
        assert_eq!(network.ends[end].events.iter().filter(complete).count(), 20);
        let completed = |event: &&Event| matches!(event, Event::FlowCompleted { .. });
        assert_eq!(network.ends[end].events.iter().filter(completed).count(), 20);
    }
}

#[test]
fn the_round_trip_is_measured_from_data() {
    let mut network = Network::open(SessionConfig::default());
    network.delay = Duration::from_millis(100);
    transfer(&mut network, A, 2);
    network.run(1_000);
    let stats = network.ends[A].session.stats();
    assert_eq!(stats.srtt, Some(Duration::from_millis(200)));
    assert!(stats.erto >= Duration::from_millis(400) && stats.erto < Duration::from_secs(1), "{stats:?}");
}

#[test]
fn the_urgent_flow_goes_first_and_equals_take_turns() {
    let mut network = Network::open(SessionConfig::default());
    let mut flows = Vec::new();
    for priority in [Priority::Bulk, Priority::Bulk, Priority::Urgent] {
        let flow = network.open_flow_with(A, FlowOptions::new("test").priority(priority));
        network.write(A, flow, 100_000);
        flows.push(network.ends[A].session.delivery().send_flow(flow).unwrap().flow_id());
    }
    assert_eq!(network.ends[A].session.demand().priority(), Some(Priority::Urgent));
    network.run(10_000);
    let order: Vec<u64> = network
        .sent_by(A, Sent::has_data)
        .iter()
        .flat_map(|sent| {
            sent.chunks()
                .into_iter()
                .filter_map(|chunk| if let Chunk::UserData(data) = chunk { Some(data.flow_id) } else { None })
                .collect::<Vec<u64>>()
        })
        .collect();
    let last_urgent = order.iter().rposition(|&id| id == flows[2]).unwrap();
    let first_bulk = order.iter().position(|&id| id == flows[0]).unwrap();
    assert!(first_bulk >= last_urgent, "the packet with its last part may hold a first of the others");
    let bulk = &order[last_urgent + 1..];
    let turns = bulk.windows(2).filter(|pair| pair[0] != pair[1]).count();
    assert!(turns * 100 >= bulk.len() * 90, "{turns} of {}", bulk.len());
}

#[test]
fn a_change_of_priority_holds_at_once() {
    let mut network = Network::open(SessionConfig::default());
    let [low, high] = [Priority::Low, Priority::High].map(|priority| {
        let flow = network.open_flow_with(A, FlowOptions::new("test").priority(priority));
        network.write(A, flow, 50_000);
        flow
    });
    network.with(A, |session, cx| {
        session.command(cx, |delivery, _| delivery.sending.flows.set_priority(low, Priority::Urgent))
    });
    assert_eq!(network.ends[A].session.demand().priority(), Some(Priority::Urgent));
    network.with(A, |session, cx| {
        session.command(cx, |delivery, _| delivery.sending.flows.set_priority(low, Priority::Background))
    });
    assert_eq!(network.ends[A].session.demand().priority(), Some(Priority::High));
    network.with(A, |session, cx| {
        session.command(cx, |delivery, _| delivery.sending.flows.set_priority(high, Priority::Background))
    });
    assert_eq!(network.ends[A].session.demand().priority(), Some(Priority::Background));
    network.run(10_000);
    assert_eq!(network.ends[B].bytes_read(), 100_000);
    assert_eq!(network.ends[A].session.demand().priority(), None);
}

/// RFC 7016 §3.6.2.9.1: at first a second after the window closed, then less and less often.
#[test]
fn a_suspended_receiver_is_probed_and_resumes() {
    let mut network = Network::open(SessionConfig { recv_buffer: 10_000, ..SessionConfig::default() });
    network.ends[B].reads = false;
    transfer(&mut network, A, 20);
    network.run(25);
    let flow = network.ends[B].opened_flow();
    network.with(B, |session, cx| session.command(cx, |delivery, _| delivery.receiving.suspend(flow)));
    network.run(10_000);
    let probes = network.times(A, |sent| sent.has(BUFFER_PROBE));
    assert!(probes.len() >= 3 && probes.len() <= 6, "{probes:?}");
    let answers = network.times(B, |sent| sent.has_ack());
    for probe in &probes {
        assert!(answers.contains(&(probe + 20)), "{probe} in {answers:?}");
    }
    network.ends[B].reads = true;
    network.with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.resume(cx, flow)));
    let mut total = 0;
    for _ in 0..200 {
        while let Some(message) =
            network.with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.read(cx, flow)))
        {
            total += message.data.len();
        }
        network.run(100);
    }
    assert_eq!(total + network.ends[B].bytes_read(), 80_000);
}

/// With the compatibility switch there is no probe and no window of zero.
#[test]
fn without_buffer_probes_a_full_receiver_still_gets_all() {
    let config = SessionConfig { recv_buffer: 10_000, mona: true, ..SessionConfig::default() };
    let mut network = Network::open(config);
    network.ends[B].reads = false;
    transfer(&mut network, A, 20);
    network.run(5_000);
    let flow = network.ends[B].opened_flow();
    let mut total = 0;
    for _ in 0..200 {
        while let Some(message) =
            network.with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.read(cx, flow)))
        {
            total += message.data.len();
        }
        network.run(100);
    }
    assert_eq!(total, 80_000);
    assert!(network.sent_by(A, |sent| sent.has(BUFFER_PROBE)).is_empty());
    for sent in network.sent_by(B, |sent| sent.has(ACK_RANGES)) {
        for chunk in sent.chunks() {
            assert!(!matches!(chunk, Chunk::AckRanges(ack) if ack.blocks_available == 0));
        }
    }
}

#[test]
fn a_rejected_flow_is_told_with_an_exception_before_the_acknowledgement() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(1_000);
    let received = network.ends[B].opened_flow();
    network.with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.reject(cx, received, 1_234)));
    network.run(20);
    assert!(network.ends[A].events.contains(&Event::FlowRejected { flow, code: 1_234, abandoned: 0, rejected: 0 }));
    let told = network.sent_by(B, |sent| sent.has(EXCEPTION));
    assert_eq!(told[0].kinds(), [ACK_RANGES, EXCEPTION, ACK_RANGES]);
    assert_eq!(told[0].at, super::network::at(1_000), "at once");
}

#[test]
fn a_return_flow_names_the_flow_that_it_answers() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(100);
    let received = network.ends[B].opened_flow();
    let back = network.open_flow_with(B, FlowOptions::new("back").in_return_to(received));
    network.write(B, back, 100);
    network.run(100);
    let returned = network.ends[A].opened_flow();
    assert_eq!(network.ends[A].session.delivery().recv_flow(returned).unwrap().association(), Some(flow));
}

#[test]
fn bitmaps_are_sent_only_to_a_far_end_that_sends_them() {
    let mut network = Network::open(SessionConfig::default());
    let mut count = 0;
    network.filter = Box::new(move |sent| {
        count += u32::from(sent.has_data());
        if sent.has_data() && count % 3 == 0 { Fate::Lost } else { Fate::Arrives }
    });
    transfer(&mut network, A, 50);
    network.run(60_000);
    assert_eq!(network.ends[B].bytes_read(), 200_000);
    assert!(network.sent_by(B, |sent| sent.has(ACK_BITMAP)).is_empty());
}

#[test]
fn a_message_past_its_deadline_is_dropped_in_time_and_the_rest_arrives() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 10);
    network.run(1_000);
    network.filter = Box::new(|sent| if sent.from == 0 { Fate::Lost } else { Fate::Arrives });
    let finish_by = Some(network.now + Duration::from_millis(100));
    let options = SendOptions { finish_by, receipt: true, ..SendOptions::default() };
    let message = network
        .with(A, |session, cx| {
            session.command(cx, |delivery, cx| {
                delivery.sending.flows.write(cx, flow, Bytes::from_static(b"urgent"), options)
            })
        })
        .unwrap();
    network.run(101);
    let told = |event: &Event| matches!(event, Event::MessageDone { .. });
    assert!(!network.ends[A].events.iter().any(told), "what is in flight may still arrive");
    network.filter = Box::new(|_| Fate::Arrives);
    network.write(A, flow, 20);
    network.run(2_000);
    assert_eq!(network.ends[B].bytes_read(), 30);
    let outcome = MessageOutcome::Unknown;
    assert!(network.ends[A].events.contains(&Event::MessageDone { flow, message, outcome }), "it was lost");
}

/// RFC 7016 §3.6.2.3: the window does not hold back what is not user data.
#[test]
fn control_passes_while_the_window_is_full() {
    let mut network = Network::open(SessionConfig::default());
    transfer(&mut network, A, 100);
    network.filter = Box::new(|sent| if sent.from == 1 { Fate::Lost } else { Fate::Arrives });
    network.run(10);
    assert_eq!(network.ends[A].session.delivery.sending.recovery.budget(), 0);
    let now = network.now;
    network.with(A, |session, _| session.ping(now));
    network.pump();
    assert!(network.sent.last().unwrap().has(PING));
}

/// A driver that hands over packets in batches gets the speed of one that does not: two packets to an
/// acknowledgement, and six packets for each.
#[test]
fn batches_of_packets_are_acknowledged_like_single_ones() {
    let figures = |batched: bool| {
        let mut network = Network::open(SessionConfig::default());
        network.batched = batched;
        let flow = network.open_flow_with(A, FlowOptions::new("test").send_buffer(usize::MAX));
        for _ in 0..500 {
            network.write(A, flow, 10_000);
        }
        // A window of less than twice what is encoded of one batch.
        network.run(280);
        let acks = network.sent_by(B, Sent::has_ack);
        assert_eq!(acks.iter().any(|sent| sent.index > 0), batched, "they go in flights");
        assert!(acks.iter().all(|sent| !sent.has_data()));
        (network.ends[A].session.stats().cwnd, acks.len())
    };
    let (single, batched) = (figures(false), figures(true));
    assert!(batched.0 * 10 >= single.0 * 8, "{batched:?} and {single:?}");
    assert!(batched.1 * 10 >= single.1 * 8, "{batched:?} and {single:?}");
}

/// RFC 7016 §3.6.3.5: unread flows hold their senders, and leave the network and the memory to the others.
#[test]
fn flows_that_nobody_reads_hold_their_senders_and_not_the_others() {
    let config = SessionConfig { recv_buffer: 65_536, send_buffer: 1 << 20, ..SessionConfig::default() };
    let mut network = Network::open(config);
    network.ends[B].reads = false;
    let unread: Vec<_> = (0..32).map(|_| network.open_flow(A)).collect();
    for &flow in &unread {
        (0..100).for_each(|_| network.write(A, flow, 10_000));
    }
    network.run(5_000);
    let held = network.ends[B].session.delivery.receiving.flows.budget.held();
    assert!(held < 32 * (65_536 + 12_000), "{held} bytes are held for buffers of {}", 32 * 65_536);
    // What came so far is not read even now; a flow that is read gets through at once.
    network.ends[B].reads = true;
    let urgent = network.open_flow(A);
    (0..20).for_each(|_| network.write(A, urgent, 1_000));
    network.run(500);
    assert_eq!(network.ends[B].bytes_read(), 20_000);
    // The far end's probes find out that the window is open again.
    let flows = network.ends[B].session.delivery.receiving.flows.table.slots();
    for slot in flows {
        while let Some(handle) = network.ends[B].session.delivery.receiving.flows.table.get(slot).map(RecvFlow::handle)
            && let Some(message) =
                network.with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.read(cx, handle)))
        {
            network.ends[B].read.push((handle, message.data));
        }
    }
    network.run(60_000);
    assert_eq!(network.ends[B].bytes_read(), 20_000 + 32 * 1_000_000);
}

/// The receiver had read it, and its sender was told that it was rejected.
#[test]
fn what_was_read_before_a_rejection_is_delivered_though_its_acknowledgement_is_lost() {
    let mut network = Network::open(SessionConfig::default());
    network.delay = Duration::from_millis(1);
    let flow = network.open_flow(A);
    let receipt = SendOptions { receipt: true, ..SendOptions::default() };
    network.filter = Box::new(|sent| if sent.has_ack() { Fate::Lost } else { Fate::Arrives });
    let written = network.with(A, |session, cx| {
        session.command(cx, |delivery, cx| delivery.sending.flows.write(cx, flow, b"read"[..].into(), receipt))
    });
    assert!(written.is_ok());
    network.run(10);
    assert_eq!(network.ends[B].bytes_read(), 4);
    assert_eq!(network.sent_by(B, Sent::has_ack).len(), 1, "lost");
    let received = network.ends[B].opened_flow();
    network.with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.reject(cx, received, 7)));
    network.run(10);
    network.filter = Box::new(|_| Fate::Arrives);
    network.run(10_000);
    assert!(network.ends[A].events.contains(&Event::FlowRejected { flow, code: 7, abandoned: 0, rejected: 0 }));
    let done = |event: &&Event| matches!(event, Event::MessageDone { outcome: MessageOutcome::Delivered, .. });
    assert_eq!(network.ends[A].events.iter().filter(done).count(), 1);
}

/// It is acknowledged before the exception, in the same packet.
#[test]
fn what_is_acknowledged_in_the_packet_of_a_rejection_is_not_abandoned() {
    let mut network = Network::open(SessionConfig::default());
    network.delay = Duration::from_millis(1);
    let flow = network.open_flow(A);
    network.write(A, flow, 100);
    network.run(1_000);
    network.write(A, flow, 100);
    network.run(1);
    assert_eq!(network.ends[B].bytes_read(), 200, "it has come, and its acknowledgement is delayed");
    let received = network.ends[B].opened_flow();
    network.with(B, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.reject(cx, received, 7)));
    network.run(1_000);
    assert!(network.ends[A].events.contains(&Event::FlowRejected { flow, code: 7, abandoned: 0, rejected: 0 }));
}

/// With a window that holds a part of it, and waits for a reader that waits for the message, it would trickle.
#[test]
fn a_message_that_is_longer_than_the_first_window_arrives_without_a_wait() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 4_000_000);
    network.run(1_000);
    assert_eq!(network.ends[B].bytes_read(), 4_000_000);
}

/// The far end's memory is the limit, and no window that is a part of it: from the window on it came one fragment in a
/// round trip.
#[test]
fn a_message_longer_than_all_windows_may_grow_arrives_without_a_wait() {
    let large = SessionConfig { max_recv_bytes: 80 << 20, ..SessionConfig::default() };
    let small = SessionConfig { recv_buffer: 16_384, ..SessionConfig::default() };
    for (config, len) in [(SessionConfig::default(), 15 << 20), (large, 64 << 20), (small, 4_000_000)] {
        let mut network = Network::open(config);
        let flow = network.open_flow_with(A, FlowOptions::new("x").send_buffer(usize::MAX).unsent_limit(usize::MAX));
        network.write(A, flow, len);
        network.run(2_000);
        assert_eq!(network.ends[B].bytes_read(), len);
        // The window is no larger for it.
        network.ends[B].reads = false;
        (0..64).for_each(|_| network.write(A, flow, 1_000_000));
        network.run(2_000);
        let received = network.ends[B].opened_flow();
        let stats = network.ends[B].session.delivery().recv_flow(received).unwrap().stats();
        assert!(stats.buffered < 17 << 20, "{} bytes", stats.buffered);
    }
}

/// Its sender would never know why it does not go on.
#[test]
fn a_message_longer_than_the_memory_of_the_far_end_is_rejected_at_once() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 20 << 20);
    network.run(3_000);
    assert!(network.ends[A].events.contains(&Event::FlowRejected { flow, code: 0, abandoned: 1, rejected: 1 }));
    assert_eq!(network.ends[B].session.delivery.receiving.flows.budget.buffered(), 0);
}

/// Each may take all the memory, so they take it in turn.
#[test]
fn long_messages_of_many_flows_arrive_though_the_memory_does_not_hold_them_all() {
    let mut network = Network::open(SessionConfig::default());
    let flows: Vec<_> = (0..16).map(|_| network.open_flow(A)).collect();
    for &flow in &flows {
        network.write(A, flow, 2_000_000);
    }
    network.run(10_000);
    assert_eq!(network.ends[B].bytes_read(), 32_000_000, "{:?}", network.ends[A].events);
}
