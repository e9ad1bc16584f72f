//! In the place of `kem` in a build without the feature `ml-kem`. A profile of such a build never asks for it.

use alloc::vec::Vec;
use core::convert::Infallible;

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::profile::KeyingError;

/// Whether this build has ML-KEM.
pub(super) const AVAILABLE: bool = false;

/// No such key is ever made.
#[derive(Debug)]
pub(super) struct KemKey(Infallible);

impl KemKey {
    pub(super) fn generate(_: &mut dyn CryptoRng) -> Result<(Self, Vec<u8>), KeyingError> {
        Err(KeyingError::ProtectionRefused)
    }

    pub(super) fn decapsulate(&self, _: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyingError> {
        match self.0 {}
    }
}

pub(super) fn encapsulate(_: &[u8], _: &mut dyn CryptoRng) -> Result<(Vec<u8>, Zeroizing<[u8; 32]>), KeyingError> {
    Err(KeyingError::ProtectionRefused)
}
