//! What both acknowledgement chunks have in common (RFC 7016 §2.3.13, §2.3.14).

use alloc::vec::Vec;
use core::fmt;

use crate::wire::{Cursor, Malformed, vlu};

/// The three fields that both chunks begin with.
#[derive(Clone, Copy)]
pub(super) struct Head {
    pub(super) flow_id: u64,
    pub(super) blocks_available: u64,
    pub(super) cumulative_ack: u64,
}

impl Head {
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Malformed> {
        Ok(Self { flow_id: cursor.vlu()?, blocks_available: cursor.vlu()?, cumulative_ack: cursor.vlu()? })
    }

    pub(super) const fn encoded_len(self) -> usize {
        vlu::encoded_len(self.flow_id) + vlu::encoded_len(self.blocks_available) + vlu::encoded_len(self.cumulative_ack)
    }

    pub(super) fn encode(self, out: &mut Vec<u8>) {
        vlu::encode(self.flow_id, out);
        vlu::encode(self.blocks_available, out);
        vlu::encode(self.cumulative_ack, out);
    }

    pub(super) fn display(
        self,
        name: &str,
        ranges: impl Iterator<Item = (u64, u64)>,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        let Self { flow_id, blocks_available, cumulative_ack } = self;
        write!(f, "{name} flow={flow_id} blocks={blocks_available} cum={cumulative_ack}")?;
        for (from, to) in ranges {
            if from == to {
                write!(f, " {from}")?;
            } else {
                write!(f, " {from}-{to}")?;
            }
        }
        Ok(())
    }
}

/// A run of missing sequence numbers and the run of received ones behind it.
pub(super) struct Run {
    pub(super) holes_minus_one: u64,
    pub(super) received_minus_one: u64,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// Turns ranges into runs. A range that is empty, or has no hole before it, cannot be encoded and is left out: to
/// acknowledge less is always safe.
pub(super) fn runs(cumulative_ack: u64, ranges: impl IntoIterator<Item = (u64, u64)>) -> impl Iterator<Item = Run> {
    let mut received_to = cumulative_ack;
    ranges.into_iter().filter_map(move |(from, to)| {
        let first_hole = received_to.checked_add(1)?;
        let holes_minus_one = from.checked_sub(first_hole)?.checked_sub(1)?;
        let received_minus_one = to.checked_sub(from)?;
        received_to = to;
        Some(Run { holes_minus_one, received_minus_one, from, to })
    })
}
