//! Session keying components (RFC 7425 §4.5), the same for initiator and responder.

use alloc::vec::Vec;

use super::negotiation::{Offer, Offers};
use crate::profile::KeyingError;
use crate::wire::option::{Options, RawOption, encode_option};
use crate::wire::{Cursor, Malformed, vlu};

const EPHEMERAL_PUBLIC_KEY: u64 = 0x0d;
const EXTRA_RANDOMNESS: u64 = 0x0e;
const HMAC_NEGOTIATION: u64 = 0x1a;
const GROUP_SELECT: u64 = 0x1d;
const SEQUENCE_NEGOTIATION: u64 = 0x1e;

/// The lengths that an HMAC may have (RFC 7425 §4.5.2.4).
pub(super) const HMAC_LENGTHS: core::ops::RangeInclusive<u64> = 4..=32;

/// Appends an Ephemeral Diffie-Hellman Public Key option.
pub(super) fn put_ephemeral_key(group_id: u64, key: &[u8], out: &mut Vec<u8>) {
    let mut value = Vec::new();
    vlu::encode(group_id, &mut value);
    value.extend_from_slice(key);
    encode_option(EPHEMERAL_PUBLIC_KEY, &value, out);
}

/// Appends a Diffie-Hellman Group Select option.
pub(super) fn put_group_select(group_id: u64, out: &mut Vec<u8>) {
    let mut value = Vec::new();
    vlu::encode(group_id, &mut value);
    encode_option(GROUP_SELECT, &value, out);
}

/// Appends an Extra Randomness option.
pub(super) fn put_randomness(randomness: &[u8], out: &mut Vec<u8>) {
    encode_option(EXTRA_RANDOMNESS, randomness, out);
}

/// Appends both negotiation options.
pub(super) fn put_offers(offers: &Offers, out: &mut Vec<u8>) {
    let mut value = Vec::new();
    value.push(offers.hmac.to_byte());
    vlu::encode(offers.hmac_len as u64, &mut value);
    encode_option(HMAC_NEGOTIATION, &value, out);
    encode_option(SEQUENCE_NEGOTIATION, &[offers.sequence.to_byte()], out);
}

/// A far end's keying component. Options that are not understood are ignored (RFC 7425 §4.5.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Component<'a> {
    /// Group and public key.
    pub(super) ephemeral_key: Option<(u64, &'a [u8])>,
    /// The initiator's choice of group.
    pub(super) group_select: Option<u64>,
    /// Both negotiations.
    pub(super) offers: Offers,
}

impl<'a> Component<'a> {
    /// Parses a component.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, KeyingError> {
        Self::read(bytes).map_err(|Malformed| KeyingError::Malformed)
    }

    fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut component = Self::default();
        let (mut hmac, mut sequence) = (None, None);
        for option in Options::new(bytes) {
            let RawOption::Option { kind, value } = option? else { continue };
            let mut value = Cursor::new(value);
            match kind {
                EPHEMERAL_PUBLIC_KEY => once(&mut component.ephemeral_key, (value.vlu()?, value.rest()))?,
                GROUP_SELECT => once(&mut component.group_select, value.vlu()?)?,
                // Two answers to one question would be a quarrel: these are refused, too.
                HMAC_NEGOTIATION => once(&mut hmac, (Offer::from_byte(value.u8()?), value.vlu()?))?,
                SEQUENCE_NEGOTIATION => once(&mut sequence, Offer::from_byte(value.u8()?))?,
                _ => {}
            }
        }
        if let Some((offer, length)) = hmac {
            component.offers.hmac = offer;
            // RFC 7425 §4.5.2.4: the length of an HMAC that is never sent says nothing.
            if offer.willing() {
                if !HMAC_LENGTHS.contains(&length) {
                    return Err(Malformed);
                }
                component.offers.hmac_len = usize::try_from(length).map_err(|_| Malformed)?;
            }
        }
        component.offers.sequence = sequence.unwrap_or_default();
        Ok(component)
    }
}

/// RFC 7425 §4.5.2.1, §4.5.2.3: some options MUST NOT be sent more than once.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Malformed> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed),
    }
}
