//! The keys of one end of one session: README.md, "Packets".

use alloc::sync::Arc;
use core::fmt;
use core::ops::Range;

use super::epoch::{EpochKeys, Ratchet, epoch_of};
use super::header::{FIELD, HeaderKey, SAMPLE, apply};
use super::provider::{Cipher, PacketText, Provider, TAG_LEN};
use super::receiving::Receiving;
use super::schedule::{Schedule, Secret};
use crate::invariant::cannot_happen;
use crate::profile::flight::{cut, in_order};
use crate::profile::{PacketError, Role, SessionKeys};
use crate::transmit::Span;

/// What sealing adds to a plain packet.
pub(super) const OVERHEAD: usize = FIELD + TAG_LEN;
/// Packets that are sealed at once.
const BATCH: usize = 16;

/// See the module.
pub(super) struct ModernKeys {
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    header: HeaderKey,
    near_nonce: Secret,
    far_nonce: Secret,
    is_hybrid: bool,
}

/// The direction from here to the far end.
#[derive(Debug)]
pub(super) struct Sending {
    ratchet: Ratchet,
    keys: EpochKeys,
    epoch: u64,
    /// The counter of the next packet. The last number is never used.
    pub(super) next: u64,
}

impl Sending {
    fn new(mut ratchet: Ratchet) -> Self {
        Self { keys: ratchet.turn(), ratchet, epoch: 0, next: 0 }
    }

    /// Takes the keys of the epoch of the next packet into use.
    fn renew(&mut self) {
        while self.epoch < epoch_of(self.next) {
            self.keys = self.ratchet.turn();
            self.epoch += 1;
        }
    }
}

impl ModernKeys {
    pub(super) fn new(provider: &Arc<dyn Provider>, cipher: Cipher, near: Role, schedule: &Schedule) -> Self {
        let Schedule { initiator, responder, initiator_nonce, responder_nonce, header, is_hybrid } = schedule;
        let [send, receive, near_nonce, far_nonce] = match near {
            Role::Initiator => [initiator, responder, initiator_nonce, responder_nonce],
            Role::Responder => [responder, initiator, responder_nonce, initiator_nonce],
        };
        Self {
            sending: Sending::new(Ratchet::new(provider, cipher, send)),
            receiving: Receiving::new(Ratchet::new(provider, cipher, receive)),
            header: HeaderKey::new(cipher, header),
            near_nonce: near_nonce.clone(),
            far_nonce: far_nonce.clone(),
            is_hybrid: *is_hybrid,
        }
    }
}

impl fmt::Debug for ModernKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModernKeys")
            .field("sending", &self.sending)
            .field("receiving", &self.receiving)
            .finish_non_exhaustive()
    }
}

/// Up to [`BATCH`] packets of one epoch.
#[derive(Default)]
struct Batch<'a> {
    fields: [Option<&'a mut [u8; FIELD]>; BATCH],
    packets: [PacketText<'a>; BATCH],
    len: usize,
}

impl<'a> Batch<'a> {
    /// Adds a packet, which has the length that the profile said, with the next counter.
    fn push(&mut self, packet: &'a mut [u8], sending: &mut Sending) {
        let Some((field, text)) = packet.split_first_chunk_mut::<FIELD>() else { return };
        let (Some(slot), Some(packet)) = (self.fields.get_mut(self.len), self.packets.get_mut(self.len)) else {
            cannot_happen!((), "a batch is sealed when it is full");
            return;
        };
        *field = (sending.next as u32).to_be_bytes();
        *slot = Some(field);
        *packet = PacketText { nonce: sending.keys.nonce(sending.next), text };
        sending.next += 1;
        self.len += 1;
    }

    /// Seals the packets, puts the masks on, and is empty then.
    fn seal(&mut self, keys: &EpochKeys, header: &HeaderKey) {
        let packets = self.packets.get_mut(..self.len).unwrap_or_default();
        keys.cipher.seal(packets);
        let mut masks = [[0; SAMPLE]; BATCH];
        for (mask, packet) in masks.iter_mut().zip(&*packets) {
            if let Some(sample) = packet.text.first_chunk() {
                *mask = *sample;
            }
        }
        header.mask(masks.get_mut(..self.len).unwrap_or_default());
        for (field, mask) in self.fields.iter_mut().zip(&masks).take(self.len) {
            if let Some(field) = field.take() {
                apply(field, mask);
            }
        }
        self.len = 0;
    }
}

impl SessionKeys for ModernKeys {
    fn front_len(&self, _ahead: usize) -> usize {
        FIELD
    }

    fn sealed_len(&self, front: usize, plain: usize) -> usize {
        front.saturating_add(plain).saturating_add(TAG_LEN)
    }

    fn plain_capacity(&self, front: usize, room: usize) -> usize {
        room.saturating_sub(TAG_LEN).saturating_sub(front)
    }

    fn seal(&mut self, bytes: &mut [u8], packets: &[Span]) {
        if !in_order(bytes.len(), packets) {
            // Nothing that was not sealed may leave.
            bytes.fill(0);
            return;
        }
        let (mut rest, mut passed) = (bytes, 0);
        let mut batch = Batch::default();
        for span in packets {
            let Some((packet, behind)) = cut(&mut rest, &mut passed, span) else {
                rest.fill(0);
                continue;
            };
            rest = behind;
            if span.front != FIELD
                || packet.len() != self.sealed_len(FIELD, span.plain)
                || self.sending.next == u64::MAX
            {
                packet.fill(0);
                continue;
            }
            if batch.len == BATCH || epoch_of(self.sending.next) != self.sending.epoch {
                batch.seal(&self.sending.keys, &self.header);
                self.sending.renew();
            }
            batch.push(packet, &mut self.sending);
        }
        batch.seal(&self.sending.keys, &self.header);
    }

    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, PacketError> {
        if encrypted.len() < OVERHEAD {
            return Err(PacketError::TooShort);
        }
        let plain = FIELD..encrypted.len() - TAG_LEN;
        let (field, text) = encrypted.split_first_chunk_mut::<FIELD>().ok_or(PacketError::TooShort)?;
        let mut mask = [*text.first_chunk::<SAMPLE>().ok_or(PacketError::TooShort)?];
        self.header.mask(&mut mask);
        let [mask] = mask;
        apply(field, &mask);
        self.receiving.open(u32::from_be_bytes(*field), text)?;
        Ok(plain)
    }

    fn near_nonce(&self) -> &[u8] {
        &*self.near_nonce
    }

    fn far_nonce(&self) -> &[u8] {
        &*self.far_nonce
    }

    fn authenticates(&self) -> bool {
        true
    }

    fn is_post_quantum(&self) -> bool {
        self.is_hybrid
    }
}
