//! Limits of startup, what strangers can cause, and what chance decides.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng as _;

use super::pair::{A, B, Kind, Pair, address, path_to, startup_datagram};
use super::redirect::tag;
use crate::endpoint::demux::startup_chunks;
use crate::error::OpenError;
use crate::event::Event;
use crate::params::{CERTIFICATE_MAX, COMPONENT_MAX, DATAGRAM_MAX};
use crate::profile::flash::{Group, StaticKeys};
use crate::wire::{Chunk, InitiatorHello, InitiatorKeying};
use crate::{EndpointConfig, FlowOptions, Target};

#[test]
fn open_refuses_what_cannot_be_opened() {
    let config = EndpointConfig { max_opening: 2, ..EndpointConfig::default() };
    let mut pair = Pair::with_config(1, config);
    let now = pair.now;
    let endpoint = &mut pair.nodes[A].endpoint;
    let nowhere = Target { discriminator: "bob".into(), candidates: vec![] };
    assert_eq!(endpoint.open(now, nowhere), Err(OpenError::NoCandidates));
    assert_eq!(endpoint.open(now, Target::new("", path_to(B))), Err(OpenError::BadDiscriminator));
    assert_eq!(endpoint.open(now, Target::new(vec![b'x'; 1_025], path_to(B))), Err(OpenError::BadDiscriminator));
    assert_eq!((endpoint.sessions().count(), endpoint.poll_timeout()), (0, None));
    endpoint.open(now, Target::new(vec![b'x'; 1_024], path_to(B))).unwrap();
    endpoint.open(now, Target::new("bob", path_to(B))).unwrap();
    assert_eq!(endpoint.open(now, Target::new("carol", path_to(B))), Err(OpenError::TooManySessions));
    pair.run_for_millis(200);
    // One is open now, so there is room for another.
    pair.nodes[A].endpoint.open(pair.now, Target::new("carol", path_to(B))).unwrap();
}

/// They are kept for as long as the session, so one of 64 KiB would be a gift to whoever wants to fill our memory.
#[test]
fn certificates_that_are_kept_are_of_sensible_length() {
    for (length, opens) in [(CERTIFICATE_MAX, true), (CERTIFICATE_MAX + 1, false)] {
        for (opener, far) in [(A, B), (B, A)] {
            let long = String::from_utf8(vec![b'x'; length]).unwrap();
            let config = EndpointConfig::default;
            let mut pair = Pair::named(3, &[(&long, config()), ("bob", config())]);
            // The discriminator of the plain profile is its whole name, which is too long for a hello.
            if opener == B && length > 1_024 {
                continue;
            }
            pair.open_to(opener, "bob", &[far]);
            pair.run_for_millis(2_000);
            assert_eq!(pair.nodes[far].endpoint.sessions().count() == 1, opens, "{length} bytes");
            assert_eq!(pair.nodes[far].endpoint.stats().over_limit > 0, !opens);
        }
    }
}

#[test]
fn neither_end_has_more_sessions_than_it_is_allowed() {
    let server = EndpointConfig { max_sessions: 2, ..EndpointConfig::default() };
    let names = ["a", "b", "c", "d"];
    let mut nodes: Vec<_> = names.iter().map(|name| (*name, EndpointConfig::default())).collect();
    nodes.push(("server", server));
    let mut pair = Pair::named(2, &nodes);
    for node in 0..4 {
        pair.open_to(node, "server", &[4]);
    }
    pair.run_for_millis(500);
    assert_eq!(pair.nodes[4].endpoint.sessions().count(), 2);
    assert_eq!(pair.nodes[4].endpoint.stats().over_limit, 2);
    let target = Target::new("a", path_to(A));
    assert_eq!(pair.nodes[4].endpoint.open(pair.now, target), Err(OpenError::TooManySessions));
}

#[test]
fn key_agreements_for_strangers_are_rationed() {
    let server = EndpointConfig { max_keying_units_per_second: 3, ..EndpointConfig::default() };
    let names = ["a", "b", "c", "d", "e"];
    let mut nodes: Vec<_> = names.iter().map(|name| (*name, EndpointConfig::default())).collect();
    nodes.push(("server", server));
    let mut pair = Pair::named(3, &nodes);
    for node in 0..5 {
        pair.open_to(node, "server", &[5]);
    }
    pair.run_for_millis(500);
    assert_eq!(pair.nodes[5].endpoint.sessions().count(), 3);
    pair.run_for_millis(2_000);
    assert_eq!(pair.nodes[5].endpoint.sessions().count(), 5, "the others at their second attempt");
}

/// One cookie, and any number of components that cost a key agreement each.
fn flood_of_keyings(pair: &mut Pair, number: u32) {
    let (_, first) = pair.log.iter().rfind(|(_, sent)| sent.kind() == Kind::InitiatorKeying).cloned().unwrap();
    let (_, plain) = first.plain().unwrap();
    let Some(Ok(Chunk::InitiatorKeying(sent))) = startup_chunks(&plain).unwrap().next() else { panic!("no keying") };
    for session_id in 1_000..1_000 + number {
        let signed = InitiatorKeying::signed_parameters(session_id, sent.cookie_echo, sent.certificate, b"garbage");
        let keying = InitiatorKeying { session_id, component: b"garbage", signature: b"X", signed: &signed, ..sent };
        pair.inject(first.from, 2, 0, &keying);
    }
}

#[test]
fn components_and_signatures_that_may_wait_are_of_sensible_length() {
    for (component, signature, over_limit) in
        [(COMPONENT_MAX, 1, 0), (COMPONENT_MAX + 1, 1, 1), (8, COMPONENT_MAX, 0), (8, COMPONENT_MAX + 1, 1)]
    {
        let server = EndpointConfig { max_waiting_key_agreements: 4, ..EndpointConfig::default() };
        let mut pair = Pair::named(9, &[("alice", EndpointConfig::default()), ("bob", server)]);
        pair.open(A);
        pair.run_for_millis(60);
        let keying = pair.log[pair.sent_of(Kind::InitiatorKeying, None, None)[0]].1.plain().unwrap().1;
        let Some(Ok(Chunk::InitiatorKeying(sent))) = startup_chunks(&keying).unwrap().next() else { panic!() };
        let (component, signature) = (vec![7; component], vec![b'X'; signature]);
        let signed = InitiatorKeying::signed_parameters(9, sent.cookie_echo, sent.certificate, &component);
        let keying =
            InitiatorKeying { session_id: 9, component: &component, signature: &signature, signed: &signed, ..sent };
        pair.inject(address(A), B, 0, &keying);
        assert_eq!(pair.nodes[B].endpoint.stats().over_limit, over_limit, "{} {}", component.len(), signature.len());
    }
}

#[test]
fn packets_that_overtake_the_keying_and_are_too_large_are_not_kept() {
    for longest in [DATAGRAM_MAX, 9_000] {
        let mut config = EndpointConfig::default();
        config.session.max_datagram = longest;
        let mut pair = Pair::with_config(10, config);
        pair.lose(Kind::ResponderKeying);
        pair.open(A);
        pair.run_for_millis(200);
        let keying = pair.log[pair.sent_of(Kind::ResponderKeying, None, None)[0]].1.clone();
        for (length, over_limit) in [(longest, 0), (longest + 1, 1)] {
            // The session ID, scrambled with the 8 bytes that follow it.
            let mut bytes = vec![0xa5; 4 + length];
            bytes[..12].copy_from_slice(&keying.bytes[..12]);
            let _ = pair.deliver(address(B), address(A), bytes);
            assert_eq!(pair.nodes[A].endpoint.stats().over_limit, over_limit, "{length} bytes");
        }
    }
}

#[test]
fn one_source_does_not_use_up_the_key_agreements_of_all() {
    let server =
        EndpointConfig { max_keying_units_per_source: 3, max_keying_units_per_second: 5, ..EndpointConfig::default() };
    let client = EndpointConfig::default;
    let mut pair = Pair::named(7, &[("mallory", client()), ("alice", client()), ("server", server)]);
    pair.fate = Box::new(|datagram| {
        let lost = datagram.kind() == Kind::InitiatorKeying && datagram.from == address(A);
        if lost { vec![] } else { vec![Duration::from_millis(25)] }
    });
    pair.open_to(A, "server", &[2]);
    pair.run_for_millis(100);
    flood_of_keyings(&mut pair, 100);
    assert_eq!(pair.nodes[2].endpoint.stats().over_limit, 97);
    let session = pair.open_to(B, "server", &[2]);
    pair.run_for_millis(200);
    assert_eq!(pair.nodes[B].events, [Event::SessionOpened { session }], "others are not the worse for it");
}

#[test]
fn one_address_has_one_job_at_a_time() {
    let server = EndpointConfig { max_waiting_key_agreements: 4, ..EndpointConfig::default() };
    let client = EndpointConfig::default;
    let mut pair = Pair::named(8, &[("mallory", client()), ("alice", client()), ("server", server)]);
    pair.open_to(A, "server", &[2]);
    pair.run_for_millis(60);
    flood_of_keyings(&mut pair, 100);
    assert_eq!(core::iter::from_fn(|| pair.nodes[2].endpoint.poll_key_agreement()).count(), 1);
}

/// Bytes that go to addresses that have proved nothing, for bytes that came from there.
#[test]
fn strangers_get_three_times_what_they_send_and_a_limited_number_of_bytes_more() {
    for excess in [0, 20_000] {
        let (max_excess_reply_bytes, max_excess_reply_bytes_per_source) = (excess, excess);
        let config =
            EndpointConfig { max_excess_reply_bytes, max_excess_reply_bytes_per_source, ..EndpointConfig::default() };
        let mut pair = Pair::with_config(4, config);
        pair.fate = Box::new(|_| vec![]);
        let mut came = 0;
        // Some hellos are as short as can be, some as long as they are from this implementation, some longer.
        for (n, tag_len) in (0..6_000u32).zip([8, 16, 60].into_iter().cycle()) {
            let hello = startup_datagram(0, &InitiatorHello { discriminator: b"bob", tag: &vec![7; tag_len] });
            came += hello.len();
            let _ = pair.deliver(SocketAddr::from(((0x0a00_0000 + n).to_be_bytes(), 1_935)), address(B), hello);
            pair.flush();
        }
        let went: usize = pair.log.iter().map(|(_, sent)| sent.bytes.len()).sum();
        assert!(went <= 3 * came + excess as usize, "{went} bytes for {came}");
        assert!(pair.log.len() >= 2_000, "the long ones are answered in any case: {}", pair.log.len());
        assert_eq!(pair.nodes[B].endpoint.poll_timeout(), None);
    }
}

/// Hellos are padded.
#[test]
fn answers_with_the_largest_usual_certificate_are_no_larger_than_is_free() {
    let config = EndpointConfig { max_excess_reply_bytes: 0, ..EndpointConfig::default() };
    let mut pair = Pair::flash_configured(5, &config, |index, builder| {
        let mut rng = ChaCha20Rng::from_seed([index as u8; 32]);
        builder.static_keys(StaticKeys::generate(&Group::ALL, &mut rng))
    });
    let session = pair.open(A);
    pair.run_for_millis(200);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }]);
    let [hello, answer] = [0, 1].map(|index| pair.log[index].1.bytes.len());
    assert!(answer > 1_200 && answer <= 3 * hello, "{answer} bytes for {hello}");
}

/// The default certificate has a fresh key each time, so that it is short.
#[test]
fn an_answer_with_a_default_certificate_is_shorter_than_the_hello() {
    let mut pair = Pair::flash(5);
    pair.open(A);
    pair.run_for_millis(40);
    let [hello, answer] = [0, 1].map(|index| pair.log[index].1.bytes.len());
    assert!(answer <= hello, "{answer} bytes for {hello}");
}

#[test]
fn one_source_is_answered_at_its_own_rate() {
    let config = EndpointConfig { max_hello_replies_per_source: 10, ..EndpointConfig::default() };
    let mut pair = Pair::with_config(6, config);
    let hello = startup_datagram(0, &InitiatorHello { discriminator: b"bob", tag: &[7; 16] });
    for port in 1..1_000 {
        let _ = pair.deliver(SocketAddr::from(([203, 0, 113, 1], port)), address(B), hello.clone());
    }
    pair.flush();
    assert_eq!(pair.log.len(), 10);
    let session = pair.open(A);
    pair.run_for_millis(200);
    assert_eq!(pair.nodes[A].events, [Event::SessionOpened { session }], "others are not the worse for it");
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let run = |seed| {
        let mut pair = Pair::new(seed);
        let session = pair.open(A);
        pair.open(B);
        pair.run_for_millis(500);
        pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().ping();
        pair.run_for_millis(20_000);
        let log: Vec<_> = pair.log.iter().map(|(at, sent)| (*at, sent.to, sent.bytes.clone())).collect();
        (tag(&pair, 0), log)
    };
    let (first, again, other) = (run(1), run(1), run(2));
    assert_eq!(first, again);
    assert_ne!(first.0, other.0);
    assert_eq!(first.0.len(), 16);
}

/// §3.3, §3.5.1.1.1: tags and session IDs are unique among what is open and opening, and no session ID is 0.
#[test]
fn tags_and_session_ids_are_unique_and_never_0() {
    let mut pair = Pair::new(7);
    pair.lose(Kind::InitiatorKeying);
    // As many endpoints as there are names of one byte, all played by hand.
    let now = pair.now;
    for n in 0..=255u8 {
        pair.nodes[A].endpoint.open(now, Target::new(vec![n, 1], path_to(B))).unwrap();
    }
    pair.flush();
    let tags: Vec<_> = pair.sent_of(Kind::Hello, Some(A), None).into_iter().map(|index| tag(&pair, index)).collect();
    assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), 256);
    for (n, tag_echo) in (0..=255u8).zip(&tags) {
        let hello = crate::wire::ResponderHello { tag_echo, cookie: &[0; 64], certificate: &[n, 1] };
        pair.inject(address(B), A, 0, &hello);
    }
    pair.flush();
    let ids: BTreeSet<u32> = super::cookies::keyings(&pair).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), 256);
    assert!(!ids.contains(&0));
}

#[test]
fn all_sessions_of_an_endpoint_hold_no_more_than_its_memory() {
    let config = EndpointConfig { max_send_memory: 1 << 20, ..EndpointConfig::default() };
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let mut nodes: Vec<_> = names.iter().map(|name| (*name, EndpointConfig::default())).collect();
    nodes.push(("server", config));
    let mut pair = Pair::named(30, &nodes);
    let sessions: Vec<_> = (0..8).map(|node| pair.open_to(8, names[node], &[node])).collect();
    pair.run_for_millis(500);
    let (now, endpoint) = (pair.now, &mut pair.nodes[8].endpoint);
    let mut written = 0;
    for session in sessions {
        let options = FlowOptions::new("f").send_buffer(usize::MAX);
        let flow = endpoint.session_mut(now, session).unwrap().open_flow(options).unwrap();
        let mut write = || endpoint.send_flow_mut(now, flow).unwrap().write(vec![0; 10_000]).is_ok();
        written += (0..1_000).filter(|_| write()).count();
    }
    assert!((1..=(1 << 20) / 10_000).contains(&written), "{written} messages");
}
