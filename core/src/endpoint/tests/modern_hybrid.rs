//! Endpoints of the modern profile whose sessions are hybrid: IIKeying takes two datagrams.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use super::modern::{default_keys, kind, opened, read, sealed, target, write};
use super::pair::{A, B, Datagram, Kind, Pair, address, kind_of};
use crate::endpoint::cookie::COOKIE_LEN;
use crate::endpoint::demux::startup_chunks;
use crate::endpoint::startup::StartupPacket;
use crate::event::OpenFailure;
use crate::profile::modern::Hybrid;
use crate::transmit::{InterfaceId, Path};
use crate::wire::{Chunk, PacketFragment, ResponderHello};
use crate::{CloseMode, EndpointConfig, Event, ForwardedHelloPolicy};

const DELAY: Duration = Duration::from_millis(25);
const INTRO: usize = 2;

fn with(seed: u8, hybrids: &[Hybrid]) -> Pair {
    let configs = vec![EndpointConfig::default(); hybrids.len()];
    Pair::modern_with(seed, &configs, |index, builder| builder.hybrid(hybrids[index]))
}

fn pair(seed: u8) -> Pair {
    with(seed, &[Hybrid::Required; 2])
}

/// Whether all sessions of a node are hybrid, and there is one.
fn is_hybrid(pair: &Pair, node: usize) -> bool {
    let endpoint = &pair.nodes[node].endpoint;
    let mut sessions = endpoint.sessions().peekable();
    sessions.peek().is_some() && sessions.all(|session| endpoint.session(session).unwrap().is_post_quantum())
}

/// A startup packet of a log: its kind, its session ID, its plain packet, and the bytes of its datagrams.
struct Startup {
    kind: Kind,
    id: u32,
    plain: Vec<u8>,
    datagrams: Vec<usize>,
}

/// The startup packets of a log, put together.
fn startup_packets(pair: &Pair) -> Vec<Startup> {
    let mut partial: BTreeMap<(SocketAddr, u64), Vec<Vec<u8>>> = BTreeMap::new();
    let mut sizes: BTreeMap<(SocketAddr, u64), Vec<usize>> = BTreeMap::new();
    let mut packets = Vec::new();
    for (_, sent) in &pair.log {
        let Some((id, plain)) = sent.plain_under(default_keys().as_mut()) else { continue };
        let Some(Ok(Chunk::PacketFragment(fragment))) = startup_chunks(&plain).unwrap().next() else {
            let datagrams = vec![sent.bytes.len()];
            packets.push(Startup { kind: kind_of(&plain), id, plain, datagrams });
            continue;
        };
        let key = (sent.from, fragment.packet_id);
        partial.entry(key).or_default().push(fragment.fragment.to_vec());
        sizes.entry(key).or_default().push(sent.bytes.len());
        if !fragment.more_fragments {
            let plain = partial.remove(&key).unwrap().concat();
            let datagrams = sizes.remove(&key).unwrap();
            packets.push(Startup { kind: kind_of(&plain), id, plain, datagrams });
        }
    }
    packets
}

/// All that a node has dropped, for whatever reason.
fn dropped(pair: &Pair, node: usize) -> u64 {
    pair.nodes[node].endpoint.stats().drops().map(|(_, count)| count).sum()
}

fn is_fragment(sent: &Datagram) -> bool {
    let plain = sent.plain_under(default_keys().as_mut()).map(|(_, plain)| plain).unwrap_or_default();
    let chunk = startup_chunks(&plain).ok().and_then(|mut chunks| chunks.next());
    matches!(chunk, Some(Ok(Chunk::PacketFragment(_))))
}

#[test]
fn a_session_is_hybrid_if_both_ends_want_it() {
    use Hybrid::{Off, Offered, Required};
    for (near, far, opens, hybrid) in [
        (Offered, Offered, true, true),
        (Required, Offered, true, true),
        (Offered, Required, true, true),
        (Required, Required, true, true),
        (Offered, Off, true, false),
        (Off, Offered, true, false),
        (Off, Required, false, false),
    ] {
        let mut pair = with(1, &[near, far]);
        pair.open(A);
        pair.run_for_millis(3_000);
        assert_eq!(opened(&pair, A) == 1, opens, "{near:?} {far:?}");
        assert_eq!([A, B].map(|node| is_hybrid(&pair, node)), [hybrid; 2], "{near:?} {far:?}");
    }
}

/// Each end that refuses has a counter for it.
#[test]
fn who_requires_it_refuses_others_and_counts_them() {
    let mut pair = with(2, &[Hybrid::Off, Hybrid::Required]);
    pair.open(A);
    pair.run_for_millis(3_000);
    let stats = pair.nodes[B].endpoint.stats();
    assert_eq!((stats.protection_refused, stats.dropped_not_authentic, opened(&pair, B)), (2, 0, 0));
    let mut pair = with(2, &[Hybrid::Required, Hybrid::Off]);
    let session = pair.open(A);
    pair.run_for_millis(100_000);
    assert!(pair.nodes[A].endpoint.stats().protection_refused >= 2);
    let reason = OpenFailure::KeyAgreement;
    assert_eq!(pair.nodes[A].events, [Event::SessionFailed { session, reason }]);
}

/// README.md, "Hybrid key agreement".
#[test]
fn nothing_that_answers_is_larger_than_what_it_answers() {
    let mut sizes = Vec::new();
    for hybrid in [Hybrid::Off, Hybrid::Required] {
        let mut pair = with(3, &[hybrid; 2]);
        pair.open(A);
        pair.run_for_millis(400);
        let packets = startup_packets(&pair);
        let kinds: Vec<Kind> = packets.iter().map(|packet| packet.kind).collect();
        use Kind::{Hello, InitiatorKeying, ResponderHello, ResponderKeying};
        assert_eq!(kinds, [Hello, ResponderHello, InitiatorKeying, ResponderKeying]);
        let bytes: Vec<usize> = packets.iter().map(|packet| packet.datagrams.iter().sum()).collect();
        assert!(bytes[1] <= bytes[0] && bytes[3] <= bytes[2], "{bytes:?}");
        sizes.push(packets.into_iter().map(|packet| packet.datagrams).collect::<Vec<_>>());
    }
    let readme = include_str!("../../profile/modern/README.md");
    let cookies = alloc::format!("this implementation's cookies of {COOKIE_LEN} bytes");
    assert!(readme.contains(&cookies), "README.md should have: {cookies}");
    for (name, at) in [("IHello", 0), ("RHello", 1), ("IIKeying", 2), ("RIKeying", 3)] {
        let [classical, hybrid] = [0, 1].map(|which: usize| {
            let parts: Vec<_> = sizes[which][at].iter().map(|size| alloc::format!("{size}")).collect();
            parts.join(" + ")
        });
        let row = alloc::format!("| {name} | {classical} | {hybrid} |");
        assert!(readme.contains(&row), "README.md should have: {row}");
    }
}

/// Whoever knows the tag of a hello can answer it from a victim's address. IIKeyings are ten times as long as that answer.
#[test]
fn one_keying_goes_to_an_address_that_has_proved_nothing() {
    for (hybrid, keyings) in [(Hybrid::Off, 3), (Hybrid::Required, 1)] {
        let mut pair = with(14, &[hybrid; 2]);
        pair.fate = Box::new(|sent| if sent.ordinal < 2 { vec![DELAY] } else { vec![] });
        pair.open(A);
        pair.run_for_millis(60_000);
        let packets = startup_packets(&pair);
        let sent = |wanted| packets.iter().filter(|packet| packet.kind == wanted).count();
        assert_eq!(sent(Kind::InitiatorKeying), keyings, "{hybrid:?}");
        assert!(sent(Kind::Hello) > 3, "it asks again instead: {hybrid:?}");
    }
}

/// An RHello with an empty cookie, as anybody may send in a victim's name, drew an IIKeying of 18 times its length.
#[test]
fn a_hello_with_a_short_cookie_draws_no_hybrid_keying() {
    let mut clean = pair(16);
    clean.open(A);
    clean.run_for_millis(30);
    let packets = startup_packets(&clean);
    let right = packets.iter().find(|packet| packet.kind == Kind::ResponderHello).unwrap();
    let Some(Ok(Chunk::ResponderHello(hello))) = startup_chunks(&right.plain).unwrap().next() else { panic!() };
    let answer = |cookie: &[u8]| {
        let hello = ResponderHello { cookie, ..hello };
        sealed(right.id, &StartupPacket::new(Path::new(InterfaceId(0), address(A)), 0, &hello).plain)
    };
    for (hybrid, cookie, draws) in [
        (Hybrid::Required, 0, false),
        (Hybrid::Offered, 31, false),
        (Hybrid::Required, 32, true),
        (Hybrid::Off, 0, true),
    ] {
        let mut pair = with(16, &[hybrid; 2]);
        pair.fate = Box::new(|_| vec![]);
        pair.open(A);
        let rhello = answer(&[7; 32][..cookie]);
        let asked = rhello.len();
        // Later the initiator asks with a hello for another RHello: that one may not be shorter either.
        for wait in [10, 20_000] {
            pair.run_for_millis(wait);
            let malformed = pair.nodes[A].endpoint.stats().malformed;
            let before = pair.log.len();
            let _ = pair.deliver(address(B), address(A), rhello.clone());
            pair.run_for_millis(1);
            let drawn: usize = pair.log[before..].iter().map(|(_, sent)| sent.bytes.len()).sum();
            assert_eq!(drawn > 0, draws, "{hybrid:?} {cookie} {drawn}");
            assert!(drawn <= 14 * asked, "{hybrid:?} {cookie}: {drawn} bytes for {asked}");
            let counted = pair.nodes[A].endpoint.stats().malformed - malformed;
            assert_eq!(counted, u64::from(!draws), "{hybrid:?} {cookie}");
        }
    }
    let mut pair = pair(16);
    pair.fate = Box::new(|_| vec![]);
    pair.open(A);
    let _ = pair.deliver(address(B), address(A), answer(&[7; 32]));
    pair.run_for_millis(20_000);
    let (before, malformed) = (pair.log.len(), pair.nodes[A].endpoint.stats().malformed);
    let _ = pair.deliver(address(B), address(A), answer(&[7; 31]));
    pair.run_for_millis(1);
    assert_eq!(
        (pair.log.len(), pair.nodes[A].endpoint.stats().malformed),
        (before, malformed + 1),
        "a repeated RHello"
    );
}

#[test]
fn it_opens_though_every_startup_datagram_is_lost_once() {
    let mut clean = pair(4);
    clean.open(A);
    clean.run_for_millis(400);
    let count = clean.log.iter().filter(|(_, sent)| kind(sent) != Kind::Session || is_fragment(sent)).count() as u64;
    assert_eq!(count, 5);
    for lost in 0..count {
        let mut pair = pair(4);
        pair.fate = Box::new(move |datagram| if datagram.ordinal == lost { vec![] } else { vec![DELAY] });
        let a = pair.open(A);
        write(&mut pair, A, a, b"message");
        pair.run_for_millis(6_000);
        assert_eq!((opened(&pair, A), opened(&pair, B)), (1, 1), "{lost}");
        assert_eq!(read(&mut pair, B), b"message", "{lost}");
        assert!(is_hybrid(&pair, A) && is_hybrid(&pair, B));
    }
}

#[test]
fn megabytes_cross_a_wire_that_loses_doubles_and_delays() {
    let mut pair = pair(5);
    pair.fate = Box::new(|datagram| match datagram.ordinal % 11 {
        3 => vec![],
        5 => vec![DELAY, DELAY * 2],
        7 => vec![DELAY * 3],
        _ => vec![DELAY],
    });
    let a = pair.open(A);
    let message: Vec<u8> = (0..200_000_u32).map(|at| (at % 251) as u8).collect();
    write(&mut pair, A, a, &message);
    pair.run_for_millis(60_000);
    assert!(read(&mut pair, B) == message && is_hybrid(&pair, A) && is_hybrid(&pair, B));
}

#[test]
fn glare_leaves_one_session() {
    for offset in (0..120).step_by(8) {
        let mut pair = pair(6);
        pair.open(A);
        pair.run_for_millis(offset);
        pair.open(B);
        pair.run_for_millis(10_000);
        assert_eq!((opened(&pair, A), opened(&pair, B)), (1, 1), "offset {offset} ms");
        for node in [A, B] {
            assert!(is_hybrid(&pair, node), "offset {offset} ms");
            assert_eq!(pair.nodes[node].endpoint.sessions().count(), 1, "offset {offset} ms");
        }
    }
}

/// §3.5.1.5 and §3.5.1.6, with fragments through the holes that hellos have made.
#[test]
fn two_ends_behind_nats_are_introduced() {
    let introducer = EndpointConfig { introduce: true, ..EndpointConfig::default() };
    let answers = EndpointConfig { forwarded_hello: ForwardedHelloPolicy::Answer, ..EndpointConfig::default() };
    let configs = [EndpointConfig::default(), answers, introducer];
    let mut pair = Pair::modern_with(7, &configs, |_, builder| builder.hybrid(Hybrid::Required));
    let mut holes: Vec<(SocketAddr, SocketAddr)> = Vec::new();
    pair.fate = Box::new(move |datagram| {
        holes.push((datagram.from, datagram.to));
        let lets_in = datagram.to == address(INTRO) || holes.contains(&(datagram.to, datagram.from));
        if lets_in { vec![DELAY] } else { vec![] }
    });
    let to_introducer = target(&pair, INTRO, INTRO);
    pair.nodes[B].endpoint.open(pair.now, to_introducer).unwrap();
    pair.run_for_millis(500);
    let by_introducer = target(&pair, B, INTRO);
    let session = pair.nodes[A].endpoint.open(pair.now, by_introducer).unwrap();
    pair.run_for_millis(3_000);
    let view = pair.nodes[A].endpoint.session(session).unwrap();
    assert_eq!((view.path().unwrap().remote, view.is_post_quantum()), (address(B), true));
    let redirected = startup_packets(&pair).into_iter().any(|packet| packet.kind == Kind::Redirect);
    assert!(redirected);
}

/// While its IIKeying is on the way, and in the open session.
#[test]
fn an_initiator_may_come_to_another_address() {
    let elsewhere = SocketAddr::from(([198, 51, 100, 7], 4_000));
    for moves_at in [55, 80, 500] {
        let mut pair = pair(8);
        let a = pair.open(A);
        pair.run_for_millis(moves_at);
        pair.nodes[A].address = elsewhere;
        write(&mut pair, A, a, b"from elsewhere");
        pair.run_for_millis(8_000);
        assert_eq!(read(&mut pair, B), b"from elsewhere", "{moves_at}");
        let b = pair.nodes[B].endpoint.sessions().next().unwrap();
        let view = pair.nodes[B].endpoint.session(b).unwrap();
        assert_eq!((view.path().unwrap().remote, view.is_post_quantum()), (elsewhere, true), "{moves_at}");
    }
}

/// What was recorded of one session is sent again, to both ends, while it is open, after its end, and to others.
#[test]
fn a_recorded_session_has_no_effect_again() {
    let mut pair = pair(9);
    let a = pair.open(A);
    write(&mut pair, A, a, b"once");
    // Longer than fragments of a complete packet are known as such.
    pair.run_for_millis(3_000);
    assert_eq!(read(&mut pair, B), b"once");
    let log: Vec<Datagram> = pair.log.iter().map(|(_, sent)| sent.clone()).collect();
    for round in 0..2 {
        // The IIKeying alone: it is put together again, and refused for what it is.
        let refused = |pair: &Pair| {
            let stats = pair.nodes[B].endpoint.stats();
            (stats.unexpected, stats.dropped_replayed)
        };
        let (before, all) = (refused(&pair), dropped(&pair, B));
        for sent in log.iter().filter(|sent| sent.from == address(A) && is_fragment(sent)) {
            let _ = pair.deliver(sent.from, sent.to, sent.bytes.clone());
        }
        let after = refused(&pair);
        assert_eq!((after.0 - before.0, after.1 - before.1), [(1, 0), (0, 1)][round], "{round}");
        assert_eq!(dropped(&pair, B) - all, 1, "{round}");
        for sent in &log {
            for to in [sent.to, sent.from] {
                let _ = pair.deliver(sent.from, to, sent.bytes.clone());
            }
        }
        pair.run_for_millis(1_000);
        assert_eq!((opened(&pair, A), opened(&pair, B)), (1, 1), "{round}");
        assert!(read(&mut pair, B).is_empty(), "{round}");
        if round == 0 {
            pair.nodes[A].endpoint.session_mut(pair.now, a).unwrap().close(CloseMode::Orderly);
            pair.run_for_millis(3_000);
        }
    }
    let mut other = self::pair(10);
    for sent in &log {
        let _ = other.deliver(sent.from, sent.to, sent.bytes.clone());
    }
    other.run_for_millis(2_000);
    assert_eq!((opened(&other, A), opened(&other, B)), (0, 0));
}

/// By somebody who seals the packet again and sends it whole, as anybody can. The value of option 0x56 is most of the packet:
/// every 16th byte of it is tried here, and each of them without endpoints, in the profile's tests.
#[test]
fn altered_keyings_are_refused() {
    let mut clean = pair(11);
    clean.open(A);
    clean.run_for_millis(400);
    let packets = startup_packets(&clean);
    for (wanted, from) in [(Kind::InitiatorKeying, A), (Kind::ResponderKeying, B)] {
        let keying = packets.iter().find(|packet| packet.kind == wanted).unwrap();
        // After the chunk's header: a chunk that is longer than its packet is padding.
        for at in (8..keying.plain.len()).step_by(16) {
            let mut pair = pair(11);
            let (to, kind_wanted) = (address(1 - from), wanted);
            // The right one is lost.
            pair.fate = Box::new(move |sent| {
                let is_keying = sent.from == address(from) && (is_fragment(sent) || kind(sent) == kind_wanted);
                if is_keying { vec![] } else { vec![DELAY] }
            });
            pair.open(A);
            pair.run_for_millis(110);
            let mut altered = keying.plain.clone();
            altered[at] ^= 1;
            let before = dropped(&pair, 1 - from);
            let _ = pair.deliver(address(from), to, sealed(keying.id, &altered));
            pair.run_for_millis(1);
            assert_eq!(opened(&pair, 1 - from), 0, "{wanted:?} {at}");
            // An altered cookie can be one for another address.
            let changes =
                startup_packets(&pair).iter().filter(|packet| packet.kind == Kind::CookieChange).count() as u64;
            assert_eq!(dropped(&pair, 1 - from) + changes, before + 1, "it is counted or answered: {wanted:?} {at}");
            let _ = pair.deliver(address(from), to, sealed(keying.id, &keying.plain));
            pair.run_for_millis(1);
            assert_eq!(opened(&pair, 1 - from), 1, "the right one is still taken: {wanted:?} {at}");
        }
    }
}

/// Before a signature is looked at, each takes one of the 100 units that a source has a second. The second unit is for the
/// key agreement: forgeries took it too, so that one source could use up what others had.
#[test]
fn a_flood_of_keyings_costs_no_more_than_a_classical_one() {
    for (hybrid, verified) in [(Hybrid::Off, 100), (Hybrid::Offered, 100)] {
        let mut pair = with(12, &[hybrid; 2]);
        pair.fate = Box::new(|sent| if sent.ordinal < 2 { vec![DELAY] } else { vec![] });
        pair.open(A);
        pair.run_for_millis(60);
        let packets = startup_packets(&pair);
        let keying = packets.iter().find(|packet| packet.kind == Kind::InitiatorKeying).unwrap();
        let mut forged = keying.plain.clone();
        *forged.last_mut().unwrap() ^= 1;
        for _ in 0..1_000 {
            let _ = pair.deliver(address(A), address(B), sealed(keying.id, &forged));
        }
        let stats = pair.nodes[B].endpoint.stats();
        assert_eq!((stats.dropped_not_authentic, stats.over_limit), (verified, 1_000 - verified), "{hybrid:?}");
    }
}

/// Signatures are not in the digest of an IIKeying. Each of 16 versions of a repeated one had an answer of 1,224 bytes.
#[test]
fn one_datagram_with_disputed_fragments_of_a_repeated_keying_has_one_answer() {
    let mut pair = pair(15);
    pair.open(A);
    pair.run_for_millis(400);
    let packets = startup_packets(&pair);
    let plain = &packets.iter().find(|packet| packet.kind == Kind::InitiatorKeying).unwrap().plain;
    let (first, tail) = plain.split_at(plain.len() - 4);
    let fragment = |fragment_number, bytes: &[u8]| {
        let chunk =
            PacketFragment { more_fragments: fragment_number < 4, packet_id: 77, fragment_number, fragment: bytes };
        sealed(0, &StartupPacket::new(Path::new(InterfaceId(0), address(B)), 0, &chunk).plain)
    };
    // The first comes last, and completes all that can be made of the others.
    for (number, byte) in (1..).zip(tail) {
        for version in [*byte, byte ^ 1] {
            let _ = pair.deliver(address(A), address(B), fragment(number, &[version]));
        }
    }
    let answers =
        |pair: &Pair| startup_packets(pair).iter().filter(|packet| packet.kind == Kind::ResponderKeying).count();
    let before = (answers(&pair), pair.nodes[B].endpoint.stats().over_limit);
    let _ = pair.deliver(address(A), address(B), fragment(0, first));
    pair.run_for_millis(10);
    let after = (answers(&pair), pair.nodes[B].endpoint.stats().over_limit);
    assert_eq!((after.0 - before.0, after.1 - before.1), (1, 15));
}

/// It costs two units.
#[test]
fn it_opens_where_a_source_has_one_unit_a_second_and_takes_two_where_there_are_two() {
    for (units, left) in [(1, 0), (2, 0), (3, 1)] {
        let mut configs = vec![EndpointConfig::default(); 2];
        configs[B].max_keying_units_per_source = units;
        let mut pair = Pair::modern_with(17, &configs, |_, builder| builder.hybrid(Hybrid::Required));
        let mut clean = self::pair(17);
        clean.open(A);
        clean.run_for_millis(110);
        pair.open(A);
        pair.run_for_millis(110);
        assert_eq!(opened(&pair, B), 1, "{units}");
        // What is left is seen by forgeries, of which each takes one.
        let keying = startup_packets(&clean).into_iter().find(|packet| packet.kind == Kind::InitiatorKeying).unwrap();
        let mut forged = keying.plain;
        let before = pair.nodes[B].endpoint.stats().dropped_not_authentic;
        // In the ciphers, so that it is another IIKeying.
        let at = forged.len() - 64 - 1_184 - 4;
        forged[at] ^= 1;
        for _ in 0..5 {
            let _ = pair.deliver(address(A), address(B), sealed(keying.id, &forged));
        }
        assert_eq!(pair.nodes[B].endpoint.stats().dropped_not_authentic - before, left, "{units}");
    }
}

/// Anybody can send the first fragments of IIKeyings from a victim's address. A source's part of the memory for them is
/// limited, and what has come of a whole one stays longest.
#[test]
fn a_flood_of_fragments_keeps_nobody_out() {
    let mut clean = pair(13);
    clean.open(A);
    clean.run_for_millis(400);
    let first = clean.log.iter().map(|(_, sent)| sent).find(|sent| is_fragment(sent)).unwrap();
    let (id, plain) = first.plain_under(default_keys().as_mut()).unwrap();
    let mut pair = pair(13);
    pair.open(A);
    for round in 0..120_u16 {
        pair.run_for_millis(1);
        for flood in 0..20 {
            // The packet ID is the first field of the chunk after its flags. Another port is another packet.
            let from = SocketAddr::new(address(A).ip(), 10_000 + round * 20 + flood);
            let _ = pair.deliver(from, address(B), sealed(id, &plain));
        }
    }
    assert!(pair.nodes[B].endpoint.stats().over_limit > 0, "fragments gave way");
    pair.run_for_millis(5_000);
    assert_eq!((opened(&pair, A), opened(&pair, B)), (1, 1));
    assert!(is_hybrid(&pair, B));
}
