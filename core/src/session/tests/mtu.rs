//! Path MTU discovery (RFC 7016 §3.5.4.3) in whole sessions.

use alloc::boxed::Box;

use super::network::{A, B, Fate, Filter, Network, Sent};
use crate::config::SessionConfig;
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
    Network::open_discovering(SessionConfig { max_datagram, ..SessionConfig::default() })
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
    assert_eq!(probes.iter().map(|probe| probe.datagram_len).collect::<alloc::vec::Vec<_>>(), [1_452]);
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
    network.write(A, flow, 2_000_000);
    network.run(60_000);
    assert_eq!(network.ends[B].bytes_read(), 2_000_000);
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
