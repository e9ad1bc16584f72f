//! Where the packet ciphers and X25519 come from. Core has them in pure Rust; a driver can bring faster ones.

use alloc::boxed::Box;
use core::fmt::Debug;

use zeroize::Zeroizing;

/// Length of the tag behind each sealed text, in bytes. All ciphers have the same.
pub const TAG_LEN: usize = 16;

/// Length of a nonce, in bytes. All ciphers have the same.
pub const NONCE_LEN: usize = 12;

/// An AEAD that protects the packets of a session. Two ends negotiate it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Cipher {
    /// AES-128 in Galois/Counter Mode (NIST SP 800-38D).
    Aes128Gcm,
    /// AES-256 in Galois/Counter Mode (NIST SP 800-38D).
    Aes256Gcm,
    /// ChaCha20 and Poly1305 (RFC 8439).
    ChaCha20Poly1305,
}

impl Cipher {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::ChaCha20Poly1305];

    /// The number that stands for it in a keying component.
    #[must_use]
    pub const fn id(self) -> u8 {
        match self {
            Self::Aes128Gcm => 1,
            Self::Aes256Gcm => 2,
            Self::ChaCha20Poly1305 => 3,
        }
    }

    /// The cipher with this number.
    #[must_use]
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            1 => Some(Self::Aes128Gcm),
            2 => Some(Self::Aes256Gcm),
            3 => Some(Self::ChaCha20Poly1305),
            _ => None,
        }
    }

    /// Length of its key, in bytes.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

/// The cryptography that takes most of the time: packet ciphers and X25519. Everything else stays in core.
///
/// All providers compute the same, so two ends with different ones understand each other. An implementation must work
/// in constant time with respect to keys, texts and scalars, and must not panic.
pub trait Provider: Debug + Send + Sync {
    /// The ciphers, the fastest on this machine first. Each of [`Cipher::ALL`] once.
    fn preference(&self) -> [Cipher; 3];

    /// A cipher with the first [`key_len`](Cipher::key_len) bytes of a key.
    fn cipher(&self, cipher: Cipher, key: &[u8; 32]) -> Box<dyn PacketCipher>;

    /// The public key of a private one: X25519(private, 9) (RFC 7748 §6.1).
    fn x25519_public(&self, private: &[u8; 32]) -> [u8; 32];

    /// The shared secret X25519(private, public) (RFC 7748 §6.1). It is all zero if `public` is of small order; callers
    /// check that. A provider whose library refuses such a key returns zeros.
    fn x25519_agree(&self, private: &[u8; 32], public: &[u8; 32]) -> Zeroizing<[u8; 32]>;
}

/// An AEAD with its key. There is no associated data. Wipes its key when dropped, as far as its library can.
pub trait PacketCipher: Debug + Send {
    /// Seals packets in place, each with a nonce of its own. Several come together so that their blocks can be computed
    /// side by side. A text shorter than [`TAG_LEN`] is filled with zeros.
    fn seal(&self, packets: &mut [PacketText<'_>]);

    /// Opens a packet in place; `false` if it is not authentic, and its text is undefined then.
    fn open(&self, packet: PacketText<'_>) -> bool;
}

/// A packet to be sealed or opened.
#[derive(Debug)]
pub struct PacketText<'a> {
    /// Never twice under one key.
    pub nonce: [u8; NONCE_LEN],
    /// The text, and in its last [`TAG_LEN`] bytes the tag, or room for it.
    pub text: &'a mut [u8],
}

impl<'a> PacketText<'a> {
    /// Text and tag. None if there is no room for a tag.
    #[must_use]
    pub fn split(self) -> Option<(&'a mut [u8], &'a mut [u8; TAG_LEN])> {
        self.text.split_last_chunk_mut::<TAG_LEN>()
    }
}

impl Default for PacketText<'_> {
    fn default() -> Self {
        Self { nonce: [0; NONCE_LEN], text: &mut [] }
    }
}
