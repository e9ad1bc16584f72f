//! The proof over the flows of one session: whoever typed a code [claims](Claimer) it, whoever made it
//! [answers](Maker).
//!
//! The claiming end opens a flow whose metadata is [`METADATA`]. The other end opens the return flow. A message is a kind
//! of one byte, and the 32 bytes of [`pake`](crate::pake):
//!
//! | kind | from | what |
//! |---|---|---|
//! | 1 | claim | share |
//! | 2 | answer | share |
//! | 3 | claim | confirmation |
//! | 4 | answer | confirmation |
//!
//! A claim of one of several codes names its slot in the metadata: `rtmfp-code/1.2` is a claim of the second. Its answer has
//! the same metadata. Who made it answers for that slot alone, and each is burnt by itself.
//!
//! An end that does not go on rejects the flow. The exception code says why: [`Refusal`].
//!
//! The binding is made of both nonces of the session (RFC 7016 §3.5). Only its two ends know them, and each session has
//! others. So one who sits between two sessions can pass nothing on, and nothing that was recorded is of use again.
//!
//! # What is spent when
//! A maker answers one claim at a time, and checks one confirmation in its life. If that is wrong, or cannot be read, the
//! secret is burnt: there is one guess. Before, nothing has been guessed: a claim that goes silent after its share costs
//! nothing but time, of which there is a limit.
//!
//! A claiming end shows its guess with its confirmation, to whoever is there. From then on the secret is spent for it: it
//! must not claim with the same one again, whatever came of it ([`ClaimFailure::is_spent`]).

use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU8;
use core::time::Duration;

use rtmfp_core::profile::Role;
use rtmfp_core::{Endpoint, Instant, RecvFlowHandle, SessionHandle};

use crate::pake::SHARE;

mod claimer;
mod maker;

pub use claimer::{ClaimFailure, Claimer};
pub use maker::{Made, Maker};

/// The metadata of the flows of this protocol, before the slot if there is one.
pub const METADATA: &[u8] = b"rtmfp-code/1";
/// How long each end waits for what the other is to say next.
pub const STEP_LIMIT: Duration = Duration::from_secs(10);

const CLAIM_SHARE: u8 = 1;
const ANSWER_SHARE: u8 = 2;
const CLAIM_CONFIRMATION: u8 = 3;
const ANSWER_CONFIRMATION: u8 = 4;

/// Why an end does not go on: the exception code of a rejected flow (RFC 7016 §2.3.16).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// The code is another one. It is burnt now.
    Wrong,
    /// Another claim is being answered. Nothing was guessed.
    Busy,
    /// The code was burnt by a wrong guess before, or has been used.
    Spent,
    /// The time of the code is over, or its maker has gone.
    Expired,
    /// What was to come next did not come in time.
    Late,
    /// A message is not of this protocol.
    Malformed,
    /// The session has nothing that only its two ends know.
    Unbound,
}

impl Refusal {
    const ALL: [Self; 7] =
        [Self::Wrong, Self::Busy, Self::Spent, Self::Expired, Self::Late, Self::Malformed, Self::Unbound];

    /// The exception code.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Wrong => 0x31,
            Self::Busy => 0x32,
            Self::Spent => 0x33,
            Self::Expired => 0x34,
            Self::Late => 0x35,
            Self::Malformed => 0x36,
            Self::Unbound => 0x37,
        }
    }

    /// What an exception code means, if it is one of these.
    #[must_use]
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.code() == code)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wrong => "the code is wrong",
            Self::Busy => "somebody else is trying the code at this moment",
            Self::Spent => "the code has been used, or burnt by a wrong guess",
            Self::Expired => "the code has expired",
            Self::Late => "an answer took too long",
            Self::Malformed => "the far end did not understand what was said",
            Self::Unbound => "a session of this profile cannot prove a code",
        })
    }
}

impl core::error::Error for Refusal {}

/// What only the two ends of a session know, the same at both, and different in any other session. `None` while the
/// session is not open, and in profiles without nonces.
fn binding(endpoint: &Endpoint, session: SessionHandle) -> Option<Vec<u8>> {
    let session = endpoint.session(session)?;
    let (near, far) = (session.near_nonce(), session.far_nonce());
    if near.is_empty() || far.is_empty() {
        return None;
    }
    let (initiator, responder) = match session.role() {
        Role::Initiator => (near, far),
        Role::Responder => (far, near),
    };
    let length = (initiator.len() as u64).to_be_bytes();
    Some([&length[..], initiator, responder].concat())
}

/// The metadata of the flows of a slot.
fn metadata(slot: Option<NonZeroU8>) -> Vec<u8> {
    let mut metadata = METADATA.to_vec();
    if let Some(slot) = slot {
        metadata.extend_from_slice(alloc::format!(".{slot}").as_bytes());
    }
    metadata
}

/// A message of this kind.
fn message(kind: u8, value: &[u8; SHARE]) -> Vec<u8> {
    [&[kind], &value[..]].concat()
}

/// The value of a message of this kind; `None` for another one.
fn value(kind: u8, message: &[u8]) -> Option<&[u8]> {
    message.split_first().filter(|(first, _)| **first == kind).map(|(_, value)| value)
}

fn reject(now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle, why: Refusal) {
    if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
        flow.reject(why.code());
    }
}

#[cfg(test)]
mod tests;
