//! Digests of packets and addresses: short, fast, and the same on every machine.

use core::net::{IpAddr, SocketAddr};

use crate::rng::fold;

/// Odd constants that the mixing begins with.
pub(crate) const K0: u64 = 0xa076_1d64_78bd_642f;
pub(crate) const K1: u64 = 0xe703_7ed1_a0b4_28db;
pub(crate) const K2: u64 = 0x8ebc_6af0_9c88_c6e3;
pub(crate) const K3: u64 = 0x5899_65cc_7537_4cc3;

/// A 64-bit digest of a packet's bytes. Not cryptographic: it tells runs apart, not attackers.
#[must_use]
pub fn digest(bytes: &[u8]) -> u64 {
    // Four lanes, because a processor multiplies several numbers at a time if none waits for another.
    let mut lanes = [K0 ^ bytes.len() as u64, K1, K2, K3];
    let (blocks, rest) = bytes.as_chunks::<64>();
    for block in blocks {
        mix_block(&mut lanes, block);
    }
    if !rest.is_empty() {
        mix_rest(&mut lanes, rest);
    }
    let [a, b, c, d] = lanes;
    fold(fold(a ^ K2, b ^ K3) ^ K1, fold(c ^ K0, d ^ K1) ^ K2)
}

fn mix_block(lanes: &mut [u64; 4], block: &[u8; 64]) {
    let (words, _) = block.as_chunks::<8>();
    if let &[w0, w1, w2, w3, w4, w5, w6, w7] = words {
        mix_words(lanes, [w0, w1, w2, w3, w4, w5, w6, w7].map(u64::from_le_bytes));
    }
}

const fn mix_words(lanes: &mut [u64; 4], [w0, w1, w2, w3, w4, w5, w6, w7]: [u64; 8]) {
    let [a, b, c, d] = *lanes;
    *lanes = [
        fold(w0 ^ K1 ^ a, w1 ^ K2),
        fold(w2 ^ K3 ^ b, w3 ^ K0),
        fold(w4 ^ K0 ^ c, w5 ^ K3),
        fold(w6 ^ K2 ^ d, w7 ^ K1),
    ];
}

/// The bytes after the last whole block, as if zeros followed: the length, which is hashed too, tells them from bytes.
fn mix_rest(lanes: &mut [u64; 4], rest: &[u8]) {
    let (whole, part) = rest.as_chunks::<8>();
    // Put together in a register. In memory, what is written byte by byte cannot soon be read as a word.
    let last = part.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
    let mut words = whole.iter().map(|word| u64::from_le_bytes(*word)).chain([last]);
    let mut next = || words.next().unwrap_or(0);
    if rest.len() <= 32 {
        let [a, b, ..] = lanes;
        *a = fold(next() ^ K1 ^ *a, next() ^ K2);
        *b = fold(next() ^ K3 ^ *b, next() ^ K0);
    } else {
        mix_words(lanes, [next(), next(), next(), next(), next(), next(), next(), next()]);
    }
}

/// The two parts of an address in a word.
pub(crate) const fn address_word(address: &SocketAddr) -> u64 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_bits() as u64,
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            fold((bits >> 64) as u64 ^ K1, bits as u64 ^ K2)
        }
    };
    ip.rotate_left(16) ^ address.port() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_sees_every_byte_and_the_length() {
        let mut bytes: Vec<u8> = (0..=255).cycle().take(1_431).collect();
        let whole = digest(&bytes);
        for at in 0..bytes.len() {
            bytes[at] ^= 0x40;
            assert_ne!(digest(&bytes), whole, "byte {at}");
            bytes[at] ^= 0x40;
        }
        assert_eq!(digest(&bytes), whole);
        let lengths: std::collections::BTreeSet<u64> = (0..200).map(|len| digest(&vec![0; len])).collect();
        assert_eq!(lengths.len(), 200);
    }
}
