use core::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::Arc;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{Endpoint, EndpointConfig, Instant, InterfaceId, Path, Target, TransmitBuf};

use super::*;

/// A flight of one datagram to a socket of this machine.
fn flight(to: &UdpSocket, len: usize) -> (Transmit, Vec<u8>) {
    let (profile, rng) = (Arc::new(PlainProfile::new(b"near")), crate::system_rng().unwrap());
    let mut endpoint = Endpoint::new(EndpointConfig::default(), profile, rng, Instant::ORIGIN).unwrap();
    let path = Path::new(InterfaceId(0), to.local_addr().unwrap());
    endpoint.open(Instant::ORIGIN, Target::new(b"far".to_vec(), path)).unwrap();
    let mut transmit = endpoint.poll_transmit(Instant::ORIGIN, &mut TransmitBuf::new(1)).unwrap();
    transmit.len = len;
    (transmit, vec![7; len])
}

fn sockets(near: &str) -> (Socket, UdpSocket) {
    (Socket::bind(near.parse().unwrap()).unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap())
}

#[test]
fn what_is_sent_from_an_address_comes_from_there() {
    let (mut near, far) = sockets("0.0.0.0:0");
    let (mut transmit, bytes) = flight(&far, 100);
    for local in ["127.0.0.9", "127.0.0.8"] {
        let local: IpAddr = local.parse().unwrap();
        transmit.path = transmit.path.with_local(Some(local));
        assert_eq!(near.send(&transmit, &bytes, 0, true).sends, 1);
        assert_eq!(far.recv_from(&mut [0; 200]).unwrap().1.ip(), local);
    }
}

/// A laptop that comes to another network: the old address is gone, and the system has to choose.
#[test]
fn an_address_that_is_gone_is_not_sent_from_and_costs_no_features() {
    let (mut near, far) = sockets("0.0.0.0:0");
    let (mut transmit, bytes) = flight(&far, 100);
    let gone: IpAddr = "192.0.2.77".parse().unwrap();
    transmit.path = transmit.path.with_local(Some(gone));
    let segments = near.state.max_gso_segments();
    for _ in 0..2 {
        let sent = near.send(&transmit, &bytes, 0, true);
        assert_eq!((sent.sends, sent.refused), (1, 0));
        assert_eq!(far.recv_from(&mut [0; 200]).unwrap().1.ip(), far.local_addr().unwrap().ip());
    }
    assert_eq!((near.state.max_gso_segments(), &near.outgoing.refused[..]), (segments, &[gone][..]));
    for other in 0..100 {
        near.refuse(Some([192, 0, 2, other].into())).unwrap();
    }
    assert_eq!(near.outgoing.refused.len(), MAX_REFUSED);
    near.outgoing.heard_at([192, 0, 2, 99].into());
    assert_eq!(near.outgoing.refused.len(), MAX_REFUSED - 1, "it is there again");
}

#[cfg(target_os = "linux")]
#[test]
fn only_what_may_be_fragmented_goes_without_the_bit() {
    use rustix::net::sockopt::{Ipv4PathMtuDiscovery, ip_mtu_discover};
    let (mut near, far) = sockets("127.0.0.1:0");
    let (mut transmit, bytes) = flight(&far, 1_000);
    // Small datagrams are never fragmented, and change nothing.
    let steps =
        [(false, 1_000, false), (true, 500, false), (true, 1_000, true), (false, 500, true), (false, 1_000, false)];
    for (may_fragment, len, expected) in steps {
        (transmit.may_fragment, transmit.len) = (may_fragment, len);
        assert_eq!(near.send(&transmit, &bytes, 0, true).sends, 1);
        let mode = ip_mtu_discover(&*near.socket).unwrap();
        let expected = if expected { Ipv4PathMtuDiscovery::DONT } else { Ipv4PathMtuDiscovery::PROBE };
        assert_eq!(mode, expected, "{may_fragment} {len}");
    }
}

#[test]
fn what_the_system_says_is_told() {
    let (mut near, far) = sockets("127.0.0.1:0");
    let (mut transmit, bytes) = flight(&far, 100);
    transmit.path = transmit.path.with_remote("[2001:db8::1]:1".parse().unwrap());
    let sent = near.send(&transmit, &bytes, 0, true);
    assert_eq!((sent.sends, sent.refused, sent.unsent), (0, 1, None));
    assert!(sent.error.unwrap().raw_os_error().is_some());
}

#[test]
fn an_address_is_not_blamed_for_what_fails_without_it_too() {
    let (mut near, far) = sockets("[::]:0");
    let (mut transmit, bytes) = flight(&far, 100);
    // IPv4 over a socket of IPv6 only.
    let mapped = SocketAddr::new(far.local_addr().unwrap().ip(), 1);
    transmit.path = transmit.path.with_remote(mapped).with_local(Some("::1".parse().unwrap()));
    let sent = near.send(&transmit, &bytes, 0, true);
    assert_eq!((sent.sends, sent.refused), (0, 1));
    assert!(near.outgoing.refused.is_empty());
}

/// The next datagram counted as refused, whomever it was to, and its source was given up.
#[cfg(target_os = "linux")]
#[test]
fn what_icmp_said_of_another_datagram_does_not_refuse_the_next() {
    let given = UdpSocket::bind("0.0.0.0:0").unwrap();
    UdpSocketState::new((&given).into()).unwrap().enable_transport_errors((&given).into()).unwrap();
    let (mut near, far) = (Socket::from_std(given).unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    let (mut transmit, bytes) = flight(&far, 100);
    transmit.path = transmit.path.with_local(Some("127.0.0.9".parse().unwrap()));
    for _ in 0..3 {
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        near.socket.send_to(b"hello", nobody).unwrap();
        let sent = near.send(&transmit, &bytes, 0, true);
        assert_eq!((sent.sends, sent.refused), (1, 0));
        assert_eq!(far.recv_from(&mut [0; 200]).unwrap().0, 100);
    }
    // What is refused itself stays so.
    (transmit.len, transmit.segment_size) = (60_000, None);
    let long = vec![7; 60_000];
    transmit.path = transmit.path.with_remote("255.255.255.255:9".parse().unwrap());
    let sent = near.send(&transmit, &long, 0, true);
    assert_eq!((sent.sends, sent.refused), (0, 1));
}
