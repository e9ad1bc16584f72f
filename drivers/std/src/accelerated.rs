//! A faster provider for the modern profile: packet ciphers by ring, X25519 by graviola.
//!
//! Three libraries were measured. The table has the least time of 3,000 runs on a busy machine of two cores (AMD Zen 4
//! class), so compare the figures with each other only. Packets have 1,200 bytes. The sizes are those of the small programs
//! that measured.
//!
//! | | ring 0.17.14 | graviola 0.4.4 | aws-lc-rs 1.19.0 | pure Rust |
//! |---|--:|--:|--:|--:|
//! | AES-128-GCM, seal and open, ns | 227, 237 | 379, 382 | 399, 401 | 546, 588 |
//! | AES-256-GCM, seal and open, ns | 252, 256 | 428, 440 | 437, 428 | 621, 658 |
//! | ChaCha20-Poly1305, seal and open, ns | 688, 703 | 1,403, 1,432 | 696, 696 | 2,730, 2,755 |
//! | X25519, public key and agreement, µs | 27, 40 | 8.1, 27.5 | 8.1, 28.0 | 18, 61 |
//! | X25519 with a private key of the caller's | no | yes | yes | yes |
//! | CPU time to build, s | 17 | 11 | 90 | – |
//! | program, kB | 717 | 610 | 3,238 | – |
//! | C compiler needed | yes | no | yes; NASM or prebuilt objects on Windows | no |
//! | processors | all that Rust and a C compiler have | x86-64 with AVX2 and ADX, AArch64 with AES | most | all |
//! | oldest Rust | 1.66 | 1.89 | 1.71 | 1.85 |
//! | license | Apache-2.0 AND ISC | Apache-2.0 OR ISC OR MIT-0 | ISC AND (Apache-2.0 OR ISC) | MIT or Apache-2.0, BSD-3-Clause |
//!
//! Packets decide: ring seals in less than two thirds of the others' time. But it takes no private key from its caller, so
//! it does not fit a provider, whose results follow from the arguments. Graviola's X25519 does, is the fastest, and is
//! code of s2n-bignum, which is proved correct. aws-lc-rs has both parts, and takes five times as long to build as ring.
//! On most systems the linker that Rust needs comes with a C compiler.

use core::fmt;
use core::hint::black_box;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use rtmfp_core::profile::modern::{Cipher, PacketCipher, PacketText, Provider, PureRust, TAG_LEN};
use zeroize::Zeroizing;

/// Packet ciphers by ring, and X25519 by graviola on processors for which it has code.
///
/// It computes the same as [`PureRust`], which does what the two libraries cannot. It needs the feature `accelerated`, and
/// ring needs a C compiler.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Accelerated;

impl Provider for Accelerated {
    /// As [`PureRust`]: both find out whether the processor has instructions for AES.
    fn preference(&self) -> [Cipher; 3] {
        PureRust.preference()
    }

    fn cipher(&self, cipher: Cipher, key: &[u8; 32]) -> Box<dyn PacketCipher> {
        let Some(algorithm) = algorithm(cipher) else { return PureRust.cipher(cipher, key) };
        match Sealer::new(algorithm, key) {
            Some(sealer) => Box::new(sealer),
            None => PureRust.cipher(cipher, key),
        }
    }

    fn x25519_public(&self, private: &[u8; 32]) -> [u8; 32] {
        x25519::public(private).unwrap_or_else(|| PureRust.x25519_public(private))
    }

    fn x25519_agree(&self, private: &[u8; 32], public: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        x25519::agree(private, public).unwrap_or_else(|| PureRust.x25519_agree(private, public))
    }
}

/// Ring's name of a cipher; `None` for one that it lacks.
fn algorithm(cipher: Cipher) -> Option<&'static Algorithm> {
    match cipher {
        Cipher::Aes128Gcm => Some(&AES_128_GCM),
        Cipher::Aes256Gcm => Some(&AES_256_GCM),
        Cipher::ChaCha20Poly1305 => Some(&CHACHA20_POLY1305),
        // One of a later version of core.
        _ => None,
    }
}

/// A cipher of ring with its key.
struct Sealer {
    key: LessSafeKey,
    algorithm: &'static Algorithm,
}

impl Sealer {
    /// With the first bytes of `key`, as many as the algorithm takes.
    fn new(algorithm: &'static Algorithm, key: &[u8; 32]) -> Option<Self> {
        let key = key.get(..algorithm.key_len())?;
        let key = UnboundKey::new(algorithm, key).ok()?;
        Some(Self { key: LessSafeKey::new(key), algorithm })
    }
}

impl Drop for Sealer {
    /// Ring does not wipe keys. A key of zeros takes the same places in memory.
    fn drop(&mut self) {
        if let Some(zeros) = Self::zeros(self.algorithm) {
            self.key = zeros;
            // Else the compiler may leave out an assignment that nobody reads.
            black_box(&mut self.key);
        }
    }
}

impl Sealer {
    fn zeros(algorithm: &'static Algorithm) -> Option<LessSafeKey> {
        let zeros = [0; 32];
        Some(LessSafeKey::new(UnboundKey::new(algorithm, zeros.get(..algorithm.key_len())?).ok()?))
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("algorithm", self.algorithm).finish_non_exhaustive()
    }
}

impl PacketCipher for Sealer {
    fn seal(&self, packets: &mut [PacketText<'_>]) {
        for PacketText { nonce, text } in packets {
            let Some((text, tag)) = text.split_last_chunk_mut::<TAG_LEN>() else {
                text.fill(0);
                continue;
            };
            let nonce = Nonce::assume_unique_for_key(*nonce);
            match self.key.seal_in_place_separate_tag(nonce, Aad::empty(), text) {
                Ok(made) => tag.copy_from_slice(made.as_ref()),
                // Only for texts of gigabytes, which no packet has.
                Err(_) => text.fill(0),
            }
        }
    }

    fn open(&self, packet: PacketText<'_>) -> bool {
        self.key.open_in_place(Nonce::assume_unique_for_key(packet.nonce), Aad::empty(), packet.text).is_ok()
    }
}

/// X25519 by graviola; `None` if the processor lacks instructions that it needs.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod x25519 {
    use graviola::key_agreement::x25519::{PublicKey, StaticPrivateKey};
    use graviola::util::is_cpu_supported;
    use zeroize::Zeroizing;

    pub(super) fn public(private: &[u8; 32]) -> Option<[u8; 32]> {
        is_cpu_supported().then(|| StaticPrivateKey::from_array(private).public_key().as_bytes())
    }

    pub(super) fn agree(private: &[u8; 32], public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        if !is_cpu_supported() {
            return None;
        }
        let public = PublicKey::try_from_slice(public).ok()?;
        // It refuses a public key of small order: that is the result of zeros.
        Some(match StaticPrivateKey::from_array(private).diffie_hellman(&public) {
            Ok(secret) => Zeroizing::new(secret.0),
            Err(_) => Zeroizing::new([0; 32]),
        })
    }
}

/// Graviola has code for two families of processors only.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod x25519 {
    use zeroize::Zeroizing;

    pub(super) const fn public(_private: &[u8; 32]) -> Option<[u8; 32]> {
        None
    }

    pub(super) const fn agree(_private: &[u8; 32], _public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
        None
    }
}

#[cfg(test)]
mod tests;
