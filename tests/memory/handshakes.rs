//! Attacks with handshakes, under the plain and the modern profile.

use std::time::Duration;

use rtmfp_core::wire::InitiatorKeying;
use rtmfp_core::{EndpointConfig, TransmitBuf};
use rtmfp_tests::raw_peer::RawPeer;
use rtmfp_tests::siege::{Identity, address, named_modern};

use super::attacks::{Outcome, Watch, arrive, source};
use super::{START, endpoint};

/// Keyings whose cookies are made up.
pub(super) fn keyings(identity: fn(&str) -> Identity) -> Outcome {
    let mut victim = endpoint(&EndpointConfig::default(), &identity("victim"));
    let mut peer = RawPeer::new(identity("mallory").0, address(9), 9);
    let certificate = peer.profile.certificate().to_vec();
    let mut watch = Watch::new();
    for number in 0..20_000_u64 {
        let cookie = [number.to_be_bytes(); 8].concat();
        let signed = InitiatorKeying::signed_parameters(7, &cookie, &certificate, b"ab");
        let keying = InitiatorKeying {
            session_id: 7,
            cookie_echo: &cookie,
            certificate: &certificate,
            component: b"ab",
            signature: b"X",
            signed: &signed,
        };
        let datagram = peer.startup(0, &keying);
        arrive(&mut victim, source(number), datagram);
        watch.look();
    }
    let refused = victim.stats().dropped_not_authentic;
    watch.end_as(identity, victim, Duration::from_secs(2), refused)
}

/// More sessions than there may be.
pub(super) fn sessions(identity: fn(&str) -> Identity) -> Outcome {
    let mut config = EndpointConfig::default();
    config.max_sessions = 256;
    config.max_keying_units_per_second = u32::MAX;
    config.max_keying_units_per_source = u32::MAX;
    let mut victim = endpoint(&config, &identity("victim"));
    let (mallory, name) = (identity("mallory").0, identity("victim").1);
    let mut watch = Watch::new();
    for number in 0..3_000 {
        let mut peer = RawPeer::new(mallory.clone(), source(number), number);
        peer.hello(&name);
        peer.talk(&mut victim, START);
        while victim.poll_event().is_some() {}
        drop(peer);
        watch.look();
    }
    assert_eq!(victim.sessions().count(), 256);
    let refused = victim.stats().over_limit;
    // They are closed when their idle limit or patience is over.
    while let Some(now) = victim.poll_timeout().filter(|at| *at < START + Duration::from_secs(900)) {
        victim.handle_timeout(now);
        let mut buf = TransmitBuf::new(4);
        while victim.poll_transmit(now, &mut buf).is_some() {}
        while victim.poll_event().is_some() {}
    }
    watch.end_as(identity, victim, Duration::from_secs(900), refused)
}

/// Keyings with all that is right except the signature, and no limit on how many are looked at.
pub(super) fn forged_signatures() -> Outcome {
    let mut config = EndpointConfig::default();
    config.max_keying_units_per_second = u32::MAX;
    config.max_keying_units_per_source = u32::MAX;
    let identity = named_modern("victim");
    let mut victim = endpoint(&config, &identity);
    let mut peer = RawPeer::new(named_modern("mallory").0, address(9), 9);
    peer.connect(&mut victim, START, &identity.1);
    while victim.poll_event().is_some() {}
    let (cookie, certificate) = (peer.cookie.clone(), peer.profile.certificate().to_vec());
    let initiation = peer.profile.initiate(identity.0.certificate(), None, &mut peer.rng).unwrap();
    let mut watch = Watch::new();
    for number in 0..2_000 {
        let signed = InitiatorKeying::signed_parameters(number + 1, &cookie, &certificate, &initiation.component);
        let keying = InitiatorKeying {
            session_id: number + 1,
            cookie_echo: &cookie,
            certificate: &certificate,
            component: &initiation.component,
            signature: &[7; 64],
            signed: &signed,
        };
        let datagram = peer.startup(0, &keying);
        arrive(&mut victim, peer.address, datagram);
        watch.look();
    }
    assert_eq!(victim.sessions().count(), 1);
    let refused = victim.stats().dropped_not_authentic;
    watch.end_as(named_modern, victim, Duration::from_secs(2), refused)
}
