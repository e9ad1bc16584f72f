//! The modern Cryptography Profile: Ed25519 identities, fresh X25519 keys for each session, and packets under an AEAD.
//!
//! `README.md` in this directory is its specification.

mod provider;
mod pure_rust;

pub use provider::{Cipher, NONCE_LEN, PacketCipher, PacketText, Provider, TAG_LEN};
pub use pure_rust::PureRust;
