use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use quickcheck::quickcheck;

use super::{PlainKeys, PlainProfile};
use crate::profile::flash::tests::{hex, rng, seal_all, seal_one};
use crate::profile::{CryptoProfile, KeyingError, PacketError, Role, SessionKeys};
use crate::transmit::Span;
use crate::wire::{Chunk, PacketHeader, session_id};

/// Recorded between two programs of rtmfp-cpp; see `tests/plain_session.rs`.
const SESSION: &str = include_str!("../../../tests/data/plain-session.jsonl");

fn field<'a>(line: &'a str, key: &str) -> &'a str {
    let (_, value) = line.split_once(&alloc::format!("\"{key}\":")).unwrap();
    value.split([',', '}']).next().unwrap().trim_matches('"')
}

/// Every datagram opens with the salts that the handshake told, and is sealed to the same bytes.
#[test]
fn a_recorded_session() {
    // Learnt from the keying chunks: what each end asked the other to add.
    let (mut client_salt, mut server_salt) = (0, 0);
    let (mut opened, mut startup) = (0, 0);
    for line in SESSION.lines() {
        let datagram = hex(field(line, "datagram"));
        let from_client = field(line, "from") == "client";
        let Some((_, offset)) = session_id::unscramble(&datagram) else { continue };
        let sealed = &datagram[offset..];
        let is_startup = sealed[0] & 3 == 3;
        let salt = match (is_startup, from_client) {
            (true, _) => 0,
            (false, true) => server_salt,
            (false, false) => client_salt,
        };
        let mut keys = PlainKeys { send_salt: salt, recv_salt: salt, pretend_authentic: false };
        let mut bytes = sealed.to_vec();
        let range = keys.open(&mut bytes).unwrap();
        let plain = &bytes[range][..sealed.len() - 18];
        assert_eq!(seal_one(&mut keys, plain), sealed, "{line}");
        opened += 1;
        if is_startup {
            startup += 1;
            let (_, chunks) = PacketHeader::parse(plain).unwrap();
            for chunk in chunks.map(Result::unwrap) {
                if let Chunk::InitiatorKeying(keying) = chunk {
                    client_salt = u16::from_be_bytes(keying.component.try_into().unwrap());
                    assert_eq!(keying.signature, b"X");
                } else if let Chunk::ResponderKeying(keying) = chunk {
                    server_salt = u16::from_be_bytes(keying.component.try_into().unwrap());
                    assert_eq!(keying.signature, b"X");
                }
            }
        }
    }
    assert!(client_salt != 0 && server_salt != 0 && client_salt != server_salt);
    assert!(opened > 600 && startup == 4, "{opened} datagrams, {startup} of them of the startup");
}

fn agree(pretend: bool) -> (Box<dyn SessionKeys>, Box<dyn SessionKeys>) {
    let (one, two) = (PlainProfile::new(b"one"), PlainProfile::new(b"two"));
    let (one, two) = (one.pretend_authentic(pretend), two.pretend_authentic(pretend));
    let initiation = one.initiate(two.certificate(), None, &mut rng(1)).unwrap();
    let response = two.respond(one.certificate(), &initiation.component, None, &mut rng(2)).unwrap();
    (initiation.pending.finish(&response.component).unwrap(), response.keys)
}

#[test]
fn sessions_are_kept_apart_by_their_salts() {
    let (mut near, mut far) = agree(false);
    let mut default = PlainProfile::new(b"one").default_keys();
    let mut sealed = seal_one(&mut *near, b"packet");
    assert_eq!(far.open(&mut sealed), Ok(0..6 + 16));
    assert_eq!(default.open(&mut sealed), Err(PacketError::NotAuthentic));
    assert_eq!(near.open(&mut sealed), Err(PacketError::NotAuthentic), "each direction has its own");
}

#[test]
fn nothing_is_authentic_unless_pretended() {
    let (near, far) = agree(false);
    assert!(!near.authenticates() && !far.authenticates());
    assert_eq!((near.near_nonce(), near.far_nonce()), (&[][..], &[][..]));
    let (near, far) = agree(true);
    assert!(near.authenticates() && far.authenticates());
    assert!(!PlainProfile::new(b"one").pretend_authentic(true).default_keys().authenticates());
}

#[test]
fn names_are_everything() {
    let one = PlainProfile::new(b"one");
    assert_eq!((one.certificate(), one.canonical_discriminator(b"two")), (&b"one"[..], b"two".to_vec()));
    assert!(one.selects_near(b"one") && !one.selects_near(b"two") && one.selects(b"two", b"two"));
    assert!(one.prevails(b"two") && !one.prevails(b"one") && !one.prevails(b"on"));
    assert!(one.overrides(b"two", b"two") && !one.overrides(b"two", b"three"));
    assert!(
        one.is_authentic(b"")
            && one.verify(Role::Initiator, b"", &[], b"")
            && one.sign(Role::Initiator, b"", &[]) == b"X"
    );
}

#[test]
fn salts_have_two_bytes() {
    let one = PlainProfile::new(b"one");
    let initiation = one.initiate(b"two", None, &mut rng(1)).unwrap();
    assert_eq!(initiation.component.len(), 2);
    for wrong in [&b""[..], b"1", b"123"] {
        assert_eq!(initiation.pending.finish(wrong).map(|_| ()), Err(KeyingError::Malformed));
        assert_eq!(one.respond(b"two", wrong, None, &mut rng(1)).map(|_| ()), Err(KeyingError::Malformed));
    }
}

#[test]
fn impossible_lengths() {
    let mut keys = PlainKeys::default();
    for len in 0..3 {
        assert_eq!(keys.open(&mut vec![0; len]), Err(PacketError::TooShort));
    }
    assert_eq!((keys.plain_capacity(0, 17), keys.plain_capacity(0, 20)), (0, 2));
    assert_eq!(keys.sealed_len(0, 2), 20);
    let mut bytes = vec![1; 30];
    keys.seal(&mut bytes, &[Span { start: 20, front: 0, plain: 10, sealed: 28 }]);
    assert_eq!(bytes, vec![1; 30], "beyond the buffer");
}

quickcheck! {
    fn what_is_sealed_opens(plains: Vec<Vec<u8>>) -> bool {
        let (mut near, mut far) = agree(false);
        let sealed = seal_all(&mut *near, &plains.iter().map(Vec::as_slice).collect::<Vec<_>>());
        plains.iter().zip(sealed).all(|(plain, mut sealed)| {
            let range = far.open(&mut sealed).unwrap();
            sealed[range].strip_prefix(plain.as_slice()) == Some(&[0xff; 16])
        })
    }

    fn one_wrong_byte_is_found(plain: Vec<u8>, at: usize, flip: u8) -> bool {
        let (mut near, mut far) = agree(false);
        let mut sealed = seal_one(&mut *near, &plain);
        let at = at % sealed.len();
        sealed[at] ^= flip.max(1);
        far.open(&mut sealed).is_err()
    }
}
