//! A man in the middle, and a thief who has copied a certificate, against endpoints that rely on a password or on a
//! fingerprint.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::{CryptoRng, SeedableRng};

use super::pair::{A, B, Datagram, Pair, address, path_to};
use crate::endpoint::demux::startup_chunks;
use crate::endpoint::interfaces::Blocked;
use crate::endpoint::startup::{StartupPacket, StartupQueue};
use crate::event::{Event, EventQueue, OpenFailure};
use crate::profile::flash::{Builder, Discriminator, FlashProfile, Group, StaticKeys};
use crate::profile::{CryptoProfile, Initiation, KeyingError, PreparedKey, Response, SessionKeys};
use crate::session::Role;
use crate::wire::{self, Chunk, ResponderHello};
use crate::{Endpoint, EndpointConfig, FlowOptions, Instant, SessionHandle, SessionState, Target, TransmitBuf};

const DELAY: Duration = Duration::from_millis(25);
const URI: &[u8] = b"rtmfp://host/";

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn build(builder: Builder) -> FlashProfile {
    builder.build(&mut rng(9)).unwrap()
}

fn with_password(builder: Builder) -> Builder {
    builder.accept_ancillary(true).sign_with(b"id", b"secret").accept_password(b"id", b"secret").require_signature()
}

fn open(pair: &mut Pair, discriminator: Vec<u8>) -> SessionHandle {
    let session = pair.nodes[A].endpoint.open(pair.now, Target::new(discriminator, path_to(B))).unwrap();
    let flow = pair.nodes[A].endpoint.session_mut(pair.now, session).unwrap().open_flow(FlowOptions::new("f")).unwrap();
    pair.nodes[A].endpoint.send_flow_mut(pair.now, flow).unwrap().write("secret").unwrap();
    session
}

fn open_by_uri(pair: &mut Pair) -> SessionHandle {
    open(pair, Discriminator::new().ancillary_data(URI).to_bytes())
}

fn default_keys() -> Box<dyn SessionKeys> {
    build(FlashProfile::builder().groups(&[Group::Modp1024])).default_keys()
}

/// The session ID and the plain packet of what is under the Default Session Key.
fn startup(datagram: &Datagram) -> Option<(u32, Vec<u8>)> {
    let mut bytes = datagram.bytes.clone();
    let (id, offset) = wire::session_id::unscramble(&bytes)?;
    let plain = default_keys().open(&mut bytes[offset..]).ok()?;
    Some((id, bytes[offset..][plain].to_vec()))
}

fn is_hello(datagram: &Datagram) -> bool {
    let Some((_, plain)) = startup(datagram) else { return false };
    matches!(startup_chunks(&plain).ok().and_then(|mut chunks| chunks.next()), Some(Ok(Chunk::InitiatorHello(_))))
}

/// Puts this certificate into an RHello, as it passes.
fn replace_certificate(datagram: &mut Datagram, certificate: &[u8]) {
    let Some((id, plain)) = startup(datagram) else { return };
    let Some(Ok(Chunk::ResponderHello(hello))) = startup_chunks(&plain).ok().and_then(|mut chunks| chunks.next())
    else {
        return;
    };
    datagram.bytes = sealed(id, &ResponderHello { certificate, ..hello });
}

fn sealed(session_id: u32, hello: &ResponderHello<'_>) -> Vec<u8> {
    let mut queue = StartupQueue::default();
    queue.push_own(Instant::ORIGIN, StartupPacket::new(path_to(A), session_id, hello));
    let mut buf = TransmitBuf::new(1);
    queue
        .poll(&Blocked::default(), Instant::ORIGIN, &mut buf, default_keys().as_mut(), &mut EventQueue::default())
        .unwrap();
    buf.datagrams().next().unwrap().to_vec()
}

fn with_certificate_replaced(pair: &mut Pair, certificate: &[u8]) {
    let certificate = certificate.to_vec();
    pair.fate = Box::new(move |datagram| {
        if datagram.from == address(B) {
            replace_certificate(datagram, &certificate);
        }
        vec![DELAY]
    });
}

fn opened(pair: &Pair, session: SessionHandle) -> bool {
    pair.nodes[A].events.contains(&Event::SessionOpened { session })
}

fn failed(pair: &Pair, session: SessionHandle) -> Option<OpenFailure> {
    pair.nodes[A].events.iter().find_map(|event| {
        if let Event::SessionFailed { session: failed, reason } = event {
            (*failed == session).then_some(*reason)
        } else {
            None
        }
    })
}

/// He forwards everything else as it is, signatures included.
#[test]
fn a_man_in_the_middle_without_the_password_shows_his_static_key_in_vain() {
    let mallory = build(
        FlashProfile::builder()
            .accept_ancillary(true)
            .static_keys(StaticKeys::generate(&[Group::Modp2048], &mut rng(3))),
    );
    for responder_is_static in [false, true] {
        let change = |index, builder| {
            let builder = with_password(builder).groups(&[Group::Modp2048]);
            let lasting = index == B && responder_is_static;
            if lasting { builder.static_keys(StaticKeys::generate(&[Group::Modp2048], &mut rng(4))) } else { builder }
        };
        let mut pair = Pair::flash_with(1, change);
        with_certificate_replaced(&mut pair, mallory.certificate());
        let session = open_by_uri(&mut pair);
        pair.run_for_millis(5_000);
        assert_eq!(failed(&pair, session), Some(OpenFailure::CertificateRefused));
        let hellos = pair.log.iter().filter(|(_, sent)| sent.from == address(A)).all(|(_, sent)| is_hello(sent));
        assert!(hellos, "nothing but hellos left");

        let mut pair = Pair::flash_with(1, change);
        let session = open_by_uri(&mut pair);
        pair.run_for_millis(5_000);
        assert_eq!(opened(&pair, session), !responder_is_static, "left alone");
        let mut pair = Pair::flash_with(1, change);
        let session = pair.open(A);
        pair.run_for_millis(5_000);
        assert!(opened(&pair, session), "pinned by fingerprint");
    }
}

#[test]
fn a_man_in_the_middle_cannot_have_signers_agree_in_a_small_group() {
    let small = build(FlashProfile::builder().accept_ancillary(true).groups(&[Group::Modp1024]));
    for named in [false, true] {
        let mut pair = Pair::flash_with(2, |_, builder| {
            let builder = with_password(builder).compatible();
            if named { builder.groups(&[Group::Modp2048, Group::Modp1024]) } else { builder }
        });
        with_certificate_replaced(&mut pair, small.certificate());
        let session = open_by_uri(&mut pair);
        pair.run_for_millis(5_000);
        assert_eq!(failed(&pair, session), (!named).then_some(OpenFailure::KeyAgreement));
        assert_eq!(opened(&pair, session), named);
    }
}

/// Whoever is called sends every packet back.
#[test]
fn an_endpoint_that_hears_itself_has_not_met_another_who_knows_the_password() {
    let other = build(FlashProfile::builder().accept_ancillary(true).groups(&[Group::Modp2048]));
    let mut pair = Pair::flash_with(3, |_, builder| with_password(builder).groups(&[Group::Modp2048]));
    let certificate = other.certificate().to_vec();
    pair.fate = Box::new(move |datagram| {
        replace_certificate(datagram, &certificate);
        (datagram.from, datagram.to) = (address(B), address(A));
        vec![DELAY]
    });
    let session = open_by_uri(&mut pair);
    pair.run_for_millis(8_000);
    assert!(!opened(&pair, session) && pair.nodes[A].endpoint.stats().sessions_opened == 0);
}

/// Somebody else's certificate, and keys of one's own.
#[derive(Debug)]
struct Thief {
    own: FlashProfile,
    stolen: Vec<u8>,
}

impl CryptoProfile for Thief {
    fn certificate(&self) -> &[u8] {
        &self.stolen
    }
    fn is_authentic(&self, certificate: &[u8]) -> bool {
        self.own.is_authentic(certificate)
    }
    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        self.own.selects(discriminator, certificate)
    }
    fn accepts(&self, _: &[u8], _: &[u8]) -> bool {
        true
    }
    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
        self.own.canonical_discriminator(certificate)
    }
    fn sign(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]]) -> Vec<u8> {
        self.own.sign(signer, far_certificate, message)
    }
    fn verify(&self, signer: Role, far_certificate: &[u8], message: &[&[u8]], signature: &[u8]) -> bool {
        self.own.verify(signer, far_certificate, message, signature)
    }
    fn prevails(&self, _: &[u8]) -> bool {
        true
    }
    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
        self.own.overrides(new, existing)
    }
    fn default_keys(&self) -> Box<dyn SessionKeys> {
        self.own.default_keys()
    }
    fn initiate(
        &self,
        far_certificate: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Initiation, KeyingError> {
        self.own.initiate(far_certificate, prepared, rng)
    }
    fn respond(
        &self,
        far_certificate: &[u8],
        component: &[u8],
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError> {
        self.own.respond(far_certificate, component, prepared, rng)
    }
}

/// A pair whose second node is a thief with the certificate of what was there before.
fn with_thief(seed: u8, allow: bool, responder_is_static: bool) -> Pair {
    let mut pair = Pair::flash_with(seed, |index, builder| {
        let builder = builder.groups(&[Group::Modp2048]).allow_ephemeral_fingerprints(allow);
        let lasting = index == B && responder_is_static;
        if lasting { builder.static_keys(StaticKeys::generate(&[Group::Modp2048], &mut rng(4))) } else { builder }
    });
    let stolen = pair.nodes[B].endpoint.profile().certificate().to_vec();
    let own = build(FlashProfile::builder().groups(&[Group::Modp2048]));
    let thief = Arc::new(Thief { own, stolen });
    let config = EndpointConfig::default();
    pair.nodes[B].endpoint = Endpoint::new(config, thief, Box::new(rng(7)), pair.now).unwrap();
    pair
}

#[test]
fn a_thief_with_a_copied_certificate_is_not_who_was_pinned() {
    for (allow, responder_is_static) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut pair = with_thief(4, allow, responder_is_static);
        let name = pair.nodes[B].discriminator.clone();
        let session = open(&mut pair, name);
        pair.run_for_millis(5_000);
        let robbed = allow && !responder_is_static;
        assert_eq!(opened(&pair, session), robbed, "{allow} {responder_is_static}");
        if !robbed {
            let reason = if responder_is_static { OpenFailure::KeyAgreement } else { OpenFailure::CertificateRefused };
            assert_eq!(failed(&pair, session), Some(reason));
        }
    }
}

/// He answers no hello, and keys from the address that is called.
#[test]
fn a_thief_with_a_copied_certificate_takes_no_opening_over() {
    for allow in [false, true] {
        let mut pair = with_thief(5, allow, false);
        pair.fate = Box::new(|datagram| {
            let ignored = datagram.from == address(A) && is_hello(datagram);
            if ignored { vec![] } else { vec![DELAY] }
        });
        let name = pair.nodes[B].discriminator.clone();
        let session = open(&mut pair, name);
        pair.flush();
        let callee = pair.nodes[A].discriminator.clone();
        pair.nodes[B].endpoint.open(pair.now, Target::new(callee, path_to(A))).unwrap();
        pair.run_for_millis(8_000);
        assert_eq!(opened(&pair, session), allow);
        assert_eq!(pair.nodes[A].endpoint.stats().sessions_opened, 1, "beside the opening, or in its place");
    }
}

const THIEF: usize = 2;

/// A calls B by its URI; a third has a copy of B's certificate.
fn with_third(seed: u8, responder_is_static: bool) -> Pair {
    let mut pair = Pair::flash_with(seed, |index, builder| {
        let builder = builder.groups(&[Group::Modp2048]).accept_ancillary(true);
        let lasting = index == B && responder_is_static;
        if lasting { builder.static_keys(StaticKeys::generate(&[Group::Modp2048], &mut rng(4))) } else { builder }
    });
    let stolen = pair.nodes[B].endpoint.profile().certificate().to_vec();
    let own = build(FlashProfile::builder().groups(&[Group::Modp2048]));
    let thief = Arc::new(Thief { own, stolen });
    let endpoint = Endpoint::new(EndpointConfig::default(), thief, Box::new(rng(7)), pair.now).unwrap();
    pair.add(address(THIEF), endpoint);
    pair
}

/// The thief opens a session, and proves with a packet that he has its keys.
fn thief_calls(pair: &mut Pair) {
    let name = pair.nodes[A].discriminator.clone();
    let thief = &mut pair.nodes[THIEF].endpoint;
    let stolen = thief.open(pair.now, Target::new(name, path_to(A))).unwrap();
    let flow = thief.session_mut(pair.now, stolen).unwrap().open_flow(FlowOptions::new("f")).unwrap();
    thief.send_flow_mut(pair.now, flow).unwrap().write("it is me").unwrap();
    pair.run_for_millis(1_000);
}

fn is_open_to_b(pair: &Pair, session: SessionHandle) -> bool {
    let path = pair.nodes[A].endpoint.session(session).and_then(|session| session.path());
    opened(pair, session) && path.is_some_and(|path| path.remote == address(B))
}

/// He has opened a session before, under the certificate of the one who is called by name.
#[test]
fn a_thief_with_a_copied_certificate_is_not_taken_for_the_one_who_is_called() {
    for responder_is_static in [false, true] {
        let mut pair = with_third(6, responder_is_static);
        thief_calls(&mut pair);
        let session = open_by_uri(&mut pair);
        pair.run_for_millis(5_000);
        assert!(is_open_to_b(&pair, session), "{responder_is_static}: {:?}", pair.nodes[A].events);
    }
}

/// He opens his session while the one who is called by name is keyed with.
#[test]
fn a_thief_with_a_copied_certificate_ends_no_opening_to_the_one_who_is_called() {
    let mut pair = with_third(7, false);
    pair.fate = Box::new(|datagram| {
        let is_keying = startup(datagram).is_some_and(|(id, _)| id != 0);
        if is_keying && datagram.from == address(B) { vec![] } else { vec![DELAY] }
    });
    let session = open_by_uri(&mut pair);
    pair.run_for_millis(200);
    assert_eq!(pair.nodes[A].endpoint.session(session).unwrap().state(), SessionState::KeyingSent);
    thief_calls(&mut pair);
    assert_eq!(pair.nodes[A].endpoint.stats().sessions_opened, 1, "his");
    pair.fate = Box::new(|_| vec![DELAY]);
    pair.run_for_millis(5_000);
    assert!(is_open_to_b(&pair, session), "{:?}", pair.nodes[A].events);
}

/// He was called himself before, at his own address, and answered with the certificate of another.
#[test]
fn a_thief_who_was_called_is_not_taken_for_the_one_whose_certificate_he_showed() {
    let mut pair = with_third(8, false);
    let name = Discriminator::new().ancillary_data(URI).to_bytes();
    let robbed = pair.nodes[A].endpoint.open(pair.now, Target::new(name, path_to(THIEF))).unwrap();
    pair.run_for_millis(1_000);
    assert!(opened(&pair, robbed), "{:?}", pair.nodes[A].events);
    let session = open_by_uri(&mut pair);
    pair.run_for_millis(5_000);
    assert!(is_open_to_b(&pair, session), "{:?}", pair.nodes[A].events);
}

/// An answer that is of no use comes before the right one, and then the network is slow.
#[test]
fn an_answer_that_is_refused_does_not_shorten_the_keying_with_a_good_one() {
    let mut pair = Pair::flash_with(9, |_, builder| builder.groups(&[Group::Modp2048]).accept_ancillary(true));
    let weak = build(FlashProfile::builder().accept_ancillary(true).groups(&[Group::Modp1024]));
    pair.fate = Box::new(|datagram| {
        let is_keying = startup(datagram).is_some_and(|(id, _)| id != 0);
        vec![if is_keying { Duration::from_secs(5) } else { DELAY }]
    });
    let session = open_by_uri(&mut pair);
    pair.flush();
    let (_, hello) = startup(&pair.log[0].1).unwrap();
    let Some(Ok(Chunk::InitiatorHello(hello))) = startup_chunks(&hello).unwrap().next() else { panic!("no hello") };
    let answer = ResponderHello { tag_echo: hello.tag, cookie: b"cookie", certificate: weak.certificate() };
    let _ = pair.deliver(address(B), address(A), sealed(0, &answer));
    pair.run_for_millis(8_000);
    assert!(is_open_to_b(&pair, session), "{:?}", pair.nodes[A].events);
}
