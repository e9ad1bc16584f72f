//! What the far end or the user can fill, filled.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::network::{A, B, FORWARDED_HELLO, Network, PING, PING_REPLY, Sent, address, path_to};
use super::packets::{header_of, one, packet, user_data};
use crate::config::{FlowOptions, SessionConfig};
use crate::error::OpenFlowError;
use crate::event::Event;
use crate::session::Session;
use crate::session::control::{MAX_FORWARDS, MAX_OFF_PATH, MAX_REPLIES, MAX_REPLY_BYTES};
use crate::session::delivery::receiving::acks::MAX_ENCODED;
use crate::session::receive::MAX_FORWARDED;
use crate::transmit::{InterfaceId, Path, RecvMeta};
use crate::wire::{Address, AddressOrigin, Chunk, EncodeChunk, ForwardedHello, Ping, UserData};

/// Payload of one chunk alone in a packet.
fn chunk_room(network: &Network, end: usize) -> usize {
    let session = &network.ends[end].session;
    session.transport.single_chunk_room(session.delivery.sending.window())
}

/// Hands packets over without giving the session a chance to send.
fn feed(network: &mut Network, to: usize, path: Path, chunk: &impl EncodeChunk) {
    let mut bytes = [&[0x5f], &one(1 - to, chunk)[..], &[0x5b]].concat();
    network.with(to, |session, cx| session.handle_packet(cx, path, RecvMeta::default(), &mut bytes)).unwrap();
}

#[test]
fn receiving_flows_beyond_the_limit_are_dropped_and_not_acknowledged() {
    let mut network = Network::open(SessionConfig { max_recv_flows: 3, ..SessionConfig::default() });
    for flow_id in 0..5 {
        network.inject(B, path_to(A), &one(A, &user_data(flow_id, 1, b"x"))).unwrap();
    }
    let opened = network.ends[B].events.iter().filter(|event| matches!(event, Event::FlowOpened { .. })).count();
    assert_eq!(opened, 3);
    assert_eq!(network.ends[B].stats.over_limit, 2);
    assert_eq!(network.sent_by(B, Sent::has_ack).len(), 3);
    // The flows that exist go on.
    network.inject(B, path_to(A), &one(A, &user_data(2, 2, b"y"))).unwrap();
    assert_eq!(network.ends[B].bytes_read(), 4);
    assert_eq!(network.ends[B].stats.over_limit, 2);
}

#[test]
fn a_lingering_receiving_flow_makes_room_after_120_seconds() {
    let mut network = Network::open(SessionConfig { max_recv_flows: 1, ..SessionConfig::default() });
    let whole = UserData { last: true, ..user_data(7, 1, b"x") };
    network.inject(B, path_to(A), &one(A, &whole)).unwrap();
    network.run(119_999);
    network.inject(B, path_to(A), &one(A, &user_data(8, 1, b"x"))).unwrap();
    assert_eq!(network.ends[B].stats.over_limit, 1);
    network.run(1);
    network.inject(B, path_to(A), &one(A, &user_data(8, 1, b"x"))).unwrap();
    assert_eq!((network.ends[B].stats.over_limit, network.ends[B].bytes_read()), (1, 2));
}

#[test]
fn bytes_beyond_the_receive_limit_are_not_acknowledged() {
    let config = SessionConfig { max_recv_bytes: 65_536, recv_buffer: 1 << 20, ..SessionConfig::default() };
    let mut network = Network::open(config);
    network.ends[B].reads = false;
    for number in 0..200 {
        let data = vec![b'x'; 1_000];
        network.inject(B, path_to(A), &one(A, &user_data(number % 4, number / 4 + 1, &data))).unwrap();
    }
    assert!(network.ends[B].stats.over_limit > 100);
    assert!(network.ends[B].session.delivery.receiving.flows.budget.held() <= 65_536);
}

#[test]
fn sending_flows_are_limited_lingering_ones_included() {
    let mut network = Network::open(SessionConfig { max_send_flows: 2, ..SessionConfig::default() });
    let first = network.open_flow(A);
    network.open_flow(A);
    let open = |network: &mut Network| network.with(A, |session, cx| session.open_flow(cx, FlowOptions::new("x")));
    assert_eq!(open(&mut network), Err(OpenFlowError::TooManyFlows));
    network.with(A, |session, cx| session.command(cx, |delivery, cx| delivery.sending.flows.close(cx, first)));
    network.run(129_000);
    assert_eq!(open(&mut network), Err(OpenFlowError::TooManyFlows));
    network.run(2_000);
    let third = open(&mut network).unwrap();
    assert!(network.ends[A].session.delivery().send_flow(first).is_none(), "a stale handle never names another flow");
    assert_eq!(network.ends[A].session.delivery().send_flow(third).unwrap().flow_id(), 1, "flow IDs are used again");
}

#[test]
fn metadata_and_association_are_checked() {
    let mut network = Network::open(SessionConfig::default());
    let open = |network: &mut Network, options| network.with(A, |session, cx| session.open_flow(cx, options));
    assert!(open(&mut network, FlowOptions::new(vec![0; 512])).is_ok());
    assert_eq!(open(&mut network, FlowOptions::new(vec![0; 513])), Err(OpenFlowError::MetadataTooLong));
    let flow = network.open_flow(B);
    network.write(B, flow, 1);
    network.run(100);
    let received = network.ends[A].opened_flow();
    network.with(A, |session, cx| session.command(cx, |delivery, cx| delivery.receiving.reject(cx, received, 0)));
    let refused = open(&mut network, FlowOptions::new("x").in_return_to(received));
    assert_eq!(refused, Err(OpenFlowError::AssociationNotOpen));
}

#[test]
fn ping_replies_wait_in_limited_number_and_size() {
    let mut network = Network::open(SessionConfig::default());
    for _ in 0..100 {
        feed(&mut network, B, path_to(A), &Ping { message: b"x" });
    }
    network.pump();
    let replies =
        |network: &Network| network.sent.iter().flat_map(Sent::kinds).filter(|&kind| kind == PING_REPLY).count();
    assert_eq!(replies(&network), MAX_REPLIES);
    assert_eq!(network.ends[B].stats.over_limit, 100 - MAX_REPLIES as u64);
    for _ in 0..100 {
        feed(&mut network, B, path_to(A), &Ping { message: &[7; 1_000] });
    }
    network.pump();
    assert_eq!(replies(&network), MAX_REPLIES + MAX_REPLY_BYTES / 1_000);
    network.inject(B, path_to(A), &one(A, &Ping { message: b"x" })).unwrap();
    assert_eq!(replies(&network), MAX_REPLIES + MAX_REPLY_BYTES / 1_000 + 1, "there is room again");
}

#[test]
fn a_ping_that_no_packet_can_answer_is_ignored_and_the_longest_other_is_answered() {
    let mut network = Network::open(SessionConfig { base_datagram: 600, ..SessionConfig::default() });
    let room = chunk_room(&network, B);
    for (length, answered) in [(room + 1, 0), (room, 1)] {
        network.inject(B, path_to(A), &one(A, &Ping { message: &vec![7; length] })).unwrap();
        assert_eq!(network.sent_by(B, |sent| sent.has(PING_REPLY)).len(), answered);
    }
}

/// The longest Ping that could be answered when it came, over a path that is smaller when the answer is due.
#[test]
fn an_answer_that_no_packet_holds_any_more_is_dropped_and_holds_nothing_up() {
    let mut network = Network::open_discovering(SessionConfig {
        max_datagram: 9_000,
        recv_buffer: 262_144,
        ..SessionConfig::default()
    });
    let flow = network.open_flow_with(A, FlowOptions::new("x").send_buffer(usize::MAX));
    (0..200).for_each(|_| network.write(A, flow, 100_000));
    network.run(3_000);
    let room = chunk_room(&network, A);
    assert!(room > 2_000, "the path was found to be large: {room}");
    feed(&mut network, A, path_to(B), &Ping { message: &vec![7; 2_000] });
    assert!(network.with(A, |session, _| session.forward_hello(&[1; 900], address(9, 1), &[2; 900])));
    // Black hole: the size falls back to the base before anything is sent.
    for _ in 0..8 {
        network.with(A, |session, cx| session.transport.mtu.on_lost(cx.now, 8_000, 950, Duration::from_secs(60)));
    }
    assert!(chunk_room(&network, A) < 1_400);
    for _ in 0..100 {
        if !network.poll(A) {
            break;
        }
    }
    assert!(!network.ends[A].session.demand().any(), "a poll that gives nothing leaves nothing to be polled for");
    network.run(120_000);
    assert_eq!(network.ends[B].bytes_read(), 20_000_000);
}

#[test]
fn packets_for_other_paths_wait_in_limited_number() {
    let mut network = Network::open(SessionConfig::default());
    for number in 0..100 {
        let path = Path::new(InterfaceId(number + 1), path_to(A).remote);
        feed(&mut network, B, path, &Ping { message: b"x" });
    }
    network.pump();
    assert_eq!(network.sent_by(B, |sent| sent.has(PING_REPLY) || sent.has(PING)).len(), MAX_OFF_PATH);
}

/// Each answer takes a datagram of its own.
#[test]
fn a_datagram_of_pings_from_another_path_is_answered_with_one() {
    let mut network = Network::open(SessionConfig::default());
    let path = Path { interface: InterfaceId(7), ..path_to(A) };
    let pings = packet(header_of(A), |writer| (0..8).for_each(|_| assert!(writer.push(&Ping { message: b"x" }))));
    for count in 1..=3 {
        network.inject(B, path, &pings).unwrap();
        assert_eq!(network.sent_by(B, |sent| sent.has(PING_REPLY)).len(), count);
    }
}

#[test]
fn hellos_to_forward_wait_in_limited_number_and_size() {
    let mut network = Network::open(SessionConfig::default());
    let forward = |network: &mut Network, length| {
        let discriminator = vec![b'd'; length];
        network.with(A, |session, _| session.forward_hello(&discriminator, address(B, 9), b"0123456789abcdef"))
    };
    assert!(!forward(&mut network, 1_200), "too long for any packet");
    let taken = (0..100).filter(|_| forward(&mut network, 900)).count();
    assert_eq!(taken, MAX_FORWARDS);
    network.run(100);
    assert_eq!(network.sent_by(A, |sent| sent.has(FORWARDED_HELLO)).len(), MAX_FORWARDS);
    assert_eq!(network.ends[B].forwarded.len(), MAX_FORWARDS);
    let hello = network.ends[B].forwarded.front().unwrap();
    assert_eq!((hello.discriminator.len(), hello.reply_address), (900, address(B, 9)));
    assert_eq!(&hello.tag, b"0123456789abcdef");
}

#[test]
fn forwarded_hellos_wait_for_the_endpoint_in_limited_number() {
    let mut network = Network::open(SessionConfig::default());
    let reply_address = Address { origin: AddressOrigin::Observed, socket: address(A, 9) };
    for _ in 0..100 {
        let hello = ForwardedHello { discriminator: b"d", reply_address, tag: b"01234567" };
        feed(&mut network, B, path_to(A), &hello);
    }
    assert_eq!(network.ends[B].forwarded.len(), MAX_FORWARDED);
    assert_eq!(network.ends[B].stats.over_limit, 100 - MAX_FORWARDED as u64);
}

/// The longest metadata that the smallest datagrams allow still leaves room for data.
#[test]
fn metadata_leaves_room_for_data() {
    let mut network = Network::open(SessionConfig { base_datagram: 576, ..SessionConfig::default() });
    let refused = network.with(A, |session, cx| session.open_flow(cx, FlowOptions::new(vec![0; 449])));
    assert_eq!(refused, Err(OpenFlowError::MetadataTooLong));
    let flow = network.open_flow_with(A, FlowOptions::new(vec![0; 448]));
    network.write(A, flow, 5_000);
    network.run(10_000);
    assert_eq!(network.ends[B].bytes_read(), 5_000);
}

/// Many flows with long acknowledgements: each goes out, cut to fit, and no datagram is too long.
#[test]
fn acknowledgements_longer_than_a_packet_are_cut() {
    let mut network = Network::open(SessionConfig { base_datagram: 576, ..SessionConfig::default() });
    for flow_id in 0..10 {
        let mut sequence = 2;
        for _ in 0..8 {
            let plain = packet(header_of(A), |writer| {
                while writer.push(&user_data(flow_id, sequence, b"")) {
                    sequence += 2;
                }
            });
            feed_plain(&mut network, &plain);
        }
    }
    network.pump();
    let acks = network.sent_by(B, Sent::has_ack);
    assert!(acks.iter().all(|sent| sent.datagram_len < 576) && acks.iter().any(|sent| sent.datagram_len > 150));
    assert!(acks.len() >= 10);
    assert!(!network.ends[B].session.demand().any());
}

/// A batch of any size: so many acknowledgements are encoded, and the rest are one.
#[test]
fn acknowledgements_are_encoded_in_limited_number() {
    let mut network = Network::open(SessionConfig::default());
    for sequence in 1..=1_000 {
        let chunk = UserData { fsn_offset: sequence, ..user_data(1, sequence, b"x") };
        feed(&mut network, B, path_to(A), &chunk);
    }
    network.pump();
    assert_eq!(network.sent_by(B, Sent::has_ack).len(), usize::from(MAX_ENCODED) + 1);
    let last = network.sent.last().unwrap();
    assert!(matches!(last.chunks()[0], Chunk::AckRanges(ref ack) if ack.cumulative_ack == 1_000));
    network.run(1_000);
    assert_eq!(network.sent_by(B, Sent::has_ack).len(), usize::from(MAX_ENCODED) + 1, "nothing is left");
}

fn feed_plain(network: &mut Network, plain: &[u8]) {
    let mut bytes = [&[0x5f], plain, &[0x5b]].concat();
    network.with(B, |session, cx| session.handle_packet(cx, path_to(A), RecvMeta::default(), &mut bytes)).unwrap();
}

/// An idle session shall be small: the target is 4 KiB with its keys, of which this leaves a good part to them.
#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() <= 2_216, "{} bytes", size_of::<Session>());
}

#[test]
fn a_thousand_flows_cost_an_idle_poll_nothing_and_lose_no_deadline() {
    let mut network = Network::open(SessionConfig::default());
    for number in 0..1_000 {
        let flow = network.open_flow(A);
        network.write(A, flow, 10);
        if number % 2 == 0 {
            network.with(A, |session, cx| session.command(cx, |delivery, cx| delivery.sending.flows.close(cx, flow)));
        }
    }
    network.run(10_000);
    assert_eq!(network.ends[B].bytes_read(), 10_000);
    assert!(!network.ends[A].session.demand().any());
    network.run(130_000);
    assert_eq!(network.ends[A].session.delivery.sending.flows.table.len(), 500);
    assert_eq!(network.ends[B].session.delivery.receiving.flows.table.len(), 500);
    assert!(network.ends[A].session.deadlines().next().unwrap().0 <= network.now + Duration::from_secs(16));
}

/// Each has begun a message, together they take all the memory, and there is nothing to read: nobody could go on.
#[test]
fn messages_that_fill_the_memory_together_do_not_hold_each_other_up_for_ever() {
    let config = SessionConfig { max_recv_bytes: 131_072, recv_buffer: 16_384, ..SessionConfig::default() };
    let mut network = Network::open(config);
    let flows: Vec<_> = (0..16).map(|_| network.open_flow(A)).collect();
    for &flow in &flows {
        network.write(A, flow, 40_000);
    }
    network.run(60_000);
    let delivered = network.ends[B].read.len();
    let rejected = network.ends[A].events.iter().filter(|event| matches!(event, Event::FlowRejected { .. })).count();
    assert!(delivered > 1, "{delivered} delivered, {rejected} rejected");
    assert_eq!(delivered + rejected, flows.len(), "{rejected} rejected");
}

#[test]
fn a_flow_has_room_until_its_buffer_is_full() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow_with(A, FlowOptions::new("x").send_buffer(10_000));
    let has_room = |network: &mut Network| {
        network.with(A, |session, cx| session.command(cx, |delivery, _| delivery.sending.flows.has_room(flow, 1_000)))
    };
    assert!(has_room(&mut network));
    network.write(A, flow, 10_000);
    assert!(!has_room(&mut network));
    network.run(2_000);
    assert!(has_room(&mut network), "all was delivered");
}

#[test]
fn a_flow_that_is_over_frees_its_own_memory_and_no_more() {
    let held = |over: usize| {
        let mut network = Network::open(SessionConfig::default());
        let flows: Vec<_> = (0..=over).map(|_| network.open_flow(A)).collect();
        flows.iter().for_each(|flow| network.write(A, *flow, 100));
        network.run(100);
        for flow in flows.into_iter().skip(1) {
            network.with(A, |session, cx| session.command(cx, |delivery, cx| delivery.sending.flows.close(cx, flow)));
        }
        network.run(200_000);
        network.ends[B].session.delivery.receiving.flows.budget.held()
    };
    assert!(held(0) > 0);
    assert_eq!(held(3), held(0));
}
