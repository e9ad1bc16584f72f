//! The receiving end.

use std::collections::{BTreeMap, VecDeque};

use rtmfp_core::error::{OpenFlowError, WriteRefusal};
use rtmfp_core::{
    App, Bytes, CloseMode, CloseReason, Endpoint, Event, FlowOptions, Instant, RecvFlowHandle, SendFlowHandle,
    SessionHandle,
};
use rtmfp_std::{Admission, Places};

use super::protocol::{HASH_LEN, METADATA, ToReceiver, Verdict, VerdictCode};
use super::senders::{Check, ReceiverLimits, STALLED, Senders};
use super::store::Store;
use super::storing::Storing;
use super::{BUSY, LANES, MALFORMED, NOT_FILES, TOO_MANY_LANES};

/// The verdict on a file that there is no place for.
const TOO_MANY: &str = "the receiver is busy with other files: try again later";
/// The verdict on a file that lost its place.
const NOTHING_CAME: &str = "the receiver is busy, and nothing came of this file: try again later";

/// What a [`Receiver`] tells its user as it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReceiverEvent<'a> {
    /// A sender has opened a session, and a first lane in it.
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
    senders: Senders,
    lanes: BTreeMap<RecvFlowHandle, Lane>,
    /// Return flows that wait for room, and whose they are.
    answers: BTreeMap<SendFlowHandle, RecvFlowHandle>,
    /// Lanes with an open file.
    files: Places<RecvFlowHandle>,
    /// The lane whose file lost its place to another one.
    displaced: Option<RecvFlowHandle>,
    total: Received,
    /// A sender that had begun a file, or said that all was sent, is gone.
    served: bool,
    done: bool,
}

#[derive(Debug)]
struct Lane {
    answer: Option<SendFlowHandle>,
    /// Verdicts that were refused for want of room. No more is read until they are gone.
    refused: VecDeque<Bytes>,
    state: LaneState,
    finished: bool,
}

#[derive(Debug, Default)]
enum LaneState {
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
    /// Stores what senders bring, within the default [`ReceiverLimits`]. Is done when the first of them is (and any
    /// others that have begun a file by then), or never if told to `keep` on; a sender that goes away without having
    /// begun a file does not count. A session without a lane ends after ten seconds, and one that brings less than
    /// 16 KiB a minute is sent away. When there is no room, those that brought nothing give way ([`Places`]); a sender
    /// without a place is told [`BUSY`], a file without one [`VerdictCode::Busy`]. `observer` hears how it goes.
    pub fn new(store: Box<dyn Store>, keep: bool, observer: O) -> Self {
        let limits = ReceiverLimits::default();
        Self {
            store,
            observer,
            keep,
            senders: Senders::new(&limits),
            lanes: BTreeMap::new(),
            answers: BTreeMap::new(),
            files: Places::new(limits.open_files, limits.open_files_per_source).stalled_after(STALLED),
            displaced: None,
            total: Received::default(),
            served: false,
            done: false,
        }
    }

    /// The same within other limits. To be called before it runs.
    #[must_use]
    pub fn with_limits(mut self, limits: &ReceiverLimits) -> Self {
        self.senders = Senders::new(limits);
        self.files = Places::new(limits.open_files, limits.open_files_per_source).stalled_after(STALLED);
        self
    }

    /// What has been received so far.
    pub const fn received(&self) -> Received {
        self.total
    }

    /// A session has opened: somebody may have to go for it.
    fn take_session(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        if let Some(gone) = self.senders.enter(now, endpoint, session) {
            self.dismiss(now, endpoint, gone, Some(CloseReason::Idle), CloseMode::Abrupt);
        }
    }

    /// A new flow: a lane, or nothing for us.
    fn take_lane(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let session = flow.session();
        let ours = endpoint
            .recv_flow(flow)
            .is_some_and(|seen| seen.metadata().as_ref() == METADATA && seen.association().is_none());
        let code = match self.senders.get(session) {
            _ if !ours => NOT_FILES,
            None => BUSY,
            Some(sender) if !sender.admitted => BUSY,
            Some(sender) if sender.lanes >= LANES => TOO_MANY_LANES,
            Some(_) => {
                let options = FlowOptions::new(METADATA);
                match endpoint.recv_flow_mut(now, flow).map(|mut flow| flow.open_return_flow(options)) {
                    Some(Ok(answer)) => return self.add_lane(now, flow, Some(answer)),
                    // Closed already: its sender has no file on it and waits for no verdict, but has a last word.
                    Some(Err(OpenFlowError::AssociationNotOpen)) => return self.add_lane(now, flow, None),
                    Some(Err(_)) | None => TOO_MANY_LANES,
                }
            }
        };
        if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
            flow.reject(code);
        }
    }

    fn add_lane(&mut self, now: Instant, flow: RecvFlowHandle, answer: Option<SendFlowHandle>) {
        let session = flow.session();
        if self.senders.lane_opened(now, session) {
            (self.observer)(ReceiverEvent::Opened { session });
        }
        if let Some(answer) = answer {
            self.answers.insert(answer, flow);
        }
        let lane = Lane { answer, refused: VecDeque::new(), state: LaneState::None, finished: false };
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
            match self.handle(now, flow, message) {
                Ok(Some(verdict)) => self.answer(now, endpoint, flow, &verdict),
                Ok(None) => {}
                Err(Fault) => return self.fault(now, endpoint, flow),
            }
            if let Some(displaced) = self.displaced.take() {
                self.displace(now, endpoint, displaced);
            }
        }
    }

    /// A file begins: takes it, or says why not.
    fn begin(&mut self, now: Instant, flow: RecvFlowHandle, name: &str, size: u64) -> Result<Storing, Verdict> {
        let file = self.store.create(name, size)?;
        let Some(sender) = self.senders.get_mut(flow.session()) else {
            return Err(Verdict::new(VerdictCode::Busy, TOO_MANY));
        };
        match self.files.admit(now, flow, sender.address) {
            Admission::Admitted => {}
            Admission::Replaced(displaced) => self.displaced = Some(displaced),
            Admission::Full => return Err(Verdict::new(VerdictCode::Busy, TOO_MANY)),
        }
        sender.begun = true;
        Ok(Storing::new(name, size, file))
    }

    /// The file of this lane has lost its place.
    fn displace(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(lane) = self.lanes.get_mut(&flow) else { return };
        let LaneState::Storing(storing) = core::mem::replace(&mut lane.state, LaneState::Refused) else { return };
        let verdict = Verdict::new(VerdictCode::Busy, NOTHING_CAME);
        self.settle(&storing.name, storing.size, None, &verdict);
        drop(storing);
        self.answer(now, endpoint, flow, &verdict);
    }

    /// A file has its verdict.
    fn settle(&mut self, name: &str, size: u64, hash: Option<[u8; HASH_LEN]>, verdict: &Verdict) {
        if verdict.is_verified() {
            self.total.verified += 1;
        } else {
            self.total.failed += 1;
        }
        (self.observer)(ReceiverEvent::Finished { name, size, hash, verdict });
    }

    /// Acts on a message; gives the verdict if it settles a file.
    fn handle(
        &mut self,
        now: Instant,
        flow: RecvFlowHandle,
        message: ToReceiver<'_>,
    ) -> Result<Option<Verdict>, Fault> {
        let Some(lane) = self.lanes.get_mut(&flow) else { return Err(Fault) };
        let (verdict, settled, hash) = match (message, core::mem::take(&mut lane.state)) {
            (ToReceiver::Begin { size, name }, LaneState::None | LaneState::Refused) => {
                (self.observer)(ReceiverEvent::Begun { name, size });
                match self.begin(now, flow, name, size) {
                    Ok(storing) => {
                        self.set_state(flow, LaneState::Storing(storing));
                        return Ok(None);
                    }
                    Err(verdict) => {
                        self.set_state(flow, LaneState::Refused);
                        (verdict, (name.to_owned(), size), None)
                    }
                }
            }
            (ToReceiver::Data(content), LaneState::Storing(mut storing)) => match storing.add(content) {
                Ok(()) => {
                    (self.observer)(ReceiverEvent::Progress { bytes: content.len() as u64 });
                    if !content.is_empty() {
                        self.files.brought(now, flow);
                        self.senders.brought(now, flow.session());
                    }
                    lane.state = LaneState::Storing(storing);
                    return Ok(None);
                }
                Err(verdict) => {
                    lane.state = LaneState::Refused;
                    (verdict, (storing.name, storing.size), None)
                }
            },
            (ToReceiver::End { size, hash }, LaneState::Storing(storing)) => {
                let settled = (storing.name.clone(), storing.size);
                match storing.finish(size, &hash) {
                    Ok(()) => (Verdict::verified(), settled, Some(hash)),
                    Err(verdict) => (verdict, settled, None),
                }
            }
            (ToReceiver::Abandon { reason }, LaneState::Storing(storing)) => {
                let verdict = Verdict::new(VerdictCode::Abandoned, format!("the sender gave it up: {reason}"));
                (verdict, (storing.name, storing.size), None)
            }
            // What was under way when the refusal reached the sender.
            (ToReceiver::Data(_), LaneState::Refused) => {
                lane.state = LaneState::Refused;
                return Ok(None);
            }
            (ToReceiver::End { .. } | ToReceiver::Abandon { .. }, LaneState::Refused) => return Ok(None),
            (ToReceiver::AllSent { .. }, LaneState::None | LaneState::Refused) => {
                if let Some(sender) = self.senders.get_mut(flow.session()) {
                    sender.complete = true;
                }
                return Ok(None);
            }
            (_, current) => {
                // Counted and cleaned up with the lane.
                lane.state = current;
                return Err(Fault);
            }
        };
        self.files.leave(flow);
        if verdict.is_verified() {
            self.senders.brought(now, flow.session());
        }
        let (name, size) = settled;
        self.settle(&name, size, hash, &verdict);
        Ok(Some(verdict))
    }

    fn set_state(&mut self, flow: RecvFlowHandle, state: LaneState) {
        if let Some(lane) = self.lanes.get_mut(&flow) {
            lane.state = state;
        }
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
        self.files.leave(flow);
        if let LaneState::Storing(storing) = lane.state {
            let verdict = Verdict::new(VerdictCode::Abandoned, "the sender went away before its end");
            self.settle(&storing.name, storing.size, None, &verdict);
        }
        self.senders.lane_ended(now, flow.session());
    }

    /// Closes a session, and is done with it.
    fn dismiss(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        session: SessionHandle,
        reason: Option<CloseReason>,
        mode: CloseMode,
    ) {
        if let Some(mut session) = endpoint.session_mut(now, session) {
            session.close(mode);
        }
        self.closed(now, endpoint, session, reason);
    }

    fn closed(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, reason: Option<CloseReason>) {
        let lanes: Vec<_> = self.lanes.keys().filter(|flow| flow.session() == session).copied().collect();
        for flow in lanes {
            if let Some(lane) = self.lanes.get_mut(&flow) {
                lane.refused.clear();
            }
            self.finish_lane(now, endpoint, flow);
        }
        let Some(sender) = self.senders.leave(session) else { return };
        if sender.complete {
            self.total.complete += 1;
        } else if sender.begun {
            self.total.lost = reason;
        }
        if sender.announced {
            (self.observer)(ReceiverEvent::Closed { session, complete: sender.complete, reason });
        }
        self.served |= sender.complete || sender.begun;
        if self.served && !self.keep && !self.senders.any_begun() {
            self.done = true;
            for session in self.senders.sessions() {
                if let Some(mut session) = endpoint.session_mut(now, session) {
                    session.close(CloseMode::Orderly);
                }
            }
        }
    }

    /// A sender's time is up: it goes, unless it has brought enough since the last check.
    fn check(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let brought = endpoint.session(session).map_or(0, |session| session.stats().bytes_received);
        let reason = match self.senders.check(now, session, brought) {
            Check::Stays => return,
            Check::Finished => None,
            Check::Idle => Some(CloseReason::Idle),
        };
        // One that never had a lane holds its place in the endpoint no longer, whether it answers or not.
        let without_lane = self.senders.get(session).is_some_and(|sender| !sender.announced);
        let mode = if without_lane { CloseMode::Abrupt } else { CloseMode::Orderly };
        self.dismiss(now, endpoint, session, reason, mode);
    }
}

/// The sender broke the protocol.
struct Fault;

impl<O: FnMut(ReceiverEvent<'_>)> App for Receiver<O> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } => self.take_session(now, endpoint, session),
            Event::FlowOpened { flow } => self.take_lane(now, endpoint, flow),
            Event::FlowReadable { flow } => self.read_lane(now, endpoint, flow),
            Event::FlowWritable { flow } => self.answer_more(now, endpoint, flow),
            Event::FlowFinished { flow, .. } => {
                self.read_lane(now, endpoint, flow);
                self.finish_lane(now, endpoint, flow);
            }
            Event::SessionClosed { session, reason } => self.closed(now, endpoint, session, Some(reason)),
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        for session in self.senders.due(now) {
            self.check(now, endpoint, session);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.senders.next_due()
    }

    fn is_done(&self) -> bool {
        self.done
    }
}
