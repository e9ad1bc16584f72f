//! The direction from the far end: README.md, "Receiving".

use alloc::boxed::Box;

use super::epoch::{EPOCH_BITS, EpochKeys, Ratchet, epoch_of};
use super::provider::PacketText;
use crate::profile::PacketError;
use crate::profile::replay::ReplayWindow;

/// The window of 8,192 counters.
type Window = ReplayWindow<129>;

/// Packets of a session that may fail to open: the integrity limit of ChaCha20-Poly1305 (RFC 9001 §6.6), which is far
/// below that of AES-GCM.
pub(super) const MAX_FAILURES: u64 = 1 << 36;

/// See the module.
#[derive(Debug)]
pub(super) struct Receiving {
    window: Box<Window>,
    ratchet: Ratchet,
    /// The epoch of the highest counter.
    epoch: u64,
    current: EpochKeys,
    /// Made when a packet claims to be of that epoch. Then the ratchet is one epoch further.
    next: Option<EpochKeys>,
    /// While the window reaches into that epoch.
    previous: Option<EpochKeys>,
    /// Packets that did not open.
    pub(super) failures: u64,
}

impl Receiving {
    pub(super) fn new(mut ratchet: Ratchet) -> Self {
        let current = ratchet.turn();
        Self { window: Box::default(), ratchet, epoch: 0, current, next: None, previous: None, failures: 0 }
    }

    /// Opens a packet's text in place.
    pub(super) fn open(&mut self, low: u32, text: &mut [u8]) -> Result<(), PacketError> {
        if self.failures >= MAX_FAILURES {
            return Err(PacketError::Exhausted);
        }
        let counter = self.complete(low).ok_or(PacketError::NotAuthentic)?;
        if !self.window.is_new(counter) {
            return Err(PacketError::Replayed);
        }
        let keys = self.keys(epoch_of(counter)).ok_or(PacketError::NotAuthentic)?;
        if !keys.cipher.open(PacketText { nonce: keys.nonce(counter), text }) {
            self.failures += 1;
            return Err(PacketError::NotAuthentic);
        }
        // Only now is the counter the far end's word: a forged packet must not move the window.
        if !self.window.insert(counter) {
            return Err(PacketError::Replayed);
        }
        self.advance();
        Ok(())
    }

    /// The counter with these low bits that is nearest to the one expected next.
    pub(super) fn complete(&self, low: u32) -> Option<u64> {
        let expected = self.window.highest().map_or(0, |highest| highest.saturating_add(1));
        #[expect(clippy::cast_possible_truncation, reason = "the low bits")]
        let ahead = low.wrapping_sub(expected as u32).cast_signed();
        // The last number is never used.
        expected.checked_add_signed(ahead.into()).filter(|counter| *counter != u64::MAX)
    }

    /// The keys of an epoch, if they may be needed.
    fn keys(&mut self, epoch: u64) -> Option<&EpochKeys> {
        if epoch == self.epoch {
            return Some(&self.current);
        }
        if Some(epoch) == self.epoch.checked_add(1) {
            return Some(self.next.get_or_insert_with(|| self.ratchet.turn()));
        }
        self.previous.as_ref().filter(|_| epoch.checked_add(1) == Some(self.epoch))
    }

    /// The epoch of the highest counter.
    #[cfg(test)]
    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// As if a packet with this counter had come; the ratchet stays where it is.
    #[cfg(test)]
    pub(super) fn note(&mut self, counter: u64) {
        assert!(self.window.insert(counter));
    }

    /// Follows the highest counter.
    fn advance(&mut self) {
        let highest = self.window.highest().unwrap_or_default();
        if epoch_of(highest) > self.epoch {
            let next = self.next.take().unwrap_or_else(|| self.ratchet.turn());
            self.previous = Some(core::mem::replace(&mut self.current, next));
            self.epoch += 1;
        }
        let begun = highest & ((1 << EPOCH_BITS) - 1);
        if begun >= Window::SIZE {
            self.previous = None;
        }
    }
}
