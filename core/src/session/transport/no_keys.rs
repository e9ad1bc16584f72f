//! What stands in the place of keys once a session is over.

use core::ops::Range;

use crate::profile::{PacketError, SessionKeys};
use crate::transmit::Span;

/// Seals and opens nothing.
#[derive(Debug)]
pub(super) struct NoKeys;

impl SessionKeys for NoKeys {
    fn front_len(&self, _ahead: usize) -> usize {
        0
    }

    fn sealed_len(&self, front: usize, plain: usize) -> usize {
        front + plain
    }

    /// No packet fits.
    fn plain_capacity(&self, _front: usize, _room: usize) -> usize {
        0
    }

    fn seal(&mut self, _bytes: &mut [u8], _packets: &[Span]) {}

    fn open(&mut self, _encrypted: &mut [u8]) -> Result<Range<usize>, PacketError> {
        Err(PacketError::Exhausted)
    }

    fn near_nonce(&self) -> &[u8] {
        &[]
    }

    fn far_nonce(&self) -> &[u8] {
        &[]
    }

    fn authenticates(&self) -> bool {
        false
    }
}
