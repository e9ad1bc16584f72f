//! Two ends prove to each other that they know the same words, and show nothing of them (CPace,
//! draft-irtf-cfrg-cpace-21, over ristretto255 with SHA-512).
//!
//! The one who was told a code *claims* it; the one who made it *answers*. Four messages:
//!
//! 1. claim: a share of 32 bytes ([`claim`]);
//! 2. answer: a share of 32 bytes ([`answer`]);
//! 3. claim: a confirmation of 32 bytes ([`Claimed::on_share`]);
//! 4. answer: a confirmation of 32 bytes ([`Answered::on_confirmation`], [`Confirmed::on_confirmation`]).
//!
//! The answering end sends nothing that depends on the words before the other has confirmed. So who claims by a guess must
//! show it, one for each exchange, and cannot learn more from what was recorded. Who answers in the maker's place has a guess
//! too, and need not show it: the claim's confirmation tells whether it was right. So a claiming end that has sent its
//! confirmation and got none must not claim with the same words again. Both put in a *binding*: bytes that both
//! ends of a session know and that are different in any other, such as the nonces of RFC 7425 §4.6.5 or a transcript's
//! hash. One who sits between two sessions gets nothing, because the two have different ones.

use alloc::vec::Vec;
use core::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use pakery_cpace::{CpaceInitiator, CpaceMode, CpaceOutput, CpaceResponder, InitiatorState};
use pakery_crypto::CpaceRistretto255;
use rand_core::CryptoRng;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop, Zeroizing};

use crate::code::Words;

/// Bytes of a share.
pub const SHARE: usize = 32;
/// Bytes of a confirmation.
pub const CONFIRMATION: usize = 32;

/// What the exchange is for: no other protocol's is taken for it.
const CONTEXT: &[u8] = b"rtmfp-files code, version 1";
const CLAIMS: &[u8] = b"claims";
const ANSWERS: &[u8] = b"answers";

/// A share that is sent.
pub type Share = [u8; SHARE];
/// A confirmation that is sent.
pub type Confirmation = [u8; CONFIRMATION];

/// Why an exchange has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PakeError {
    /// The share is not one: the other end is at fault, and nothing was guessed.
    BadShare,
    /// The other end does not know the words, or does not speak over this session.
    Wrong,
}

impl fmt::Display for PakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadShare => "the other end sent no share of a key exchange",
            Self::Wrong => "the other end does not know the code",
        })
    }
}

impl core::error::Error for PakeError {}

/// What the two know beforehand and nobody else does, or only by a guess. Wiped from memory when dropped.
#[derive(Clone, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A password, which the two have told each other in another way.
    #[must_use]
    pub fn password(password: &[u8]) -> Self {
        Self([b"password ", password].concat())
    }

    /// What was left of an earlier exchange between the two: a [secret](Shared::secret) for going on.
    #[must_use]
    pub fn earlier(secret: &[u8; 32]) -> Self {
        Self([b"earlier ", &secret[..]].concat())
    }
}

impl From<&Words> for Secret {
    fn from(words: &Words) -> Self {
        Self(words.as_secret())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

/// What both ends have in common after the exchange, and nobody else.
#[derive(ZeroizeOnDrop)]
pub struct Shared([u8; 64]);

impl Shared {
    /// A secret for one purpose. Those of different purposes tell nothing of each other.
    #[must_use]
    pub fn secret(&self, purpose: &[u8]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(mac(&self.0, &[b"secret", purpose]))
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// The claiming end, which waits for a share.
pub struct Claimed(InitiatorState<CpaceRistretto255>);

/// The claiming end, which waits for a confirmation.
#[derive(Debug)]
pub struct Confirmed(Shared);

/// The answering end, which waits for a confirmation.
#[derive(Debug)]
pub struct Answered(Shared);

impl fmt::Debug for Claimed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimed").finish_non_exhaustive()
    }
}

/// Claims to know the secret over a session.
///
/// # Errors
/// [`PakeError::BadShare`] if the exchange cannot begin, which no words are known to cause.
pub fn claim(secret: &Secret, binding: &[u8], rng: &mut impl CryptoRng) -> Result<(Share, Claimed), PakeError> {
    let begun = CpaceInitiator::<CpaceRistretto255>::start(&secret.0, CONTEXT, binding, CLAIMS, rng);
    let (share, state) = begun.map_err(|_| PakeError::BadShare)?;
    Ok((share.try_into().map_err(|_| PakeError::BadShare)?, Claimed(state)))
}

/// Answers a claim.
///
/// # Errors
/// [`PakeError::BadShare`]: that is no guess.
pub fn answer(
    secret: &Secret,
    binding: &[u8],
    share: &[u8],
    rng: &mut impl CryptoRng,
) -> Result<(Share, Answered), PakeError> {
    let mode = CpaceMode::InitiatorResponder;
    let begun =
        CpaceResponder::<CpaceRistretto255>::respond(share, &secret.0, CONTEXT, binding, CLAIMS, ANSWERS, mode, rng);
    let (share, output) = begun.map_err(|_| PakeError::BadShare)?;
    Ok((share.try_into().map_err(|_| PakeError::BadShare)?, Answered(Shared::of(&output)?)))
}

impl Claimed {
    /// Takes the answer's share. The confirmation is to be sent, and the words are spent with it: whoever answers can check
    /// one guess by it.
    ///
    /// # Errors
    /// [`PakeError::BadShare`].
    pub fn on_share(self, share: &[u8]) -> Result<(Confirmation, Confirmed), PakeError> {
        let output = self.0.finish(share, ANSWERS, CpaceMode::InitiatorResponder).map_err(|_| PakeError::BadShare)?;
        let shared = Shared::of(&output)?;
        Ok((shared.confirmation(CLAIMS), Confirmed(shared)))
    }
}

impl Confirmed {
    /// Takes the answering end's confirmation: it knows the words.
    ///
    /// # Errors
    /// [`PakeError::Wrong`].
    pub fn on_confirmation(self, confirmation: &[u8]) -> Result<Shared, PakeError> {
        self.0.checked(ANSWERS, confirmation)
    }
}

impl Answered {
    /// Takes the claiming end's confirmation: it knows the words. The own one is to be sent.
    ///
    /// # Errors
    /// [`PakeError::Wrong`]: that was a guess. The code must not be answered again.
    pub fn on_confirmation(self, confirmation: &[u8]) -> Result<(Confirmation, Shared), PakeError> {
        let shared = self.0.checked(CLAIMS, confirmation)?;
        Ok((shared.confirmation(ANSWERS), shared))
    }
}

impl Shared {
    fn of(output: &CpaceOutput) -> Result<Self, PakeError> {
        output.isk.as_bytes().try_into().map(Self).map_err(|_| PakeError::BadShare)
    }

    fn confirmation(&self, whose: &[u8]) -> Confirmation {
        mac(&self.0, &[b"confirmation", whose])
    }

    fn checked(self, whose: &[u8], confirmation: &[u8]) -> Result<Self, PakeError> {
        let mut expected = self.confirmation(whose);
        let is_right = bool::from(expected.ct_eq(confirmation));
        expected.zeroize();
        if is_right { Ok(self) } else { Err(PakeError::Wrong) }
    }
}

/// HMAC-SHA256 of parts, each with its length in front.
fn mac(key: &[u8; 64], parts: &[&[u8]]) -> [u8; 32] {
    let message: Vec<u8> = parts
        .iter()
        .flat_map(|part| (part.len() as u64).to_be_bytes().into_iter().chain(part.iter().copied()))
        .collect();
    // A key of any length will do; 64 bytes are SHA-256's block.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(&message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests;
