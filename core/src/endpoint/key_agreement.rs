//! The arithmetic of key agreements (RFC 7016 §3.5.1.1), apart from the sessions that need it.
//!
//! The endpoint runs an [`Op`] at once, or offloads it to the caller as a [`KeyAgreement`]. What becomes of the result is
//! for `jobs`.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use chacha20::ChaCha20Rng;
use rand_core::{CryptoRng, Rng as _, SeedableRng as _};

use super::shared::Shared;
use crate::profile::{CryptoProfile, Initiation, KeyingError, PendingKeying, PreparedKey, Response, SessionKeys};

/// One key agreement, or one key made ahead, to be [run](Self::run) wherever and whenever there is time. It needs nothing
/// but itself. From [`Endpoint::poll_key_agreement`](crate::Endpoint::poll_key_agreement); the result is for
/// [`Endpoint::handle_key_agreement`](crate::Endpoint::handle_key_agreement) of the same endpoint.
pub struct KeyAgreement {
    id: u64,
    op: Op,
    /// For what makes a key of its own.
    prepared: Option<PreparedKey>,
    profile: Arc<dyn CryptoProfile>,
    rng: ChaCha20Rng,
}

/// The result of a [`KeyAgreement`].
///
/// If it never comes back, a session that the far end begins is as if its packet had been lost, and the far end repeats
/// that. A session that this end opens fails when its time is over.
pub struct KeyAgreementResult {
    pub(super) id: u64,
    pub(super) outcome: Outcome,
}

/// What is to be computed.
pub(super) enum Op {
    /// The initiator's half.
    Initiate { far_certificate: Vec<u8> },
    /// The initiator's keys, of its half and the responder's.
    Finish { pending: Box<dyn PendingKeying>, component: Vec<u8> },
    /// The responder's half, and its keys.
    Respond { far_certificate: Vec<u8>, component: Vec<u8> },
    /// A key made ahead.
    Prepare,
}

/// What came of an [`Op`].
pub(super) enum Outcome {
    Initiated(Result<Initiation, KeyingError>),
    /// With what the next attempt needs, unless it was abandoned.
    Finished(Option<Box<dyn PendingKeying>>, Result<Box<dyn SessionKeys>, KeyingError>),
    Responded(Result<Response, KeyingError>),
    Prepared(Option<PreparedKey>),
}

impl Op {
    /// Computes it.
    pub(super) fn run(
        self,
        profile: &dyn CryptoProfile,
        prepared: Option<PreparedKey>,
        rng: &mut dyn CryptoRng,
    ) -> Outcome {
        match self {
            Self::Initiate { far_certificate } => Outcome::Initiated(profile.initiate(&far_certificate, prepared, rng)),
            Self::Finish { pending, component } => {
                let keys = pending.finish(&component);
                Outcome::Finished(Some(pending), keys)
            }
            Self::Respond { far_certificate, component } => {
                Outcome::Responded(profile.respond(&far_certificate, &component, prepared, rng))
            }
            Self::Prepare => Outcome::Prepared(profile.prepare(rng)),
        }
    }
}

impl KeyAgreement {
    pub(super) fn new(shared: &mut Shared, op: Op) -> Self {
        let id = shared.private_rng.next_u64();
        let rng = ChaCha20Rng::from_rng(&mut shared.private_rng);
        shared.forget_draws();
        Self { id, op, prepared: None, profile: Arc::clone(&shared.profile), rng }
    }

    pub(super) const fn id(&self) -> u64 {
        self.id
    }

    /// Gives it a key that was made ahead, if it makes one of its own.
    pub(super) fn take_prepared(&mut self, take: impl FnOnce() -> Option<PreparedKey>) {
        if !matches!(self.op, Op::Finish { .. }) {
            self.prepared = take();
        }
    }

    /// Computes it: milliseconds, and for group 16 of the Flash profile ten of them.
    #[must_use]
    pub fn run(mut self) -> KeyAgreementResult {
        let outcome = self.op.run(self.profile.as_ref(), self.prepared, &mut self.rng);
        KeyAgreementResult { id: self.id, outcome }
    }

    /// The result to hand back if [`run`](Self::run) does not return, because the profile panicked. Ask for it before.
    ///
    /// Then an opening fails in seconds, with [`KeyAgreement`](crate::event::OpenFailure::KeyAgreement), instead of when
    /// its time is over. What a peer began is dropped and counted. No more keys are made ahead.
    #[must_use]
    pub const fn abandoned(&self) -> KeyAgreementResult {
        let outcome = match self.op {
            Op::Initiate { .. } => Outcome::Initiated(Err(KeyingError::Abandoned)),
            Op::Finish { .. } => Outcome::Finished(None, Err(KeyingError::Abandoned)),
            Op::Respond { .. } => Outcome::Responded(Err(KeyingError::Abandoned)),
            Op::Prepare => Outcome::Prepared(None),
        };
        KeyAgreementResult { id: self.id, outcome }
    }
}

impl fmt::Debug for KeyAgreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAgreement").finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyAgreementResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyAgreementResult").finish_non_exhaustive()
    }
}
