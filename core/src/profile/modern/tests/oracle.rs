//! A second implementation of README.md, of plain calls to the crates: what the profile says and does is compared with
//! it. It shares no code with the profile.

use alloc::vec;
use alloc::vec::Vec;

use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes_gcm::aead::AeadInOut;
use ed25519_dalek::{Signer, SigningKey};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

pub(super) fn lv(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

pub(super) fn sha(label: &str, rest: &[u8]) -> [u8; 32] {
    Sha256::digest([b"RTMFP modern 1 ", label.as_bytes(), rest].concat()).into()
}

pub(super) fn expand(secret: &[u8], label: &str, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    let info = [b"RTMFP modern 1 ", label.as_bytes()].concat();
    Hkdf::<Sha256>::from_prk(secret).unwrap().expand(&info, &mut out).unwrap();
    out
}

/// An option whose type is below 128, and whose length takes one byte or two.
pub(super) fn option(kind: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len() + 1;
    let length = if length < 128 { vec![length as u8] } else { vec![0x80 | (length >> 7) as u8, length as u8 & 0x7f] };
    [&length[..], &[kind], value].concat()
}

/// One end's secrets.
pub(super) struct End {
    pub(super) identity: [u8; 32],
    pub(super) fresh: [u8; 32],
}

impl End {
    pub(super) fn certificate(&self) -> Vec<u8> {
        option(0x41, SigningKey::from_bytes(&self.identity).verifying_key().as_bytes())
    }

    pub(super) fn component(&self, ciphers: &[u8]) -> Vec<u8> {
        let public = x25519_dalek::x25519(self.fresh, x25519_dalek::X25519_BASEPOINT_BYTES);
        [option(0x51, &public), option(0x53, ciphers)].concat()
    }
}

/// A whole session, seen from above.
pub(super) struct Session {
    pub(super) certificates: [u8; 32],
    pub(super) transcript: [u8; 32],
    pub(super) prk: Vec<u8>,
    pub(super) header: Vec<u8>,
    pub(super) nonces: [Vec<u8>; 2],
    /// Of initiator and responder.
    pub(super) secrets: [Vec<u8>; 2],
    pub(super) cipher: u8,
}

impl Session {
    /// With these ciphers offered, and the one chosen.
    pub(super) fn new(initiator: &End, responder: &End, offered: &[u8], cipher: u8) -> Self {
        Self::of(initiator, responder, &initiator.component(offered), &responder.component(&[cipher]), &[], cipher)
    }

    /// With ML-KEM: the seed `d || z` of the initiator's key, and the message that the responder encapsulates. One cipher is
    /// offered. Also returns the components, and the secret of ML-KEM.
    #[cfg(feature = "ml-kem")]
    pub(super) fn hybrid(ends: [&End; 2], cipher: u8, seed: [u8; 64], message: [u8; 32]) -> (Self, [Vec<u8>; 3]) {
        use ml_kem::kem::{KeyExport, KeyInit};
        let key = ml_kem::ml_kem_768::DecapsulationKey::new(&seed.into());
        let (ciphertext, secret) = key.encapsulation_key().encapsulate_deterministic(&message.into());
        let values = [key.encapsulation_key().to_bytes().to_vec(), ciphertext.to_vec()];
        let components = [0, 1].map(|end| [ends[end].component(&[cipher]), option(0x56, &values[end])].concat());
        let session = Self::of(ends[0], ends[1], &components[0], &components[1], &secret, cipher);
        let [skic, skrc] = components;
        (session, [skic, skrc, secret.to_vec()])
    }

    /// With these components. What ML-KEM gives is empty in a classical session.
    pub(super) fn of(initiator: &End, responder: &End, skic: &[u8], skrc: &[u8], ml_kem: &[u8], cipher: u8) -> Self {
        let certificates = sha("certificates", &[lv(&initiator.certificate()), lv(&responder.certificate())].concat());
        let transcript = sha("transcript", &[certificates.to_vec(), lv(skic), lv(skrc)].concat());
        let far = x25519_dalek::x25519(responder.fresh, x25519_dalek::X25519_BASEPOINT_BYTES);
        let shared = x25519_dalek::x25519(initiator.fresh, far);
        let (prk, _) = Hkdf::<Sha256>::extract(Some(&transcript), &[ml_kem, &shared].concat());
        Self {
            certificates,
            transcript,
            prk: prk.to_vec(),
            header: expand(&prk, "header", 32),
            nonces: [expand(&prk, "initiator nonce", 32), expand(&prk, "responder nonce", 32)],
            secrets: [expand(&prk, "initiator traffic", 32), expand(&prk, "responder traffic", 32)],
            cipher,
        }
    }

    /// A packet of the initiator (0) or responder (1).
    pub(super) fn packet(&self, sender: usize, counter: u64, plain: &[u8]) -> Vec<u8> {
        let mut secret = self.secrets[sender].clone();
        for _ in 0..counter / 4_194_304 {
            secret = expand(&secret, "next", 32);
        }
        let mut nonce: [u8; 12] = expand(&secret, "iv", 12).try_into().unwrap();
        let number = [&[0; 4][..], &counter.to_be_bytes()].concat();
        nonce.iter_mut().zip(number).for_each(|(byte, digit)| *byte ^= digit);
        let key = expand(&secret, "key", if self.cipher == 1 { 16 } else { 32 });
        let sealed = match self.cipher {
            1 => seal::<aes_gcm::Aes128Gcm>(&key, nonce, plain),
            2 => seal::<aes_gcm::Aes256Gcm>(&key, nonce, plain),
            _ => seal::<chacha20poly1305::ChaCha20Poly1305>(&key, nonce, plain),
        };
        let mask = self.mask(sealed[..16].try_into().unwrap());
        let field = (counter as u32).to_be_bytes();
        let masked: Vec<u8> = field.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
        [masked, sealed].concat()
    }

    fn mask(&self, sample: [u8; 16]) -> Vec<u8> {
        if self.cipher == 3 {
            let nonce: [u8; 12] = sample[..12].try_into().unwrap();
            let key: [u8; 32] = self.header[..].try_into().unwrap();
            let mut stream = vec![0; 4];
            chacha20::ChaCha20::new(&key.into(), &nonce.into()).apply_keystream(&mut stream);
            return stream;
        }
        let key: [u8; 16] = self.header[..16].try_into().unwrap();
        let mut block = sample.into();
        aes::Aes128::new(&key.into()).encrypt_block(&mut block);
        block[..4].to_vec()
    }
}

fn seal<A: AeadInOut + KeyInit>(key: &[u8], nonce: [u8; 12], plain: &[u8]) -> Vec<u8> {
    let cipher = A::new_from_slice(key).unwrap();
    let mut bytes = plain.to_vec();
    let nonce = (&nonce[..]).try_into().unwrap();
    let tag = cipher.encrypt_inout_detached(&nonce, &[], bytes.as_mut_slice().into()).unwrap();
    bytes.extend_from_slice(&tag);
    bytes
}

/// The signature of the initiator or responder.
pub(super) fn signature(signer: &End, role: &str, certificates: &[u8; 32], parameters: &[u8]) -> [u8; 64] {
    let label = alloc::format!("RTMFP modern 1 {role} signature");
    SigningKey::from_bytes(&signer.identity).sign(&[label.as_bytes(), certificates, parameters].concat()).to_bytes()
}

/// A startup packet.
pub(super) fn startup(plain: &[u8]) -> Vec<u8> {
    seal::<aes_gcm::Aes128Gcm>(&sha("startup", &[])[..16], [0; 12], plain)
}
