#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]

use alloc::vec;

use super::*;

const NONCE: Nonce = *b"twelve bytes";
const INTERNAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 168, 77, 2)), 1_935);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 7);

const fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn outside(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(OUTSIDE), port)
}

/// A gateway that answers by PCP with this result code, lifetime and external port.
fn pcp_response(request: &[u8], code: u8, lifetime: u32, port: u16) -> Vec<u8> {
    let mut bytes = request.to_vec();
    (bytes[1], bytes[3]) = (0x81, code);
    bytes[4..8].copy_from_slice(&lifetime.to_be_bytes());
    bytes[8..24].copy_from_slice(&[0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes[42..44].copy_from_slice(&port.to_be_bytes());
    bytes[44..60].copy_from_slice(&OUTSIDE.to_ipv6_mapped().octets());
    bytes
}

fn nat_pmp_mapping(internal: u16, external: u16, lifetime: u32) -> Vec<u8> {
    let mut bytes = vec![0, 0x81, 0, 0, 0, 0, 0, 9];
    bytes.extend(internal.to_be_bytes().into_iter().chain(external.to_be_bytes()).chain(lifetime.to_be_bytes()));
    bytes
}

fn nat_pmp_address(ip: Ipv4Addr) -> Vec<u8> {
    [&[0, 0x80, 0, 0, 0, 0, 0, 9][..], &ip.octets()].concat()
}

fn sent(mapper: &mut PortMapper) -> Vec<Vec<u8>> {
    core::iter::from_fn(|| mapper.poll_transmit()).collect()
}

fn events(mapper: &mut PortMapper) -> Vec<MappingEvent> {
    core::iter::from_fn(|| mapper.poll_event()).collect()
}

fn new_mapper() -> (PortMapper, Vec<u8>) {
    let mut mapper = PortMapper::new(at(0), INTERNAL, NONCE);
    let request = sent(&mut mapper).pop().unwrap();
    (mapper, request)
}

/// Lets time pass until something is sent, and gives when and what.
fn next_sent(mapper: &mut PortMapper) -> (u64, Vec<Vec<u8>>) {
    loop {
        let due = mapper.next_timeout().unwrap();
        mapper.on_timeout(due);
        let messages = sent(mapper);
        if !messages.is_empty() {
            return (due.as_micros() / 1_000, messages);
        }
    }
}

#[test]
fn a_request_by_pcp_is_written_as_the_rfc_says() {
    let (_, request) = new_mapper();
    let mut expected = vec![2, 1, 0, 0, 0, 0, 0x0e, 0x10];
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 168, 77, 2]);
    expected.extend(b"twelve bytes");
    expected.extend([17, 0, 0, 0, 0x07, 0x8f, 0, 0]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]);
    assert_eq!(request, expected);
}

#[test]
fn a_mapping_by_pcp_is_held_renewed_and_given_back() {
    let (mut mapper, request) = new_mapper();
    mapper.on_datagram(at(5), &pcp_response(&request, 0, 120, 40_000));
    assert_eq!(events(&mut mapper), [MappingEvent::Mapped { external: outside(40_000), by: Protocol::Pcp }]);
    let (first, again) = next_sent(&mut mapper);
    assert!((60_000..=75_100).contains(&first), "after half of it: {first} ms");
    assert_eq!(again[0][42..44], 40_000_u16.to_be_bytes(), "the same port again");
    mapper.on_datagram(at(first + 5), &pcp_response(&again[0], 0, 120, 40_000));
    assert_eq!(events(&mut mapper), [], "nothing has changed");
    let (second, again) = next_sent(&mut mapper);
    assert!(second >= first + 60_000, "renewed: {second} ms");
    mapper.on_datagram(at(second + 5), &pcp_response(&again[0], 0, 120, 40_001));
    assert_eq!(events(&mut mapper), [MappingEvent::Mapped { external: outside(40_001), by: Protocol::Pcp }]);
    mapper.release();
    let last = sent(&mut mapper);
    assert_eq!((last.len(), &last[0][4..8]), (1, [0_u8; 4].as_slice()));
    assert_eq!((mapper.next_timeout(), mapper.external()), (None, None));
    mapper.on_datagram(at(second + 10), &pcp_response(&last[0], 0, 120, 40_001));
    assert_eq!(mapper.external(), None, "what was given back is not taken again");
}

#[test]
fn a_mapping_that_nobody_renews_ends_and_is_asked_for_anew() {
    let (mut mapper, request) = new_mapper();
    mapper.on_datagram(at(0), &pcp_response(&request, 0, 120, 40_000));
    events(&mut mapper);
    let mut renewals = 0;
    while mapper.external().is_some() {
        let due = mapper.next_timeout().unwrap();
        mapper.on_timeout(due);
        renewals += sent(&mut mapper).len();
        assert!(due <= at(120_000));
    }
    assert!((3..=6).contains(&renewals), "{renewals} renewals");
    assert_eq!(events(&mut mapper), [MappingEvent::Unmapped(Refusal::Silence)]);
    assert!(matches!(mapper.state, State::Asking { .. }));
}

#[test]
fn a_gateway_that_does_not_know_pcp_is_asked_by_nat_pmp() {
    let (mut mapper, _) = new_mapper();
    // RFC 6886 §3.5: version 0, operation 0, result 1.
    mapper.on_datagram(at(5), &[0, 0, 0, 1, 0, 0, 0, 9]);
    assert_eq!(sent(&mut mapper), [vec![0, 0], vec![0, 1, 0, 0, 0x07, 0x8f, 0x07, 0x8f, 0, 0, 0x0e, 0x10]]);
    mapper.on_datagram(at(8), &nat_pmp_mapping(1_935, 4_000, 3_600));
    assert_eq!(mapper.external(), None, "the address is not known yet");
    mapper.on_datagram(at(9), &nat_pmp_address(OUTSIDE));
    assert_eq!(events(&mut mapper), [MappingEvent::Mapped { external: outside(4_000), by: Protocol::NatPmp }]);
    let (renewed, messages) = next_sent(&mut mapper);
    assert!(renewed >= 1_800_000);
    assert_eq!(messages[1][4..8], [0x07, 0x8f, 0x0f, 0xa0], "the port that is held");
    mapper.release();
    assert_eq!(sent(&mut mapper), [vec![0, 1, 0, 0, 0x07, 0x8f, 0, 0, 0, 0, 0, 0]]);
}

/// It was taken for one that knows no PCP, and asked by it no more.
#[test]
fn a_gateway_that_knows_pcp_alone_may_lose_the_first_question() {
    let (mut mapper, request) = new_mapper();
    mapper.on_timeout(at(1_000));
    assert_eq!(sent(&mut mapper).len(), 2, "by NAT-PMP");
    // It knows no version 0, and says so in its own.
    let mut refusal = pcp_response(&request, 1, 0, 0);
    refusal.truncate(24);
    mapper.on_datagram(at(1_001), &refusal);
    assert_eq!(events(&mut mapper), []);
    let mut again = vec![];
    while again.iter().all(|message: &Vec<u8>| message.len() < 60) {
        again.extend(next_sent(&mut mapper).1);
    }
    mapper.on_datagram(at(3_001), &pcp_response(&request, 0, 120, 40_000));
    assert_eq!(mapper.external(), Some(outside(40_000)));
}

/// A port that was held was forgotten, and neither used nor given back.
#[test]
fn a_renewal_that_is_refused_ends_nothing_before_its_time() {
    let (mut mapper, request) = new_mapper();
    mapper.on_datagram(at(5), &pcp_response(&request, 0, 120, 40_000));
    events(&mut mapper);
    let (renewed, _) = next_sent(&mut mapper);
    mapper.on_datagram(at(renewed + 5), &pcp_response(&request, 8, 30, 0));
    assert_eq!((mapper.external(), events(&mut mapper)), (Some(outside(40_000)), vec![]));
    let (again, _) = next_sent(&mut mapper);
    assert!((renewed + 4_000..120_000).contains(&again), "asked again at {again} ms");
    mapper.release();
    assert_eq!(sent(&mut mapper).len(), 1, "it is given back");
}

#[test]
fn a_silent_gateway_is_asked_by_both_and_then_left_in_peace() {
    let (mut mapper, _) = new_mapper();
    let mut asked = vec![];
    while events(&mut mapper).is_empty() {
        let due = mapper.next_timeout().unwrap();
        mapper.on_timeout(due);
        asked.extend(sent(&mut mapper).iter().map(|message| (due.as_micros() / 1_000, message.len())));
    }
    let by_pcp: Vec<_> = asked.iter().filter(|(_, length)| *length == 60).map(|(at, _)| *at).collect();
    let by_nat_pmp: Vec<_> = asked.iter().filter(|(_, length)| *length == 12).map(|(at, _)| *at).collect();
    assert_eq!((by_pcp, by_nat_pmp), (vec![3_000, 9_000], vec![1_000, 1_250, 1_750, 2_750, 4_750]));
    assert_eq!(mapper.next_timeout(), Some(at(11_000) + PAUSE));
    assert_eq!(next_sent(&mut mapper).0, 911_000, "and then asked again");
}

#[test]
fn what_is_no_answer_of_the_gateway_to_us_changes_nothing() {
    let (mut mapper, request) = new_mapper();
    let answer = pcp_response(&request, 0, 120, 40_000);
    let altered = |place: usize| {
        let mut bytes = answer.clone();
        bytes[place] ^= 1;
        bytes
    };
    for place in [1, 24, 35, 36, 40, 41] {
        mapper.on_datagram(at(5), &altered(place));
        assert_eq!(mapper.external(), None, "byte {place}");
    }
    for length in 0..answer.len() {
        mapper.on_datagram(at(5), &answer[..length]);
    }
    mapper.on_datagram(at(5), &[&answer[..], &[0; 1_044]].concat());
    // By a protocol in which nothing was asked.
    mapper.on_datagram(at(5), &nat_pmp_address(OUTSIDE));
    mapper.on_datagram(at(5), &nat_pmp_mapping(1_935, 4_000, 3_600));
    assert_eq!((mapper.external(), events(&mut mapper)), (None, vec![]));
    mapper.on_timeout(at(1_000));
    mapper.on_datagram(at(1_005), &nat_pmp_address(OUTSIDE));
    mapper.on_datagram(at(1_005), &nat_pmp_mapping(1_936, 4_000, 3_600));
    assert_eq!(mapper.external(), None, "another port");
    mapper.on_datagram(at(1_006), &answer);
    assert_eq!(mapper.external(), Some(outside(40_000)));
}

#[test]
fn refusals_are_told_and_kept_for_a_while() {
    let codes = [(2, Refusal::NotAuthorised), (7, Refusal::NoNetwork), (8, Refusal::NoRoom), (13, Refusal::Other(13))];
    for (code, refusal) in codes {
        let (mut mapper, request) = new_mapper();
        mapper.on_datagram(at(5), &pcp_response(&request, code, 30, 0));
        assert_eq!(events(&mut mapper), [MappingEvent::Unmapped(refusal)]);
        assert_eq!(mapper.next_timeout(), Some(at(5) + PAUSE));
    }
    let (mut mapper, request) = new_mapper();
    mapper.on_datagram(at(5), &pcp_response(&request, 0, 120, 0));
    assert_eq!(events(&mut mapper), [MappingEvent::Unmapped(Refusal::UselessAddress)]);
}

#[test]
fn ipv6_is_asked_by_pcp_alone() {
    let internal = "[2001:db8::2]:1935".parse().unwrap();
    let mut mapper = PortMapper::new(at(0), internal, NONCE);
    let mut lengths = vec![];
    while events(&mut mapper).is_empty() {
        lengths.extend(sent(&mut mapper).iter().map(Vec::len));
        mapper.on_timeout(mapper.next_timeout().unwrap());
    }
    assert_eq!(lengths, [60, 60, 60]);
}

#[test]
fn a_driver_that_sends_nothing_and_a_gateway_that_changes_its_mind_cost_little() {
    let (mut mapper, request) = new_mapper();
    for turn in 0..1_000_u16 {
        mapper.on_datagram(at(5), &pcp_response(&request, 0, 120, 1_000 + turn));
    }
    assert_eq!((mapper.events.len(), mapper.external()), (MAX_WAITING, Some(outside(1_999))));
    while mapper.external().is_some() {
        mapper.on_timeout(mapper.next_timeout().unwrap());
    }
    for _ in 0..100 {
        mapper.on_timeout(mapper.next_timeout().unwrap());
    }
    assert_eq!(mapper.transmits.len(), MAX_WAITING);
}
