//! A cryptography profile for scale: the shapes and sizes of RFC 7425 §4 without its security.
//!
//! A keyed mix stands for cipher and MAC and a group of 64 bits for Diffie-Hellman. Anybody who looks can break it. It
//! is private to the simulator: nothing outside can make one.

use core::ops::Range;

use datagram_sim::rng::fold;
use datagram_sim::{Key, digest};
use rtmfp_core::Role;
use rtmfp_core::profile::{
    CryptoProfile, Initiation, KeyingError, PacketError, PendingKeying, PreparedKey, Response, SessionKeys, Span,
};
use rtmfp_core::rand_core::CryptoRng;

/// A certificate is as long as one of RFC 7425 §4.3 with a key of 1,024 bits would be.
const CERTIFICATE: usize = 132;
/// Keying components are as long as those with an ephemeral key of 1,024 bits.
const COMPONENT: usize = 140;
/// The sequence number.
const FRONT: usize = 4;
/// The MAC, as HMAC-SHA256 cut to 80 bits.
const MAC: usize = 10;
/// The cipher's block.
const BLOCK: usize = 16;
/// The largest prime below 2^64, and 5 as a generator.
const PRIME: u64 = 18_446_744_073_709_551_557;

/// An identity of the toy profile: the certificate and discriminator follow from its number.
#[derive(Clone, Debug)]
pub(crate) struct ToyProfile {
    certificate: Vec<u8>,
}

impl ToyProfile {
    pub(crate) fn new(identity: u32) -> Self {
        let mut certificate = vec![0; CERTIFICATE];
        Key::mix(identity.into(), "toy", "certificate").stream().fill(&mut certificate);
        Self { certificate }
    }

    /// The same with a certificate of another length, which makes it another identity.
    pub(crate) fn with_certificate(mut self, length: usize) -> Self {
        let mut rest = vec![0; length.saturating_sub(self.certificate.len())];
        Key::mix(digest(&self.certificate), "toy", "certificate").stream().fill(&mut rest);
        self.certificate.append(&mut rest);
        self
    }

    /// What names an identity: as long as a fingerprint in an option.
    fn named(certificate: &[u8]) -> Vec<u8> {
        let mut name = vec![0x21, 0x0f];
        let (low, high) = (digest(certificate), fold(digest(certificate), 0x9e37_79b9_7f4a_7c15));
        for word in [low, high, !low, !high] {
            name.extend_from_slice(&word.to_be_bytes());
        }
        name
    }
}

fn power(base: u64, mut exponent: u64) -> u64 {
    let times = |a: u64, b: u64| (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64;
    let (mut result, mut square) = (1, base % PRIME);
    while exponent != 0 {
        if exponent & 1 == 1 {
            result = times(result, square);
        }
        square = times(square, square);
        exponent >>= 1;
    }
    result
}

fn component(secret: u64) -> Vec<u8> {
    let mut bytes = power(5, secret).to_be_bytes().to_vec();
    bytes.resize(COMPONENT, 0x5a);
    bytes
}

fn agree(secret: u64, far: &[u8], initiator: bool) -> Result<Box<dyn SessionKeys>, KeyingError> {
    let public = far.first_chunk::<8>().filter(|_| far.len() == COMPONENT).ok_or(KeyingError::Malformed)?;
    let public = u64::from_be_bytes(*public);
    if !(2..PRIME - 1).contains(&public) {
        return Err(KeyingError::BadPublicKey);
    }
    let shared = power(public, secret);
    let (ours, theirs) = (fold(shared, 0xa076_1d64_78bd_642f), fold(shared, 0xe703_7ed1_a0b4_28db));
    let (send, receive) = if initiator { (ours, theirs) } else { (theirs, ours) };
    let nonce = |key: u64| [key.to_be_bytes(), (!key).to_be_bytes(), key.to_le_bytes(), (!key).to_le_bytes()].concat();
    Ok(Box::new(ToyKeys {
        send,
        receive,
        next: 1,
        highest: 0,
        window: 0,
        session: true,
        nonces: (nonce(send), nonce(receive)),
    }))
}

impl CryptoProfile for ToyProfile {
    fn certificate(&self) -> &[u8] {
        &self.certificate
    }
    fn is_authentic(&self, certificate: &[u8]) -> bool {
        certificate.len() >= CERTIFICATE
    }
    fn accepts(&self, _discriminator: &[u8], _certificate: &[u8]) -> bool {
        true
    }

    fn selects(&self, discriminator: &[u8], certificate: &[u8]) -> bool {
        discriminator == Self::named(certificate)
    }
    fn canonical_discriminator(&self, certificate: &[u8]) -> Vec<u8> {
        Self::named(certificate)
    }
    fn sign(&self, _signer: Role, _far_certificate: &[u8], _message: &[&[u8]]) -> Vec<u8> {
        vec![b'X']
    }
    fn verify(&self, _signer: Role, _far_certificate: &[u8], _message: &[&[u8]], _signature: &[u8]) -> bool {
        true
    }
    fn prevails(&self, far_certificate: &[u8]) -> bool {
        self.certificate.as_slice() < far_certificate
    }
    fn overrides(&self, new: &[u8], existing: &[u8]) -> bool {
        new == existing
    }
    fn keys_prove_owner(&self, _certificate: &[u8]) -> bool {
        true
    }
    fn default_keys(&self) -> Box<dyn SessionKeys> {
        Box::new(ToyKeys::startup())
    }
    fn initiate(
        &self,
        _far_certificate: &[u8],
        _prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Initiation, KeyingError> {
        let secret = rng.next_u64() | 1 << 63;
        Ok(Initiation { component: component(secret), pending: Box::new(ToyPending { secret }) })
    }
    fn respond(
        &self,
        _far_certificate: &[u8],
        initiator_component: &[u8],
        _prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Result<Response, KeyingError> {
        let secret = rng.next_u64() | 1 << 63;
        Ok(Response { component: component(secret), keys: agree(secret, initiator_component, false)? })
    }
}

#[derive(Debug)]
struct ToyPending {
    secret: u64,
}

impl PendingKeying for ToyPending {
    fn finish(&self, responder_component: &[u8]) -> Result<Box<dyn SessionKeys>, KeyingError> {
        agree(self.secret, responder_component, true)
    }
}

/// Words that are worked on side by side.
const LANES: usize = 8;
/// From the mask of a word to that of the next.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Sums of words and sums of the sums, after Fletcher, mixed with the key: they tell changed bits, words that changed
/// places, and other lengths. The sums are rotated before they are added up: without that, two changed bits of the
/// highest place would have undone each other.
fn checksum(key: u64, body: &[u8]) -> u64 {
    let (mut sums, mut weighted) = ([0_u64; LANES], [0_u64; LANES]);
    let (words, rest) = body.as_chunks::<8>();
    let (blocks, last) = words.as_chunks::<LANES>();
    for block in blocks {
        for ((word, sum), weighted) in block.iter().zip(&mut sums).zip(&mut weighted) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
            *weighted = weighted.rotate_left(7).wrapping_add(*sum);
        }
    }
    let mut tag = fold(key ^ body.len() as u64, 0xa076_1d64_78bd_642f) ^ digest(rest);
    for word in last {
        tag = fold(tag ^ u64::from_le_bytes(*word), 0xe703_7ed1_a0b4_28db);
    }
    for (sum, weighted) in sums.into_iter().zip(weighted) {
        tag = fold(tag ^ sum, weighted ^ 0x8ebc_6af0_9c88_c6e3);
    }
    tag
}

/// `[sequence number][plain packet][padding to whole blocks][MAC]`, all but the MAC under a keyed stream. Startup
/// packets have no sequence number.
#[derive(Debug)]
struct ToyKeys {
    send: u64,
    receive: u64,
    next: u32,
    /// The highest sequence number received, and which of the 64 before it (RFC 7425 §4.7.3.3).
    highest: u32,
    window: u64,
    session: bool,
    nonces: (Vec<u8>, Vec<u8>),
}

impl ToyKeys {
    const fn startup() -> Self {
        let nonces = (Vec::new(), Vec::new());
        Self { send: 1, receive: 1, next: 0, highest: 0, window: 0, session: false, nonces }
    }

    fn mac(key: u64, body: &[u8]) -> [u8; MAC] {
        let mut mac = [0; MAC];
        let tag = checksum(key, body).to_be_bytes();
        for (to, from) in mac.iter_mut().zip(tag.iter().chain(&tag)) {
            *to = *from;
        }
        mac
    }

    /// Its own inverse. The MAC varies the masks, so that equal packets do not look equal.
    fn scramble(key: u64, mac: &[u8; MAC], body: &mut [u8]) {
        let tag = mac.first_chunk().map_or(0, |tag| u64::from_be_bytes(*tag));
        let seed = fold(key ^ tag, 0x8ebc_6af0_9c88_c6e3);
        // By counting in lanes, which a processor does for several at once.
        let mut masks: [u64; LANES] = core::array::from_fn(|lane| seed.wrapping_add(STEP.wrapping_mul(lane as u64)));
        let (words, rest) = body.as_chunks_mut::<8>();
        let (blocks, last) = words.as_chunks_mut::<LANES>();
        for block in blocks {
            for (word, mask) in block.iter_mut().zip(&mut masks) {
                *word = (u64::from_le_bytes(*word) ^ *mask).to_le_bytes();
                *mask = mask.wrapping_add(STEP.wrapping_mul(LANES as u64));
            }
        }
        for (word, mask) in last.iter_mut().zip(masks) {
            *word = (u64::from_le_bytes(*word) ^ mask).to_le_bytes();
        }
        rest.iter_mut().zip(seed.to_le_bytes()).for_each(|(byte, mask)| *byte ^= mask);
    }

    fn fresh(&mut self, sequence: u32) -> bool {
        if sequence > self.highest {
            let ahead = sequence - self.highest;
            self.window = if ahead > 63 { 0 } else { (self.window << ahead) | 1 << (ahead - 1) };
            self.highest = sequence;
            return true;
        }
        let behind = self.highest - sequence;
        if behind == 0 || behind > 64 {
            return false;
        }
        let bit = 1 << (behind - 1);
        let fresh = self.window & bit == 0;
        self.window |= bit;
        fresh
    }
}

impl SessionKeys for ToyKeys {
    fn front_len(&self, _ahead: usize) -> usize {
        if self.session { FRONT } else { 0 }
    }
    fn sealed_len(&self, front: usize, plain: usize) -> usize {
        front.saturating_add(plain).next_multiple_of(BLOCK).saturating_add(MAC)
    }
    fn plain_capacity(&self, front: usize, room: usize) -> usize {
        let blocks = room.saturating_sub(MAC) / BLOCK;
        (blocks * BLOCK).saturating_sub(front)
    }
    fn seal(&mut self, bytes: &mut [u8], packets: &[Span]) {
        for span in packets {
            let packet = bytes.get_mut(span.start..span.start.saturating_add(span.sealed));
            let Some((body, field)) = packet.and_then(|packet| packet.split_last_chunk_mut::<MAC>()) else { continue };
            if let Some(padding) = body.get_mut(span.front.saturating_add(span.plain)..) {
                padding.fill(0xff);
            }
            if let Some(front) = body.first_chunk_mut::<FRONT>().filter(|_| self.session) {
                *front = self.next.to_be_bytes();
                self.next = self.next.wrapping_add(1);
            }
            *field = Self::mac(self.send, body);
            Self::scramble(self.send, field, body);
        }
    }
    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, PacketError> {
        let (body, field) = encrypted.split_last_chunk_mut::<MAC>().ok_or(PacketError::TooShort)?;
        if body.len() < BLOCK || body.len() % BLOCK != 0 {
            return Err(PacketError::TooShort);
        }
        Self::scramble(self.receive, field, body);
        if Self::mac(self.receive, body) != *field {
            return Err(PacketError::NotAuthentic);
        }
        if !self.session {
            return Ok(0..body.len());
        }
        let sequence = body.first_chunk::<FRONT>().map_or(0, |front| u32::from_be_bytes(*front));
        let fresh = self.fresh(sequence);
        if fresh { Ok(FRONT..body.len()) } else { Err(PacketError::Replayed) }
    }
    fn near_nonce(&self) -> &[u8] {
        &self.nonces.0
    }
    fn far_nonce(&self) -> &[u8] {
        &self.nonces.1
    }
    fn authenticates(&self) -> bool {
        self.session
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_open_once_and_only_whole() {
        let (a, b) = (0x1234_5678_9abc | 1 << 63, 0xfeed_beef | 1 << 63);
        let mut near = agree(a, &component(b), true).unwrap();
        let mut far = agree(b, &component(a), false).unwrap();
        let plain = b"a plain packet of some bytes";
        let mut bytes = vec![0; near.sealed_len(FRONT, plain.len())];
        bytes[FRONT..FRONT + plain.len()].copy_from_slice(plain);
        let sealed = bytes.len();
        near.seal(&mut bytes, &[Span { start: 0, front: FRONT, plain: plain.len(), sealed }]);
        let mut damaged = bytes.clone();
        damaged[3] ^= 1;
        assert_eq!(far.open(&mut damaged), Err(PacketError::NotAuthentic));
        let mut copy = bytes.clone();
        let range = far.open(&mut copy).unwrap();
        assert_eq!(&copy[range][..plain.len()], plain);
        assert_eq!(far.open(&mut bytes.clone()), Err(PacketError::Replayed));
        assert_eq!(near.near_nonce(), far.far_nonce());
        assert_eq!(near.plain_capacity(FRONT, bytes.len()), bytes.len() - MAC - FRONT);
    }

    #[test]
    fn the_checksum_sees_every_bit_and_words_that_change_places() {
        let mut bytes: Vec<u8> = (0..=255).cycle().map(|n: u8| n.wrapping_mul(37)).take(1_440).collect();
        let whole = checksum(7, &bytes);
        assert_ne!(checksum(8, &bytes), whole);
        assert_ne!(checksum(7, &bytes[..1_424]), whole);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(checksum(7, &bytes), whole, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for (first, second) in (0..90).flat_map(|first| (first + 1..180).map(move |second| (first, second))) {
            for bit in [0, 0x80] {
                bytes[first * 8 + 7] ^= bit;
                bytes[second * 8 + 7] ^= bit;
                assert_eq!(checksum(7, &bytes) == whole, bit == 0, "words {first} and {second}");
                bytes[first * 8 + 7] ^= bit;
                bytes[second * 8 + 7] ^= bit;
            }
        }
        for (a, b) in [(0, 8), (0, 64), (8, 1_400), (1_408, 1_432)] {
            let mut swapped = bytes.clone();
            (0..8).for_each(|n| swapped.swap(a + n, b + n));
            assert_ne!(checksum(7, &swapped), whole, "words at {a} and {b}");
        }
    }
}
