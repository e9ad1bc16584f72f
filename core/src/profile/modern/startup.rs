//! The Default Session Key: README.md, "Startup packets".

use alloc::boxed::Box;
use core::ops::Range;

use super::provider::{Cipher, NONCE_LEN, PacketCipher, PacketText, Provider, TAG_LEN};
use super::schedule::hash;
use crate::profile::{PacketError, SessionKeys};
use crate::transmit::Span;

/// A public key with a constant nonce: the ciphertext is the plain packet XOR a constant.
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];

/// Keys that everybody knows.
#[derive(Debug)]
pub(super) struct StartupKeys {
    cipher: Box<dyn PacketCipher>,
}

impl StartupKeys {
    pub(super) fn new(provider: &dyn Provider) -> Self {
        Self { cipher: provider.cipher(Cipher::Aes128Gcm, &hash("startup", &[])) }
    }
}

impl SessionKeys for StartupKeys {
    fn front_len(&self, _ahead: usize) -> usize {
        0
    }

    fn sealed_len(&self, front: usize, plain: usize) -> usize {
        front.saturating_add(plain).saturating_add(TAG_LEN)
    }

    fn plain_capacity(&self, front: usize, room: usize) -> usize {
        room.saturating_sub(TAG_LEN).saturating_sub(front)
    }

    fn seal(&mut self, bytes: &mut [u8], packets: &[Span]) {
        for span in packets {
            let (start, end) = (span.start, span.start.saturating_add(span.sealed));
            let Some(text) = bytes.get_mut(start..end) else {
                // Nothing that was not sealed may leave.
                bytes.get_mut(start..).unwrap_or_default().fill(0);
                continue;
            };
            if span.front == 0 && span.sealed == self.sealed_len(0, span.plain) {
                self.cipher.seal(&mut [PacketText { nonce: NONCE, text }]);
            } else {
                text.fill(0);
            }
        }
    }

    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, PacketError> {
        let plain = 0..encrypted.len().checked_sub(TAG_LEN).ok_or(PacketError::TooShort)?;
        let opened = self.cipher.open(PacketText { nonce: NONCE, text: encrypted });
        if opened { Ok(plain) } else { Err(PacketError::NotAuthentic) }
    }

    fn near_nonce(&self) -> &[u8] {
        &[]
    }

    fn far_nonce(&self) -> &[u8] {
        &[]
    }

    /// Everybody has the key.
    fn authenticates(&self) -> bool {
        false
    }
}
