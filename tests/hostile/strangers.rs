//! Forgeries and floods, one at a time: of strangers without keys, and of peers with them.

use std::net::SocketAddr;
use std::time::Duration;

use rtmfp_core::wire::{
    AckRanges, BufferProbe, Chunk, Close, CloseAck, FlowException, FragmentControl, InitiatorHello, InitiatorKeying,
    Mode, PacketFragment, Ping, Redirect, ResponderHello, ResponderKeying, UserData, encode_option, session_id,
};
use rtmfp_core::{Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, RecvMeta, Target, TransmitBuf};
use rtmfp_tests::counting::held;
use rtmfp_tests::duo::TestRng;
use rtmfp_tests::raw_peer::{RawPeer, packet, seal};

use rtmfp_tests::siege::address;
use rtmfp_tests::siege::{BOTH, Identity, flash, modern, plain};

pub(crate) const START: Instant = Instant::from_millis(10_000);

pub(crate) fn endpoint(config: &EndpointConfig, identity: &Identity) -> Endpoint {
    Endpoint::new(config.clone(), identity.0.clone(), Box::new(TestRng(1)), START).unwrap()
}

/// An endpoint, and a hostile peer with a session to it.
pub(crate) fn connected(config: &EndpointConfig) -> (Endpoint, RawPeer) {
    connected_as(plain, config)
}

/// The same, with identities of this kind.
pub(crate) fn connected_as(named: fn(&str) -> Identity, config: &EndpointConfig) -> (Endpoint, RawPeer) {
    let identity = named("victim");
    let mut endpoint = endpoint(config, &identity);
    let mut peer = RawPeer::new(named("mallory").0, address(9), 9);
    peer.connect(&mut endpoint, START, &identity.1);
    while endpoint.poll_event().is_some() {}
    (endpoint, peer)
}

pub(crate) fn deliver(endpoint: &mut Endpoint, now: Instant, from: SocketAddr, mut datagram: Vec<u8>) {
    let path = Path::new(InterfaceId(0), from);
    let _ = endpoint.handle_datagram(now, path, RecvMeta::default(), &mut datagram);
}

/// How many datagrams the endpoint has to send now, and their bytes.
pub(crate) fn sent(endpoint: &mut Endpoint, now: Instant) -> (usize, usize) {
    let mut buf = TransmitBuf::new(1);
    let (mut count, mut bytes) = (0, 0);
    while let Some(transmit) = endpoint.poll_transmit(now, &mut buf) {
        count += 1;
        bytes += transmit.len;
    }
    (count, bytes)
}

pub(crate) fn data<'a>(flow_id: u64, sequence_number: u64, options: Option<&'a [u8]>, data: &'a [u8]) -> UserData<'a> {
    let fsn_offset = sequence_number;
    UserData {
        control: FragmentControl::Whole,
        abandon: false,
        last: false,
        flow_id,
        sequence_number,
        fsn_offset,
        options,
        data,
    }
}

pub(crate) fn named() -> Vec<u8> {
    let mut options = Vec::new();
    encode_option(0, b"name", &mut options);
    options
}

/// What an endpoint holds goes back to what it was before, within a little.
fn assert_little_held(before: isize, most: isize) {
    let more = held() - before;
    assert!(more <= most, "{more} bytes more are held, at most {most}");
}

#[test]
fn closes_and_all_else_under_the_default_key_do_nothing_to_a_session() {
    for [identity, other] in [["victim", "friend"].map(plain), [1, 2].map(flash), [1, 2].map(modern)] {
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        let mut friend = RawPeer::new(other.0, address(1), 1);
        friend.connect(&mut victim, START, &identity.1);
        let session = friend.session.as_ref().unwrap();
        let (id, modes) = (session.tx_id, [Mode::Initiator, Mode::Responder, Mode::Startup]);
        let before = victim.stats();
        for mode in modes {
            for chunk in [Chunk::Close(Close), Chunk::CloseAck(CloseAck)] {
                for id in [id, 0, session.rx_id] {
                    let forged = seal(friend.default_keys.as_mut(), id, &packet(mode, &[chunk]));
                    deliver(&mut victim, START, friend.address, forged);
                }
            }
        }
        assert_eq!(victim.sessions().count(), 1);
        // The session still answers.
        friend.send(&mut victim, START, &[Chunk::Ping(Ping { message: b"there?" })]);
        let answers = friend.talk(&mut victim, START);
        assert!(answers.iter().any(|plain| plain.windows(6).any(|bytes| bytes == b"there?")), "{before:?}");
    }
}

#[test]
fn a_cookie_echoed_from_another_address_is_changed_and_proves_nothing() {
    for named in BOTH {
        let identity = named("victim");
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        let mut peer = RawPeer::new(named("mallory").0, address(9), 9);
        peer.connect(&mut victim, START, &identity.1);
        assert_eq!(victim.sessions().count(), 1);
        // The same cookie from anywhere else: one small answer each, and no session.
        for port in 1..=1_000 {
            peer.keying();
            let stolen = peer.out.pop_front().unwrap();
            // As fast as one source is answered.
            let now = START + Duration::from_millis(20 * u64::from(port));
            deliver(&mut victim, now, SocketAddr::from(([203, 0, 113, 5], port)), stolen.clone());
            let (count, bytes) = sent(&mut victim, now);
            assert!(count == 1 && bytes < 3 * stolen.len(), "{count} answers, {bytes} bytes for {}", stolen.len());
        }
        assert_eq!(victim.sessions().count(), 1);
        assert_eq!(victim.stats().sessions_opened, 1);
    }
}

#[test]
fn a_flood_of_keyings_with_forged_cookies_costs_nothing() {
    for named in BOTH {
        let identity = named("victim");
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        let mut peer = RawPeer::new(named("mallory").0, address(9), 9);
        let certificate = peer.profile.certificate().to_vec();
        let before = held();
        for number in 0..20_000_u32 {
            let cookie: Vec<u8> = number.to_be_bytes().repeat(16);
            let signed = InitiatorKeying::signed_parameters(number, &cookie, &certificate, b"xx");
            let keying = InitiatorKeying {
                session_id: number,
                cookie_echo: &cookie,
                certificate: &certificate,
                component: b"xx",
                signature: b"X",
                signed: &signed,
            };
            let datagram = peer.startup(0, &keying);
            deliver(&mut victim, START, peer.address, datagram);
        }
        assert_eq!(victim.stats().dropped_not_authentic, 20_000);
        assert_eq!((victim.sessions().count(), sent(&mut victim, START).0), (0, 0));
        assert_little_held(before, 65_536);
    }
}

#[test]
fn a_hello_is_answered_with_at_most_three_times_its_bytes() {
    for named in BOTH {
        let identity = named("victim");
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        let mut peer = RawPeer::new(named("mallory").0, address(9), 9);
        for len in [8, 16, 100, 1_000, 1_300, 20_000, 60_000] {
            let tag = vec![7; len];
            let hello = peer.startup(0, &InitiatorHello { discriminator: &identity.1, tag: &tag });
            let received = hello.len();
            deliver(&mut victim, START, peer.address, hello);
            let mut answered = sent(&mut victim, START).1;
            while let Some(at) = victim.poll_timeout() {
                victim.handle_timeout(at);
                answered += sent(&mut victim, at).1;
            }
            assert!(answered > 0 && answered <= 3 * received, "{answered} bytes for {received}");
        }
    }
}

#[test]
fn forged_answers_to_hellos_that_were_not_sent_do_nothing() {
    for named in BOTH {
        let identity = named("victim");
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        let mut peer = RawPeer::new(named("mallory").0, address(9), 9);
        let friend = named("friend");
        let target = Target::new(friend.1, Path::new(InterfaceId(0), address(1)));
        victim.open(START, target).unwrap();
        assert_eq!(sent(&mut victim, START).0, 1);
        for number in 0..5_000_u32 {
            let tag: Vec<u8> = number.to_be_bytes().repeat(4);
            let hello = ResponderHello { tag_echo: &tag, cookie: &[1; 64], certificate: friend.0.certificate() };
            let datagram = peer.startup(0, &hello);
            deliver(&mut victim, START, peer.address, datagram);
            let datagram = peer.startup(0, &Redirect::new(&tag, &[]));
            deliver(&mut victim, START, peer.address, datagram);
            let signed = ResponderKeying::signed_parameters(5, b"xx");
            let keying = ResponderKeying { session_id: 5, component: b"xx", signature: b"X", signed: &signed };
            let datagram = peer.startup(number, &keying);
            deliver(&mut victim, START, address(1), datagram);
        }
        assert_eq!(sent(&mut victim, START).0, 0, "nobody else is sent anything");
        assert_eq!(victim.stats().sessions_opened, 0);
    }
}

#[test]
fn an_answer_that_names_session_0_opens_no_session() {
    let identity = plain("victim");
    let mut victim = endpoint(&EndpointConfig::default(), &identity);
    let mut peer = RawPeer::new(plain("mallory").0, address(9), 9);
    victim.open(START, Target::new(&b"mallory"[..], peer.path())).unwrap();
    // By hand as far as the keying.
    let mut buf = TransmitBuf::new(1);
    let mut keyed = 0;
    while victim.poll_transmit(START, &mut buf).is_some() {
        let datagram = buf.as_slice().to_vec();
        peer.receive(&datagram);
        match peer.session.take() {
            None => deliver(&mut victim, START, peer.address, peer.out.pop_front().unwrap()),
            Some(session) => {
                peer.out.clear();
                let signed = ResponderKeying::signed_parameters(0, b"xx");
                let keying = ResponderKeying { session_id: 0, component: b"xx", signature: b"X", signed: &signed };
                let forged = peer.startup(session.tx_id, &keying);
                deliver(&mut victim, START, peer.address, forged);
                keyed += 1;
            }
        }
    }
    // RFC 7016 §2.2.2: 0 is the session ID of startup; packets of a session cannot be sent to it.
    assert_eq!((keyed, victim.stats().sessions_opened), (1, 0));
}

#[test]
fn a_hundred_thousand_flow_ids_make_as_many_flows_as_are_allowed() {
    let config = EndpointConfig::default();
    let (mut victim, mut peer) = connected(&config);
    let (before, options) = (held(), named());
    for flow in 0..100_000_u64 {
        let id = if flow % 2 == 0 { flow } else { u64::MAX - flow };
        peer.send(&mut victim, START, &[Chunk::UserData(data(id, 1, Some(&options), b""))]);
        if flow % 500 == 0 {
            peer.talk(&mut victim, START);
        }
    }
    let opened = core::iter::from_fn(|| victim.poll_event());
    assert_eq!(opened.filter(|e| matches!(e, Event::FlowOpened { .. })).count(), config.session.max_recv_flows);
    assert_eq!(victim.stats().over_limit, 100_000 - config.session.max_recv_flows as u64);
    assert_little_held(before, 4 << 20);
}

#[test]
fn chunks_that_name_no_flow_leave_nothing_behind() {
    let (mut victim, mut peer) = connected(&EndpointConfig::default());
    let before = held();
    for flow_id in (0..20_000).map(|id| if id % 2 == 0 { id } else { u64::MAX - id }) {
        let ack = AckRanges { flow_id, blocks_available: u64::MAX, cumulative_ack: 0, encoded: &[0xff; 40] };
        peer.send(
            &mut victim,
            START,
            &[
                Chunk::AckRanges(ack),
                Chunk::BufferProbe(BufferProbe { flow_id }),
                Chunk::FlowException(FlowException { flow_id, code: 1 }),
            ],
        );
    }
    peer.talk(&mut victim, START);
    assert_eq!(victim.poll_event(), None);
    assert_little_held(before, 65_536);
}

/// Fragments that never make a message, in flows each as gapped as it may be.
#[test]
fn floods_of_fragments_and_gaps_are_bounded_in_memory() {
    for (name, number_of, control, content) in floods() {
        fragments_are_bounded_in_memory(name, number_of, control, content);
    }
}

/// What it is called, in what order numbers come, what the fragments are, and what is in them.
type Flood = (&'static str, fn(u64) -> u64, FragmentControl, &'static [u8]);

fn floods() -> [Flood; 5] {
    use FragmentControl::{Begin, Middle};
    [
        ("empty, with gaps", |number| number * 2, Middle, b""),
        ("one byte, with gaps, downwards", |number| (1_001 - number) * 2, Middle, b"x"),
        ("joined later", |number| if number <= 500 { number * 2 } else { number * 2 - 999 }, Middle, b"x"),
        ("beginnings without end", |number| number + 1, Begin, b"x"),
        ("beginnings in mixed order", |number| number * 611 % 1_009 + 1, Begin, b""),
    ]
}

fn fragments_are_bounded_in_memory(
    name: &str,
    number_of: fn(u64) -> u64,
    control: FragmentControl,
    content: &'static [u8],
) {
    let config = EndpointConfig::default();
    let (mut victim, mut peer) = connected(&config);
    let (before, options) = (held(), named());
    for flow in 0..400 {
        for fragment in 1..=1_000_u64 {
            let mut chunk = data(flow, number_of(fragment), (fragment == 1).then_some(&options), content);
            chunk.control = control;
            let mut datagram = peer.session.as_mut().unwrap().chunks(&[Chunk::UserData(chunk)]);
            let _ = victim.handle_datagram(START, peer.path(), RecvMeta::default(), &mut datagram);
        }
        peer.talk(&mut victim, START);
    }
    assert!(victim.stats().over_limit > 0, "{name}");
    // What each fragment takes is counted in full; beside it, flows and their ranges take a little.
    println!("{name}: {} bytes", held() - before);
    assert_little_held(before, config.session.max_recv_bytes as isize);
    // Another flow of the same session is held up; another session is not.
    let mut friend = RawPeer::new(plain("friend").0, address(1), 1);
    friend.connect(&mut victim, START, b"victim");
    while victim.poll_event().is_some() {}
    friend.send(&mut victim, START, &[Chunk::UserData(data(0, 1, Some(&options), b"hello"))]);
    let Some(Event::FlowOpened { flow }) = victim.poll_event() else { panic!("no flow") };
    assert_eq!(victim.recv_flow_mut(START, flow).unwrap().read().unwrap().data, "hello");
    // The end of the session frees it all.
    peer.send(&mut victim, START, &[Chunk::Close(Close)]);
    victim.handle_timeout(START + Duration::from_secs(30));
    while victim.poll_event().is_some() {}
    assert_little_held(before, 1 << 20);
}

#[test]
fn a_flood_of_packet_fragments_is_bounded_and_lets_others_start() {
    for named in BOTH {
        let identity = named("victim");
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        let mut peer = RawPeer::new(named("mallory").0, address(9), 9);
        let before = held();
        for number in 0..20_000_u64 {
            let chunk = PacketFragment {
                more_fragments: true,
                packet_id: number / 3,
                fragment_number: number % 300,
                fragment: &[7; 1_000],
            };
            let datagram = peer.startup(0, &chunk);
            let from = SocketAddr::from(([203, 0, 113, (number % 250) as u8], 1_000));
            deliver(&mut victim, START, from, datagram);
        }
        assert!(victim.stats().over_limit > 10_000);
        assert_little_held(before, 4 << 20);
        let mut friend = RawPeer::new(named("friend").0, address(1), 1);
        friend.connect(&mut victim, START, &identity.1);
    }
}

/// They were counted with a third of what they take: 3 MB were held of the 1 MiB that all fragments may take.
#[test]
fn fragments_of_one_byte_take_no_more_memory_than_is_said() {
    for fragments in [1, 2, 16, 256] {
        let mut victim = endpoint(&EndpointConfig::default(), &plain("victim"));
        let mut peer = RawPeer::new(plain("mallory").0, address(9), 9);
        let before = held();
        for number in 0..20_000_u64 {
            let chunk = PacketFragment {
                more_fragments: true,
                packet_id: 1,
                fragment_number: number % fragments,
                fragment: &[number as u8],
            };
            let datagram = peer.startup(0, &chunk);
            let from = SocketAddr::from(([203, 0, 113, (number / fragments) as u8], 1_000));
            deliver(&mut victim, START, from, datagram);
        }
        assert_little_held(before, 1 << 20);
    }
}

#[test]
fn packets_of_a_session_from_spoofed_addresses_do_not_move_it() {
    for [identity, other] in [[1, 2].map(flash), [1, 2].map(modern)] {
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        let mut friend = RawPeer::new(other.0, address(1), 1);
        friend.connect(&mut victim, START, &identity.1);
        let handle = victim.sessions().next().unwrap();
        let mut replay = Vec::new();
        for number in 0..2_000_u16 {
            // An on-path attacker holds the friend's packets back and sends them from elsewhere, and again.
            let datagram = friend.session.as_mut().unwrap().chunks(&[Chunk::Ping(Ping { message: b"x" })]);
            deliver(&mut victim, START, SocketAddr::from(([203, 0, 113, 5], number)), datagram.clone());
            replay.push(datagram);
        }
        let stats = victim.stats();
        for datagram in replay {
            deliver(&mut victim, START, friend.address, datagram);
        }
        assert_eq!(victim.stats().dropped_replayed - stats.dropped_replayed, 2_000);
        let (count, _) = sent(&mut victim, START);
        assert!(count < 20, "{count} packets");
        assert_eq!(victim.session(handle).unwrap().path(), Some(friend.path()));
    }
}

#[test]
fn a_session_id_is_not_found_by_trying() {
    for named in BOTH {
        let (mut victim, mut peer) = connected_as(named, &EndpointConfig::default());
        let known = peer.session.as_ref().unwrap().tx_id;
        let plain = packet(Mode::Initiator, &[Chunk::Close(Close)]);
        for id in (1..20_000).filter(|id| *id != known) {
            let datagram = seal(peer.default_keys.as_mut(), id, &plain);
            assert_eq!(session_id::unscramble(&datagram).map(|(id, _)| id), Some(id));
            deliver(&mut victim, START, peer.address, datagram);
        }
        assert_eq!(victim.stats().dropped_unknown_session, 19_999);
        assert_eq!(victim.sessions().count(), 1);
    }
}
