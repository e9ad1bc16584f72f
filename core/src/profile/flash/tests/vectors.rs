//! Sessions of another implementation, byte for byte.

use alloc::vec::Vec;

use super::{hex, is_padded, open, seal_all, seal_one};
use crate::profile::flash::certificate::{Certificate, KeyKind};
use crate::profile::flash::component::Component;
use crate::profile::flash::derive::Derived;
use crate::profile::flash::negotiation::Negotiated;
use crate::profile::flash::seal::FlashKeys;
use crate::profile::{PacketError, SessionKeys, flash::Fingerprint};

const VECTORS: &str = include_str!("../../../../tests/data/flash.txt");

struct Session<'a> {
    title: &'a str,
    fields: Vec<(&'a str, &'a str)>,
    packets: Vec<(&'a str, Vec<u8>, Vec<u8>)>,
}

impl Session<'_> {
    fn field(&self, name: &str) -> Vec<u8> {
        hex(self.fields.iter().find(|(field, _)| *field == name).unwrap().1)
    }

    fn has(&self, setting: &str) -> bool {
        self.title.split(' ').any(|word| word == setting)
    }

    /// The initiator's keys, then the responder's.
    fn keys(&self) -> (FlashKeys, FlashKeys) {
        let (skic, skrc, secret) = (self.field("skic"), self.field("skrc"), self.field("dh_secret"));
        let (initiator, responder) = (Component::parse(&skic).unwrap().offers, Component::parse(&skrc).unwrap().offers);
        (
            FlashKeys::new(&Derived::new(&secret, &skic, &skrc), Negotiated::new(&initiator, &responder)),
            FlashKeys::new(&Derived::new(&secret, &skrc, &skic), Negotiated::new(&responder, &initiator)),
        )
    }
}

fn sessions() -> Vec<Session<'static>> {
    let mut sessions: Vec<Session<'_>> = Vec::new();
    for line in VECTORS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let mut words = line.splitn(3, ' ');
        match (words.next().unwrap(), words.next().unwrap(), words.next()) {
            ("session", ..) => sessions.push(Session { title: line, fields: Vec::new(), packets: Vec::new() }),
            (from @ ("i" | "r"), plain, Some(sealed)) => {
                sessions.last_mut().unwrap().packets.push((from, hex(plain), hex(sealed)));
            }
            (name, value, _) => sessions.last_mut().unwrap().fields.push((name, value)),
        }
    }
    sessions
}

#[test]
fn all_are_there() {
    let sessions = sessions();
    assert_eq!(sessions.len(), 32);
    assert_eq!(sessions.iter().map(|session| session.packets.len()).sum::<usize>(), 704);
}

#[test]
fn certificates_and_components() {
    for session in sessions() {
        let settings: Vec<_> = session.title.split(' ').collect();
        for (end, kind) in [("initiator", settings[3]), ("responder", settings[4])] {
            let bytes = session.field(&alloc::format!("{end}_certificate"));
            let certificate = Certificate::parse(&bytes).unwrap();
            assert_eq!(certificate.canonical_section(), bytes);
            let fingerprint = session.field(&alloc::format!("{end}_fingerprint"));
            assert_eq!(certificate.fingerprint(), Fingerprint(fingerprint.try_into().unwrap()), "{}", session.title);
            let expected = if kind == "static" { KeyKind::Static } else { KeyKind::Ephemeral };
            assert_eq!(certificate.key_kind(), Some(expected));
            assert_eq!(certificate.groups().collect::<Vec<_>>(), [settings[2].parse::<u64>().unwrap()]);
        }
        let (skic, skrc) = (session.field("skic"), session.field("skrc"));
        let (skic, skrc) = (Component::parse(&skic).unwrap(), Component::parse(&skrc).unwrap());
        assert_eq!(skic.ephemeral_key.is_some(), settings[3] == "ephemeral");
        assert_eq!(skic.group_select.is_some(), settings[3] == "static");
        assert_eq!(skrc.ephemeral_key.is_some(), settings[4] == "ephemeral");
        assert_eq!((skic.offers.hmac_len, skrc.offers.hmac_len), (16, 10));
    }
}

#[test]
fn nonces() {
    for session in sessions() {
        let (initiator, responder) = session.keys();
        assert_eq!(initiator.near_nonce(), session.field("initiator_near_nonce"), "{}", session.title);
        assert_eq!(initiator.far_nonce(), session.field("initiator_far_nonce"), "{}", session.title);
        assert_eq!(responder.near_nonce(), initiator.far_nonce());
        assert_eq!(responder.far_nonce(), initiator.near_nonce());
        assert_eq!((initiator.authenticates(), responder.authenticates()), (session.has("hmac"), session.has("hmac")));
    }
}

#[test]
fn sealed_packets_are_the_same_bytes() {
    for session in sessions() {
        let (mut initiator, mut responder) = session.keys();
        for (from, plain, sealed) in &session.packets {
            let keys = if *from == "i" { &mut initiator } else { &mut responder };
            assert_eq!(&seal_one(keys, plain), sealed, "{}, {} bytes", session.title, plain.len());
        }
    }
}

#[test]
fn sealed_together_they_are_the_same_bytes() {
    for session in sessions() {
        let (initiator, responder) = session.keys();
        for (end, mut keys) in [("i", initiator), ("r", responder)] {
            let its = session.packets.iter().filter(|(from, ..)| *from == end);
            let (plain, sealed): (Vec<&[u8]>, Vec<_>) =
                its.map(|(_, plain, sealed)| (plain.as_slice(), sealed.clone())).unzip();
            assert_eq!(seal_all(&mut keys, &plain), sealed, "{}", session.title);
        }
    }
}

#[test]
fn sealed_packets_open_once() {
    for session in sessions() {
        let (mut initiator, mut responder) = session.keys();
        for (from, plain, sealed) in &session.packets {
            let keys = if *from == "i" { &mut responder } else { &mut initiator };
            assert!(is_padded(&open(keys, sealed).unwrap(), plain), "{}", session.title);
            let again = open(keys, sealed);
            if session.has("sseq") {
                assert_eq!(again, Err(PacketError::Replayed));
            } else {
                assert!(again.is_ok());
            }
        }
    }
}
