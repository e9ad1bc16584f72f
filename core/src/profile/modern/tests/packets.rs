//! Sealing and opening: order, replays, epochs, limits.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use quickcheck::quickcheck;
use zeroize::Zeroizing;

use super::{Cipher, agree, with};
use crate::profile::flash::tests::{open, seal_all, seal_one};
use crate::profile::modern::receiving::MAX_FAILURES;
use crate::profile::modern::schedule::Schedule;
use crate::profile::modern::seal::ModernKeys;
use crate::profile::modern::{PacketCipher, PacketText, Provider, PureRust};
use crate::profile::{CryptoProfile, PacketError, Role, SessionKeys};
use crate::transmit::Span;

/// Packets of an epoch.
const EPOCH: u64 = 4_194_304;

/// Both ends of a session that has this shared secret.
fn pair(secret: u8, cipher: Cipher) -> [ModernKeys; 2] {
    let schedule = Schedule::new(&[secret; 32], None, &[secret; 32]);
    let provider = Arc::new(PureRust) as _;
    [Role::Initiator, Role::Responder].map(|role| ModernKeys::new(&provider, cipher, role, &schedule))
}

/// Seals a packet with this counter.
fn at(keys: &mut ModernKeys, counter: u64) -> Vec<u8> {
    keys.sending.next = counter;
    seal_one(keys, &counter.to_be_bytes())
}

fn taken(keys: &mut ModernKeys, packet: &[u8]) -> Result<u64, PacketError> {
    open(keys, packet).map(|plain| u64::from_be_bytes(plain.try_into().unwrap()))
}

#[test]
fn every_altered_byte_is_refused_and_the_packet_opens_afterwards() {
    for cipher in Cipher::ALL {
        let [mut near, mut far] = pair(1, cipher);
        let sealed = seal_one(&mut near, b"a plain packet");
        assert_eq!(sealed.len(), 14 + 20);
        for at in 0..sealed.len() {
            for flip in [1, 0x10, 0x80, 0xff] {
                let mut altered = sealed.clone();
                altered[at] ^= flip;
                assert_eq!(open(&mut far, &altered), Err(PacketError::NotAuthentic), "byte {at}");
            }
        }
        for length in 0..sealed.len() {
            let expected = if length < 20 { PacketError::TooShort } else { PacketError::NotAuthentic };
            assert_eq!(open(&mut far, &sealed[..length]), Err(expected));
        }
        assert_eq!(open(&mut far, &[&sealed[..], &[0]].concat()), Err(PacketError::NotAuthentic));
        assert_eq!(open(&mut near, &sealed), Err(PacketError::NotAuthentic), "reflected");
        assert_eq!(open(&mut pair(2, cipher)[1], &sealed), Err(PacketError::NotAuthentic), "of another session");
        assert_eq!(open(&mut far, &sealed).unwrap(), b"a plain packet");
        assert_eq!(open(&mut far, &sealed), Err(PacketError::Replayed));
        let empty = seal_one(&mut near, b"");
        assert_eq!(open(&mut far, &empty).unwrap(), b"");
    }
}

#[test]
fn the_replay_window_has_8192_counters() {
    let [mut near, mut far] = pair(1, Cipher::Aes128Gcm);
    let old: Vec<Vec<u8>> = (0..3).map(|counter| at(&mut near, counter)).collect();
    assert_eq!(taken(&mut far, &at(&mut near, 8_193)), Ok(8_193));
    assert_eq!(taken(&mut far, &old[1]), Err(PacketError::Replayed), "8,192 behind");
    assert_eq!(taken(&mut far, &old[2]), Ok(2), "8,191 behind");
    assert_eq!(taken(&mut far, &old[2]), Err(PacketError::Replayed));
    assert_eq!(far.receiving.failures, 0, "no forgeries");
}

/// Of the last packets of an epoch and the first of the next, some are lost and the others come in any order.
#[test]
fn an_epoch_changes_without_a_pause() {
    for cipher in Cipher::ALL {
        let [mut near, mut far] = pair(1, cipher);
        near.sending.next = EPOCH - 20;
        let plains = vec![&b"plain"[..]; 40];
        let packets = seal_all(&mut near, &plains);
        // In one flight, and the same one by one.
        let [mut again, _] = pair(1, cipher);
        again.sending.next = EPOCH - 20;
        plains.iter().zip(&packets).for_each(|(plain, packet)| assert_eq!(&seal_one(&mut again, plain), packet));
        let order = [5, 21, 4, 30, 19, 20, 39, 0, 18, 22, 38, 10, 25, 1];
        for index in order {
            assert_eq!(open(&mut far, &packets[index]).unwrap(), b"plain", "{index}");
        }
        for index in order {
            assert_eq!(open(&mut far, &packets[index]), Err(PacketError::Replayed), "{index}");
        }
    }
}

/// Counts the ciphers that were dropped.
#[derive(Debug, Default)]
struct Counting {
    dropped: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Counted(Box<dyn PacketCipher>, Arc<AtomicUsize>);

impl Provider for Counting {
    fn preference(&self) -> [Cipher; 3] {
        PureRust.preference()
    }

    fn cipher(&self, cipher: Cipher, key: &[u8; 32]) -> Box<dyn PacketCipher> {
        Box::new(Counted(PureRust.cipher(cipher, key), Arc::clone(&self.dropped)))
    }

    fn x25519_public(&self, private: &[u8; 32]) -> [u8; 32] {
        PureRust.x25519_public(private)
    }

    fn x25519_agree(&self, private: &[u8; 32], public: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        PureRust.x25519_agree(private, public)
    }
}

impl PacketCipher for Counted {
    fn seal(&self, packets: &mut [PacketText<'_>]) {
        self.0.seal(packets);
    }

    fn open(&self, packet: PacketText<'_>) -> bool {
        self.0.open(packet)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn keys_of_an_epoch_are_kept_while_the_window_reaches_into_it() {
    let [mut near, _] = pair(1, Cipher::Aes128Gcm);
    let provider = Counting::default();
    let dropped = Arc::clone(&provider.dropped);
    let schedule = Schedule::new(&[1; 32], None, &[1; 32]);
    let mut far = ModernKeys::new(&(Arc::new(provider) as _), Cipher::Aes128Gcm, Role::Responder, &schedule);
    let late: Vec<Vec<u8>> = (EPOCH - 3..EPOCH).map(|counter| at(&mut near, counter)).collect();
    assert!(taken(&mut far, &late[0]).is_ok());
    assert!(taken(&mut far, &at(&mut near, EPOCH + 8_190)).is_ok());
    assert_eq!(taken(&mut far, &late[2]), Ok(EPOCH - 1), "8,191 behind");
    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    assert!(taken(&mut far, &at(&mut near, EPOCH + 8_192)).is_ok());
    assert_eq!(taken(&mut far, &late[1]), Err(PacketError::Replayed));
    assert_eq!(dropped.load(Ordering::Relaxed), 1, "the cipher of that epoch, which wipes its key");
}

/// Else a forged counter would have the receiver turn its ratchet as often as the forger likes.
#[test]
fn packets_of_epochs_beyond_the_next_are_refused() {
    let [mut near, mut far] = pair(1, Cipher::Aes128Gcm);
    let far_ahead: Vec<Vec<u8>> = (0..6).map(|epoch| at(&mut near, epoch * EPOCH)).collect();
    assert_eq!(taken(&mut far, &far_ahead[2]), Err(PacketError::NotAuthentic));
    for (counter, packet) in (0..).step_by(EPOCH as usize).zip(&far_ahead) {
        assert_eq!(taken(&mut far, packet), Ok(counter));
    }
    assert_eq!(far.receiving.failures, 0, "nothing was tried");
}

/// A forgery of any epoch that may be tried leaves everything as it was: the window, and the keys of all epochs.
#[test]
fn forgeries_of_any_epoch_spoil_no_epoch() {
    for cipher in Cipher::ALL {
        let [mut near, mut far] = pair(1, cipher);
        let damaged = |packet: &[u8]| {
            let mut packet = packet.to_vec();
            *packet.last_mut().unwrap() ^= 1;
            packet
        };
        let late: Vec<Vec<u8>> = (EPOCH - 4..EPOCH).map(|counter| at(&mut near, counter)).collect();
        let next: Vec<Vec<u8>> = (EPOCH..EPOCH + 3).map(|counter| at(&mut near, counter)).collect();
        assert_eq!(taken(&mut far, &late[0]), Ok(EPOCH - 4));
        assert_eq!(taken(&mut far, &damaged(&next[1])), Err(PacketError::NotAuthentic), "of the next epoch");
        assert_eq!((far.receiving.failures, far.receiving.epoch()), (1, 0));
        assert_eq!(taken(&mut far, &late[1]), Ok(EPOCH - 3), "of the present one");
        assert_eq!(taken(&mut far, &next[1]), Ok(EPOCH + 1), "of the real next one");
        assert_eq!(taken(&mut far, &damaged(&late[2])), Err(PacketError::NotAuthentic), "of the one before");
        assert_eq!((far.receiving.failures, far.receiving.epoch()), (2, 1));
        assert_eq!(taken(&mut far, &late[2]), Ok(EPOCH - 2));
        assert_eq!(taken(&mut far, &next[2]), Ok(EPOCH + 2));
        assert_eq!(taken(&mut far, &next[0]), Ok(EPOCH));
        assert_eq!(taken(&mut far, &late[3]), Ok(EPOCH - 1));
    }
}

/// Nor does the counter wrap, at either end.
#[test]
fn counters_that_do_not_exist_are_not_completed() {
    let [_, mut far] = pair(1, Cipher::Aes128Gcm);
    let completed = |far: &ModernKeys, low| far.receiving.complete(low);
    assert_eq!(completed(&far, 0), Some(0));
    assert_eq!(completed(&far, (1 << 31) - 1), Some((1 << 31) - 1));
    assert_eq!(completed(&far, 1 << 31), None, "the lower of two, which is negative");
    assert_eq!(completed(&far, u32::MAX), None, "negative");
    far.receiving.note(u64::MAX - 2);
    assert_eq!(completed(&far, u32::MAX - 1), Some(u64::MAX - 1));
    assert_eq!(completed(&far, u32::MAX), None, "the last number is never used");
    assert_eq!(completed(&far, 0), None, "beyond the last");
    assert_eq!(completed(&far, u32::MAX - 2), Some(u64::MAX - 2));
}

/// Past the 32 bits that are sent.
#[test]
fn counters_are_completed_around_every_power() {
    let [mut near, mut far] = pair(1, Cipher::Aes128Gcm);
    let mut counter = 0;
    while counter < 5 << 32 {
        assert_eq!(taken(&mut far, &at(&mut near, counter)), Ok(counter));
        counter += EPOCH - 1;
    }
    let last = [(5 << 32) - 2, (5 << 32) - 1, 5 << 32].map(|counter| (counter, at(&mut near, counter)));
    for (counter, packet) in last.iter().rev() {
        assert_eq!(taken(&mut far, packet), Ok(*counter));
    }
}

#[test]
fn after_too_many_forgeries_nothing_opens() {
    let [mut near, mut far] = pair(1, Cipher::ChaCha20Poly1305);
    let packets = seal_all(&mut near, &[b"one", b"two", b"three"]);
    // Not in the sample: else the counter is wrong, and nothing is tried.
    let mut forged = packets[0].clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(open(&mut far, &forged), Err(PacketError::NotAuthentic));
    assert_eq!(far.receiving.failures, 1);
    far.receiving.failures = MAX_FAILURES - 1;
    assert!(open(&mut far, &packets[0]).is_ok());
    assert_eq!(open(&mut far, &packets[0]), Err(PacketError::Replayed), "which is none");
    forged = packets[1].clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(open(&mut far, &forged), Err(PacketError::NotAuthentic));
    assert_eq!(open(&mut far, &packets[1]), Err(PacketError::Exhausted));
}

#[test]
fn the_last_counter_is_never_used() {
    let [mut near, _] = pair(1, Cipher::Aes128Gcm);
    // The ratchet would turn for ages.
    let wiped = |keys: &mut ModernKeys| {
        let sealed = seal_one(keys, b"plain");
        sealed.iter().all(|byte| *byte == 0)
    };
    near.sending.next = u64::MAX;
    assert!(wiped(&mut near), "nothing that was not sealed may leave");
    assert_eq!(near.sending.next, u64::MAX);
}

#[test]
fn spans_that_do_not_fit_are_not_sealed() {
    for keys in
        [&mut pair(1, Cipher::Aes128Gcm)[0] as &mut dyn SessionKeys, &mut *with(1, Cipher::Aes128Gcm).default_keys()]
    {
        let front = keys.front_len(0);
        let sealed = keys.sealed_len(front, 10);
        assert_eq!(keys.plain_capacity(front, sealed), 10);
        assert_eq!((keys.plain_capacity(front, 3), keys.plain_capacity(front, front + 16)), (0, 0));
        let wrong = |span: Span, keys: &mut dyn SessionKeys| {
            let mut bytes = vec![7; 40];
            keys.seal(&mut bytes, &[span]);
            bytes
        };
        let bytes = wrong(Span { start: 0, front: front + 1, plain: 10, sealed: sealed + 1 }, keys);
        assert_eq!(bytes[..sealed], vec![0; sealed]);
        let bytes = wrong(Span { start: 0, front, plain: 10, sealed: sealed - 1 }, keys);
        assert_eq!(bytes[..sealed - 1], vec![0; sealed - 1]);
        let bytes = wrong(Span { start: 30, front, plain: 10, sealed }, keys);
        assert_eq!(bytes[30..], [0; 10], "beyond the buffer");
    }
}

/// Under the Default Session Key of each profile, what the other has sealed does not open.
#[test]
fn startup_packets_of_other_profiles_do_not_open() {
    let mut ours = with(1, Cipher::Aes128Gcm).default_keys();
    let mut flash = crate::profile::flash::FlashProfile::builder()
        .build(&mut crate::profile::flash::tests::rng(1))
        .unwrap()
        .default_keys();
    let plain = vec![0x0b; 100];
    assert_eq!(open(&mut *ours, &seal_one(&mut *flash, &plain)), Err(PacketError::NotAuthentic));
    assert!(open(&mut *flash, &seal_one(&mut *ours, &plain)).is_err());
    for length in 0..16 {
        assert_eq!(open(&mut *ours, &vec![0; length]), Err(PacketError::TooShort));
    }
    let sealed = seal_one(&mut *ours, &plain);
    for at in 0..sealed.len() {
        let mut altered = sealed.clone();
        altered[at] ^= 1;
        assert_eq!(open(&mut *ours, &altered), Err(PacketError::NotAuthentic));
    }
}

quickcheck! {
    fn what_is_sealed_opens(plains: Vec<Vec<u8>>) -> bool {
        let (mut near, mut far) = agree(&with(1, Cipher::Aes128Gcm), &with(2, Cipher::Aes128Gcm), 3).unwrap();
        let sealed = seal_all(&mut *near, &plains.iter().map(Vec::as_slice).collect::<Vec<_>>());
        plains.iter().zip(sealed).rev().all(|(plain, sealed)| open(&mut *far, &sealed).as_ref() == Ok(plain))
    }

    fn damaged_packets_never_open(plain: Vec<u8>, damage: Vec<(usize, u8)>, cut: usize) -> bool {
        Cipher::ALL.iter().all(|cipher| {
            let [mut near, mut far] = pair(1, *cipher);
            let whole = seal_one(&mut near, &plain);
            let mut damaged = whole.clone();
            for (at, byte) in &damage {
                damaged[at % whole.len()] ^= byte;
            }
            // Half of the time it keeps its length.
            damaged.truncate(damaged.len() - if cut.is_multiple_of(2) { 0 } else { cut % whole.len() });
            let refused = damaged == whole || open(&mut far, &damaged).is_err();
            refused && open(&mut far, &whole).as_ref() == Ok(&plain)
        })
    }
}
