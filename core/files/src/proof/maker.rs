//! The end that made the code.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::num::NonZeroU8;

use rand_core::CryptoRng;
use rtmfp_core::{Endpoint, Event, FlowOptions, Instant, RecvFlowHandle, SendFlowHandle, SessionHandle};

use super::{
    ANSWER_CONFIRMATION, ANSWER_SHARE, CLAIM_CONFIRMATION, CLAIM_SHARE, Refusal, STEP_LIMIT, binding, message,
    metadata, reject, value,
};
use crate::pake::{self, Answered, Secret, Shared};

/// What came of a secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum Made {
    /// The far end of this session knows it, and has been told so. No other claim is answered any more.
    Proved {
        /// The session.
        session: SessionHandle,
        /// What the two have in common now.
        shared: Shared,
    },
    /// Somebody has guessed, and wrongly. The secret is burnt.
    Burnt {
        /// Whose session it was.
        session: SessionHandle,
    },
}

/// Answers claims to a secret, over all sessions of an endpoint, until one is right or a guess was wrong.
///
/// Give it each event with [`offer`](Self::offer), and ask for its [`outcome`](Self::outcome) then.
pub struct Maker {
    /// What is claimed; `None` when no claim is answered any more.
    secret: Option<Secret>,
    /// Of the flows that are its own.
    metadata: Vec<u8>,
    rng: Box<dyn CryptoRng + Send>,
    exchange: Option<Exchange>,
    outcome: Option<Made>,
    /// Why no claim is answered any more.
    refusal: Refusal,
    fruitless: u64,
}

struct Exchange {
    flow: RecvFlowHandle,
    answer: Option<SendFlowHandle>,
    /// `None` until the share has come.
    answered: Option<Answered>,
    until: Instant,
}

/// How an exchange goes on.
enum Step {
    Waits,
    /// Nothing was guessed.
    Over(Refusal),
    Guessed,
    Proved(Shared),
}

impl fmt::Debug for Maker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Maker");
        shown.field("is_open", &self.is_open()).field("fruitless", &self.fruitless).finish_non_exhaustive()
    }
}

impl Maker {
    /// Answers claims to this secret.
    #[must_use]
    pub fn new(secret: Secret, rng: Box<dyn CryptoRng + Send>) -> Self {
        let (exchange, outcome) = (None, None);
        let (metadata, refusal) = (metadata(None), Refusal::Spent);
        Self { secret: Some(secret), metadata, rng, exchange, outcome, refusal, fruitless: 0 }
    }

    /// The same, for claims of this slot alone.
    #[must_use]
    pub fn with_slot(mut self, slot: Option<NonZeroU8>) -> Self {
        self.metadata = metadata(slot);
        self
    }

    /// What came of the secret, once.
    pub const fn outcome(&mut self) -> Option<Made> {
        self.outcome.take()
    }

    /// Whether a claim would be answered.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.secret.is_some()
    }

    /// The session whose claim is being answered.
    #[must_use]
    pub fn session(&self) -> Option<SessionHandle> {
        self.exchange.as_ref().map(|exchange| exchange.flow.session())
    }

    /// Claims that came to nothing without a guess: they went silent or away, or were none.
    #[must_use]
    pub const fn fruitless(&self) -> u64 {
        self.fruitless
    }

    /// Answers no claim any more, as the time of the code is over. A claim that is being answered is told.
    pub fn expire(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.secret.take().is_some() {
            self.refusal = Refusal::Expired;
        }
        self.give_up(now, endpoint, Refusal::Expired);
    }

    /// Takes an event of the endpoint. True if it is of a flow of this protocol and slot, and so is for nobody else.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not about this protocol")]
    pub fn offer(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) -> bool {
        match event {
            Event::FlowOpened { flow } => {
                let seen = endpoint.recv_flow(*flow);
                let ours =
                    seen.is_some_and(|seen| seen.metadata().as_ref() == self.metadata && seen.association().is_none());
                if ours {
                    self.take(now, endpoint, *flow);
                }
                ours
            }
            Event::FlowReadable { flow } if self.is_of(*flow) => {
                self.read(now, endpoint);
                true
            }
            Event::FlowFinished { flow, .. } if self.is_of(*flow) => {
                self.read(now, endpoint);
                self.give_up(now, endpoint, Refusal::Malformed);
                true
            }
            Event::FlowRejected { flow, .. } if self.answers_by(*flow) => {
                self.give_up(now, endpoint, Refusal::Malformed);
                true
            }
            Event::SessionClosed { session, .. } if self.session() == Some(*session) => {
                self.give_up(now, endpoint, Refusal::Late);
                false
            }
            _ => false,
        }
    }

    /// To be called at [`next_timeout`](Self::next_timeout).
    pub fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.next_timeout().is_some_and(|until| now >= until) {
            self.give_up(now, endpoint, Refusal::Late);
        }
    }

    /// When a claim has been silent for too long.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.exchange.as_ref().map(|exchange| exchange.until)
    }

    fn is_of(&self, flow: RecvFlowHandle) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.flow == flow)
    }

    fn answers_by(&self, flow: SendFlowHandle) -> bool {
        self.exchange.as_ref().is_some_and(|exchange| exchange.answer == Some(flow))
    }

    /// A claim.
    fn take(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        if !self.is_open() {
            return reject(now, endpoint, flow, self.refusal);
        }
        if self.exchange.is_some() {
            return reject(now, endpoint, flow, Refusal::Busy);
        }
        self.exchange = Some(Exchange { flow, answer: None, answered: None, until: now + STEP_LIMIT });
        self.read(now, endpoint);
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(exchange) = &mut self.exchange {
            let flow = exchange.flow;
            let read = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read());
            let (Some(read), Some(secret)) = (read, &self.secret) else { return };
            let step = match exchange.answered.take() {
                None => exchange.on_share(now, endpoint, secret, &read.data, &mut self.rng, &self.metadata),
                Some(answered) => exchange.on_confirmation(now, endpoint, answered, &read.data),
            };
            match step {
                Step::Waits => {}
                Step::Over(why) => self.give_up(now, endpoint, why),
                Step::Guessed => {
                    self.outcome = Some(Made::Burnt { session: flow.session() });
                    self.secret = None;
                    self.give_up(now, endpoint, Refusal::Wrong);
                }
                Step::Proved(shared) => {
                    self.outcome = Some(Made::Proved { session: flow.session(), shared });
                    self.secret = None;
                    self.exchange = None;
                }
            }
        }
    }

    /// Ends the exchange, and tells the far end why.
    fn give_up(&mut self, now: Instant, endpoint: &mut Endpoint, why: Refusal) {
        let Some(exchange) = self.exchange.take() else { return };
        if why != Refusal::Wrong {
            self.fruitless += 1;
        }
        reject(now, endpoint, exchange.flow, why);
        if let Some(mut answer) = exchange.answer.and_then(|answer| endpoint.send_flow_mut(now, answer)) {
            answer.close();
        }
    }
}

impl Exchange {
    fn on_share(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        secret: &Secret,
        read: &[u8],
        rng: &mut impl CryptoRng,
        metadata: &[u8],
    ) -> Step {
        let Some(share) = value(CLAIM_SHARE, read) else { return Step::Over(Refusal::Malformed) };
        let Some(binding) = binding(endpoint, self.flow.session()) else { return Step::Over(Refusal::Unbound) };
        let Ok((share, answered)) = pake::answer(secret, &binding, share, rng) else {
            return Step::Over(Refusal::Malformed);
        };
        let opened = endpoint.recv_flow_mut(now, self.flow);
        self.answer = opened.and_then(|mut flow| flow.open_return_flow(FlowOptions::new(metadata.to_vec())).ok());
        if !self.say(now, endpoint, ANSWER_SHARE, &share) {
            return Step::Over(Refusal::Malformed);
        }
        self.answered = Some(answered);
        self.until = now + STEP_LIMIT;
        Step::Waits
    }

    /// Whatever comes now is the one guess, unless it is of another kind.
    fn on_confirmation(&self, now: Instant, endpoint: &mut Endpoint, answered: Answered, read: &[u8]) -> Step {
        let Some(confirmation) = value(CLAIM_CONFIRMATION, read) else { return Step::Over(Refusal::Malformed) };
        let Ok((confirmation, shared)) = answered.on_confirmation(confirmation) else { return Step::Guessed };
        // If the session has just ended, its end is told next.
        self.say(now, endpoint, ANSWER_CONFIRMATION, &confirmation);
        if let Some(mut answer) = self.answer.and_then(|answer| endpoint.send_flow_mut(now, answer)) {
            answer.close();
        }
        Step::Proved(shared)
    }

    fn say(&self, now: Instant, endpoint: &mut Endpoint, kind: u8, value: &[u8; 32]) -> bool {
        let answer = self.answer.and_then(|answer| endpoint.send_flow_mut(now, answer));
        answer.is_some_and(|mut answer| answer.write(message(kind, value)).is_ok())
    }
}
