//! The receiving end.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rtmfp_core::error::{OpenFlowError, WriteRefusal};
use rtmfp_core::{
    App, Bytes, CloseMode, CloseReason, Endpoint, Event, FlowOptions, Instant, RecvFlowHandle, SendFlowHandle,
    SessionHandle,
};

use super::protocol::{HASH_LEN, METADATA, ToReceiver, Verdict, VerdictCode};
use super::store::Store;
use super::storing::Storing;
use super::{LANES, MALFORMED, NOT_FILES, TOO_MANY_LANES};

/// How long the session of a sender that has said its last word is waited for to close.
const FAREWELL: Duration = Duration::from_secs(2);
/// The most files open at once, over all senders: systems allow 256 or more open files to a program.
const OPEN_FILES: usize = 192;
/// How often it is looked whether a sender still brings something.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes that a sender must bring in that time, all its packets counted. Answers to keepalives are fewer.
const LEAST: u64 = 16_384;

/// What a [`Receiver`] tells its user as it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReceiverEvent<'a> {
    /// A sender has opened a session.
    Opened {
        /// The session.
        session: SessionHandle,
    },
    /// A file begins.
    Begun {
        /// Its name, which may be one that is refused.
        name: &'a str,
        /// The length that the sender says it has.
        size: u64,
    },
    /// So many more bytes of content were stored, over all files.
    Progress {
        /// How many.
        bytes: u64,
    },
    /// A file has its verdict.
    Finished {
        /// Its name.
        name: &'a str,
        /// The length that the sender said it has.
        size: u64,
        /// Its SHA-256, if all of it was stored.
        hash: Option<[u8; HASH_LEN]>,
        /// What the sender is told.
        verdict: &'a Verdict,
    },
    /// A sender is gone.
    Closed {
        /// Its session.
        session: SessionHandle,
        /// Whether it had said that everything was sent.
        complete: bool,
        /// Why the session ended; `None` if it is not heard of any more after the sender's last word.
        reason: Option<CloseReason>,
    },
}

/// What a [`Receiver`] has to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// Files verified and in their place.
    pub verified: u64,
    /// Files with another verdict, or without one because their sender went away.
    pub failed: u64,
    /// Senders that finished.
    pub complete: u64,
    /// Why the last sender that had begun a file and did not finish went away.
    pub lost: Option<CloseReason>,
}

/// Takes files from any sender; see the [module](super).
pub struct Receiver<O> {
    store: Box<dyn Store>,
    observer: O,
    keep: bool,
    senders: BTreeMap<SessionHandle, Presence>,
    lanes: BTreeMap<RecvFlowHandle, Lane>,
    /// Return flows that wait for room, and whose they are.
    answers: BTreeMap<SendFlowHandle, RecvFlowHandle>,
    total: Received,
    limits: Limits,
    /// Shared by all files that are open, to count them.
    open: Arc<()>,
    /// A sender that had begun a file, or said that all was sent, is gone.
    served: bool,
    done: bool,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    open_files: usize,
    patience: Duration,
}

/// What is known of a sender.
#[derive(Debug)]
struct Presence {
    lanes: usize,
    /// A file of it was taken.
    begun: bool,
    complete: bool,
    /// When to stop waiting for the session to close, or else to look whether it has brought something.
    until: Instant,
    /// What it had brought at the last look.
    brought: u64,
}

#[derive(Debug)]
struct Lane {
    answer: Option<SendFlowHandle>,
    /// Verdicts that were refused for want of room. No more is read until they are gone.
    refused: VecDeque<Bytes>,
    current: Current,
    finished: bool,
}

#[derive(Debug, Default)]
enum Current {
    /// Between files.
    #[default]
    None,
    /// The file was refused; its remains are skipped.
    Refused,
    Storing(Storing),
}

impl<O> core::fmt::Debug for Receiver<O> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Receiver").field("senders", &self.senders).field("total", &self.total).finish_non_exhaustive()
    }
}

impl<O: FnMut(ReceiverEvent<'_>)> Receiver<O> {
    /// Stores what senders bring. Is done when the first of them is (and any others that have begun a file by then), or
    /// never if told to `keep` on; a sender that goes away without having begun a file does not count. One that brings
    /// less than 16 KiB a minute is sent away. At most 192 files are open at once, over all senders; more are refused.
    /// `observer` hears how it goes.
    pub fn new(store: Box<dyn Store>, keep: bool, observer: O) -> Self {
        Self {
            store,
            observer,
            keep,
            senders: BTreeMap::new(),
            lanes: BTreeMap::new(),
            answers: BTreeMap::new(),
            total: Received::default(),
            limits: Limits { open_files: OPEN_FILES, patience: PATIENCE },
            open: Arc::default(),
            served: false,
            done: false,
        }
    }

    /// Allows a sender this long, if that is more than a minute, to bring 16 KiB.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.limits.patience = patience.max(PATIENCE);
        self
    }

    /// Has at most so many files open at once.
    #[must_use]
    pub const fn with_open_files(mut self, open_files: usize) -> Self {
        self.limits.open_files = open_files;
        self
    }

    /// What has been received so far.
    pub const fn received(&self) -> Received {
        self.total
    }

    /// A new flow: a lane, or nothing for us.
    fn take_lane(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let session = flow.session();
        let ours = endpoint
            .recv_flow(flow)
            .is_some_and(|seen| seen.metadata().as_ref() == METADATA && seen.association().is_none());
        let room = self.senders.get(&session).is_none_or(|sender| sender.lanes < LANES);
        let code = match (ours, room) {
            (false, _) => NOT_FILES,
            (true, false) => TOO_MANY_LANES,
            (true, true) => {
                let options = FlowOptions::new(METADATA);
                match endpoint.recv_flow_mut(now, flow).map(|mut flow| flow.open_return_flow(options)) {
                    Some(Ok(answer)) => return self.add_lane(now, session, flow, Some(answer)),
                    // Closed already: its sender has no file on it and waits for no verdict, but has a last word.
                    Some(Err(OpenFlowError::AssociationNotOpen)) => return self.add_lane(now, session, flow, None),
                    Some(Err(_)) | None => TOO_MANY_LANES,
                }
            }
        };
        if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
            flow.reject(code);
        }
    }

    fn add_lane(&mut self, now: Instant, session: SessionHandle, flow: RecvFlowHandle, answer: Option<SendFlowHandle>) {
        if !self.senders.contains_key(&session) {
            (self.observer)(ReceiverEvent::Opened { session });
        }
        let until = now + self.limits.patience;
        let new = Presence { lanes: 0, begun: false, complete: false, until, brought: 0 };
        self.senders.entry(session).or_insert(new).lanes += 1;
        if let Some(answer) = answer {
            self.answers.insert(answer, flow);
        }
        let lane = Lane { answer, refused: VecDeque::new(), current: Current::None, finished: false };
        self.lanes.insert(flow, lane);
    }

    fn read_lane(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        loop {
            let Some(lane) = self.lanes.get_mut(&flow) else { return };
            if !lane.refused.is_empty() {
                return;
            }
            let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) else { return };
            let parsed = ToReceiver::parse(&message.data);
            // Nothing is ever abandoned by a sender: a gap is a fault too.
            let Some(message) = parsed.filter(|_| !message.gap) else {
                return self.fault(now, endpoint, flow);
            };
            match self.handle(flow, message) {
                Ok(Some(verdict)) => self.answer(now, endpoint, flow, &verdict),
                Ok(None) => {}
                Err(Fault) => return self.fault(now, endpoint, flow),
            }
        }
    }

    /// Acts on a message; gives the verdict if it settles a file.
    fn handle(&mut self, flow: RecvFlowHandle, message: ToReceiver<'_>) -> Result<Option<Verdict>, Fault> {
        let Some(lane) = self.lanes.get_mut(&flow) else { return Err(Fault) };
        let (verdict, settled, hash) = match (message, core::mem::take(&mut lane.current)) {
            (ToReceiver::Begin { size, name }, Current::None | Current::Refused) => {
                (self.observer)(ReceiverEvent::Begun { name, size });
                // This end's own share is not counted.
                let created = if Arc::strong_count(&self.open) > self.limits.open_files {
                    Err(Verdict::new(VerdictCode::Storage, "the receiver has too many files on their way: try again"))
                } else {
                    self.store.create(name, size)
                };
                match created {
                    Ok(file) => {
                        lane.current = Current::Storing(Storing::new(name, size, file, Arc::clone(&self.open)));
                        if let Some(sender) = self.senders.get_mut(&flow.session()) {
                            sender.begun = true;
                        }
                        return Ok(None);
                    }
                    Err(verdict) => {
                        lane.current = Current::Refused;
                        (verdict, (name.to_owned(), size), None)
                    }
                }
            }
            (ToReceiver::Data(content), Current::Storing(mut storing)) => match storing.add(content) {
                Ok(()) => {
                    (self.observer)(ReceiverEvent::Progress { bytes: content.len() as u64 });
                    lane.current = Current::Storing(storing);
                    return Ok(None);
                }
                Err(verdict) => {
                    lane.current = Current::Refused;
                    (verdict, (storing.name, storing.size), None)
                }
            },
            (ToReceiver::End { size, hash }, Current::Storing(storing)) => {
                let settled = (storing.name.clone(), storing.size);
                match storing.finish(size, &hash) {
                    Ok(()) => (Verdict::verified(), settled, Some(hash)),
                    Err(verdict) => (verdict, settled, None),
                }
            }
            (ToReceiver::Abandon { reason }, Current::Storing(storing)) => {
                let verdict = Verdict::new(VerdictCode::Abandoned, format!("the sender gave it up: {reason}"));
                (verdict, (storing.name, storing.size), None)
            }
            // What was under way when the refusal reached the sender.
            (ToReceiver::Data(_), Current::Refused) => {
                lane.current = Current::Refused;
                return Ok(None);
            }
            (ToReceiver::End { .. } | ToReceiver::Abandon { .. }, Current::Refused) => return Ok(None),
            (ToReceiver::AllSent { .. }, Current::None | Current::Refused) => {
                if let Some(sender) = self.senders.get_mut(&flow.session()) {
                    sender.complete = true;
                }
                return Ok(None);
            }
            (_, current) => {
                // Counted and cleaned up with the lane.
                lane.current = current;
                return Err(Fault);
            }
        };
        let (name, size) = settled;
        if verdict.is_verified() {
            self.total.verified += 1;
        } else {
            self.total.failed += 1;
        }
        (self.observer)(ReceiverEvent::Finished { name: &name, size, hash, verdict: &verdict });
        Ok(Some(verdict))
    }

    fn answer(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle, verdict: &Verdict) {
        let Some(lane) = self.lanes.get_mut(&flow) else { return };
        let Some(mut answer) = lane.answer.and_then(|answer| endpoint.send_flow_mut(now, answer)) else { return };
        if let Err(refusal) = answer.write(verdict.encode())
            && refusal.reason == WriteRefusal::Full
        {
            lane.refused.push_back(refusal.data);
        }
    }

    /// There is room for verdicts again.
    fn answer_more(&mut self, now: Instant, endpoint: &mut Endpoint, answer: SendFlowHandle) {
        let Some(&flow) = self.answers.get(&answer) else { return };
        let Some(lane) = self.lanes.get_mut(&flow) else { return };
        while let Some(message) = lane.refused.pop_front() {
            let Some(mut answer) = endpoint.send_flow_mut(now, answer) else { return };
            if let Err(refusal) = answer.write(message) {
                if refusal.reason == WriteRefusal::Full {
                    lane.refused.push_front(refusal.data);
                }
                return;
            }
        }
        if lane.finished {
            return self.finish_lane(now, endpoint, flow);
        }
        self.read_lane(now, endpoint, flow);
    }

    /// The sender broke the protocol on this lane.
    fn fault(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
            flow.reject(MALFORMED);
        }
        self.finish_lane(now, endpoint, flow);
    }

    /// The lane is over: what was on its way is dropped, and with it its partial file.
    fn finish_lane(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(lane) = self.lanes.get_mut(&flow) else { return };
        if !lane.refused.is_empty() {
            lane.finished = true;
            return;
        }
        let Some(lane) = self.lanes.remove(&flow) else { return };
        if let Some(answer) = lane.answer {
            self.answers.remove(&answer);
            if let Some(mut answer) = endpoint.send_flow_mut(now, answer) {
                answer.close();
            }
        }
        if let Current::Storing(storing) = lane.current {
            self.total.failed += 1;
            let verdict = Verdict::new(VerdictCode::Abandoned, "the sender went away before its end");
            let (name, size) = (storing.name.as_str(), storing.size);
            (self.observer)(ReceiverEvent::Finished { name, size, hash: None, verdict: &verdict });
        }
        if let Some(sender) = self.senders.get_mut(&flow.session()) {
            sender.lanes -= 1;
            if sender.lanes == 0 && sender.complete {
                sender.until = now + FAREWELL;
            }
        }
    }

    fn close(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, reason: Option<CloseReason>) {
        let lanes: Vec<_> = self.lanes.keys().filter(|flow| flow.session() == session).copied().collect();
        for flow in lanes {
            if let Some(lane) = self.lanes.get_mut(&flow) {
                lane.refused.clear();
            }
            self.finish_lane(now, endpoint, flow);
        }
        let Some(sender) = self.senders.remove(&session) else { return };
        if sender.complete {
            self.total.complete += 1;
        } else if sender.begun {
            self.total.lost = reason;
        }
        (self.observer)(ReceiverEvent::Closed { session, complete: sender.complete, reason });
        self.served |= sender.complete || sender.begun;
        if self.served && !self.keep && !self.senders.values().any(|sender| sender.begun) {
            self.done = true;
            for session in self.senders.keys() {
                if let Some(mut session) = endpoint.session_mut(now, *session) {
                    session.close(CloseMode::Orderly);
                }
            }
        }
    }

    /// A sender's time is up: it goes, unless it has brought enough since the last look.
    fn look_after(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let brought = endpoint.session(session).map_or(0, |session| session.stats().bytes_received);
        let Some(sender) = self.senders.get_mut(&session) else { return };
        let finished = sender.complete && sender.lanes == 0;
        if !finished && brought.saturating_sub(sender.brought) >= LEAST {
            sender.brought = brought;
            sender.until = now + self.limits.patience;
            return;
        }
        if let Some(mut session) = endpoint.session_mut(now, session) {
            session.close(CloseMode::Orderly);
        }
        self.close(now, endpoint, session, (!finished).then_some(CloseReason::Idle));
    }
}

/// The sender broke the protocol.
struct Fault;

impl<O: FnMut(ReceiverEvent<'_>)> App for Receiver<O> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::FlowOpened { flow } => self.take_lane(now, endpoint, flow),
            Event::FlowReadable { flow } => self.read_lane(now, endpoint, flow),
            Event::FlowWritable { flow } => self.answer_more(now, endpoint, flow),
            Event::FlowFinished { flow, .. } => {
                self.read_lane(now, endpoint, flow);
                self.finish_lane(now, endpoint, flow);
            }
            Event::SessionClosed { session, reason } => self.close(now, endpoint, session, Some(reason)),
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let due: Vec<_> = self.senders.iter().filter(|(_, s)| s.until <= now).map(|(session, _)| *session).collect();
        for session in due {
            self.look_after(now, endpoint, session);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.senders.values().map(|sender| sender.until).min()
    }

    fn is_done(&self) -> bool {
        self.done
    }
}
