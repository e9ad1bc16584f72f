//! Models of loss.

use crate::arena::Packet;
use crate::link::spec::LossSpec;
use crate::rng::{Ppb, below};

/// A model of loss at work. Chains step once for each packet, lost or not.
#[derive(Debug)]
pub(crate) enum Loss {
    Gilbert { p: Ppb, r: Ppb, good: Ppb, bad: Ppb, is_bad: bool },
    Markov4 { p13: Ppb, p31: Ppb, p32: Ppb, p23: Ppb, p14: Ppb, state: u8 },
    Bounded { p: Ppb, burst: u32, run: u32 },
    List(Vec<u64>),
}

impl Loss {
    pub(crate) fn new(spec: &LossSpec) -> Self {
        match *spec {
            // Without memory: a Gilbert chain that stays where it is. Stages have a shorter way for it.
            LossSpec::Random(p) => Self::Gilbert { p: Ppb::NEVER, r: Ppb::NEVER, good: p, bad: p, is_bad: false },
            LossSpec::Gilbert { p, r, good, bad } => Self::Gilbert { p, r, good, bad, is_bad: false },
            LossSpec::Markov4 { p13, p31, p32, p23, p14 } => Self::Markov4 { p13, p31, p32, p23, p14, state: 1 },
            LossSpec::Bounded { p, burst } => Self::Bounded { p, burst, run: 0 },
            LossSpec::List(ref list) => {
                let mut list = list.clone();
                list.sort_unstable();
                Self::List(list)
            }
        }
    }

    /// `word` decides on the loss, `turn` on the step of the chain.
    pub(crate) fn is_lost(&mut self, word: u64, turn: u64, packet: &Packet) -> bool {
        match self {
            Self::Gilbert { p, r, good, bad, is_bad } => {
                // netem steps first, then loses by the state come to.
                if if *is_bad { *r } else { *p }.hit(turn) {
                    *is_bad = !*is_bad;
                }
                if *is_bad { *bad } else { *good }.hit(word)
            }
            Self::Markov4 { p13, p31, p32, p23, p14, state } => {
                let draw = below(turn, 1_000_000_000);
                let (p13, p31, p32, p23, p14) =
                    (u64::from(p13.0), u64::from(p31.0), u64::from(p32.0), u64::from(p23.0), u64::from(p14.0));
                *state = match *state {
                    2 if draw < p23 => 3,
                    2 => 2,
                    3 if draw < p32 => 2,
                    3 if draw < p32 + p31 => 1,
                    3 => 3,
                    // 4 has no memory: what follows is as from 1.
                    _ if draw < p14 => 4,
                    _ if draw < p14 + p13 => 3,
                    _ => 1,
                };
                *state >= 3
            }
            Self::Bounded { p, burst, run } => {
                let lost = *run < *burst && p.hit(word);
                *run = if lost { *run + 1 } else { 0 };
                lost
            }
            Self::List(list) => packet.copy == 0 && list.binary_search(&packet.ordinal).is_ok(),
        }
    }
}
