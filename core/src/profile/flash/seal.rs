//! Sealing and opening packets (RFC 7425 §4.7).
//!
//! Inside the cipher blocks stand `[session sequence number][checksum][plain packet][padding]`, behind them the
//! truncated HMAC. A session has the sequence number or not, and the checksum or the HMAC, in each direction by
//! itself.

use alloc::boxed::Box;
use core::fmt;
use core::ops::Range;

use aes::cipher::KeyInit;
use aes::{Aes128Dec, Aes128Enc};
use hmac::Mac;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::cipher::{self, BLOCK, LANES, Lane};
use super::derive::{Derived, HmacSha256, keyed};
use super::negotiation::Negotiated;
use crate::invariant::cannot_happen;
use crate::profile::checksum::internet_checksum;
use crate::profile::flight::{cut, in_order};
use crate::profile::replay;
use crate::profile::{PacketError, SessionKeys};
use crate::transmit::Span;
use crate::wire::{Cursor, vlu};

/// The 16 bytes of the Default Session Key (RFC 7425 §4.1).
const DEFAULT_SESSION_KEY: [u8; 16] = *b"Adobe Systems 02";
/// Length of the simple checksum.
const CHECKSUM: usize = 2;
/// What packets are padded with (RFC 7425 §4.7.2).
const PADDING: u8 = 0xff;

/// RFC 7425 §4.7.3.3 asks for 32 numbers; this has 960.
type ReplayWindow = replay::ReplayWindow<16>;

/// A keyed HMAC and how many bytes of it go with a packet, 4 to 32.
type TruncatedHmac = (HmacSha256, usize);

/// The keys of one end of one session.
pub(super) struct FlashKeys {
    encrypt: Aes128Enc,
    decrypt: Aes128Dec,
    send_hmac: Option<TruncatedHmac>,
    recv_hmac: Option<TruncatedHmac>,
    send_sequence: Option<NextNumber>,
    recv_window: Option<Box<ReplayWindow>>,
    nonces: Option<Nonces>,
}

/// NEAR_NONCE and FAR_NONCE (RFC 7425 §4.6.5).
struct Nonces {
    near: Zeroizing<[u8; 32]>,
    far: Zeroizing<[u8; 32]>,
}

/// The number of the next packet to seal; none when all were used, since they must not repeat (RFC 7425 §4.7.3.3).
#[derive(Clone, Copy)]
struct NextNumber(Option<u64>);

impl FlashKeys {
    /// The Default Session Key: checksums, no sequence numbers, no secrets (RFC 7425 §4.1).
    pub(super) fn default_session_key() -> Self {
        Self {
            encrypt: Aes128Enc::new(&DEFAULT_SESSION_KEY.into()),
            decrypt: Aes128Dec::new(&DEFAULT_SESSION_KEY.into()),
            send_hmac: None,
            recv_hmac: None,
            send_sequence: None,
            recv_window: None,
            nonces: None,
        }
    }

    /// The keys of a session, as derived and negotiated.
    pub(super) fn new(derived: &Derived, negotiated: Negotiated) -> Self {
        let encrypt_key = Zeroizing::new(Derived::aes_key(&derived.encrypt_key));
        let decrypt_key = Zeroizing::new(Derived::aes_key(&derived.decrypt_key));
        Self {
            encrypt: Aes128Enc::new((&*encrypt_key).into()),
            decrypt: Aes128Dec::new((&*decrypt_key).into()),
            send_hmac: negotiated.send_hmac.map(|length| (keyed(&derived.hmac_send_key), length)),
            recv_hmac: negotiated.recv_hmac.map(|length| (keyed(&derived.hmac_recv_key), length)),
            // RFC 7425 §4.6.6: session sequence numbers start at zero.
            send_sequence: negotiated.send_sequence.then_some(NextNumber(Some(0))),
            recv_window: negotiated.recv_sequence.then(Box::default),
            nonces: Some(Nonces { near: Zeroizing::new(derived.near_nonce), far: Zeroizing::new(derived.far_nonce) }),
        }
    }

    /// The front of a packet with this sequence number.
    fn front(&self, number: Option<u64>) -> usize {
        let checksum = if self.send_hmac.is_some() { 0 } else { CHECKSUM };
        number.map_or(0, vlu::encoded_len) + checksum
    }

    fn send_hmac_len(&self) -> usize {
        self.send_hmac.as_ref().map_or(0, |(_, length)| *length)
    }

    /// Everything that goes into one packet but encryption and HMAC; `false` if the span and the keys do not agree,
    /// or the sequence numbers are used up.
    fn prepare(&mut self, packet: &mut [u8], span: &Span) -> bool {
        let number = match self.send_sequence {
            None => None,
            Some(NextNumber(None)) => return false,
            Some(NextNumber(next)) => next,
        };
        let hmac_len = self.send_hmac_len();
        let Some(body) = packet.len().checked_sub(hmac_len) else { return false };
        if span.front != self.front(number) || packet.len() != self.sealed_len(span.front, span.plain) {
            return false;
        }
        let Some(blocks) = packet.get_mut(..body) else { return false };
        let Some((front, rest)) = blocks.split_at_mut_checked(span.front) else { return false };
        if let Some(padding) = rest.get_mut(span.plain..) {
            padding.fill(PADDING);
        }
        if self.send_hmac.is_none() {
            // RFC 7425 §4.7.3.1: over all that follows the checksum, padding included.
            if let Some(field) = front.last_chunk_mut::<CHECKSUM>() {
                *field = internet_checksum(rest).to_be_bytes();
            }
        }
        if let Some(number) = number {
            let digits = front.len() - if self.send_hmac.is_some() { 0 } else { CHECKSUM };
            let digits = front.get_mut(..digits);
            put_vlu(number, digits.unwrap_or_else(|| cannot_happen!(&mut [], "the front holds the number")));
            self.send_sequence = Some(NextNumber(number.checked_add(1)));
        }
        true
    }

    /// Encrypts and authenticates up to [`LANES`] prepared packets.
    fn finish(&self, packets: &mut [&mut [u8]]) {
        let hmac_len = self.send_hmac_len();
        let mut lanes: [Lane<'_>; LANES] = Default::default();
        let count = packets.len();
        for (lane, packet) in lanes.iter_mut().zip(packets.iter_mut()) {
            let body = packet.len().saturating_sub(hmac_len);
            let body = packet.get_mut(..body);
            *lane = Lane::new(body.unwrap_or_else(|| cannot_happen!(&mut [], "a packet ends with its HMAC")));
        }
        let lanes = lanes.get_mut(..count);
        cipher::encrypt(&self.encrypt, lanes.unwrap_or_else(|| cannot_happen!(&mut [], "there is a lane for each")));
        let Some((hmac, length)) = &self.send_hmac else { return };
        for packet in packets {
            let Some((blocks, field)) = packet.split_at_mut_checked(packet.len().saturating_sub(*length)) else {
                continue;
            };
            let mut hmac = hmac.clone();
            hmac.update(blocks);
            field.iter_mut().zip(hmac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        }
    }

    /// Checks the HMAC, if there is one, and returns the length of the cipher blocks.
    fn check_hmac(&self, encrypted: &[u8]) -> Result<usize, PacketError> {
        let Some((hmac, length)) = &self.recv_hmac else { return Ok(encrypted.len()) };
        let (blocks, field) = encrypted
            .len()
            .checked_sub(*length)
            .and_then(|at| encrypted.split_at_checked(at))
            .ok_or(PacketError::TooShort)?;
        let mut hmac = hmac.clone();
        hmac.update(blocks);
        hmac.verify_truncated_left(field).map_err(|_| PacketError::NotAuthentic)?;
        Ok(blocks.len())
    }
}

impl SessionKeys for FlashKeys {
    fn front_len(&self, ahead: usize) -> usize {
        let number = self.send_sequence.map(|NextNumber(next)| next.unwrap_or(u64::MAX).saturating_add(ahead as u64));
        self.front(number)
    }

    fn sealed_len(&self, front: usize, plain: usize) -> usize {
        front.saturating_add(plain).div_ceil(BLOCK).saturating_mul(BLOCK).saturating_add(self.send_hmac_len())
    }

    fn plain_capacity(&self, front: usize, room: usize) -> usize {
        let blocks = room.saturating_sub(self.send_hmac_len()) / BLOCK;
        (blocks * BLOCK).saturating_sub(front)
    }

    fn seal(&mut self, bytes: &mut [u8], packets: &[Span]) {
        if !in_order(bytes.len(), packets) {
            // Nothing that was not sealed may leave.
            bytes.fill(0);
            return;
        }
        let mut rest = bytes;
        let mut passed = 0;
        for spans in packets.chunks(LANES) {
            let mut flight: [&mut [u8]; LANES] = Default::default();
            let mut count = 0;
            for span in spans {
                let Some((packet, behind)) = cut(&mut rest, &mut passed, span) else { continue };
                rest = behind;
                if !self.prepare(packet, span) {
                    packet.fill(0);
                } else if let Some(slot) = flight.get_mut(count) {
                    *slot = packet;
                    count += 1;
                }
            }
            let flight = flight.get_mut(..count);
            self.finish(flight.unwrap_or_else(|| cannot_happen!(&mut [], "a flight has no more packets than lanes")));
        }
    }

    fn open(&mut self, encrypted: &mut [u8]) -> Result<Range<usize>, PacketError> {
        let blocks = self.check_hmac(encrypted)?;
        // RFC 7425 §4.7.2: nothing may be left over between the blocks and the HMAC.
        if blocks == 0 || blocks % BLOCK != 0 {
            return Err(if blocks < BLOCK { PacketError::TooShort } else { PacketError::NotAuthentic });
        }
        let blocks = encrypted.get_mut(..blocks);
        let blocks = blocks.unwrap_or_else(|| cannot_happen!(&mut [], "the blocks are within the packet"));
        cipher::decrypt(&self.decrypt, blocks);
        let mut cursor = Cursor::new(blocks);
        let number = match self.recv_window {
            Some(_) => Some(cursor.vlu().map_err(|_| PacketError::NotAuthentic)?),
            None => None,
        };
        if self.recv_hmac.is_none() {
            let field = cursor.array::<CHECKSUM>().map_err(|_| PacketError::NotAuthentic)?;
            if !bool::from(internet_checksum(cursor.as_slice()).to_be_bytes().ct_eq(&field)) {
                return Err(PacketError::NotAuthentic);
            }
        }
        let plain = blocks.len() - cursor.remaining()..blocks.len();
        // Only now is the number the far end's word: a forged packet must not move the window.
        if let (Some(window), Some(number)) = (&mut self.recv_window, number)
            && !window.insert(number)
        {
            return Err(PacketError::Replayed);
        }
        Ok(plain)
    }

    fn near_nonce(&self) -> &[u8] {
        self.nonces.as_ref().map_or(&[], |nonces| &*nonces.near)
    }

    fn far_nonce(&self) -> &[u8] {
        self.nonces.as_ref().map_or(&[], |nonces| &*nonces.far)
    }

    /// The checksum stands inside the cipher blocks, but CBC lets an outsider alter the last blocks of a packet and
    /// hit 16 bits by trying: only the HMAC counts.
    fn authenticates(&self) -> bool {
        self.recv_hmac.is_some()
    }
}

impl fmt::Debug for FlashKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlashKeys")
            .field("send_hmac", &self.send_hmac.as_ref().map(|(_, length)| length))
            .field("recv_hmac", &self.recv_hmac.as_ref().map(|(_, length)| length))
            .field("send_sequence", &self.send_sequence.is_some())
            .field("recv_sequence", &self.recv_window.is_some())
            .finish_non_exhaustive()
    }
}

/// Writes a VLU that is exactly as long as the field.
fn put_vlu(mut value: u64, field: &mut [u8]) {
    let mut more = 0;
    for digit in field.iter_mut().rev() {
        *digit = (value & 0x7f) as u8 | more;
        value >>= 7;
        more = 0x80;
    }
}

#[cfg(test)]
mod tests;
