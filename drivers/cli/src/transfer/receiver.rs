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
use super::{BUSY, MALFORMED, MAX_FILE_FLOWS, NOT_FILES, TOO_MANY_FLOWS};

/// The verdict on a file that there is no place for.
const TOO_MANY: &str = "the receiver is busy with other files: try again later";
/// The verdict on a file that lost its place.
const NOTHING_CAME: &str = "the receiver is busy, and nothing came of this file: try again later";

/// What a [`Receiver`] tells its user as it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReceiverEvent<'a> {
    /// A sender has opened a session, and a first file flow in it.
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
    file_flows: BTreeMap<RecvFlowHandle, FileFlow>,
    /// Return flows that wait for room, and whose they are.
    answers: BTreeMap<SendFlowHandle, RecvFlowHandle>,
    /// File flows with an open file.
    files: Places<RecvFlowHandle>,
    /// The file flow whose file lost its place to another one.
    displaced: Option<RecvFlowHandle>,
    total: Received,
    /// A sender that had begun a file, or said that all was sent, is gone.
    served: bool,
    done: bool,
}

#[derive(Debug)]
struct FileFlow {
    answer: Option<SendFlowHandle>,
    /// Verdicts that were refused for want of room. No more is read until they are gone.
    refused: VecDeque<Bytes>,
    state: FileState,
    finished: bool,
}

#[derive(Debug, Default)]
enum FileState {
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
    /// begun a file does not count. A session without a file flow ends after ten seconds, and one that brings less than
    /// 16 KiB a minute is sent away. When there is no room, those that brought nothing give way ([`Places`]); a sender
    /// without a place is told [`BUSY`], a file without one [`VerdictCode::Busy`]. `observer` hears how it goes.
    pub fn new(store: Box<dyn Store>, keep: bool, observer: O) -> Self {
        let limits = ReceiverLimits::default();
        Self {
            store,
            observer,
            keep,
            senders: Senders::new(&limits),
            file_flows: BTreeMap::new(),
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

    /// A new flow: a file flow, or nothing for us.
    fn take_file_flow(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let session = flow.session();
        let ours = endpoint
            .recv_flow(flow)
            .is_some_and(|seen| seen.metadata().as_ref() == METADATA && seen.association().is_none());
        let code = match self.senders.get(session) {
            _ if !ours => NOT_FILES,
            None => BUSY,
            Some(sender) if !sender.admitted => BUSY,
            Some(sender) if sender.file_flows >= MAX_FILE_FLOWS => TOO_MANY_FLOWS,
            Some(_) => {
                let options = FlowOptions::new(METADATA);
                match endpoint.recv_flow_mut(now, flow).map(|mut flow| flow.open_return_flow(options)) {
                    Some(Ok(answer)) => return self.add_file_flow(now, flow, Some(answer)),
                    // Closed already: its sender has no file on it and waits for no verdict, but has a last word.
                    Some(Err(OpenFlowError::AssociationNotOpen)) => return self.add_file_flow(now, flow, None),
                    Some(Err(_)) | None => TOO_MANY_FLOWS,
                }
            }
        };
        if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
            flow.reject(code);
        }
    }

    fn add_file_flow(&mut self, now: Instant, flow: RecvFlowHandle, answer: Option<SendFlowHandle>) {
        let session = flow.session();
        if self.senders.file_flow_opened(now, session) {
            (self.observer)(ReceiverEvent::Opened { session });
        }
        if let Some(answer) = answer {
            self.answers.insert(answer, flow);
        }
        let file_flow = FileFlow { answer, refused: VecDeque::new(), state: FileState::None, finished: false };
        self.file_flows.insert(flow, file_flow);
    }

    fn read_file_flow(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        loop {
            let Some(file_flow) = self.file_flows.get_mut(&flow) else { return };
            if !file_flow.refused.is_empty() {
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

    /// The file of this file flow has lost its place.
    fn displace(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(file_flow) = self.file_flows.get_mut(&flow) else { return };
        let FileState::Storing(storing) = core::mem::replace(&mut file_flow.state, FileState::Refused) else { return };
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
        let Some(file_flow) = self.file_flows.get_mut(&flow) else { return Err(Fault) };
        let (verdict, settled, hash) = match (message, core::mem::take(&mut file_flow.state)) {
            (ToReceiver::Begin { size, name }, FileState::None | FileState::Refused) => {
                (self.observer)(ReceiverEvent::Begun { name, size });
                match self.begin(now, flow, name, size) {
                    Ok(storing) => {
                        self.set_state(flow, FileState::Storing(storing));
                        return Ok(None);
                    }
                    Err(verdict) => {
                        self.set_state(flow, FileState::Refused);
                        (verdict, (name.to_owned(), size), None)
                    }
                }
            }
            (ToReceiver::Data(content), FileState::Storing(mut storing)) => match storing.add(content) {
                Ok(()) => {
                    (self.observer)(ReceiverEvent::Progress { bytes: content.len() as u64 });
                    if !content.is_empty() {
                        self.files.brought(now, flow);
                        self.senders.brought(now, flow.session());
                    }
                    file_flow.state = FileState::Storing(storing);
                    return Ok(None);
                }
                Err(verdict) => {
                    file_flow.state = FileState::Refused;
                    (verdict, (storing.name, storing.size), None)
                }
            },
            (ToReceiver::End { size, hash }, FileState::Storing(storing)) => {
                let settled = (storing.name.clone(), storing.size);
                match storing.finish(size, &hash) {
                    Ok(()) => (Verdict::verified(), settled, Some(hash)),
                    Err(verdict) => (verdict, settled, None),
                }
            }
            (ToReceiver::Abandon { reason }, FileState::Storing(storing)) => {
                let verdict = Verdict::new(VerdictCode::Abandoned, format!("the sender gave it up: {reason}"));
                (verdict, (storing.name, storing.size), None)
            }
            // What was under way when the refusal reached the sender.
            (ToReceiver::Data(_), FileState::Refused) => {
                file_flow.state = FileState::Refused;
                return Ok(None);
            }
            (ToReceiver::End { .. } | ToReceiver::Abandon { .. }, FileState::Refused) => return Ok(None),
            (ToReceiver::AllSent { .. }, FileState::None | FileState::Refused) => {
                if let Some(sender) = self.senders.get_mut(flow.session()) {
                    sender.complete = true;
                }
                return Ok(None);
            }
            (_, current) => {
                // Counted and cleaned up with the file flow.
                file_flow.state = current;
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

    fn set_state(&mut self, flow: RecvFlowHandle, state: FileState) {
        if let Some(file_flow) = self.file_flows.get_mut(&flow) {
            file_flow.state = state;
        }
    }

    fn answer(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle, verdict: &Verdict) {
        let Some(file_flow) = self.file_flows.get_mut(&flow) else { return };
        let Some(mut answer) = file_flow.answer.and_then(|answer| endpoint.send_flow_mut(now, answer)) else { return };
        if let Err(refusal) = answer.write(verdict.encode())
            && refusal.reason == WriteRefusal::Full
        {
            file_flow.refused.push_back(refusal.data);
        }
    }

    /// There is room for verdicts again.
    fn answer_more(&mut self, now: Instant, endpoint: &mut Endpoint, answer: SendFlowHandle) {
        let Some(&flow) = self.answers.get(&answer) else { return };
        let Some(file_flow) = self.file_flows.get_mut(&flow) else { return };
        while let Some(message) = file_flow.refused.pop_front() {
            let Some(mut answer) = endpoint.send_flow_mut(now, answer) else { return };
            if let Err(refusal) = answer.write(message) {
                if refusal.reason == WriteRefusal::Full {
                    file_flow.refused.push_front(refusal.data);
                }
                return;
            }
        }
        if file_flow.finished {
            return self.finish_file_flow(now, endpoint, flow);
        }
        self.read_file_flow(now, endpoint, flow);
    }

    /// The sender broke the protocol on this file flow.
    fn fault(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
            flow.reject(MALFORMED);
        }
        self.finish_file_flow(now, endpoint, flow);
    }

    /// The file flow is over: what was on its way is dropped, and with it its partial file.
    fn finish_file_flow(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(file_flow) = self.file_flows.get_mut(&flow) else { return };
        if !file_flow.refused.is_empty() {
            file_flow.finished = true;
            return;
        }
        let Some(file_flow) = self.file_flows.remove(&flow) else { return };
        if let Some(answer) = file_flow.answer {
            self.answers.remove(&answer);
            if let Some(mut answer) = endpoint.send_flow_mut(now, answer) {
                answer.close();
            }
        }
        self.files.leave(flow);
        if let FileState::Storing(storing) = file_flow.state {
            let verdict = Verdict::new(VerdictCode::Abandoned, "the sender went away before its end");
            self.settle(&storing.name, storing.size, None, &verdict);
        }
        self.senders.file_flow_ended(now, flow.session());
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
        let file_flows: Vec<_> = self.file_flows.keys().filter(|flow| flow.session() == session).copied().collect();
        for flow in file_flows {
            if let Some(file_flow) = self.file_flows.get_mut(&flow) {
                file_flow.refused.clear();
            }
            self.finish_file_flow(now, endpoint, flow);
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
        // One that never had a file flow holds its place in the endpoint no longer, whether it answers or not.
        let without_file_flow = self.senders.get(session).is_some_and(|sender| !sender.announced);
        let mode = if without_file_flow { CloseMode::Abrupt } else { CloseMode::Orderly };
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
            Event::FlowOpened { flow } => self.take_file_flow(now, endpoint, flow),
            Event::FlowReadable { flow } => self.read_file_flow(now, endpoint, flow),
            Event::FlowWritable { flow } => self.answer_more(now, endpoint, flow),
            Event::FlowFinished { flow, .. } => {
                self.read_file_flow(now, endpoint, flow);
                self.finish_file_flow(now, endpoint, flow);
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
