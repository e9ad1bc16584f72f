//! Which packets go together in a flight.

use alloc::vec::Vec;

use super::network::{A, B, Network, PING_REPLY, Sent, path_to};
use super::packets::one;
use crate::config::SessionConfig;
use crate::transmit::RecvMeta;
use crate::wire::Ping;

/// Where in their flights the packets stand that meet a condition.
fn places(network: &Network, meets: impl Fn(&Sent) -> bool) -> Vec<usize> {
    network.sent_by(A, meets).iter().map(|sent| sent.index).collect()
}

/// Behind a packet that is not even half full something longer waits; behind the other, nothing does.
#[test]
fn a_packet_that_goes_alone_is_not_padded() {
    for messages in [&[300, 1_100][..], &[700]] {
        let mut network = Network::open(SessionConfig::default());
        let flow = network.open_flow(A);
        messages.iter().for_each(|&length| network.write(A, flow, length));
        network.pump();
        assert_eq!(places(&network, Sent::has_data).len(), messages.len());
        for sent in network.sent_by(A, Sent::has_data) {
            assert_eq!((sent.index, sent.plain.last()), (0, Some(&b'x')), "{messages:?}");
        }
    }
}

/// All packets of a flight hold user data, or none does.
#[test]
fn a_long_answer_goes_before_a_flight_of_data_and_not_in_it() {
    let mut network = Network::open(SessionConfig::default());
    let flow = network.open_flow(A);
    network.write(A, flow, 300);
    let mut ping = [&[0x5f], &one(B, &Ping { message: &[7; 1_100] })[..], &[0x5b]].concat();
    network.with(A, |session, cx| session.handle_packet(cx, path_to(B), RecvMeta::default(), &mut ping)).unwrap();
    network.pump();
    assert_eq!(places(&network, |sent| sent.has(PING_REPLY)), [0]);
    assert_eq!(places(&network, Sent::has_data), [0]);
}

/// The network checks that no datagram of a flight but the last is shorter than the first.
#[test]
fn an_acknowledgement_that_is_much_shorter_ends_a_flight() {
    const UNKNOWN: u8 = 0x77;
    let mut network = Network::open(SessionConfig::default());
    // Chunks of a type that nobody knows stand for acknowledgements.
    for length in [200, 20, 20] {
        let chunk = [&[UNKNOWN, 0, length][..], &[0; 200][..usize::from(length)]].concat();
        network.ends[A].session.delivery.receiving.acks.queue_encoded(&chunk);
    }
    network.pump();
    assert_eq!(places(&network, |sent| sent.has(UNKNOWN)), [0, 1, 0]);
}
