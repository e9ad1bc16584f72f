//! Path MTU discovery (RFC 7016 §3.5.4.3) in whole sessions.

use alloc::boxed::Box;

use super::network::{A, B, Fate, Filter, Network, Sent};
use crate::config::{FlowOptions, SendOptions, SessionConfig};
use crate::event::{CloseReason, Event};
use crate::session::NetworkChange;
use crate::wire::Chunk;

const PADDING: u8 = 0x00;

fn is_probe(sent: &Sent) -> bool {
    matches!(sent.chunks()[..], [Chunk::Padding, Chunk::Ping(_)])
}

/// A path that carries datagrams up to `size`.
fn narrow(size: usize) -> Filter {
    Box::new(move |sent| if sent.datagram_len <= size { Fate::Arrives } else { Fate::Lost })
}

fn discovering(max_datagram: usize) -> Network {
    // With a window that makes transfers of short messages last.
    Network::open_discovering(SessionConfig { max_datagram, recv_buffer: 262_144, ..SessionConfig::default() })
}

fn largest_with_data(network: &Network, from: usize) -> usize {
    network.sent_by(from, Sent::has_data).iter().map(|sent| sent.datagram_len).max().unwrap()
}

/// The Padding stands before the Ping, so that a probe that arrives cut short proves nothing.
#[test]
fn a_sender_of_data_finds_the_larger_path_and_uses_it() {
    let mut network = discovering(1_452);
    let flow = network.open_flow(A);
    network.write(A, flow, 200_000);
    network.run(5_000);
    let probes = network.sent_by(A, is_probe);
    assert_eq!(probes.iter().map(|probe| probe.datagram_len).collect::<alloc::vec::Vec<_>>(), [1_200, 1_452]);
    assert_eq!(probes[0].kinds(), [PADDING, 0x01]);
    assert_eq!(network.ends[B].bytes_read(), 200_000);
    assert!(largest_with_data(&network, A) > 1_400);
    assert_eq!(network.ends[A].session.stats().datagram, 1_452);
}

#[test]
fn a_session_that_sends_no_data_probes_nothing() {
    let mut network = discovering(1_452);
    network.run(120_000);
    assert!(network.sent_by(A, is_probe).is_empty() && network.sent_by(B, is_probe).is_empty());
    // The receiver of data has no use for large datagrams of its own.
    let flow = network.open_flow(A);
    network.write(A, flow, 50_000);
    network.run(5_000);
    assert!(network.sent_by(B, is_probe).is_empty());
}

#[test]
fn probes_that_are_lost_hold_nothing_up() {
    let mut network = discovering(9_000);
    network.filter = narrow(1_300);
    let flow = network.open_flow(A);
    for _ in 0..60 {
        network.write(A, flow, 100_000);
        network.run(1_000);
    }
    assert_eq!(network.ends[B].bytes_read(), 6_000_000);
    assert_eq!(network.ends[A].session.stats().datagram, 1_252);
    assert_eq!(network.ends[A].session.stats().timeouts, 0, "a lost probe is no sign of congestion");
}

/// The pitfall of fragments cut for a larger path than the one they must be sent again on.
#[test]
fn a_move_to_a_smaller_path_in_the_middle_of_a_transfer_does_not_stall() {
    for (wide, small) in [(9_000, 1_200), (1_452, 1_200), (65_507, 1_300)] {
        let mut network = discovering(wide);
        let flow = network.open_flow(A);
        for _ in 0..40 {
            network.write(A, flow, 100_000);
            network.run(1_000);
        }
        assert_eq!(network.ends[A].session.stats().datagram, wide);
        network.filter = narrow(small);
        let before = network.ends[B].bytes_read();
        network.write(A, flow, 200_000);
        network.run(10_000);
        let stats = network.ends[A].session.stats();
        assert!(stats.datagram <= small, "a black hole is found: {} of {small}", stats.datagram);
        assert!(network.ends[B].bytes_read() > before);
        network.run(60_000);
        assert_eq!(network.ends[A].session.stats().outstanding, 0);
        assert_eq!(network.ends[B].bytes_read(), 40 * 100_000 + 200_000, "every message has arrived");
    }
}

/// A path that carries datagrams up to `size`, and in fragments also larger ones if `reassembles`.
fn small(size: usize, reassembles: bool) -> Filter {
    let passes = move |sent: &Sent| sent.datagram_len <= size || (reassembles && sent.may_fragment);
    Box::new(move |sent| if passes(sent) { Fate::Arrives } else { Fate::Lost })
}

/// Why a session ended at an end, and when.
fn close_reason(network: &Network, end: usize) -> Option<CloseReason> {
    let closed = |event: &Event| if let Event::SessionClosed { reason, .. } = event { Some(*reason) } else { None };
    network.ends[end].events.iter().find_map(closed)
}

#[test]
fn before_a_probe_of_the_base_size_returns_fragments_are_cut_for_less_and_the_network_may_cut_them_again() {
    let mut network = discovering(1_452);
    let flow = network.open_flow(A);
    network.write(A, flow, 100_000);
    network.run(1);
    assert_eq!(largest_with_data(&network, A), 1_000);
    network.run(5_000);
    let confirmed = network.sent_by(B, |sent| sent.has(0x41))[0].at + network.delay;
    let datagrams = network.sent_by(A, Sent::has_data);
    assert!(datagrams.iter().all(|sent| sent.may_fragment == (sent.at < confirmed)));
    assert!(network.sent_by(A, is_probe).iter().all(|probe| !probe.may_fragment), "else they would prove nothing");
}

#[test]
fn a_path_below_the_base_size_carries_what_is_cut_for_it() {
    let mut network = discovering(1_452);
    network.filter = small(1_072, false);
    let flow = network.open_flow_with(A, FlowOptions::new("x").send_buffer(usize::MAX));
    (0..100).for_each(|_| network.write(A, flow, 100_000));
    network.run(20_000);
    assert_eq!(network.ends[B].bytes_read(), 10_000_000);
    assert_eq!(network.sent_by(A, is_probe).len(), 3);
    assert_eq!(network.ends[A].session.stats().timeouts, 0);
}

#[test]
fn a_path_that_gets_smaller_than_the_base_carries_in_fragments_what_was_cut_larger() {
    for max_datagram in [0, 1_452, 9_000] {
        let mut network = discovering(max_datagram);
        let flow = network.open_flow_with(A, FlowOptions::new("x").send_buffer(usize::MAX));
        (0..200).for_each(|_| network.write(A, flow, 100_000));
        network.run(600);
        assert!(largest_with_data(&network, A) > 1_190);
        assert!(network.ends[B].bytes_read() < 10_000_000, "much is still to be sent");
        network.filter = small(1_072, true);
        network.run(60_000);
        assert_eq!(network.ends[B].bytes_read(), 20_000_000, "{max_datagram}");
        assert_eq!(network.ends[A].session.stats().datagram, 1_000);
        let oversize = |sent: &Sent| sent.has_data() && sent.datagram_len > 1_072 && sent.may_fragment;
        assert!(!network.sent_by(A, oversize).is_empty(), "what had been cut for the base was sent again");
    }
}

/// A fragment that was cut for a larger path may come after one that was not, and is longer. (The network checks that no
/// datagram of a flight is longer than the first.)
#[test]
fn flights_stay_even_when_some_fragments_were_cut_for_a_larger_path() {
    let mut network = discovering(0);
    let unlimited = || FlowOptions::new("x").send_buffer(usize::MAX);
    let old = network.open_flow_with(A, unlimited());
    (0..40).for_each(|_| network.write(A, old, 50_000));
    network.run(300);
    let mut oversize = 0;
    network.filter = Box::new(move |sent| {
        oversize += u32::from(sent.datagram_len > 1_072);
        let lost = sent.datagram_len > 1_072 && (!sent.may_fragment || oversize % 2 != 0);
        if lost { Fate::Lost } else { Fate::Arrives }
    });
    network.run(10_000);
    assert_eq!(network.ends[A].session.stats().datagram, 1_000);
    let new = network.open_flow_with(A, unlimited());
    (0..40).for_each(|_| network.write(A, new, 50_000));
    network.run(120_000);
    assert_eq!(network.ends[B].bytes_read(), 4_000_000);
}

#[test]
fn a_move_to_a_path_below_the_base_strands_nothing() {
    let mut network = discovering(1_452);
    let flow = network.open_flow_with(A, FlowOptions::new("x").send_buffer(usize::MAX));
    (0..200).for_each(|_| network.write(A, flow, 100_000));
    network.run(600);
    network.filter = small(1_072, true);
    network.ends[B].address = super::network::address(B, 4_000);
    network.with(B, |session, cx| session.on_network_change(cx, NetworkChange::Interface));
    network.run(60_000);
    assert_eq!(network.ends[B].bytes_read(), 20_000_000);
}

/// Pings were answered, and so the session lived for ever and delivered nothing.
#[test]
fn a_session_whose_data_never_arrives_ends_whatever_small_packets_do() {
    for chat in [false, true] {
        let mut network = discovering(1_452);
        network.filter = small(600, false);
        let bulk = network.open_flow(A);
        let chatting = network.open_flow(A);
        network.write(A, bulk, 100_000);
        for _ in 0..100 {
            if close_reason(&network, A).is_some() {
                break;
            }
            if chat {
                let said = network.with(A, |session, cx| {
                    session
                        .command(cx, |delivery, cx| {
                            delivery.sending.flows.write(cx, chatting, "hello".into(), SendOptions::default())
                        })
                        .map(|_| ())
                });
                said.unwrap();
            }
            network.run(1_000);
        }
        assert_eq!(close_reason(&network, A), Some(CloseReason::PacketSize), "chat: {chat}");
        let seconds = network.now.saturating_duration_since(super::network::START).as_secs();
        assert!((60..=80).contains(&seconds), "the limit is 60 s, and it took {seconds}");
    }
}

#[test]
fn an_outage_ends_a_session_for_its_silence_and_not_for_packet_size() {
    let mut network = discovering(1_452);
    let flow = network.open_flow(A);
    network.write(A, flow, 50_000);
    network.run(2_000);
    network.filter = Box::new(|_| Fate::Lost);
    network.write(A, flow, 50_000);
    network.run(70_000);
    assert_eq!(close_reason(&network, A), Some(CloseReason::TimedOut));
}

/// What is abandoned before it gets through holds nothing against a path that carries all the rest.
#[test]
fn a_large_message_that_was_given_up_ends_no_session() {
    let mut network = discovering(1_452);
    network.filter = small(600, false);
    let (bulk, chat) = (network.open_flow(A), network.open_flow(A));
    let short = SendOptions { finish_by: Some(network.now + core::time::Duration::from_secs(2)), ..Default::default() };
    network
        .with(A, |session, cx| {
            session
                .command(cx, |delivery, cx| {
                    delivery.sending.flows.write(cx, bulk, alloc::vec![1; 20_000].into(), short)
                })
                .map(|_| ())
        })
        .unwrap();
    for _ in 0..300 {
        network.write(A, chat, 20);
        network.run(1_000);
    }
    assert_eq!(close_reason(&network, A), None);
    assert_eq!(network.ends[B].bytes_read(), 300 * 20);
}

/// Of a path below the base size every packet is suspected, as none is proved to be smaller than needed. A message that
/// was lost and given up is larger than all that follow, which are lost now and then as on any path.
#[test]
fn losses_of_small_packets_end_no_session_after_a_larger_one_was_given_up() {
    let mut network = discovering(1_452);
    let mut small_ones = 0;
    network.filter = Box::new(move |sent| {
        small_ones += u32::from(sent.from == A && sent.has_data());
        let lost = sent.datagram_len > 600 || (sent.from == A && sent.has_data() && small_ones % 4 == 0);
        if lost { Fate::Lost } else { Fate::Arrives }
    });
    network.delay = core::time::Duration::from_millis(200);
    let (bulk, chat) = (network.open_flow(A), network.open_flow(A));
    let short = SendOptions { finish_by: Some(network.now + core::time::Duration::from_secs(1)), ..Default::default() };
    let data = alloc::vec![1; 900].into();
    network
        .with(A, |session, cx| {
            session.command(cx, |delivery, cx| delivery.sending.flows.write(cx, bulk, data, short)).map(|_| ())
        })
        .unwrap();
    for _ in 0..400 {
        network.write(A, chat, 20);
        network.run(300);
    }
    network.run(10_000);
    assert_eq!(close_reason(&network, A), None);
    assert_eq!(network.ends[B].bytes_read(), 400 * 20);
}
