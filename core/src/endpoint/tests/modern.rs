//! Endpoints of the modern profile.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;

use rand_core::CryptoRng;

use super::pair::{A, B, Datagram, Kind, Pair, address, kind_of, path_to};
use crate::profile::flash::{self, FlashProfile};
use crate::profile::modern::tests::profile;
use crate::profile::modern::{Discriminator, ModernProfile, PureRust};
use crate::profile::{CryptoProfile, Initiation, KeyingError, PreparedKey, Response, Role, SessionKeys};
use crate::{
    Disposition, EndpointConfig, Event, FlowOptions, ForwardedHelloPolicy, InterfaceId, Path, RecvMeta, SessionHandle,
    Target,
};

const DELAY: Duration = Duration::from_millis(25);
const INTRO: usize = 2;

pub(super) fn pair(seed: u8) -> Pair {
    Pair::modern(seed, &[EndpointConfig::default(), EndpointConfig::default()])
}

pub(super) fn default_keys() -> Box<dyn SessionKeys> {
    profile(1, |builder| builder.provider(Arc::new(PureRust))).default_keys()
}

pub(super) fn kind(datagram: &Datagram) -> Kind {
    datagram.plain_under(default_keys().as_mut()).map_or(Kind::Session, |(_, plain)| kind_of(&plain))
}

pub(super) fn opened(pair: &Pair, node: usize) -> usize {
    pair.nodes[node].events.iter().filter(|event| matches!(event, Event::SessionOpened { .. })).count()
}

/// Writes a message on a new flow.
pub(super) fn write(pair: &mut Pair, node: usize, session: SessionHandle, message: &[u8]) {
    let mut view = pair.nodes[node].endpoint.session_mut(pair.now, session).unwrap();
    let flow = view.open_flow(FlowOptions::new("flow")).unwrap();
    pair.nodes[node].endpoint.send_flow_mut(pair.now, flow).unwrap().write(message.to_vec()).unwrap();
}

/// What has come on all flows of a node.
pub(super) fn read(pair: &mut Pair, node: usize) -> Vec<u8> {
    let flows: Vec<_> = pair.nodes[node]
        .events
        .iter()
        .filter_map(|event| if let Event::FlowOpened { flow } = event { Some(*flow) } else { None })
        .collect();
    let mut all = Vec::new();
    for flow in flows {
        let Some(mut view) = pair.nodes[node].endpoint.recv_flow_mut(pair.now, flow) else { continue };
        while let Some(message) = view.read() {
            all.extend_from_slice(&message.data);
        }
    }
    all
}

pub(super) fn target(pair: &Pair, to: usize, at: usize) -> Target {
    Target::new(pair.nodes[to].discriminator.clone(), path_to(at))
}

#[test]
fn megabytes_cross_a_wire_that_loses_doubles_and_delays() {
    let mut pair = pair(1);
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
    assert!(read(&mut pair, B) == message);
    let b = pair.nodes[B].endpoint.sessions().next().unwrap();
    let [near, far] = [(A, a), (B, b)].map(|(node, session)| {
        let session = pair.nodes[node].endpoint.session(session).unwrap();
        (session.near_nonce().to_vec(), session.far_nonce().to_vec())
    });
    assert_eq!((&near.0, &near.1), (&far.1, &far.0));
    assert_eq!(near.0.len(), 32);
    assert!(
        pair.nodes[B].endpoint.stats().dropped_replayed > 0
            && pair.nodes[B].endpoint.stats().dropped_not_authentic == 0
    );
}

#[test]
fn glare_leaves_one_session() {
    for offset in (0..120).step_by(4) {
        let mut pair = pair(2);
        pair.open(A);
        pair.run_for_millis(offset);
        pair.open(B);
        pair.run_for_millis(10_000);
        assert_eq!((opened(&pair, A), opened(&pair, B)), (1, 1), "offset {offset} ms");
        for node in [A, B] {
            assert_eq!(pair.nodes[node].endpoint.sessions().count(), 1, "offset {offset} ms");
        }
    }
}

#[test]
fn a_server_is_reached_by_its_address_alone() {
    let [near, far] = [1, 2].map(|seed| profile(seed, |builder| builder.accept_ancillary(true)));
    let by_uri = Discriminator::new().ancillary_data(b"rtmfp://192.0.2.2/").to_bytes();
    let nodes =
        [near, far].map(|one| (Arc::new(one) as Arc<dyn CryptoProfile>, by_uri.clone(), EndpointConfig::default()));
    let mut pair = Pair::with_nodes(3, nodes.into());
    pair.open(A);
    pair.run_for_millis(500);
    assert_eq!((opened(&pair, A), opened(&pair, B)), (1, 1));
    // Its own hello comes back to it, from somebody on the path: it has no session with itself.
    let own = target(&pair, A, A);
    pair.nodes[A].endpoint.open(pair.now, own).unwrap();
    pair.run_for_millis(5_000);
    assert_eq!(opened(&pair, A), 1);
}

/// Another identity than the one that was asked for, though it answers.
#[test]
fn a_peer_id_is_not_answered_by_another() {
    let mut pair = Pair::modern(4, &[EndpointConfig::default(), EndpointConfig::default(), EndpointConfig::default()]);
    let wrong = target(&pair, B, INTRO);
    pair.nodes[A].endpoint.open(pair.now, wrong).unwrap();
    pair.run_for_millis(5_000);
    assert_eq!(opened(&pair, A), 0);
}

/// §3.5.1.5 and §3.5.1.6: both are behind NATs, and have sessions with the introducer or ask it.
#[test]
fn two_ends_behind_nats_are_introduced() {
    let introducer = EndpointConfig { introduce: true, ..EndpointConfig::default() };
    let answers = EndpointConfig { forwarded_hello: ForwardedHelloPolicy::Answer, ..EndpointConfig::default() };
    let mut pair = Pair::modern(5, &[EndpointConfig::default(), answers, introducer]);
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
    pair.run_for_millis(2_000);
    assert!(pair.nodes[A].events.contains(&Event::SessionOpened { session }));
    assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().path().unwrap().remote, address(B));
    assert!(pair.log.iter().any(|(_, sent)| kind(sent) == Kind::Redirect && sent.to == address(A)));
}

#[test]
fn a_session_follows_its_far_end_to_another_address() {
    let mut pair = pair(6);
    let a = pair.open(A);
    pair.run_for_millis(500);
    let elsewhere = SocketAddr::from(([198, 51, 100, 7], 4_000));
    pair.nodes[A].address = elsewhere;
    write(&mut pair, A, a, b"from elsewhere");
    pair.run_for_millis(5_000);
    assert_eq!(read(&mut pair, B), b"from elsewhere");
    let b = pair.nodes[B].endpoint.sessions().next().unwrap();
    assert_eq!(pair.nodes[B].endpoint.session(b).unwrap().path().unwrap().remote, elsewhere);
}

/// A session of an identity ends for the sake of its next one, and not before that is proved.
#[test]
fn a_restarted_peer_overrides_its_old_session() {
    let mut pair = pair(7);
    let a = pair.open(A);
    write(&mut pair, A, a, b"first");
    pair.run_for_millis(500);
    let again = Arc::new(profile(7 << 8 | 1, |builder| builder));
    let rng = Box::new(Pair::rng(99, A));
    pair.nodes[A].endpoint = crate::Endpoint::new(EndpointConfig::default(), again, rng, pair.now).unwrap();
    let old = pair.nodes[B].endpoint.sessions().next().unwrap();
    let a = pair.open(A);
    pair.run_for_millis(80);
    assert_eq!(opened(&pair, B), 2);
    assert!(pair.nodes[B].endpoint.session(old).is_some(), "nothing is proved");
    write(&mut pair, A, a, b"proof");
    pair.run_for_millis(2_000);
    assert!(read(&mut pair, B).ends_with(b"proof"));
    let closed = |event: &Event| matches!(event, Event::SessionClosed { session, .. } if *session == old);
    assert!(pair.nodes[B].events.iter().any(closed), "{:?}", pair.nodes[B].events);
}

/// Of the four datagrams of a handshake, one has one byte altered on its way. The endpoint drops it, and nothing else
/// comes of it: the next attempt opens the session.
#[test]
fn every_altered_byte_of_a_handshake_is_dropped() {
    let mut clean = pair(8);
    clean.open(A);
    clean.run_for_millis(500);
    let startup = clean.log.iter().filter(|(_, sent)| kind(sent) != Kind::Session).count();
    assert_eq!(startup, 4);
    for number in 0..4 {
        let length = clean.log[number].1.bytes.len();
        for at in 0..length {
            let mut pair = pair(8);
            pair.open(A);
            pair.fate = Box::new(move |datagram| {
                if datagram.ordinal == number as u64 {
                    datagram.bytes[at] ^= 1;
                }
                vec![DELAY]
            });
            pair.run_for_millis(120);
            let at_responder = usize::from(number == 3);
            assert_eq!((opened(&pair, A), opened(&pair, B)), (0, at_responder), "{number} {at}");
            pair.run_for_millis(5_000);
            assert_eq!(opened(&pair, A), 1, "{number} {at}");
        }
    }
}

/// The bytes that the signatures cover, altered by somebody who seals the packet again, as anybody can.
#[test]
fn every_altered_byte_of_keying_is_refused() {
    let mut clean = pair(9);
    clean.open(A);
    clean.run_for_millis(500);
    for (number, wanted) in [(2, Kind::InitiatorKeying), (3, Kind::ResponderKeying)] {
        assert_eq!(kind(&clean.log[number].1), wanted);
        let (id, plain) = clean.log[number].1.plain_under(default_keys().as_mut()).unwrap();
        for at in 4..plain.len() {
            let mut pair = pair(9);
            pair.open(A);
            pair.fate = Box::new(move |datagram| {
                if datagram.ordinal == number as u64 {
                    let (_, mut plain) = datagram.plain_under(default_keys().as_mut()).unwrap();
                    plain[at] ^= 1;
                    datagram.bytes = sealed(id, &plain);
                }
                vec![DELAY]
            });
            pair.run_for_millis(120);
            assert_eq!(opened(&pair, A), 0, "{wanted:?} {at}");
            let expected = usize::from(wanted == Kind::ResponderKeying);
            assert_eq!(opened(&pair, B), expected, "{wanted:?} {at}");
            pair.run_for_millis(5_000);
            assert_eq!(opened(&pair, A), 1, "the next attempt succeeds: {wanted:?} {at}");
        }
    }
}

/// A startup packet as anybody can make it.
pub(super) fn sealed(id: u32, plain: &[u8]) -> Vec<u8> {
    let mut keys = default_keys();
    let length = keys.sealed_len(0, plain.len());
    let mut bytes = vec![0; 4 + length];
    bytes[4..4 + plain.len()].copy_from_slice(plain);
    keys.seal(&mut bytes, &[crate::transmit::Span { start: 4, front: 0, plain: plain.len(), sealed: length }]);
    let words = [0, 4].map(|at| u32::from_be_bytes(bytes[4 + at..8 + at].try_into().unwrap()));
    bytes[..4].copy_from_slice(&(id ^ words[0] ^ words[1]).to_be_bytes());
    bytes
}

/// What was recorded of one session is sent again, to both ends, after its end and to others.
#[test]
fn a_recorded_session_has_no_effect_again() {
    let mut pair = pair(10);
    let a = pair.open(A);
    write(&mut pair, A, a, b"once");
    pair.run_for_millis(2_000);
    assert_eq!(read(&mut pair, B), b"once");
    let log: Vec<Datagram> = pair.log.iter().map(|(_, sent)| sent.clone()).collect();
    for sent in &log {
        for to in [sent.to, sent.from] {
            let _ = pair.deliver(sent.from, to, sent.bytes.clone());
        }
    }
    pair.run_for_millis(2_000);
    assert_eq!((opened(&pair, A), opened(&pair, B)), (1, 1));
    assert!(read(&mut pair, B).is_empty());
    let mut other = self::pair(11);
    for sent in &log {
        let _ = other.deliver(sent.from, sent.to, sent.bytes.clone());
    }
    other.run_for_millis(2_000);
    assert_eq!((opened(&other, A), opened(&other, B)), (0, 0));
}

#[test]
fn the_profiles_do_not_disturb_each_other() {
    let ours = profile(1, |builder| builder.accept_ancillary(true));
    let flash = FlashProfile::builder().accept_ancillary(true).build(&mut Pair::rng(1, A)).unwrap();
    let by_uri = Discriminator::new().ancillary_data(b"rtmfp://x").to_bytes();
    let flash_by_uri = flash::Discriminator::new().ancillary_data(b"rtmfp://x").to_bytes();
    let nodes: Vec<(Arc<dyn CryptoProfile>, Vec<u8>, EndpointConfig)> = vec![
        (Arc::new(ours), flash_by_uri, EndpointConfig::default()),
        (Arc::new(flash), by_uri, EndpointConfig::default()),
    ];
    let mut pair = Pair::with_nodes(12, nodes);
    // Each asks the other in its own language.
    for from in [A, B] {
        let name = pair.nodes[from].discriminator.clone();
        let other = pair.nodes[1 - from].discriminator.clone();
        assert_ne!(name, other);
        pair.nodes[from].endpoint.open(pair.now, Target::new(other, path_to(1 - from))).unwrap();
    }
    pair.run_for_millis(10_000);
    for node in [A, B] {
        assert_eq!(opened(&pair, node), 0);
        let stats = pair.nodes[node].endpoint.stats();
        assert!(stats.dropped_not_authentic > 0);
    }
}

/// Nothing that is kept grows, whatever is made up.
#[test]
fn garbage_is_counted_and_leaves_nothing() {
    let mut pair = pair(13);
    let a = pair.open(A);
    write(&mut pair, A, a, b"message");
    pair.run_for_millis(500);
    let session: Vec<u8> =
        pair.log.iter().map(|(_, sent)| sent).find(|sent| kind(sent) == Kind::Session).unwrap().bytes.clone();
    for at in 0..session.len() {
        let mut bytes = session.clone();
        bytes[at] ^= 0x80;
        let path = Path::new(InterfaceId(0), address(A));
        let disposition = pair.nodes[B].endpoint.handle_datagram(pair.now, path, RecvMeta::default(), &mut bytes);
        assert_eq!(disposition, Disposition::Dropped, "{at}");
    }
    assert_eq!(pair.nodes[B].endpoint.sessions().count(), 1);
}

/// Counts the signatures that it verifies.
#[derive(Debug)]
struct Counting(ModernProfile, AtomicUsize);

impl CryptoProfile for Counting {
    fn certificate(&self) -> &[u8] {
        self.0.certificate()
    }
    fn is_authentic(&self, certificate: &[u8]) -> bool {
        self.0.is_authentic(certificate)
    }
    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        self.0.selects(discriminator, certificate)
    }
    fn accepts(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        self.0.accepts(discriminator, certificate)
    }
    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
        self.0.canonical_discriminator(certificate)
    }
    fn sign(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]]) -> Vec<u8> {
        self.0.sign(signer, far_certificate, message)
    }
    fn verify(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]], signature: &[u8]) -> bool {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.verify(signer, far_certificate, message, signature)
    }
    fn prevails(&self, far_certificate: &[u8]) -> bool {
        self.0.prevails(far_certificate)
    }
    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
        self.0.overrides(new, existing)
    }
    fn keys_prove_owner(&self, certificate: &[u8]) -> bool {
        self.0.keys_prove_owner(certificate)
    }
    fn default_keys(&self) -> Box<dyn SessionKeys> {
        self.0.default_keys()
    }
    fn initiate(
        &self,
        far_certificate: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Initiation, KeyingError> {
        self.0.initiate(far_certificate, prepared, rng)
    }
    fn respond(
        &self,
        far_certificate: &[u8],
        initiator_component: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError> {
        self.0.respond(far_certificate, initiator_component, prepared, rng)
    }
}

/// It costs as much as a key agreement: a responder verified before its limits, and once more when it had its keys.
#[test]
fn a_responder_verifies_a_keying_once_and_within_its_limits() {
    let counting = Arc::new(Counting(profile(2, |builder| builder), AtomicUsize::new(0)));
    let name = |profile: &ModernProfile| Discriminator::new().peer_id(profile.peer_id()).to_bytes();
    let near = profile(1, |builder| builder);
    let near_name = name(&near);
    let nodes: Vec<(Arc<dyn CryptoProfile>, Vec<u8>, EndpointConfig)> = vec![
        (Arc::new(near), near_name, EndpointConfig::default()),
        (Arc::clone(&counting) as _, name(&counting.0), EndpointConfig::default()),
    ];
    let mut pair = Pair::with_nodes(14, nodes);
    pair.fate = Box::new(|sent| if kind(sent) == Kind::InitiatorKeying { vec![] } else { vec![DELAY] });
    pair.open(A);
    pair.run_for_millis(100);
    let keying =
        pair.log.iter().map(|(_, sent)| sent).find(|sent| kind(sent) == Kind::InitiatorKeying).unwrap().clone();
    let (id, plain) = keying.plain_under(default_keys().as_mut()).unwrap();
    // The cookie is right and the signature is not, many in one moment.
    for number in 0..2_000_u32 {
        let mut forged = plain.clone();
        let at = forged.len() - 4;
        forged[at..].copy_from_slice(&number.to_be_bytes());
        let _ = pair.deliver(keying.from, keying.to, sealed(id, &forged));
    }
    let forgeries = counting.1.load(Ordering::Relaxed);
    assert!((1..1_000).contains(&forgeries), "{forgeries}");
    assert_eq!(opened(&pair, B), 0);
    pair.fate = Box::new(|_| vec![DELAY]);
    pair.run_for_millis(10_000);
    assert_eq!((opened(&pair, A), opened(&pair, B)), (1, 1));
    assert_eq!(counting.1.load(Ordering::Relaxed), forgeries + 1);
}
