//! The provider that is always there: RustCrypto's AEADs and dalek's X25519.

use alloc::boxed::Box;

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use chacha20poly1305::ChaCha20Poly1305;
use core::fmt;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::provider::{Cipher, PacketCipher, PacketText, Provider};

/// Pure Rust without `unsafe` of its own, in constant time on all processors: the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PureRust;

impl Provider for PureRust {
    /// AES first on processors that have instructions for it.
    fn preference(&self) -> [Cipher; 3] {
        if aes::hardware_accelerated() {
            [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305]
        } else {
            [Cipher::ChaCha20Poly1305, Cipher::Aes128Gcm, Cipher::Aes256Gcm]
        }
    }

    fn cipher(&self, cipher: Cipher, key: &[u8; 32]) -> Box<dyn PacketCipher> {
        let [short @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = key;
        match cipher {
            Cipher::Aes128Gcm => Box::new(Aead(Aes128Gcm::new(short.into()))),
            Cipher::Aes256Gcm => Box::new(Aead(Aes256Gcm::new(key.into()))),
            Cipher::ChaCha20Poly1305 => Box::new(Aead(ChaCha20Poly1305::new(key.into()))),
        }
    }

    fn x25519_public(&self, private: &[u8; 32]) -> [u8; 32] {
        PublicKey::from(&StaticSecret::from(*private)).to_bytes()
    }

    fn x25519_agree(&self, private: &[u8; 32], public: &[u8; 32]) -> Zeroizing<[u8; 32]> {
        let secret = StaticSecret::from(*private).diffie_hellman(&PublicKey::from(*public));
        Zeroizing::new(secret.to_bytes())
    }
}

/// A cipher of the `aead` family with its key.
struct Aead<A>(A);

impl<A> fmt::Debug for Aead<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aead")
    }
}

macro_rules! packet_cipher {
    ($($aead:ty),*) => {$(
        impl PacketCipher for Aead<$aead> {
            fn seal(&self, packets: &mut [PacketText<'_>]) {
                for PacketText { nonce, text } in packets {
                    let Some((text, tag)) = text.split_last_chunk_mut() else {
                        text.fill(0);
                        continue;
                    };
                    let buf = InOutBuf::from(&mut *text);
                    match self.0.encrypt_inout_detached((&*nonce).into(), &[], buf) {
                        Ok(made) => *tag = made.into(),
                        // Only for texts of gigabytes, which no packet has.
                        Err(_) => text.fill(0),
                    }
                }
            }

            fn open(&self, packet: PacketText<'_>) -> bool {
                let nonce = packet.nonce;
                packet.split().is_some_and(|(text, tag)| {
                    self.0.decrypt_inout_detached((&nonce).into(), &[], text.into(), (&*tag).into()).is_ok()
                })
            }
        }
    )*};
}

packet_cipher!(Aes128Gcm, Aes256Gcm, ChaCha20Poly1305);
