//! Measures round trips through flows: messages to a peer that echoes them, or only their acknowledgement.

use core::time::Duration;
use std::collections::VecDeque;

use rtmfp_core::error::WriteRefusal;
use rtmfp_core::{
    App, Bytes, CloseMode, CloseReason, Endpoint, Event, FlowOptions, Instant, MessageOutcome, OpenFailure,
    RecvFlowHandle, SendFlowHandle, SendOptions, SessionHandle,
};

/// What to send.
#[derive(Clone, Debug)]
pub struct PingOptions {
    /// Metadata of the flows.
    pub metadata: Bytes,
    /// How many flows, at least one.
    pub flows: usize,
    /// Messages on each flow.
    pub count: u64,
    /// Bytes in each message, at least 8.
    pub size: usize,
    /// From one message to the next on each flow; if zero, the next goes when the last is answered.
    pub interval: Duration,
    /// Send without waiting for answers to earlier messages.
    pub flood: bool,
    /// Wait for acknowledgements only: the peer does not echo.
    pub one_way: bool,
}

/// What a [`Ping`] tells its user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PingEvent {
    /// The session is open.
    Opened {
        /// The session.
        session: SessionHandle,
    },
    /// A message came back (or was acknowledged, if one way).
    Answered {
        /// The flow, counted from 0.
        flow: usize,
        /// The message, counted from 0.
        sequence: u64,
        /// How long it took.
        time: Duration,
    },
}

/// Why a [`Ping`] ended early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PingFailure {
    /// The session did not open.
    NotOpened(OpenFailure),
    /// The session ended.
    Lost(CloseReason),
    /// The peer rejected a flow with this exception code.
    Rejected(u64),
    /// What came back is not what was sent.
    Garbled,
    /// No flow could be opened.
    NoFlow,
}

impl core::error::Error for PingFailure {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NotOpened(why) => Some(why),
            Self::Lost(why) => Some(why),
            Self::Rejected(_) | Self::Garbled | Self::NoFlow => None,
        }
    }
}

impl core::fmt::Display for PingFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotOpened(_) => f.write_str("no session opened"),
            Self::Lost(_) => f.write_str("the session ended early"),
            Self::Rejected(code) => write!(f, "the far end does not echo (exception code {code})"),
            Self::Garbled => f.write_str("what came back is not what was sent"),
            Self::NoFlow => f.write_str("no flow could be opened"),
        }
    }
}

/// Sends messages over one session and times their answers.
pub struct Ping<O> {
    session: SessionHandle,
    options: PingOptions,
    observer: O,
    flows: Vec<Pinging>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Opening,
    Running,
    Done,
    Failed(PingFailure),
}

#[derive(Debug)]
struct Pinging {
    flow: SendFlowHandle,
    answer: Option<RecvFlowHandle>,
    sent: u64,
    /// Sequence numbers without an answer, and when they were written.
    waiting: VecDeque<(u64, Instant)>,
    /// When the next may be sent.
    next: Instant,
    blocked: bool,
    completed: bool,
}

impl<O> core::fmt::Debug for Ping<O> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Ping").field("options", &self.options).field("flows", &self.flows).finish_non_exhaustive()
    }
}

impl<O: FnMut(PingEvent)> Ping<O> {
    /// Pings over `session`, which may still be opening and is closed at the end. `observer` hears of every answer.
    pub const fn new(session: SessionHandle, options: PingOptions, observer: O) -> Self {
        Self { session, options, observer, flows: Vec::new(), state: State::Opening }
    }

    /// Why it ended early, once it has.
    pub const fn failure(&self) -> Option<PingFailure> {
        if let State::Failed(failure) = self.state { Some(failure) } else { None }
    }

    fn start(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.state = State::Running;
        (self.observer)(PingEvent::Opened { session: self.session });
        for _ in 0..self.options.flows.max(1) {
            let options = FlowOptions::new(self.options.metadata.clone());
            let flow = endpoint.session_mut(now, self.session).and_then(|mut s| s.open_flow(options).ok());
            let Some(flow) = flow else { return self.fail(now, endpoint, PingFailure::NoFlow) };
            self.flows.push(Pinging {
                flow,
                answer: None,
                sent: 0,
                waiting: VecDeque::new(),
                next: now,
                blocked: false,
                completed: false,
            });
        }
        self.send_all(now, endpoint);
    }

    fn send_all(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for index in 0..self.flows.len() {
            self.send(now, endpoint, index);
        }
    }

    /// Sends on one flow what is due, and closes it after the last answer.
    fn send(&mut self, now: Instant, endpoint: &mut Endpoint, index: usize) {
        let Some(pinging) = self.flows.get_mut(index) else { return };
        if self.state != State::Running || pinging.completed {
            return;
        }
        while pinging.may_send(now, &self.options) {
            let Some(mut flow) = endpoint.send_flow_mut(now, pinging.flow) else { return };
            let mut options = SendOptions::default();
            options.receipt = self.options.one_way;
            match flow.write_with(payload(pinging.sent, self.options.size), options) {
                Ok(_) => {
                    pinging.waiting.push_back((pinging.sent, now));
                    pinging.sent += 1;
                    pinging.next = now + self.options.interval;
                }
                Err(refusal) => {
                    pinging.blocked = refusal.reason == WriteRefusal::Full;
                    return;
                }
            }
        }
        if pinging.sent == self.options.count && pinging.waiting.is_empty() {
            pinging.completed = true;
            if let Some(mut flow) = endpoint.send_flow_mut(now, pinging.flow) {
                flow.close();
            }
        }
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(index) = self.flows.iter().position(|pinging| pinging.answer == Some(flow)) else { return };
        while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) {
            let Some(pinging) = self.flows.get_mut(index) else { return };
            let Some((sequence, sent)) = pinging.waiting.pop_front() else {
                return self.fail(now, endpoint, PingFailure::Garbled);
            };
            if message.data != payload(sequence, self.options.size) {
                return self.fail(now, endpoint, PingFailure::Garbled);
            }
            let time = now.saturating_duration_since(sent);
            (self.observer)(PingEvent::Answered { flow: index, sequence, time });
        }
        self.send(now, endpoint, index);
    }

    fn acknowledged(&mut self, now: Instant, endpoint: &mut Endpoint, flow: SendFlowHandle, sequence: u64) {
        let Some(index) = self.flows.iter().position(|pinging| pinging.flow == flow) else { return };
        let Some(pinging) = self.flows.get_mut(index) else { return };
        let Some(place) = pinging.waiting.iter().position(|(waiting, _)| *waiting == sequence) else { return };
        if let Some((_, sent)) = pinging.waiting.remove(place) {
            let time = now.saturating_duration_since(sent);
            (self.observer)(PingEvent::Answered { flow: index, sequence, time });
        }
        self.send(now, endpoint, index);
    }

    /// A return flow of ours is listened to, any other is not for us.
    fn take_answer(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let association = endpoint.recv_flow(flow).and_then(|seen| seen.association());
        let one_way = self.options.one_way;
        match self.flows.iter_mut().find(|p| Some(p.flow) == association && p.answer.is_none() && !one_way) {
            Some(pinging) => pinging.answer = Some(flow),
            None => {
                if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
                    flow.reject(0);
                }
            }
        }
    }

    fn complete(&mut self, now: Instant, endpoint: &mut Endpoint, flow: SendFlowHandle) {
        self.flows.retain(|pinging| pinging.flow != flow);
        if self.flows.is_empty() && self.state == State::Running {
            self.state = State::Done;
            if let Some(mut session) = endpoint.session_mut(now, self.session) {
                session.close(CloseMode::Orderly);
            }
        }
    }

    fn fail(&mut self, now: Instant, endpoint: &mut Endpoint, failure: PingFailure) {
        if matches!(self.state, State::Done | State::Failed(_)) {
            return;
        }
        self.state = State::Failed(failure);
        if let Some(mut session) = endpoint.session_mut(now, self.session) {
            session.close(CloseMode::Orderly);
        }
    }
}

impl Pinging {
    fn may_send(&self, now: Instant, options: &PingOptions) -> bool {
        let paced = if options.flood {
            true
        } else if options.interval.is_zero() {
            self.waiting.is_empty()
        } else {
            self.next <= now
        };
        self.sent < options.count && !self.blocked && paced
    }
}

impl<O: FnMut(PingEvent)> App for Ping<O> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } if session == self.session => self.start(now, endpoint),
            Event::SessionFailed { session, reason } if session == self.session => {
                self.fail(now, endpoint, PingFailure::NotOpened(reason));
            }
            Event::SessionClosed { session, reason } if session == self.session => {
                self.fail(now, endpoint, PingFailure::Lost(reason));
            }
            Event::FlowOpened { flow } => self.take_answer(now, endpoint, flow),
            Event::FlowReadable { flow } => self.read(now, endpoint, flow),
            Event::FlowWritable { flow } => {
                if let Some(index) = self.flows.iter().position(|pinging| pinging.flow == flow) {
                    if let Some(pinging) = self.flows.get_mut(index) {
                        pinging.blocked = false;
                    }
                    self.send(now, endpoint, index);
                }
            }
            Event::MessageDone { flow, message, outcome: MessageOutcome::Delivered } => {
                self.acknowledged(now, endpoint, flow, message.index());
            }
            Event::FlowRejected { flow, code, .. } => {
                if self.flows.iter().any(|pinging| pinging.flow == flow && !pinging.completed) {
                    self.fail(now, endpoint, PingFailure::Rejected(code));
                } else {
                    self.complete(now, endpoint, flow);
                }
            }
            Event::FlowCompleted { flow, .. } => self.complete(now, endpoint, flow),
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.send_all(now, endpoint);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let due = |p: &&Pinging| !p.blocked && p.sent < self.options.count;
        if self.options.interval.is_zero() || self.options.flood || self.state != State::Running {
            return None;
        }
        self.flows.iter().filter(due).map(|p| p.next).min()
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Failed(_))
    }
}

/// A message that tells its number, so that a wrong answer is noticed.
fn payload(sequence: u64, size: usize) -> Bytes {
    let mut payload = vec![0; size.max(8)];
    for (byte, value) in payload.iter_mut().zip(sequence.to_be_bytes().into_iter().cycle()) {
        *byte = value;
    }
    payload.into()
}
