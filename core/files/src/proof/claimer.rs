//! The end that was told the code.

use alloc::boxed::Box;
use core::fmt;
use core::num::NonZeroU8;

use rand_core::CryptoRng;
use rtmfp_core::{Endpoint, Event, FlowOptions, Instant, RecvFlowHandle, SendFlowHandle, SessionHandle};

use super::{
    ANSWER_CONFIRMATION, ANSWER_SHARE, CLAIM_CONFIRMATION, CLAIM_SHARE, Refusal, STEP_LIMIT, binding, message,
    metadata, reject, value,
};
use crate::pake::{self, Claimed, Confirmed, Secret, Shared};

/// Why a claim failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ClaimFailure {
    /// The far end refuses.
    Refused {
        /// Why.
        why: Refusal,
        /// As [`ClaimFailure::is_spent`].
        spent: bool,
    },
    /// The far end does not speak this protocol: it rejected the flow with a code of its own.
    NotThere,
    /// The far end does not know the secret, though it behaves as its maker.
    Deceived,
    /// The far end says what is not of this protocol.
    Malformed {
        /// As [`ClaimFailure::is_spent`].
        spent: bool,
    },
    /// The far end has said nothing for [`STEP_LIMIT`].
    Silent {
        /// As [`ClaimFailure::is_spent`].
        spent: bool,
    },
    /// The session ended.
    Lost {
        /// As [`ClaimFailure::is_spent`].
        spent: bool,
    },
    /// The session has nothing that only its two ends know, or has no room for a flow.
    NotBegun,
}

impl ClaimFailure {
    /// Whether the confirmation was sent: whoever is there has had a guess at the secret. It must not be claimed again.
    #[must_use]
    pub const fn is_spent(&self) -> bool {
        match self {
            Self::Refused { spent, .. } | Self::Malformed { spent } | Self::Silent { spent } | Self::Lost { spent } => {
                *spent
            }
            Self::Deceived => true,
            Self::NotThere | Self::NotBegun => false,
        }
    }
}

impl fmt::Display for ClaimFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { why, .. } => write!(f, "{why}"),
            Self::NotThere => f.write_str("the far end expects no code"),
            Self::Deceived => f.write_str("the far end does not know the code"),
            Self::Malformed { .. } => f.write_str("the far end does not keep to the protocol"),
            Self::Silent { .. } => f.write_str("the far end has not answered in time"),
            Self::Lost { .. } => f.write_str("the session ended before the code was proved"),
            Self::NotBegun => f.write_str("this session cannot prove a code"),
        }
    }
}

impl core::error::Error for ClaimFailure {}

/// Claims to know a secret, once, over one session. Ask for its [`outcome`](Self::outcome) after each call.
pub struct Claimer {
    flow: Option<SendFlowHandle>,
    answers: Option<RecvFlowHandle>,
    state: State,
    until: Instant,
}

enum State {
    Share(Claimed),
    Confirmation(Confirmed),
    Failed(ClaimFailure),
    Proved(Shared),
    Taken,
}

impl fmt::Debug for Claimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimer").field("flow", &self.flow).field("is_spent", &self.is_spent()).finish_non_exhaustive()
    }
}

impl Claimer {
    /// Begins over an open session.
    #[must_use]
    pub fn new(
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        secret: &Secret,
        rng: Box<dyn CryptoRng + Send>,
    ) -> Self {
        Self::of_slot(now, endpoint, session, None, secret, rng)
    }

    /// The same, of one of several codes.
    #[must_use]
    pub fn of_slot(
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        slot: Option<NonZeroU8>,
        secret: &Secret,
        mut rng: Box<dyn CryptoRng + Send>,
    ) -> Self {
        let (flow, state) = match Self::begin(now, endpoint, session, slot, secret, &mut rng) {
            Some((flow, claimed)) => (Some(flow), State::Share(claimed)),
            None => (None, State::Failed(ClaimFailure::NotBegun)),
        };
        Self { flow, answers: None, state, until: now + STEP_LIMIT }
    }

    fn begin(
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        slot: Option<NonZeroU8>,
        secret: &Secret,
        rng: &mut impl CryptoRng,
    ) -> Option<(SendFlowHandle, Claimed)> {
        let binding = binding(endpoint, session)?;
        let (share, claimed) = pake::claim(secret, &binding, rng).ok()?;
        let flow = endpoint.session_mut(now, session)?.open_flow(FlowOptions::new(metadata(slot))).ok()?;
        endpoint.send_flow_mut(now, flow)?.write(message(CLAIM_SHARE, &share)).ok()?;
        Some((flow, claimed))
    }

    /// What came of it, once.
    pub fn outcome(&mut self) -> Option<Result<Shared, ClaimFailure>> {
        match core::mem::replace(&mut self.state, State::Taken) {
            State::Failed(failure) => Some(Err(failure)),
            State::Proved(shared) => Some(Ok(shared)),
            other @ (State::Share(_) | State::Confirmation(_) | State::Taken) => {
                self.state = other;
                None
            }
        }
    }

    const fn is_spent(&self) -> bool {
        matches!(self.state, State::Confirmation(_))
    }

    const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Share(_) | State::Confirmation(_))
    }

    /// Takes an event of the endpoint. True if it is of a flow of this exchange, and so is for nobody else.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not about this exchange")]
    pub fn offer(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) -> bool {
        match event {
            Event::FlowOpened { flow } => {
                let answers = endpoint.recv_flow(*flow).and_then(|flow| flow.association());
                if answers.is_none() || answers != self.flow {
                    return false;
                }
                self.answers = Some(*flow);
                self.read(now, endpoint, *flow);
                true
            }
            Event::FlowReadable { flow } if self.answers == Some(*flow) => {
                self.read(now, endpoint, *flow);
                true
            }
            Event::FlowFinished { flow, .. } if self.answers == Some(*flow) => {
                // Why there is no more comes with the rejection of the other flow, or never.
                self.read(now, endpoint, *flow);
                true
            }
            Event::FlowRejected { flow, code, .. } if self.flow == Some(*flow) => {
                let why = Refusal::from_code(*code);
                self.fail(now, endpoint, |spent| match why {
                    Some(why) => ClaimFailure::Refused { why, spent },
                    None if spent => ClaimFailure::Malformed { spent },
                    None => ClaimFailure::NotThere,
                });
                true
            }
            Event::FlowCompleted { flow, .. } | Event::FlowWritable { flow } => self.flow == Some(*flow),
            Event::SessionClosed { session, .. } if self.flow.is_some_and(|flow| flow.session() == *session) => {
                self.fail(now, endpoint, |spent| ClaimFailure::Lost { spent });
                false
            }
            _ => false,
        }
    }

    /// To be called at [`next_timeout`](Self::next_timeout).
    pub fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if now >= self.until {
            self.fail(now, endpoint, |spent| ClaimFailure::Silent { spent });
        }
    }

    /// When the far end has been silent for too long.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.is_waiting().then_some(self.until)
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint, answers: RecvFlowHandle) {
        while self.is_waiting() {
            let read = endpoint.recv_flow_mut(now, answers).and_then(|mut flow| flow.read());
            let Some(read) = read else { return };
            self.on_message(now, endpoint, &read.data);
        }
    }

    fn on_message(&mut self, now: Instant, endpoint: &mut Endpoint, read: &[u8]) {
        let spent = self.is_spent();
        let next = match core::mem::replace(&mut self.state, State::Taken) {
            State::Share(claimed) => {
                value(ANSWER_SHARE, read).and_then(|share| claimed.on_share(share).ok()).map(|(confirmation, next)| {
                    let flow = self.flow.and_then(|flow| endpoint.send_flow_mut(now, flow));
                    // Written or not: from here on it counts as shown.
                    let written =
                        flow.is_some_and(|mut flow| flow.write(message(CLAIM_CONFIRMATION, &confirmation)).is_ok());
                    if written { State::Confirmation(next) } else { State::Failed(ClaimFailure::Lost { spent: true }) }
                })
            }
            State::Confirmation(confirmed) => {
                value(ANSWER_CONFIRMATION, read).map(|confirmation| match confirmed.on_confirmation(confirmation) {
                    Ok(shared) => State::Proved(shared),
                    Err(_) => State::Failed(ClaimFailure::Deceived),
                })
            }
            other @ (State::Failed(_) | State::Proved(_) | State::Taken) => Some(other),
        };
        self.until = now + STEP_LIMIT;
        self.state = next.unwrap_or(State::Failed(ClaimFailure::Malformed { spent }));
        if !self.is_waiting() {
            self.end(now, endpoint);
        }
    }

    fn fail(&mut self, now: Instant, endpoint: &mut Endpoint, why: impl FnOnce(bool) -> ClaimFailure) {
        if self.is_waiting() {
            self.state = State::Failed(why(self.is_spent()));
            self.end(now, endpoint);
        }
    }

    /// Closes the flow, and wants to hear no more.
    fn end(&self, now: Instant, endpoint: &mut Endpoint) {
        if let Some(mut flow) = self.flow.and_then(|flow| endpoint.send_flow_mut(now, flow)) {
            flow.close();
        }
        if let (Some(answers), false) = (self.answers, matches!(self.state, State::Proved(_))) {
            reject(now, endpoint, answers, Refusal::Malformed);
        }
    }
}
