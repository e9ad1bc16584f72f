//! The limits of the configuration that no test of a single module reaches. The table in `README.md` has them all.

use std::time::Duration;

use rtmfp_core::error::OpenError;
use rtmfp_core::wire::{Address, AddressOrigin, Chunk, InitiatorHello, Ping, Redirect};
use rtmfp_core::{EndpointConfig, Event, InterfaceId, Path, Target, TransmitBuf};
use rtmfp_tests::raw_peer::RawPeer;

use super::strangers::{START, connected, data, deliver, endpoint, named, sent};
use rtmfp_tests::siege::{BOTH, address, plain};

fn path_to(host: u8) -> Path {
    Path::new(InterfaceId(0), address(host))
}

#[test]
fn sessions_are_limited_whoever_begins_them() {
    for named in BOTH {
        let mut config = EndpointConfig::default();
        config.max_sessions = 3;
        let identity = named("victim");
        let mut victim = endpoint(&config, &identity);
        let mut peers: Vec<RawPeer> = (0..5)
            .map(|host| RawPeer::new(named(&format!("peer {host}")).0, address(10 + host), host.into()))
            .collect();
        victim.open(START, Target::new(named("elsewhere").1, path_to(50))).unwrap();
        for peer in &mut peers {
            peer.hello(&identity.1);
            peer.talk(&mut victim, START);
        }
        assert_eq!(peers.iter().filter(|peer| peer.session.is_some()).count(), 2);
        assert_eq!((victim.sessions().count(), victim.stats().over_limit), (3, 3));
        assert_eq!(victim.open(START, Target::new(named("more").1, path_to(51))), Err(OpenError::TooManySessions));
    }
}

#[test]
fn sessions_that_are_opening_are_limited() {
    for named in BOTH {
        let mut config = EndpointConfig::default();
        config.max_opening = 2;
        let mut victim = endpoint(&config, &named("victim"));
        let mut open = |now, host| victim.open(now, Target::new(named(&format!("peer {host}")).1, path_to(host))).err();
        assert_eq!([50, 51, 52].map(|host| open(START, host)), [None, None, Some(OpenError::TooManySessions)]);
        // Those that failed make room.
        let later = START + config.open_timeout;
        victim.handle_timeout(later);
        assert!(victim.open(later, Target::new(named("again").1, path_to(50))).is_ok());
    }
}

#[test]
fn a_discriminator_that_does_not_fit_a_hello_is_refused() {
    let mut victim = endpoint(&EndpointConfig::default(), &plain("victim"));
    let mut open = |len| victim.open(START, Target::new(vec![1; len], path_to(50))).err();
    assert_eq!([0, 1_025].map(&mut open), [Some(OpenError::BadDiscriminator); 2]);
    assert_eq!([1, 1_024].map(&mut open), [None; 2]);
}

#[test]
fn redirects_bring_no_more_candidates_than_are_allowed() {
    for (named, most) in [1, 5, 24].into_iter().flat_map(|most| BOTH.map(|named| (named, most))) {
        let mut config = EndpointConfig::default();
        config.max_candidates = most;
        let mut victim = endpoint(&config, &named("victim"));
        let mut peer = RawPeer::new(named("rogue").0, address(9), 9);
        victim.open(START, Target::new(named("somebody").1, peer.path())).unwrap();
        let mut buf = TransmitBuf::new(1);
        victim.poll_transmit(START, &mut buf).unwrap();
        peer.receive(buf.as_slice());
        for round in 0..10 {
            let addresses: Vec<Address> = (0..100)
                .map(|host| Address { origin: AddressOrigin::Observed, socket: ([203, 0, round, host], 1_935).into() })
                .collect();
            let (tag, path) = (peer.seen_tag.clone(), peer.address);
            let redirect = peer.startup(0, &Redirect::new(&tag, &addresses));
            deliver(&mut victim, START, path, redirect);
        }
        assert_eq!(sent(&mut victim, START).0, most - 1, "a hello to each new candidate");
    }
}

#[test]
fn key_agreements_a_second_are_limited() {
    for named in BOTH {
        let mut config = EndpointConfig::default();
        config.max_keying_units_per_second = 7;
        let identity = named("victim");
        let mut victim = endpoint(&config, &identity);
        let open = |victim: &mut _, now, hosts: core::ops::Range<u8>| {
            hosts
                .filter(|host| {
                    let mut peer = RawPeer::new(named(&format!("peer {host}")).0, address(*host), (*host).into());
                    peer.hello(&identity.1);
                    peer.talk(victim, now);
                    peer.session.is_some()
                })
                .count()
        };
        assert_eq!(open(&mut victim, START, 10..40), 7);
        assert_eq!(victim.stats().over_limit, 23);
        assert_eq!(open(&mut victim, START + Duration::from_secs(1), 40..60), 7);
    }
}

#[test]
fn hellos_for_others_wait_in_limited_number() {
    for named in BOTH {
        let mut config = EndpointConfig::default();
        config.max_unmatched_hellos = 5;
        let mut victim = endpoint(&config, &named("victim"));
        let mut peer = RawPeer::new(named("stranger").0, address(9), 9);
        let (_, other) = named("somebody else");
        let mut hello = |victim: &mut _| {
            let datagram = peer.startup(0, &InitiatorHello { discriminator: &other, tag: b"12345678" });
            deliver(victim, START, address(9), datagram);
        };
        (0..1_000).for_each(|_| hello(&mut victim));
        assert_eq!(victim.stats().over_limit, 995);
        // One that is taken makes room for one.
        assert!(matches!(victim.poll_event(), Some(Event::UnmatchedHello { .. })));
        (0..10).for_each(|_| hello(&mut victim));
        assert_eq!(core::iter::from_fn(|| victim.poll_event()).count(), 5);
    }
}

/// One source filled the places of all.
#[test]
fn hellos_for_others_of_one_source_leave_room_for_those_of_others() {
    for named in BOTH {
        let mut config = EndpointConfig::default();
        (config.max_unmatched_hellos, config.max_unmatched_hellos_per_source) = (10, 3);
        let mut victim = endpoint(&config, &named("victim"));
        let (_, other) = named("somebody else");
        let hello = |victim: &mut _, host| {
            let mut peer = RawPeer::new(named("stranger").0, address(host), 9);
            let datagram = peer.startup(0, &InitiatorHello { discriminator: &other, tag: b"12345678" });
            deliver(victim, START, address(host), datagram);
        };
        (0..100).for_each(|_| hello(&mut victim, 9));
        (20..24).for_each(|host| hello(&mut victim, host));
        assert_eq!(victim.stats().over_limit, 97);
        assert_eq!(core::iter::from_fn(|| victim.poll_event()).count(), 3 + 4);
        // Once they are taken, there is room again.
        (0..100).for_each(|_| hello(&mut victim, 9));
        assert_eq!(core::iter::from_fn(|| victim.poll_event()).count(), 3);
    }
}

/// A responder that sends data at once and its RIKeying last.
#[test]
fn packets_that_overtake_the_keying_are_kept_in_limited_number() {
    for named in BOTH {
        let mut victim = endpoint(&EndpointConfig::default(), &named("victim"));
        let mut peer = RawPeer::new(named("rogue").0, address(9), 9);
        victim.open(START, Target::new(named("rogue").1, peer.path())).unwrap();
        let mut buf = TransmitBuf::new(1);
        for _ in 0..2 {
            victim.poll_transmit(START, &mut buf).unwrap();
            peer.receive(buf.as_slice());
            if peer.session.is_none() {
                deliver(&mut victim, START, peer.address, peer.out.pop_front().unwrap());
            }
        }
        for _ in 0..100 {
            peer.send(&mut victim, START, &[Chunk::Ping(Ping { message: b"early" })]);
        }
        assert_eq!(victim.stats().over_limit, 100 - 18);
        // What was kept is answered once the keying is there.
        let answers = peer.talk(&mut victim, START);
        assert!(!answers.is_empty());
        assert!(matches!(victim.poll_event(), Some(Event::SessionOpened { .. })));
    }
}

/// The window is advice; the session's limit is not.
#[test]
fn a_sender_that_ignores_the_window_is_held_to_the_limit_of_the_session() {
    let mut config = EndpointConfig::default();
    // The flow itself takes some.
    config.session.max_recv_bytes = 101_900;
    config.session.recv_buffer = 10_000;
    let (mut victim, mut peer) = connected(&config);
    let options = named();
    for sequence in 1..=1_000 {
        peer.send(&mut victim, START, &[Chunk::UserData(data(3, sequence, Some(&options), &[7; 904]))]);
    }
    let Some(Event::FlowOpened { flow }) = victim.poll_event() else { panic!("no flow") };
    // 96 bytes of memory for each beside its data; 64 are counted in the window.
    assert_eq!(victim.recv_flow(flow).unwrap().stats().buffered, 100 * (904 + 64));
    assert_eq!(victim.stats().over_limit, 900);
    let mut flow = victim.recv_flow_mut(START, flow).unwrap();
    assert_eq!(core::iter::from_fn(|| flow.read()).count(), 100);
}

/// A machine with many sessions is a server, and does not move; its network may change often.
#[test]
fn many_sessions_that_wait_for_nothing_do_not_probe_with_each_change_of_the_network() {
    for (count, probing) in [(64, 64), (65, 0)] {
        let mut config = EndpointConfig::default();
        (config.max_hello_replies_per_second, config.max_hello_replies_per_source) = (u32::MAX, u32::MAX);
        (config.max_excess_reply_bytes, config.max_excess_reply_bytes_per_source) = (u32::MAX, u32::MAX);
        (config.max_keying_units_per_second, config.max_keying_units_per_source) = (u32::MAX, u32::MAX);
        let mut server = endpoint(&config, &plain("server"));
        for host in 0..count {
            let from = std::net::SocketAddr::from(([10, 0, host, 1], 1_935));
            let name = plain(&format!("peer {host}"));
            RawPeer::new(name.0, from, host.into()).connect(&mut server, START, b"server");
        }
        assert_eq!(server.sessions().count(), usize::from(count));
        let sent = |server: &mut rtmfp_core::Endpoint, now| {
            core::iter::from_fn(|| server.poll_transmit(now, &mut TransmitBuf::new(1))).count()
        };
        let now = START + Duration::from_secs(5);
        server.handle_timeout(now);
        sent(&mut server, now);
        server.network_changed(now);
        assert_eq!(sent(&mut server, now), probing);
    }
}
