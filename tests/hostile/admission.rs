//! What outsiders can cause before they have proved anything: work at this end, and datagrams to addresses that are not
//! theirs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group, StaticKeys};
use rtmfp_core::profile::modern::{self, ModernProfile};
use rtmfp_core::wire::{
    Address, AddressOrigin, Chunk, ForwardedHello, InitiatorHello, InitiatorKeying, Mode, PacketFragment, encode_option,
};
use rtmfp_core::{Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, Target, TransmitBuf};
use rtmfp_tests::duo::TestRng;
use rtmfp_tests::raw_peer::{RawPeer, packet, seal};
use rtmfp_tests::siege::{BOTH, Identity, address, modern, plain};

use super::strangers::{START, connected_as, deliver, endpoint, sent};

/// The largest certificate that is usual: RHellos with it have 1,300 bytes.
fn four_static_keys() -> Identity {
    let keys = StaticKeys::generate(&Group::ALL, &mut TestRng(5));
    let profile = FlashProfile::builder().static_keys(keys).build(&mut TestRng(5)).unwrap();
    let discriminator = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
    (Arc::new(profile), discriminator)
}

/// The largest certificate of the modern profile: with a hostname of 255 bytes.
fn long_hostname() -> Identity {
    let profile = ModernProfile::builder().hostname(&[b'h'; 255]).build(&mut TestRng(5)).unwrap();
    let discriminator = modern::Discriminator::new().peer_id(profile.peer_id()).to_bytes();
    (Arc::new(profile), discriminator)
}

/// The identities of either profile whose answers are largest.
const LARGEST: [fn() -> Identity; 2] = [four_static_keys, long_hostname];

/// A hello as other implementations send it, without padding.
fn hello(identity: &Identity, times: usize, tag: &[u8]) -> Vec<u8> {
    let hello = Chunk::InitiatorHello(InitiatorHello { discriminator: &identity.1, tag });
    seal(identity.0.default_keys().as_mut(), 0, &packet(Mode::Startup, &vec![hello; times]))
}

/// A host among many.
fn host(number: u32) -> SocketAddr {
    SocketAddr::from(((0x0a00_0000 + number).to_be_bytes(), 1_935))
}

/// Each of thirty hello chunks was answered; a tag of nothing, too.
#[test]
fn a_datagram_has_one_answer_and_tags_that_are_too_short_have_none() {
    for named in BOTH {
        let identity = named("victim");
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        for (times, tag, answers) in [(30, &[7; 8][..], 1), (30, &[7; 7], 0), (1, &[], 0), (1, &[7; 16], 1)] {
            deliver(&mut victim, START, host(1), hello(&identity, times, tag));
            assert_eq!(sent(&mut victim, START).0, answers, "{times} hellos with tags of {} bytes", tag.len());
        }
        assert_eq!(victim.stats().malformed, 31);
    }
}

/// One victim, whose address is forged: 1,000 answers a second went there, of 1,300 bytes each.
#[test]
fn a_forged_address_is_sent_few_answers_and_bytes_a_second() {
    let cases = LARGEST.map(|largest| [(1, false), (12, true)].map(|(times, free)| (largest(), times, free)));
    for (identity, times, free) in cases.into_iter().flatten() {
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        let (mut came, mut went, mut answers) = (0, 0, 0);
        for second in 0..10 {
            for number in 0..2_000_u16 {
                let now = START + Duration::from_secs(second);
                let datagram = hello(&identity, times, b"12345678");
                came += datagram.len();
                deliver(&mut victim, now, SocketAddr::from(([203, 0, 113, 5], number + 1)), datagram);
                let (count, bytes) = sent(&mut victim, now);
                (answers, went) = (answers + count, went + bytes);
            }
        }
        println!("{times} hellos a datagram: {answers} answers, {went} bytes for {came}");
        assert!(answers <= 50 * 10, "{answers} answers");
        // What is beyond three times the bytes of those that are answered.
        assert!(free || went <= 10 * 2_000 + 3 * answers * hello(&identity, 1, b"12345678").len(), "{went} bytes");
    }
}

/// All together: any number of forged addresses.
#[test]
fn forged_addresses_are_sent_a_limited_number_of_bytes_beyond_three_times_what_came() {
    for largest in LARGEST {
        let identity = largest();
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        let question = hello(&identity, 1, b"12345678");
        let mut excess = 0;
        for number in 0..20_000 {
            deliver(&mut victim, START, host(number), question.clone());
            excess += sent(&mut victim, START).1.saturating_sub(3 * question.len());
        }
        println!("{excess} bytes beyond three times the {} of each that is answered", question.len());
        assert!(excess <= 50_000 && excess > 25_000, "{excess} bytes");
    }
}

/// Peers exist that do not pad their hellos: for them is what may be sent beyond three times that.
#[test]
fn a_peer_that_does_not_pad_its_hellos_gets_its_session_while_others_forge_them() {
    let flash = FlashProfile::builder().groups(&[Group::Modp1024]).build(&mut TestRng(9)).unwrap();
    let cases: [(Identity, Arc<dyn CryptoProfile>); 2] =
        [(four_static_keys(), Arc::new(flash)), (long_hostname(), modern(9).0)];
    for (identity, near) in cases {
        let mut victim = endpoint(&EndpointConfig::default(), &identity);
        for second in 0..3 {
            let now = START + Duration::from_secs(second);
            for number in 0..5_000 {
                // Ten hosts, as hard as they can.
                deliver(&mut victim, now, host(number % 10), hello(&identity, 1, b"12345678"));
            }
            sent(&mut victim, now);
            let mut peer = RawPeer::new(Arc::clone(&near), address(20 + second as u8), second);
            peer.connect(&mut victim, now, &identity.1);
        }
    }
}

/// Hellos that a session hands on counted separately from those that come from the address itself, and as many again.
#[test]
fn hellos_that_are_handed_on_count_for_the_session_that_brings_them() {
    for named in BOTH {
        let (_, name) = named("victim");
        let (mut victim, mut introducer) = connected_as(named, &EndpointConfig::default());
        for (seconds, one_address) in [(5, true), (10, false)] {
            let now = START + Duration::from_secs(seconds);
            let mut answers = 0;
            for number in 0..2_000 {
                let socket = if one_address { host(1) } else { host(number + 10) };
                let reply_address = Address { origin: AddressOrigin::Observed, socket };
                let forwarded = ForwardedHello { discriminator: &name, reply_address, tag: b"12345678" };
                introducer.send(&mut victim, now, &[Chunk::ForwardedHello(forwarded); 8]);
                answers += sent(&mut victim, now).0;
            }
            println!("{answers} answers to 16,000 hellos that were handed on");
            // Not even as many as may be: an answer is longer than three times the chunk that asks for it.
            assert!((15..=50).contains(&answers), "{answers} answers");
        }
    }
}

/// A key agreement in group 16 costs five in group 14, so one source may cause a fifth as many.
#[test]
fn key_agreements_are_counted_by_what_they_cost_and_leave_some_to_others() {
    let profile = FlashProfile::builder().groups(&[Group::Modp2048, Group::Modp4096]).build(&mut TestRng(1)).unwrap();
    let discriminator = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
    let flash: Identity = (Arc::new(profile), discriminator);
    // One of the modern profile costs as much as one in group 14, and is counted before its signature is verified.
    for (identity, forgery, admitted) in
        [(&flash, in_group(14), 100), (&flash, in_group(16), 20), (&modern(1), modern_forgery(), 100)]
    {
        let mut config = EndpointConfig::default();
        // So that they have their cookies, which last long, at once.
        config.max_hello_replies_per_source = 1_000;
        let mut victim = endpoint(&config, identity);
        let mut peer = Keyer::new(&mut victim, identity, address(9));
        (0..400).for_each(|_| peer.send(&mut victim, &forgery));
        assert_eq!(victim.stats().over_limit, 400 - admitted, "{forgery:?}");
        // A site of IPv6 has two shares, whatever it has of addresses.
        for number in 0..100 {
            let site = std::net::Ipv6Addr::new(0x2001, 0xdb8, 1, number << 8, 0, 0, 0, 1);
            let mut peer = Keyer::new(&mut victim, identity, SocketAddr::new(site.into(), 1));
            (0..10).for_each(|_| peer.send(&mut victim, &forgery));
        }
        let refused = victim.stats().over_limit;
        assert_eq!(refused, 400 - admitted + 1_000 - 2 * admitted, "{forgery:?}");
        // And somebody else is served.
        Keyer::new(&mut victim, identity, address(10)).send(&mut victim, &forgery);
        assert_eq!(victim.stats().over_limit, refused);
    }
}

/// The certificate and the component of a keying, whose signature is wrong too.
type Forgery = (Vec<u8>, Vec<u8>);

/// An ephemeral key of one byte (RFC 7425 §4.5.2.1), and what is required of the far end.
fn in_group(group: u8) -> Forgery {
    let mut component = Vec::new();
    encode_option(0x0d, &[group, 1], &mut component);
    encode_option(0x1a, &[4, 16], &mut component);
    encode_option(0x1e, &[4], &mut component);
    (vec![2, 0x15, group], component)
}

fn modern_forgery() -> Forgery {
    let (profile, _) = modern(2);
    let component = profile.initiate(modern(1).0.certificate(), None, &mut TestRng(3)).unwrap().component;
    (profile.certificate().to_vec(), component)
}

/// Sends keyings whose keys are refused once they are looked at.
struct Keyer {
    peer: RawPeer,
    sent: u32,
}

impl Keyer {
    fn new(victim: &mut Endpoint, identity: &Identity, from: SocketAddr) -> Self {
        let mut peer = RawPeer::new(identity.0.clone(), from, 1);
        deliver(victim, START, from, hello(identity, 1, b"12345678"));
        let mut buf = TransmitBuf::new(1);
        victim.poll_transmit(START, &mut buf).expect("an RHello");
        peer.receive(buf.as_slice());
        Self { peer, sent: 0 }
    }

    fn send(&mut self, victim: &mut Endpoint, (certificate, component): &Forgery) {
        self.sent += 1;
        let (session_id, cookie) = (self.sent, self.peer.cookie.clone());
        let signed = InitiatorKeying::signed_parameters(session_id, &cookie, certificate, component);
        let keying = InitiatorKeying {
            session_id,
            cookie_echo: &cookie,
            certificate,
            component,
            signature: b"X",
            signed: &signed,
        };
        let (from, datagram) = (self.peer.address, self.peer.startup(0, &keying));
        deliver(victim, START, from, datagram);
    }
}

/// 300 forged fragments a second kept out all whose startup packets are large, as those with many static keys are.
#[test]
fn a_flood_of_forged_fragments_keeps_nobody_out() {
    let identity = plain("victim");
    let mut victim = endpoint(&EndpointConfig::default(), &identity);
    let large = "x".repeat(4_000);
    let mut config = EndpointConfig::default();
    config.accept = false;
    let mut friend = endpoint(&config, &plain(&large));
    let (near, far) = (address(1), address(2));
    friend.open(START, Target::new(&b"victim"[..], Path::new(InterfaceId(0), far))).unwrap();
    let (mut now, mut forger, mut forged) = (START, RawPeer::new(plain("mallory").0, address(9), 9), 0_u64);
    for _ in 0..2_000 {
        now += Duration::from_millis(1);
        for _ in 0..3 {
            let chunk = PacketFragment {
                more_fragments: true,
                packet_id: forged,
                fragment_number: forged % 3,
                fragment: &[7; 900],
            };
            let datagram = forger.startup(0, &chunk);
            deliver(&mut victim, now, host(forged as u32 % 50_000), datagram);
            forged += 1;
        }
        friend.handle_timeout(now);
        cross(&mut friend, near, &mut victim, now);
        cross(&mut victim, far, &mut friend, now);
    }
    println!("{forged} forged fragments in {:?}", now.saturating_duration_since(START));
    assert!(matches!(friend.poll_event(), Some(Event::SessionOpened { .. })));
}

/// Hands over what an endpoint at this address has to send.
fn cross(from: &mut Endpoint, at: SocketAddr, to: &mut Endpoint, now: Instant) {
    let mut buf = TransmitBuf::new(1);
    while from.poll_transmit(now, &mut buf).is_some() {
        deliver(to, now, at, buf.as_slice().to_vec());
    }
}
