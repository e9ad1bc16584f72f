//! The sending end.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use rtmfp_core::error::WriteRefusal;
use rtmfp_core::{
    Bytes, Endpoint, Event, FlowEnd, FlowOptions, Instant, Priority, RecvFlowHandle, SendFlowHandle, SessionHandle,
};

use super::limit::Limit;
use super::message::FromSender;
use super::outbox::Outbox;
use super::outcome::{Failure, Fault, StopCode, Verdict};
use super::{
    CONTENT_METADATA, Events, MAX_LANES, MAX_UNANSWERED, METADATA, PIECE, STOPPED, Summary, TransferEvent, VerdictCode,
};
use crate::manifest::{Manifest, ManifestError};
use crate::storage::Source;
use crate::tree::{GROUP, Hash};

use answer::Answer;
use sending::{Sending, Step};

mod answer;
mod sending;

/// Bytes of a manifest in one message.
const MANIFEST_PIECE: usize = 16_384;
/// Bytes of a content flow that are written and were never sent, at most: what is read ahead of the network.
const AHEAD: usize = 256 * 1_024;
/// Bytes that are hashed without anything being sent before others have their turn.
const TURN: u64 = 4 * 1_024 * 1_024;

/// How a [`Sender`] behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SenderOptions {
    /// Files under way at once: at least 1, at most [`MAX_LANES`](super::MAX_LANES). Default 4.
    pub lanes: usize,
    /// The most bytes of content that are sent in a second. Default `None`: no limit.
    pub rate: Option<u64>,
    /// Whether content may be sent before the receiver has accepted any. Not of use if the receiver has some already.
    /// Default true.
    pub unasked: bool,
}

impl Default for SenderOptions {
    fn default() -> Self {
        Self { lanes: 4, rate: None, unasked: true }
    }
}

/// Sends what a manifest lists over one session; see the [module](super).
///
/// It begins with [`start`](Self::start), when the session is open. The application gives it each event of its session with
/// [`offer`](Self::offer), and calls [`on_wake`](Self::on_wake) as [`next_timeout`](Self::next_timeout) says. After each
/// call [`poll_event`](Self::poll_event) tells what has happened. When it [is done](Self::is_done) the application
/// [drains](rtmfp_core::SessionMut::drain) the session, so that its last word arrives.
pub struct Sender {
    session: SessionHandle,
    manifest: Manifest,
    encoding: Bytes,
    root: Hash,
    source: Box<dyn Source>,
    options: SenderOptions,
    limit: Limit,
    state: State,
    control: Option<Outbox>,
    answers: Option<RecvFlowHandle>,
    lanes: Vec<Lane>,
    answer: Answer,
    /// The entry that is looked at next.
    next: usize,
    /// Files that were begun and have no verdict, by index.
    unanswered: BTreeMap<usize, Unanswered>,
    /// The file of which something was sent before the receiver accepted.
    unasked: Option<usize>,
    /// When there is something to do.
    due: Option<Instant>,
    /// Content was not ready.
    is_blocked: bool,
    /// What may still be hashed in this turn.
    turn: u64,
    summary: Summary,
    events: Events,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    New,
    /// The offer is made.
    Offered,
    Sending,
    /// All verdicts are in.
    Finishing,
    Done,
    Failed(Failure),
}

/// A content flow.
#[derive(Debug)]
struct Lane {
    flow: SendFlowHandle,
    current: Option<Sending>,
    unanswered: usize,
    /// A message that there was no room for.
    refused: Option<Bytes>,
}

#[derive(Debug)]
struct Unanswered {
    lane: usize,
    /// All of it was sent, with this hash unless it had changed.
    sent: bool,
    hash: Option<Hash>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Sender");
        shown.field("session", &self.session).field("state", &self.state).field("next", &self.next);
        shown.field("unanswered", &self.unanswered.len()).field("summary", &self.summary).finish_non_exhaustive()
    }
}

impl Sender {
    /// Sends the content of `source` that `manifest` lists.
    ///
    /// # Errors
    /// If the manifest is beyond a limit.
    pub fn new(
        session: SessionHandle,
        manifest: Manifest,
        source: Box<dyn Source>,
        options: SenderOptions,
    ) -> Result<Self, ManifestError> {
        let encoding = Bytes::from(manifest.encode()?);
        Ok(Self {
            session,
            root: crate::tree::hash(&encoding),
            manifest,
            encoding,
            source,
            options,
            limit: Limit::new(options.rate),
            state: State::New,
            control: None,
            answers: None,
            lanes: Vec::new(),
            answer: Answer::default(),
            next: 0,
            unanswered: BTreeMap::new(),
            unasked: None,
            due: None,
            is_blocked: false,
            turn: 0,
            summary: Summary::default(),
            events: Events::default(),
        })
    }

    /// What is offered.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest's root, by which the transfer is known when it is resumed.
    #[must_use]
    pub const fn root(&self) -> Hash {
        self.root
    }

    /// What has been done so far.
    #[must_use]
    pub const fn summary(&self) -> Summary {
        self.summary
    }

    /// Why it ended before its end, once it has.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        if let State::Failed(failure) = &self.state { Some(failure) } else { None }
    }

    /// Whether it is over. Nothing is told after the last event.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Failed(_))
    }

    /// What has happened, one event after another.
    pub fn poll_event(&mut self) -> Option<TransferEvent> {
        self.events.pop()
    }

    /// When [`on_wake`](Self::on_wake) is to be called.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Instant> {
        if self.is_done() { None } else { self.due }
    }

    /// Replaces the limit of content bytes a second.
    pub fn set_rate(&mut self, now: Instant, endpoint: &mut Endpoint, rate: Option<u64>) {
        self.limit.set(rate);
        self.run(now, endpoint);
    }

    /// Makes the offer. The session must be open, and whatever has to be proved must be.
    pub fn start(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.state != State::New {
            return;
        }
        let options = FlowOptions::new(METADATA).priority(Priority::Elevated);
        let control = endpoint.session_mut(now, self.session).and_then(|mut session| session.open_flow(options).ok());
        let Some(control) = control else { return self.end(Err(Failure::NoFlow)) };
        let mut control = Outbox::new(control);
        control.push(FromSender::Offer(self.manifest.totals()).to_bytes());
        for piece in self.encoding.chunks(MANIFEST_PIECE) {
            control.push(FromSender::Entries(piece).to_bytes());
        }
        control.push(FromSender::OfferEnd(self.root).to_bytes());
        // It has been sent, or lies in the queue.
        self.encoding = Bytes::new();
        control.pump(now, endpoint);
        self.control = Some(control);
        self.state = State::Offered;
        if self.options.unasked {
            self.open_lanes(now, endpoint, 1);
            self.run(now, endpoint);
        }
    }

    /// Ends it. What has arrived stays for another attempt.
    pub fn cancel(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.fail(now, endpoint, Failure::Cancelled, StopCode::Cancelled);
    }

    /// Takes an event of the endpoint. True if it is of a flow of this transfer, and so is for nobody else.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a service acts on the events that it knows of")]
    pub fn offer(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) -> bool {
        match event {
            Event::FlowOpened { flow } => return self.take_return_flow(now, endpoint, *flow),
            Event::FlowReadable { flow } if self.answers == Some(*flow) => self.read_answers(now, endpoint),
            Event::FlowFinished { flow, end } if self.answers == Some(*flow) => {
                self.read_answers(now, endpoint);
                self.answers = None;
                // The end of the session tells more.
                if *end != FlowEnd::SessionEnded {
                    self.fault(now, endpoint, Fault::FlowEnded);
                }
            }
            Event::FlowWritable { flow } if self.owns(*flow) => self.run(now, endpoint),
            Event::FlowRejected { flow, code, .. } if self.owns(*flow) => {
                // What was said about it may be here already.
                self.read_answers(now, endpoint);
                self.rejected(*code);
            }
            Event::FlowCompleted { flow, .. } => return self.owns(*flow),
            Event::SessionClosed { session, reason } if *session == self.session => {
                self.end(Err(Failure::Lost(*reason)));
                return false;
            }
            _ => return false,
        }
        true
    }

    /// What is due is done. To be called too when content has become [ready](crate::storage::Content::is_ready).
    pub fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.is_blocked || self.due.is_some_and(|due| due <= now) {
            self.run(now, endpoint);
        }
    }

    /// Nothing can be opened any more.
    #[cfg(test)]
    pub(super) fn forget_source(&mut self) {
        self.source = Box::new(super::memory::MemorySource::default());
    }

    fn owns(&self, flow: SendFlowHandle) -> bool {
        self.control.as_ref().is_some_and(|control| control.flow() == flow)
            || self.lanes.iter().any(|lane| lane.flow == flow)
    }

    fn open_lanes(&mut self, now: Instant, endpoint: &mut Endpoint, wanted: usize) {
        while self.lanes.len() < wanted {
            let options = FlowOptions::new(CONTENT_METADATA).priority(Priority::Bulk).unsent_limit(AHEAD);
            let Some(mut session) = endpoint.session_mut(now, self.session) else { return };
            // With fewer flows than wished for everything still goes.
            let Ok(flow) = session.open_flow(options) else { return };
            self.lanes.push(Lane { flow, current: None, unanswered: 0, refused: None });
        }
    }

    /// Gives every flow as much as it takes.
    fn run(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some(control) = &mut self.control {
            control.pump(now, endpoint);
        }
        (self.due, self.is_blocked, self.turn) = (None, false, TURN);
        for lane in 0..self.lanes.len() {
            self.fill(now, endpoint, lane);
        }
        self.finish_if_answered(now, endpoint);
    }

    fn fill(&mut self, now: Instant, endpoint: &mut Endpoint, index: usize) {
        while matches!(self.state, State::Offered | State::Sending) {
            if let Some(until) = self.limit.wait(now) {
                self.due = Some(until);
                return;
            }
            let Some(lane) = self.lanes.get_mut(index) else { return };
            let message = lane.refused.take().or_else(|| self.next_message(now, index));
            let (Some(message), Some(lane)) = (message, self.lanes.get_mut(index)) else { return };
            let length = message.len();
            let Some(mut flow) = endpoint.send_flow_mut(now, lane.flow) else { return };
            match flow.write(message) {
                Ok(_) => self.limit.spend(now, length),
                Err(refusal) => {
                    // Room is told by FlowWritable; that the flow was closed, by FlowRejected or the session's end.
                    if refusal.reason == WriteRefusal::Full {
                        lane.refused = Some(refusal.data);
                    }
                    return;
                }
            }
        }
    }

    /// What a content flow has to say next; `None` if nothing now.
    fn next_message(&mut self, now: Instant, index: usize) -> Option<Bytes> {
        let piece = self.limit.piece(GROUP, PIECE);
        let piece = piece - piece % GROUP;
        loop {
            let lane = self.lanes.get_mut(index)?;
            let Some(sending) = &mut lane.current else {
                self.begin_next(index)?;
                continue;
            };
            let step =
                if self.turn == 0 { Step::Later } else { sending.step(&mut *self.source, piece, &mut self.turn) };
            let file = sending.index();
            match step {
                Step::Later => {
                    self.due = Some(now + Duration::from_micros(1));
                    return None;
                }
                Step::Paused => return None,
                Step::NotReady => {
                    self.is_blocked = true;
                    return None;
                }
                Step::Hashed(bytes) => self.events.push(TransferEvent::Hashing { bytes }),
                Step::Begin(from, message) => {
                    self.events.push(TransferEvent::Begun { index: file, from });
                    return Some(message);
                }
                Step::Content(bytes, message) => {
                    self.events.push(TransferEvent::Progress { bytes });
                    return Some(message);
                }
                Step::Last { bytes, hash, message } => {
                    lane.current = None;
                    if let Some(unanswered) = self.unanswered.get_mut(&file) {
                        (unanswered.sent, unanswered.hash) = (true, hash);
                    }
                    if bytes > 0 {
                        self.events.push(TransferEvent::Progress { bytes });
                    }
                    return Some(message);
                }
            }
        }
    }

    /// Begins the next file on a content flow. `None` if there is none, or none now.
    fn begin_next(&mut self, lane_index: usize) -> Option<()> {
        let unasked = self.state == State::Offered;
        if unasked && self.unasked.is_some() {
            return None;
        }
        let lane = self.lanes.get_mut(lane_index).filter(|lane| lane.unanswered < MAX_UNANSWERED)?;
        let (index, entry) = loop {
            let index = self.next;
            let entry = self.manifest.entries.get(index)?;
            // What a pipe has given it does not give again, if the receiver does not want it yet.
            if unasked && entry.has_content() && entry.size().is_none() {
                return None;
            }
            self.next += 1;
            if entry.has_content() && !self.answer.is_refused(index) {
                break (index, entry);
            }
        };
        let have = self.answer.take_have(index);
        lane.current = Some(Sending::new(index, entry.size(), have, unasked));
        lane.unanswered += 1;
        self.unanswered.insert(index, Unanswered { lane: lane_index, sent: false, hash: None });
        if unasked {
            self.unasked = Some(index);
        }
        Some(())
    }

    /// With every verdict in, tells the receiver so.
    fn finish_if_answered(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let has_more = self.next < self.manifest.entries.len() || !self.unanswered.is_empty();
        // A verdict can come before the end of its file: that goes first.
        if self.state != State::Sending || has_more || self.lanes.iter().any(|lane| lane.refused.is_some()) {
            return;
        }
        self.state = State::Finishing;
        for lane in &self.lanes {
            if let Some(mut flow) = endpoint.send_flow_mut(now, lane.flow) {
                flow.close();
            }
        }
        if let Some(control) = &mut self.control {
            control.push(FromSender::Done.to_bytes());
            control.pump(now, endpoint);
        }
    }

    fn judge(&mut self, index: usize, verdict: Verdict, hash: Option<Hash>) {
        self.events.push(TransferEvent::Finished { index, verdict, hash });
    }

    fn fault(&mut self, now: Instant, endpoint: &mut Endpoint, fault: Fault) {
        self.fail(now, endpoint, Failure::Fault(fault), StopCode::Fault);
    }

    /// Ends it early, and tells the far end.
    fn fail(&mut self, now: Instant, endpoint: &mut Endpoint, failure: Failure, code: StopCode) {
        if self.is_done() {
            return;
        }
        if let Some(control) = &mut self.control {
            control.push(FromSender::Stop(code, String::new()).to_bytes());
        }
        self.close(now, endpoint);
        self.end(Err(failure));
    }

    fn close(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for lane in &self.lanes {
            if let Some(mut flow) = endpoint.send_flow_mut(now, lane.flow) {
                flow.close();
            }
        }
        if let Some(control) = &mut self.control {
            control.close(now, endpoint);
        }
    }

    fn end(&mut self, result: Result<Summary, Failure>) {
        if self.is_done() {
            return;
        }
        self.state = match &result {
            Ok(_) => State::Done,
            Err(failure) => State::Failed(failure.clone()),
        };
        self.lanes.iter_mut().for_each(|lane| lane.current = None);
        self.unanswered.clear();
        self.events.push(TransferEvent::Ended(result));
    }

    fn rejected(&mut self, code: u64) {
        let stopped = code.checked_sub(STOPPED).and_then(StopCode::from_number);
        let failure = stopped.map_or(Failure::Rejected(code), |code| Failure::Stopped(code, String::new()));
        self.end(Err(failure));
    }
}
