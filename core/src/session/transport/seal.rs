//! Sealing: a packet begins with room for what goes before it, and ends with room for what follows.

use alloc::vec::Vec;

use super::{Link, Transport};
use crate::transmit::{Path, Span, Transmit};
use crate::wire::session_id;

/// The most padding that brings a packet to the length of the flight it is part of.
const MAX_PADDING: usize = 64;
/// What padding consists of (RFC 7016 §2.2.4).
const PADDING: u8 = 0xff;

impl Transport {
    /// Leaves room for the session ID and the profile's front; returns a span, and how long the packet may be.
    pub(in crate::session) fn begin(&self, bytes: &mut Vec<u8>, ahead: usize, room: usize) -> Option<(Span, usize)> {
        let link = self.link.as_ref()?;
        let start = bytes.len() + session_id::LEN;
        let front = link.keys.front_len(ahead);
        bytes.resize(start + front, 0);
        Some((Span { start, front, plain: 0, sealed: 0 }, link.keys.plain_capacity(front, room)))
    }

    /// Leaves room for the profile's padding and back.
    pub(in crate::session) fn finish(&self, bytes: &mut Vec<u8>, span: &mut Span) {
        if let Some(link) = &self.link {
            span.sealed = link.keys.sealed_len(span.front, span.plain);
            bytes.resize(span.start + span.sealed, 0);
        }
    }

    /// Brings the last packet to the length `sealed`, if little is missing.
    pub(in crate::session) fn pad(&self, bytes: &mut Vec<u8>, span: &mut Span, sealed: usize) {
        let Some(link) = self.link.as_ref().filter(|_| span.sealed < sealed) else {
            return;
        };
        let plain = link.keys.plain_capacity(span.front, sealed);
        if plain > span.plain && plain - span.plain <= MAX_PADDING {
            let begin = span.start + span.front;
            bytes.truncate(begin + span.plain);
            bytes.resize(begin + plain, PADDING);
            span.plain = plain;
            self.finish(bytes, span);
        }
    }

    /// Seals what was built. `data`: the packets hold user data.
    pub(in crate::session) fn seal(
        &mut self,
        path: Path,
        data: bool,
        bytes: &mut [u8],
        spans: &[Span],
    ) -> Option<Transmit> {
        let Link { keys, tx_id, .. } = self.link.as_mut()?;
        let first = spans.first()?;
        let segment_size = (spans.len() > 1).then_some(first.sealed + session_id::LEN);
        keys.seal(bytes, spans);
        for span in spans {
            let Some((front, packet)) = bytes.split_at_mut_checked(span.start) else {
                continue;
            };
            if let Some(id) = front.last_chunk_mut::<{ session_id::LEN }>() {
                *id = session_id::scramble(*tx_id, packet.get(..span.sealed).unwrap_or(packet));
            }
        }
        self.packets_sent += spans.len() as u64;
        self.bytes_sent += bytes.len() as u64;
        let ecn = if data { self.ecn.mark() } else { None };
        Some(Transmit { path, ecn, len: bytes.len(), segment_size, may_fragment: false })
    }
}
