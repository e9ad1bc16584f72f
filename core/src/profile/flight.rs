//! The packets of one flight in their common buffer.

use crate::transmit::Span;

/// Whether the packets lie one behind the other within `len` bytes.
pub(super) fn in_order(len: usize, packets: &[Span]) -> bool {
    let mut end = 0;
    packets.iter().all(|span| {
        let begins_behind = span.start >= end;
        end = span.start.saturating_add(span.sealed);
        begins_behind && end <= len
    })
}

/// Cuts a packet off the front of what is left of the buffer, of which `passed` bytes were cut before. `None`, and
/// nothing is cut, if the packet is not wholly in what is left.
pub(super) fn cut<'a>(
    rest: &mut &'a mut [u8],
    passed: &mut usize,
    span: &Span,
) -> Option<(&'a mut [u8], &'a mut [u8])> {
    let skip = span.start.checked_sub(*passed)?;
    let end = skip.checked_add(span.sealed)?;
    if end > rest.len() {
        return None;
    }
    let (head, behind) = core::mem::take(rest).split_at_mut(end);
    *passed += end;
    Some((head.split_at_mut(skip).1, behind))
}
