//! Variable Length Unsigned Integers (RFC 7016 §2.1.2): seven bits a byte, the most significant first, the high bit
//! set on all bytes but the last. [`Cursor::vlu`](super::Cursor::vlu) reads them.

use alloc::vec::Vec;

/// The length of the longest VLU that [`encode`] writes, in bytes.
pub const MAX_LEN: usize = 10;

/// The length of `value` as a VLU, in bytes: 1 to [`MAX_LEN`].
pub const fn encoded_len(value: u64) -> usize {
    let bits = u64::BITS - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

/// Appends `value` in its shortest form.
pub fn encode(value: u64, out: &mut Vec<u8>) {
    for digit in (1..encoded_len(value)).rev() {
        out.push((value >> (7 * digit)) as u8 | 0x80);
    }
    out.push(value as u8 & 0x7f);
}

/// The length of `length` bytes with their length before them.
pub const fn sized_len(length: usize) -> usize {
    encoded_len(length as u64).saturating_add(length)
}

/// Appends `bytes` with their length before them.
pub fn encode_sized(bytes: &[u8], out: &mut Vec<u8>) {
    encode(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
