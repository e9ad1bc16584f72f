//! From the Diffie-Hellman secret and both keying components to keys and nonces (RFC 7425 §4.6.3 to §4.6.5).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

/// HMAC with SHA-256.
pub(super) type HmacSha256 = Hmac<Sha256>;

/// A keyed HMAC.
pub(super) fn keyed(key: &[u8]) -> HmacSha256 {
    #[expect(clippy::expect_used, reason = "an HMAC key may have any length")]
    <HmacSha256 as KeyInit>::new_from_slice(key).expect("any length will do")
}

/// HMAC-SHA256 of the concatenation of `message`.
pub(super) fn hmac(key: &[u8], message: &[&[u8]]) -> [u8; 32] {
    let mut mac = keyed(key);
    for part in message {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// All that one end derives for a session. Wiped when dropped.
pub(super) struct Derived {
    /// ENCRYPT_KEY; its first 16 bytes are the AES key.
    pub(super) encrypt_key: [u8; 32],
    /// DECRYPT_KEY; its first 16 bytes are the AES key.
    pub(super) decrypt_key: [u8; 32],
    /// HMAC_SEND_KEY.
    pub(super) hmac_send_key: [u8; 32],
    /// HMAC_RECV_KEY.
    pub(super) hmac_recv_key: [u8; 32],
    /// NEAR_NONCE.
    pub(super) near_nonce: [u8; 32],
    /// FAR_NONCE.
    pub(super) far_nonce: [u8; 32],
}

impl Derived {
    /// From DH_SECRET, the Session Key Near Component and the Session Key Far Component.
    pub(super) fn new(secret: &[u8], near: &[u8], far: &[u8]) -> Self {
        let encrypt_key = hmac(secret, &[&hmac(far, &[near])]);
        let decrypt_key = hmac(secret, &[&hmac(near, &[far])]);
        Self {
            hmac_send_key: hmac(secret, &[&encrypt_key]),
            hmac_recv_key: hmac(secret, &[&decrypt_key]),
            near_nonce: hmac(secret, &[near]),
            far_nonce: hmac(secret, &[far]),
            encrypt_key,
            decrypt_key,
        }
    }

    /// The AES-128 key out of a 256-bit key (RFC 7425 §4.6.3).
    pub(super) fn aes_key(key: &[u8; 32]) -> [u8; 16] {
        let mut short = [0; 16];
        short.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
        short
    }
}

impl Drop for Derived {
    fn drop(&mut self) {
        self.encrypt_key.zeroize();
        self.decrypt_key.zeroize();
        self.hmac_send_key.zeroize();
        self.hmac_recv_key.zeroize();
        self.near_nonce.zeroize();
        self.far_nonce.zeroize();
    }
}

impl core::fmt::Debug for Derived {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Derived").finish_non_exhaustive()
    }
}
