//! Diffie-Hellman (RFC 7425 §4.6.2). Both number libraries stand behind this module and nowhere else: `crypto-bigint`
//! for every power with a secret exponent (its time depends on the group alone, and it wipes), `num-bigint` for what
//! is public.

use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use crypto_bigint::modular::{FixedMontyForm, FixedMontyParams};
use crypto_bigint::{Odd, U512, U1024, U1536, U2048, U4096, Uint};
use num_bigint::BigUint;
use rand_core::CryptoRng;
use zeroize::{Zeroize, Zeroizing};

use super::comb::Comb;
use super::groups::{Group, MODP_1024, MODP_1536, MODP_2048, MODP_4096};
use crate::invariant::cannot_happen;
use crate::profile::KeyingError;

/// The distance that public keys keep from 0 and from the prime (RFC 7425 §4.6.2).
const MARGIN: u32 = 1 << 24;
/// The fewest ones, and the fewest zeros behind the leading one, of a public key (RFC 7425 §4.6.2).
const LEAST_BITS: u64 = 16;

pub(super) static PRIME_1024: Odd<U1024> = Odd::<U1024>::from_be_hex(MODP_1024);
pub(super) static PRIME_1536: Odd<U1536> = Odd::<U1536>::from_be_hex(MODP_1536);
pub(super) static PRIME_2048: Odd<U2048> = Odd::<U2048>::from_be_hex(MODP_2048);
pub(super) static PRIME_4096: Odd<U4096> = Odd::<U4096>::from_be_hex(MODP_4096);

/// A far end's public key that meets the rules of RFC 7425 §4.6.2.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct PublicKey {
    group: Group,
    /// Big-endian, no longer than the prime.
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Accepts a key in network byte order, or refuses it.
    pub(super) fn accept(group: Group, bytes: &[u8]) -> Result<Self, KeyingError> {
        let key = BigUint::from_bytes_be(bytes);
        let margin = BigUint::from(MARGIN);
        let ones = key.count_ones();
        if key < margin
            || &key + &margin > prime(group)
            || ones < LEAST_BITS
            || key.bits().saturating_sub(ones) < LEAST_BITS
        {
            return Err(KeyingError::BadPublicKey);
        }
        Ok(Self { group, bytes: key.to_bytes_be() })
    }
}

/// A private exponent, wiped when dropped.
#[derive(Clone)]
pub(super) struct PrivateKey {
    group: Group,
    exponent: U512,
    /// Length of the exponent, which is no secret.
    bits: u32,
}

impl PrivateKey {
    /// A fresh key.
    pub(super) fn generate(group: Group, rng: &mut dyn CryptoRng) -> Self {
        let mut bytes = Zeroizing::new(vec![0; group.exponent_len()]);
        rng.fill_bytes(&mut bytes);
        // Every exponent of a group has the same length, so that its length tells nothing.
        if let Some(first) = bytes.first_mut() {
            *first |= 0x80;
        }
        Self::from_exponent(group, &bytes)
    }

    /// A key that was saved: [`exponent_len`](Group::exponent_len) bytes or up to 64, the top bit set.
    pub(super) fn restore(group: Group, bytes: &[u8]) -> Option<Self> {
        let lengths = group.exponent_len()..=U512::BYTES;
        let fits = lengths.contains(&bytes.len()) && bytes.first().is_some_and(|first| first & 0x80 != 0);
        fits.then(|| Self::from_exponent(group, bytes))
    }

    fn from_exponent(group: Group, bytes: &[u8]) -> Self {
        Self { group, exponent: from_be_bytes(bytes), bits: bytes.len() as u32 * 8 }
    }

    /// What [`restore`](Self::restore) takes.
    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let whole = Zeroizing::new(self.exponent.to_be_bytes().as_ref().to_vec());
        let from = whole.len().saturating_sub(self.bits as usize / 8);
        let exponent = whole.get(from..).unwrap_or_else(|| cannot_happen!(&[], "it begins within the number"));
        Zeroizing::new(exponent.to_vec())
    }

    /// The key's group.
    pub(super) const fn group(&self) -> Group {
        self.group
    }

    /// The public key in network byte order, without leading zero bytes.
    pub(super) fn public_key(&self) -> Vec<u8> {
        self.power(&[2]).to_vec()
    }

    /// The same, by the comb of the key's group.
    pub(super) fn public_key_by(&self, comb: &Comb) -> Vec<u8> {
        comb.power(&self.exponent).to_vec()
    }

    /// DH_SECRET (RFC 7425 §4.6.2): the shared secret in network byte order without leading zero bytes.
    pub(super) fn agree(&self, far: &PublicKey) -> Result<Zeroizing<Vec<u8>>, KeyingError> {
        if far.group != self.group {
            return Err(KeyingError::BadPublicKey);
        }
        Ok(self.power(&far.bytes))
    }

    fn power(&self, base: &[u8]) -> Zeroizing<Vec<u8>> {
        let bits = self.bits;
        match self.group {
            Group::Modp1024 => power(&PRIME_1024, base, &self.exponent, bits),
            Group::Modp1536 => power(&PRIME_1536, base, &self.exponent, bits),
            Group::Modp2048 => power(&PRIME_2048, base, &self.exponent, bits),
            Group::Modp4096 => power(&PRIME_4096, base, &self.exponent, bits),
        }
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.exponent.zeroize();
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("group", &self.group).finish_non_exhaustive()
    }
}

/// The prime as a public number.
fn prime(group: Group) -> BigUint {
    let prime = BigUint::parse_bytes(group.prime_hex().as_bytes(), 16);
    prime.unwrap_or_else(|| cannot_happen!(BigUint::ZERO, "each prime is hexadecimal"))
}

/// `base ^ exponent mod prime`, in a time that depends on `LIMBS` and `bits` alone.
fn power<const LIMBS: usize>(prime: &Odd<Uint<LIMBS>>, base: &[u8], exponent: &U512, bits: u32) -> Zeroizing<Vec<u8>> {
    // Made anew each time: less than a hundredth of the cost of the power.
    let params = FixedMontyParams::new_vartime(*prime);
    let base = FixedMontyForm::new(&from_be_bytes(base), &params);
    encode(base.pow_bounded_exp(exponent, bits))
}

/// A number in network byte order. Leading zero bytes are cut off, which the protocol demands, and which is why an
/// ephemeral key is used only once.
pub(super) fn encode<const LIMBS: usize>(mut result: FixedMontyForm<LIMBS>) -> Zeroizing<Vec<u8>> {
    let mut number = result.retrieve();
    result.as_montgomery_mut().zeroize();
    let mut encoded = number.to_be_bytes();
    number.zeroize();
    let bytes = encoded.as_ref();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = bytes.get(zeros..).unwrap_or_else(|| cannot_happen!(&[], "no more bytes are zero than there are"));
    let trimmed = Zeroizing::new(digits.to_vec());
    encoded.as_mut().zeroize();
    trimmed
}

/// A big-endian number of any length; what exceeds the size is cut off at the high end.
fn from_be_bytes<const LIMBS: usize>(bytes: &[u8]) -> Uint<LIMBS> {
    let mut padded = Zeroizing::new(vec![0; Uint::<LIMBS>::BYTES]);
    for (to, from) in padded.iter_mut().rev().zip(bytes.iter().rev()) {
        *to = *from;
    }
    Uint::from_be_slice(&padded)
}

#[cfg(test)]
mod tests;
