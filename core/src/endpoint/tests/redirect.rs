//! RFC 7016 §3.5.1.1.1, §3.5.1.4: redirects, as the initiator takes them.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;

use super::pair::{A, B, Kind, Pair, address};
use crate::endpoint::demux::startup_chunks;
use crate::wire::{Address, AddressOrigin, Chunk, Redirect};

fn destination(text: &str) -> Address {
    Address { origin: AddressOrigin::Observed, socket: text.parse().unwrap() }
}

/// As many hosts.
fn many(count: u8) -> Vec<Address> {
    let socket = |host| SocketAddr::from(([203, 0, 113, host], 1_000));
    (0..count).map(|host| Address { origin: AddressOrigin::Observed, socket: socket(host) }).collect()
}

/// As many ports of one host.
fn ports(count: u16) -> Vec<Address> {
    let socket = |port| SocketAddr::from(([203, 0, 113, 5], 1_000 + port));
    (0..count).map(|port| Address { origin: AddressOrigin::Observed, socket: socket(port) }).collect()
}

/// A is opening to B, which is dead, and the tag it uses.
fn opening(seed: u8) -> (Pair, Vec<u8>) {
    let mut pair = Pair::new(seed);
    pair.fate = Box::new(|_| vec![]);
    pair.open(A);
    pair.flush();
    let tag = tag(&pair, 0);
    (pair, tag)
}

/// The tag of the hello with this number in the log.
pub(super) fn tag(pair: &Pair, index: usize) -> Vec<u8> {
    let plain = pair.log[index].1.plain().unwrap().1;
    match startup_chunks(&plain).unwrap().next() {
        Some(Ok(Chunk::InitiatorHello(hello))) => hello.tag.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// When hellos with this tag are sent within 95 s, in milliseconds: the interval grows by 1.5 to 2 s.
pub(super) fn attempts(tag: &[u8]) -> Vec<u128> {
    let step = 1_500_000 + 500_000 * u128::from(tag[0]) / 255;
    let times = (0..).scan(0, |at, attempt| {
        let now = *at / 1_000;
        *at += 1_000_000 + attempt * step;
        Some(now)
    });
    times.take_while(|at| *at < 95_000).collect()
}

fn hello_targets(pair: &Pair) -> Vec<SocketAddr> {
    let sent = pair.sent_of(Kind::Hello, Some(A), None);
    sent.into_iter().map(|index| pair.log[index].1.to).collect()
}

/// Anybody who was sent the hello knows its tag, and can answer from as many addresses as it likes.
#[test]
fn redirectors_are_remembered_in_limited_number() {
    let (mut pair, tag) = opening(77);
    for port in 1..2_000 {
        pair.inject(SocketAddr::from(([198, 51, 100, 9], port)), A, 0, &Redirect::new(&tag, &many(1)));
    }
    let (_, entry) = pair.nodes[A].endpoint.table.iter().next().unwrap();
    let opening = entry.opening().unwrap();
    assert_eq!(opening.introducers.len(), crate::endpoint::reintroduce::MAX_INTRODUCERS);
}

#[test]
fn redirects_add_candidates_up_to_24_and_an_opening_sends_no_more_hellos_than_they_have_turns() {
    let (mut pair, tag) = opening(1);
    pair.inject(address(B), A, 0, &Redirect::new(&tag, &many(5)));
    pair.flush();
    assert_eq!(hello_targets(&pair).len(), 6);
    // Known ones are not added again, and get no hello out of turn.
    for _ in 0..100 {
        pair.inject(address(B), A, 0, &Redirect::new(&tag, &many(5)));
    }
    pair.flush();
    assert_eq!(hello_targets(&pair).len(), 6);
    for _ in 0..100 {
        pair.inject(address(B), A, 0, &Redirect::new(&tag, &many(60)));
    }
    pair.flush();
    assert_eq!(hello_targets(&pair).len(), 24);
    pair.run_for_millis(100_000);
    assert_eq!(hello_targets(&pair).len(), 24 * attempts(&tag).len(), "each has its turns in 95 s");
    assert!(pair.nodes[A].endpoint.table.is_empty());
    assert_eq!(pair.nodes[A].endpoint.poll_timeout(), None);
}

/// A redirect of 196 bytes had 276 hellos sent to one host.
#[test]
fn redirects_bring_three_candidates_of_one_host_at_most() {
    let (mut pair, tag) = opening(6);
    for _ in 0..10 {
        pair.inject(address(B), A, 0, &Redirect::new(&tag, &ports(23)));
        let network: Vec<_> = (1..9).map(|host| destination(&alloc::format!("[2001:db8::{host}]:1935"))).collect();
        pair.inject(address(B), A, 0, &Redirect::new(&tag, &network));
    }
    pair.run_for_millis(100_000);
    let sent = |is: fn(&SocketAddr) -> bool| hello_targets(&pair).into_iter().filter(is).count();
    assert_eq!(sent(|to| to.ip() == many(6)[5].socket.ip()), 3 * attempts(&tag).len());
    assert_eq!(sent(SocketAddr::is_ipv6), 3 * attempts(&tag).len());
}

/// Whoever many turn to could have them all call one host at one instant.
#[test]
fn hellos_to_an_address_that_redirects_name_are_limited_and_spread() {
    let config = crate::EndpointConfig { max_probes_per_host: 20, ..crate::EndpointConfig::default() };
    let mut pair = Pair::with_config(7, config);
    pair.fate = Box::new(|_| vec![]);
    for _ in 0..500 {
        pair.open(A);
    }
    pair.flush();
    let tags: Vec<_> = (0..500).map(|index| self::tag(&pair, index)).collect();
    let victim = ports(1);
    for tag in &tags {
        pair.inject(address(B), A, 0, &Redirect::new(tag, &victim));
    }
    for second in 0..20 {
        let before = hello_targets(&pair).iter().filter(|to| **to == victim[0].socket).count();
        pair.run_for_millis(1_000);
        let sent = hello_targets(&pair).iter().filter(|to| **to == victim[0].socket).count() - before;
        assert!(sent <= 40, "{sent} in second {second}");
        assert!(second > 0 || sent >= 20);
    }
}

#[test]
fn each_candidate_has_its_own_backoff() {
    let (mut pair, tag) = opening(2);
    let start = pair.now;
    pair.run_for_millis(700);
    pair.inject(address(B), A, 0, &Redirect::new(&tag, &many(1)));
    pair.run_for_millis(4_000);
    let times = |to: SocketAddr| -> Vec<u128> {
        let log = pair.log.iter().filter(|(_, sent)| sent.to == to);
        log.map(|(at, _)| at.saturating_duration_since(start).as_millis()).collect()
    };
    let expected = attempts(&tag)[..3].to_vec();
    assert_eq!(times(address(B)), expected);
    assert_eq!(times(many(1)[0].socket), expected.iter().map(|at| at + 700).collect::<Vec<_>>());
}

#[test]
fn an_implied_redirect_names_its_own_source() {
    let (mut pair, tag) = opening(3);
    let source: SocketAddr = "198.51.100.9:4000".parse().unwrap();
    pair.inject(source, A, 0, &Redirect::new(&tag, &[]));
    pair.flush();
    assert_eq!(hello_targets(&pair), [address(B), source]);
}

#[test]
fn addresses_that_cannot_be_anybodys_are_not_tried() {
    let (mut pair, tag) = opening(4);
    let bad = ["192.0.2.9:0", "0.0.0.0:1935", "224.0.0.1:1935", "255.255.255.255:1935", "[::]:1935", "[ff02::1]:1935"];
    let mut addresses: Vec<Address> = bad.iter().map(|text| destination(text)).collect();
    addresses.push(destination("[::ffff:224.0.0.1]:1935"));
    addresses.push(destination("192.0.2.77:1935"));
    pair.inject(address(B), A, 0, &Redirect::new(&tag, &addresses));
    pair.flush();
    assert_eq!(hello_targets(&pair), [address(B), addresses.last().unwrap().socket]);
}

#[test]
fn a_redirect_with_another_tag_or_after_the_choice_changes_nothing() {
    let mut pair = Pair::new(5);
    pair.lose(Kind::InitiatorKeying);
    pair.open(A);
    pair.flush();
    let tag = tag(&pair, 0);
    let mut wrong = tag.clone();
    wrong[0] ^= 1;
    pair.inject(address(B), A, 0, &Redirect::new(&wrong, &many(5)));
    pair.inject(address(B), A, 0, &Redirect::new(&tag[..8], &many(5)));
    pair.run_for_millis(100);
    assert_eq!(pair.sent_of(Kind::InitiatorKeying, Some(A), None).len(), 1);
    pair.inject(address(B), A, 0, &Redirect::new(&tag, &many(5)));
    pair.run_for_millis(5_000);
    assert_eq!(hello_targets(&pair), [address(B)]);
    assert_eq!(pair.nodes[A].endpoint.stats().unexpected, 3);
}
