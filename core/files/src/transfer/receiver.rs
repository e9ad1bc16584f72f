//! The receiving end.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use rtmfp_core::{
    Endpoint, Event, FlowEnd, FlowOptions, Instant, Priority, RecvFlowHandle, SendFlowHandle, SessionHandle,
};

use super::message::{FromReceiver, FromSender, Judged, OfContent, Record as _, Records};
use super::outbox::Outbox;
use super::outcome::{Failure, Fault, StopCode, Verdict, VerdictCode};
use super::{BATCH, CONTENT_METADATA, Events, MAX_LANES, METADATA, STOPPED, Summary, TransferEvent};
use crate::manifest::{Manifest, ManifestReader, Totals};
use crate::storage::{StorageError, StorageFailure, Store};
use crate::tree::{Hash, Tree};

use arriving::Slot;
use scan::Scan;

mod arriving;
mod scan;

/// Messages that wait for room in the return flow, beyond which no content is read.
const MAX_WAITING: usize = 64;
/// Bytes that are hashed before others have their turn.
const TURN: u64 = 4 * 1_024 * 1_024;

/// Receives what a sender offers over one session, if it is accepted; see the [module](super).
///
/// It is made when the session opens, so that it sees all flows of it, and reads nothing before [`start`](Self::start). The
/// application gives it each event of its session with [`offer`](Self::offer), and calls [`on_wake`](Self::on_wake) as
/// [`next_timeout`](Self::next_timeout) says. After each call [`poll_event`](Self::poll_event) tells what has happened. When
/// it [is done](Self::is_done) the application [drains](rtmfp_core::SessionMut::drain) the session, so that its last word
/// arrives.
pub struct Receiver {
    session: SessionHandle,
    state: State,
    control: Option<RecvFlowHandle>,
    answers: Option<Outbox>,
    lanes: BTreeMap<RecvFlowHandle, Slot>,
    reader: Option<ManifestReader>,
    totals: Totals,
    manifest: Manifest,
    root: Hash,
    store: Option<Box<dyn Store>>,
    /// What is known of each entry.
    marks: Vec<Mark>,
    /// Files that have no verdict yet.
    open: u64,
    scan: Scan,
    /// What is here of files that have not begun, as it was hashed.
    prefixes: BTreeMap<usize, Tree>,
    /// Content has come.
    begun: bool,
    /// Verdicts that are not in a message yet.
    records: Vec<u8>,
    due: Option<Instant>,
    /// A file's store was not ready.
    is_blocked: bool,
    /// What may still be hashed in this turn.
    turn: u64,
    summary: Summary,
    events: Events,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    New,
    /// The offer is to come.
    Waiting,
    /// The offer is here.
    Offered,
    /// It is accepted, and what is here is hashed.
    Scanning,
    Receiving,
    /// The last word is written.
    Concluded,
    Done,
    Failed(Failure),
}

/// What is known of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mark {
    /// It has no content.
    NoContent,
    /// Its content is to come.
    Wanted,
    Refused,
    Begun,
    Judged,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Receiver");
        shown.field("session", &self.session).field("state", &self.state).field("totals", &self.totals);
        shown.field("open", &self.open).field("summary", &self.summary).finish_non_exhaustive()
    }
}

impl Receiver {
    /// A receiver of what is offered over `session`.
    #[must_use]
    pub fn new(session: SessionHandle) -> Self {
        Self {
            session,
            state: State::New,
            control: None,
            answers: None,
            lanes: BTreeMap::new(),
            reader: None,
            totals: Totals::default(),
            manifest: Manifest::default(),
            root: Hash::default(),
            store: None,
            marks: Vec::new(),
            open: 0,
            scan: Scan::default(),
            prefixes: BTreeMap::new(),
            begun: false,
            records: Vec::new(),
            due: None,
            is_blocked: false,
            turn: 0,
            summary: Summary::default(),
            events: Events::default(),
        }
    }

    /// What is offered: empty before [`Offered`](TransferEvent::Offered).
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

    /// Reads the offer from now on: whatever had to be proved is.
    pub fn start(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.state == State::New {
            self.state = State::Waiting;
            self.answer_control(now, endpoint);
            self.flush(now, endpoint);
        }
    }

    /// Accepts what is offered, but for what the store refuses. What is in the store is hashed first.
    pub fn accept(&mut self, now: Instant, endpoint: &mut Endpoint, mut store: Box<dyn Store>) {
        if self.state != State::Offered {
            return;
        }
        for (index, error) in store.refused(&self.manifest) {
            let Some(mark) = self.marks.get_mut(index).filter(|mark| **mark != Mark::Refused) else { continue };
            if *mark == Mark::Wanted {
                self.open -= 1;
            }
            *mark = Mark::Refused;
            self.summary.refused += 1;
            let verdict = Verdict::storage(error);
            self.scan.refuse(index, verdict.code);
            self.events.push(TransferEvent::Finished { index, verdict, hash: None });
        }
        if let Err(error) = store.prepare(&self.manifest) {
            return self.fail_to_store(now, endpoint, error);
        }
        self.store = Some(store);
        self.state = State::Scanning;
        self.run(now, endpoint);
    }

    /// Declines what is offered. The text is for the sender's user.
    pub fn decline(&mut self, now: Instant, endpoint: &mut Endpoint, text: &str) {
        if self.is_done() {
            return;
        }
        if let Some(answers) = &mut self.answers {
            answers.push(FromReceiver::Decline(text.to_string()).to_bytes());
            answers.close(now, endpoint);
        }
        self.end(Err(Failure::Cancelled));
    }

    /// Ends it. What has arrived stays for another attempt.
    pub fn cancel(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.fail(now, endpoint, Failure::Cancelled, StopCode::Cancelled, "");
    }

    /// Takes an event of the endpoint. True if it is of a flow of this transfer, and so is for nobody else.
    #[expect(clippy::wildcard_enum_match_arm, reason = "a service acts on the events that it knows of")]
    pub fn offer(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) -> bool {
        match event {
            Event::FlowOpened { flow } if flow.session() == self.session => {
                return self.take_flow(now, endpoint, *flow);
            }
            Event::FlowReadable { flow } if self.control == Some(*flow) => self.read_control(now, endpoint),
            Event::FlowReadable { flow } if self.lanes.contains_key(flow) => {
                self.turn = TURN;
                self.read_content(now, endpoint, *flow);
            }
            Event::FlowFinished { flow, end } if self.control == Some(*flow) => {
                self.read_control(now, endpoint);
                self.control = None;
                let is_early = !matches!(self.state, State::Concluded | State::Done | State::Failed(_));
                // The end of the session tells more.
                if is_early && *end != FlowEnd::SessionEnded {
                    self.fault(now, endpoint, Fault::FlowEnded);
                }
            }
            Event::FlowFinished { flow, end } if self.lanes.contains_key(flow) => {
                let slot = self.lanes.remove(flow);
                if matches!(slot, Some(Slot::Storing(_) | Slot::Committing { .. })) && *end != FlowEnd::SessionEnded {
                    self.fault(now, endpoint, Fault::FlowEnded);
                }
            }
            Event::FlowWritable { flow } if self.owns(*flow) => self.run(now, endpoint),
            Event::FlowRejected { flow, code, .. } if self.owns(*flow) => {
                let stopped = code.checked_sub(STOPPED).and_then(StopCode::from_number);
                self.end(Err(stopped.map_or(Failure::Rejected(*code), |code| Failure::Stopped(code, String::new()))));
            }
            Event::FlowCompleted { flow, .. } if self.owns(*flow) => self.conclude(),
            Event::SessionClosed { session, reason } if *session == self.session => {
                self.conclude();
                self.end(Err(Failure::Lost(*reason)));
                return false;
            }
            _ => return false,
        }
        self.flush(now, endpoint);
        true
    }

    /// What is due is done. To be called too when a file's store has become [ready](crate::storage::Sink::is_ready).
    pub fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if self.is_blocked || self.due.is_some_and(|due| due <= now) {
            self.run(now, endpoint);
        }
    }

    /// Messages that wait for room in the return flow.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.answers.as_ref().map_or(0, Outbox::waiting)
    }

    fn owns(&self, flow: SendFlowHandle) -> bool {
        self.answers.as_ref().is_some_and(|answers| answers.flow() == flow)
    }

    /// Goes on where it stopped for want of room or time.
    fn run(&mut self, now: Instant, endpoint: &mut Endpoint) {
        (self.due, self.is_blocked, self.turn) = (None, false, TURN);
        if let Some(answers) = &mut self.answers {
            answers.pump(now, endpoint);
        }
        if self.state == State::Scanning && !self.scan_on() {
            self.due = Some(now + Duration::from_micros(1));
        }
        let lanes: Vec<RecvFlowHandle> = self.lanes.keys().copied().collect();
        lanes.into_iter().for_each(|lane| self.read_content(now, endpoint, lane));
        self.flush(now, endpoint);
    }

    fn take_flow(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) -> bool {
        let Some(seen) = endpoint.recv_flow(flow).filter(|seen| seen.association().is_none()) else { return false };
        let is_control = seen.metadata().as_ref() == METADATA;
        if !is_control && seen.metadata().as_ref() != CONTENT_METADATA {
            return false;
        }
        if self.is_done() {
            // What came unasked of an offer that was declined: a rejection might overtake what was said of it.
            return true;
        }
        let has_room = if is_control { self.control.is_none() } else { self.lanes.len() < MAX_LANES };
        if !has_room || is_control && self.answers.is_some() {
            if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
                flow.reject(STOPPED + StopCode::Fault as u64);
            }
            self.fault(now, endpoint, Fault::TooManyFlows);
        } else if is_control {
            self.control = Some(flow);
            self.answer_control(now, endpoint);
        } else {
            self.lanes.insert(flow, Slot::None);
        }
        true
    }

    fn answer_control(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(control) = self.control.filter(|_| self.state == State::Waiting) else { return };
        let options = FlowOptions::new(METADATA).priority(Priority::Elevated);
        let opened = endpoint.recv_flow_mut(now, control).map(|mut flow| flow.open_return_flow(options));
        let Some(Ok(answers)) = opened else { return self.end(Err(Failure::NoFlow)) };
        self.answers = Some(Outbox::new(answers));
        self.read_control(now, endpoint);
    }

    fn read_control(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while self.state != State::New && !self.is_done() {
            let message = self.control.and_then(|flow| endpoint.recv_flow_mut(now, flow)?.read());
            let Some(message) = message else { return };
            // Nothing is ever abandoned by a sender: a gap is a fault too.
            let parsed = FromSender::parse(&message.data).ok().filter(|_| !message.gap).ok_or(Fault::Malformed);
            if let Err(fault) = parsed.and_then(|message| self.take_control(now, endpoint, message)) {
                self.fault(now, endpoint, fault);
            }
        }
    }

    fn take_control(&mut self, now: Instant, endpoint: &mut Endpoint, message: FromSender<'_>) -> Result<(), Fault> {
        match (message, &self.state, &mut self.reader) {
            (FromSender::Offer(totals), State::Waiting, None) => {
                self.totals = totals;
                self.reader = Some(ManifestReader::new(totals).map_err(Fault::Manifest)?);
            }
            (FromSender::Entries(piece), State::Waiting, Some(reader)) => {
                reader.push(piece).map_err(Fault::Manifest)?;
            }
            (FromSender::OfferEnd(root), State::Waiting, reader @ Some(_)) => {
                let manifest = reader.take().map_or(Ok(Manifest::default()), |reader| reader.finish(&root));
                self.manifest = manifest.map_err(Fault::Manifest)?;
                let mark = |has_content| if has_content { Mark::Wanted } else { Mark::NoContent };
                self.marks = self.manifest.entries.iter().map(|entry| mark(entry.has_content())).collect();
                (self.open, self.root, self.state) = (self.totals.files, root, State::Offered);
                self.events.push(TransferEvent::Offered { totals: self.totals, root });
            }
            (FromSender::Done, State::Receiving, _) if self.open == 0 => self.last_word(now, endpoint),
            (FromSender::Stop(code, text), _, _) => self.end(Err(Failure::Stopped(code, text))),
            (FromSender::Offer(_) | FromSender::Entries(_) | FromSender::OfferEnd(_) | FromSender::Done, _, _) => {
                return Err(Fault::OutOfPlace);
            }
        }
        Ok(())
    }

    /// Everything has arrived.
    fn last_word(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let failures = self.store.as_mut().map(|store| store.conclude()).unwrap_or_default();
        for (index, error) in failures {
            match self.marks.get_mut(index) {
                Some(mark @ Mark::NoContent) => *mark = Mark::Judged,
                // Its verdict is given, and all of its content is in its place.
                Some(Mark::Judged) => {
                    self.events.push(TransferEvent::Warned { index, error });
                    continue;
                }
                Some(Mark::Wanted | Mark::Refused | Mark::Begun) | None => continue,
            }
            self.summary.failed += 1;
            self.record(index, Verdict::storage(error), None);
        }
        self.pack();
        self.state = State::Concluded;
        if let Some(answers) = &mut self.answers {
            answers.push(FromReceiver::Finished.to_bytes());
            answers.close(now, endpoint);
        }
    }

    /// The sender has heard the last word, or is gone after everything has arrived.
    fn conclude(&mut self) {
        if self.state == State::Concluded {
            self.end(Ok(self.summary));
        }
    }

    /// An entry has its verdict.
    fn record(&mut self, index: usize, verdict: Verdict, hash: Option<Hash>) {
        Judged { index: index as u64, verdict: verdict.clone() }.encode(&mut self.records);
        self.events.push(TransferEvent::Finished { index, verdict, hash });
        if self.records.len() > BATCH {
            self.pack();
        }
    }

    /// Puts all verdicts into a message.
    fn pack(&mut self) {
        let records = core::mem::take(&mut self.records);
        if let Some(answers) = self.answers.as_mut().filter(|_| !records.is_empty()) {
            answers.push(FromReceiver::Verdicts(Records::new(&records)).to_bytes());
        }
    }

    fn flush(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.pack();
        if let Some(answers) = self.answers.as_mut().filter(|answers| answers.waiting() > 0) {
            answers.pump(now, endpoint);
        }
    }

    fn fault(&mut self, now: Instant, endpoint: &mut Endpoint, fault: Fault) {
        self.fail(now, endpoint, Failure::Fault(fault), StopCode::Fault, "");
    }

    fn fail_to_store(&mut self, now: Instant, endpoint: &mut Endpoint, error: StorageError) {
        let code = if error.kind == StorageFailure::Full { StopCode::Full } else { StopCode::Storage };
        let text = error.text.clone();
        self.fail(now, endpoint, Failure::Storage(error), code, &text);
    }

    /// Ends it early, and tells the far end.
    fn fail(&mut self, now: Instant, endpoint: &mut Endpoint, failure: Failure, code: StopCode, text: &str) {
        if self.is_done() {
            return;
        }
        self.pack();
        if let Some(answers) = &mut self.answers {
            answers.push(FromReceiver::Stop(code, text.to_string()).to_bytes());
            answers.close(now, endpoint);
        }
        for flow in self.lanes.keys() {
            if let Some(mut flow) = endpoint.recv_flow_mut(now, *flow) {
                flow.reject(STOPPED + code as u64);
            }
        }
        self.end(Err(failure));
    }

    /// Files that are under way are left as they are, for another attempt.
    fn end(&mut self, result: Result<Summary, Failure>) {
        if self.is_done() {
            return;
        }
        self.state = match &result {
            Ok(_) => State::Done,
            Err(failure) => State::Failed(failure.clone()),
        };
        self.lanes.clear();
        self.prefixes.clear();
        self.scan = Scan::default();
        self.store = None;
        self.events.push(TransferEvent::Ended(result));
    }
}
