//! The sending end.

use std::collections::VecDeque;
use std::io::{self, Read};

use rtmfp_core::error::WriteRefusal;
use rtmfp_core::{
    App, Bytes, CloseMode, CloseReason, Endpoint, Event, FlowEnd, FlowOptions, Instant, OpenFailure, Priority,
    RecvFlowHandle, SendFlowHandle, SessionHandle,
};
use sha2::{Digest, Sha256};

use super::protocol::{self, HASH_LEN, METADATA, Verdict, VerdictCode};
use super::store::Outgoing;
use super::{MAX_FILE_FLOWS, NOT_FILES, PIECE, UNANSWERED};

/// The verdict on a verdict that came too early.
const EARLY: &str = "the receiver says that it is verified, but it has not had all of it";

/// What a [`Sender`] tells its user as it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SenderEvent<'a> {
    /// The session is open.
    Opened {
        /// The session.
        session: SessionHandle,
    },
    /// A file begins.
    Begun {
        /// Its name.
        name: &'a str,
        /// Its length in bytes.
        size: u64,
    },
    /// So many more bytes of content were handed to the endpoint, over all files.
    Progress {
        /// How many.
        bytes: u64,
    },
    /// A file has its verdict.
    Finished {
        /// Its name.
        name: &'a str,
        /// Its length in bytes.
        size: u64,
        /// Its SHA-256, if all of it was read.
        hash: Option<[u8; HASH_LEN]>,
        /// What the receiver says, or this end if the file could not be read.
        verdict: &'a Verdict,
    },
}

/// Why a [`Sender`] ended without a verdict for every file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendFailure {
    /// The session did not open.
    NotOpened(OpenFailure),
    /// The session ended early.
    Lost(CloseReason),
    /// The far end takes no files: it rejected a file flow with this exception code.
    Rejected(u64),
    /// The far end did not keep to the protocol of this module.
    Confused,
}

impl core::error::Error for SendFailure {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::NotOpened(why) => Some(why),
            Self::Lost(why) => Some(why),
            Self::Rejected(_) | Self::Confused => None,
        }
    }
}

impl core::fmt::Display for SendFailure {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotOpened(_) => f.write_str("no session opened"),
            Self::Lost(_) => f.write_str("the session ended early"),
            Self::Rejected(code) => write!(f, "the far end takes no files (exception code {code})"),
            Self::Confused => f.write_str("the far end does not keep to the protocol"),
        }
    }
}

/// Sends files over one session; see the [module](super).
pub struct Sender<O> {
    session: SessionHandle,
    file_flows: Vec<FileFlow>,
    /// How many file flows there are to be.
    wanted: usize,
    waiting: VecDeque<Outgoing>,
    observer: O,
    verified: u64,
    failed: u64,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Opening,
    Sending,
    /// All verdicts are in; the file flows are being completed.
    Finishing,
    Done,
    Failed(SendFailure),
}

#[derive(Debug)]
struct FileFlow {
    flow: SendFlowHandle,
    answers: Option<RecvFlowHandle>,
    current: Option<Reading>,
    /// Files begun and not answered, the current one last.
    unanswered: VecDeque<Unanswered>,
    /// A message that was refused for want of room.
    refused: Option<Bytes>,
    completed: bool,
}

#[derive(Debug)]
struct Unanswered {
    name: String,
    size: u64,
    hash: Option<[u8; HASH_LEN]>,
}

struct Reading {
    content: Box<dyn Read + Send>,
    left: u64,
    size: u64,
    hash: Sha256,
}

impl core::fmt::Debug for Reading {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Reading").field("left", &self.left).field("size", &self.size).finish_non_exhaustive()
    }
}

impl<O> core::fmt::Debug for Sender<O> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Sender").field("session", &self.session).field("state", &self.state).finish_non_exhaustive()
    }
}

impl<O: FnMut(SenderEvent<'_>)> Sender<O> {
    /// Sends `files` over `session`, which may still be opening and is closed at the end. At most `file_flows` files are
    /// under way at once (at least 1, at most [`MAX_FILE_FLOWS`]). `observer` hears how it goes.
    pub fn new(session: SessionHandle, files: Vec<Outgoing>, file_flows: usize, observer: O) -> Self {
        let wanted = file_flows.clamp(1, MAX_FILE_FLOWS).min(files.len().max(1));
        Self {
            session,
            file_flows: Vec::new(),
            wanted,
            waiting: files.into(),
            observer,
            verified: 0,
            failed: 0,
            state: State::Opening,
        }
    }

    /// Files that the receiver verified.
    pub const fn verified(&self) -> u64 {
        self.verified
    }

    /// Files that got another verdict.
    pub const fn failed(&self) -> u64 {
        self.failed
    }

    /// Why it ended early, once it has.
    pub const fn failure(&self) -> Option<SendFailure> {
        if let State::Failed(failure) = self.state { Some(failure) } else { None }
    }

    fn start(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.state = State::Sending;
        (self.observer)(SenderEvent::Opened { session: self.session });
        for _ in 0..self.wanted {
            let options = FlowOptions::new(METADATA).priority(Priority::Bulk);
            let Some(mut session) = endpoint.session_mut(now, self.session) else { break };
            // With fewer file flows than wished for everything still goes.
            let Ok(flow) = session.open_flow(options) else { break };
            self.file_flows.push(FileFlow {
                flow,
                answers: None,
                current: None,
                unanswered: VecDeque::new(),
                refused: None,
                completed: false,
            });
        }
        if self.file_flows.is_empty() {
            return self.fail(now, endpoint, SendFailure::Confused);
        }
        for file_flow in 0..self.file_flows.len() {
            self.fill(now, endpoint, file_flow);
        }
        self.finish_if_answered(now, endpoint);
    }

    /// Gives a file flow as much as it takes.
    fn fill(&mut self, now: Instant, endpoint: &mut Endpoint, index: usize) {
        if self.state != State::Sending {
            return;
        }
        while let Some(file_flow) = self.file_flows.get_mut(index) {
            let message = match file_flow.refused.take() {
                Some(message) => message,
                None => match self.next_message(index) {
                    Some(message) => message,
                    None => return,
                },
            };
            let (Some(file_flow), true) = (self.file_flows.get_mut(index), self.state == State::Sending) else {
                return;
            };
            let Some(mut flow) = endpoint.send_flow_mut(now, file_flow.flow) else { return };
            match flow.write(message) {
                Ok(_) => {}
                Err(refusal) => {
                    // Room is told by FlowWritable; that the flow was closed, by FlowRejected or the session's end.
                    if refusal.reason == WriteRefusal::Full {
                        file_flow.refused = Some(refusal.data);
                    }
                    return;
                }
            }
        }
    }

    /// What a file flow has to say next.
    fn next_message(&mut self, index: usize) -> Option<Bytes> {
        let file_flow = self.file_flows.get_mut(index)?;
        let Some(reading) = &mut file_flow.current else { return self.begin_next(index) };
        if reading.left == 0 {
            let hash: [u8; HASH_LEN] = reading.hash.finalize_reset().into();
            let message = protocol::end(reading.size, &hash);
            file_flow.current = None;
            if let Some(file) = file_flow.unanswered.back_mut() {
                file.hash = Some(hash);
            }
            return Some(message);
        }
        match read_piece(reading) {
            Ok(buffer) => {
                let bytes = (buffer.len() - 1) as u64;
                (self.observer)(SenderEvent::Progress { bytes });
                Some(buffer.into())
            }
            Err(e) => {
                file_flow.current = None;
                Some(protocol::abandon(&e.to_string()))
            }
        }
    }

    /// Begins the next file that can be opened.
    fn begin_next(&mut self, index: usize) -> Option<Bytes> {
        let under_way = self.file_flows.get(index)?.unanswered.len();
        // A file is left for each idle file flow, so that a few large ones do not queue behind one another.
        let idle = self.file_flows.iter().filter(|file_flow| file_flow.unanswered.is_empty()).count();
        if under_way >= UNANSWERED || under_way > 0 && self.waiting.len() <= idle {
            return None;
        }
        loop {
            let mut file = self.waiting.pop_front()?;
            match file.content.open() {
                Ok((size, content)) => {
                    (self.observer)(SenderEvent::Begun { name: &file.name, size });
                    let message = protocol::begin(size, &file.name);
                    let file_flow = self.file_flows.get_mut(index)?;
                    file_flow.current = Some(Reading { content, left: size, size, hash: Sha256::new() });
                    file_flow.unanswered.push_back(Unanswered { name: file.name, size, hash: None });
                    return Some(message);
                }
                Err(e) => {
                    self.failed += 1;
                    let verdict = Verdict::new(VerdictCode::Abandoned, format!("it could not be read: {e}"));
                    let event = SenderEvent::Finished { name: &file.name, size: 0, hash: None, verdict: &verdict };
                    (self.observer)(event);
                }
            }
        }
    }

    fn read_answers(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(index) = self.file_flows.iter().position(|file_flow| file_flow.answers == Some(flow)) else { return };
        while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) {
            let answered = Verdict::parse(&message.data).and_then(|verdict| {
                let file_flow = self.file_flows.get_mut(index)?;
                Some((verdict, file_flow.unanswered.pop_front()?))
            });
            let Some((verdict, file)) = answered else {
                return self.fail(now, endpoint, SendFailure::Confused);
            };
            if let Some(file_flow) = self.file_flows.get_mut(index).filter(|file_flow| file_flow.unanswered.is_empty())
            {
                // The verdict came before the end: the receiver does not want the rest.
                file_flow.current = None;
            }
            // Nobody can have verified what was not all sent.
            let early = verdict.is_verified() && file.hash.is_none();
            let verdict = if early { Verdict::new(VerdictCode::Mismatch, EARLY) } else { verdict };
            if verdict.is_verified() {
                self.verified += 1;
            } else {
                self.failed += 1;
            }
            let (name, hash) = (file.name.as_str(), file.hash);
            (self.observer)(SenderEvent::Finished { name, size: file.size, hash, verdict: &verdict });
        }
        self.fill(now, endpoint, index);
        self.finish_if_answered(now, endpoint);
    }

    /// With every verdict in, tells the receiver so and closes the file flows.
    fn finish_if_answered(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let busy = |file_flow: &FileFlow| file_flow.current.is_some() || !file_flow.unanswered.is_empty();
        if self.state != State::Sending || !self.waiting.is_empty() || self.file_flows.iter().any(busy) {
            return;
        }
        self.state = State::Finishing;
        for (index, file_flow) in self.file_flows.iter_mut().enumerate() {
            let Some(mut flow) = endpoint.send_flow_mut(now, file_flow.flow) else { continue };
            if index == 0 {
                // Everything on the file flow was answered, so that there is room but for the tail of a refused file.
                if let Err(refusal) = flow.write(protocol::all_sent(self.verified)) {
                    file_flow.refused = Some(refusal.data);
                    continue;
                }
            }
            flow.close();
        }
    }

    /// The last word had no room before.
    fn write_last_word(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(file_flow) = self.file_flows.first_mut() else { return };
        let (Some(message), Some(mut flow)) = (file_flow.refused.take(), endpoint.send_flow_mut(now, file_flow.flow))
        else {
            return;
        };
        match flow.write(message) {
            Ok(_) => flow.close(),
            Err(refusal) => file_flow.refused = Some(refusal.data),
        }
    }

    fn completed(&mut self, now: Instant, endpoint: &mut Endpoint, flow: SendFlowHandle) {
        let Some(file_flow) = self.file_flows.iter_mut().find(|file_flow| file_flow.flow == flow) else { return };
        file_flow.completed = true;
        if self.state == State::Finishing && self.file_flows.iter().all(|file_flow| file_flow.completed) {
            self.state = State::Done;
            if let Some(mut session) = endpoint.session_mut(now, self.session) {
                session.close(CloseMode::Orderly);
            }
        }
    }

    fn take_return_flow(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        if flow.session() != self.session {
            return;
        }
        let association = endpoint.recv_flow(flow).and_then(|seen| seen.association());
        let file_flow = self
            .file_flows
            .iter_mut()
            .find(|file_flow| Some(file_flow.flow) == association && file_flow.answers.is_none());
        match file_flow {
            Some(file_flow) => file_flow.answers = Some(flow),
            None => {
                if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
                    flow.reject(NOT_FILES);
                }
            }
        }
    }

    fn fail(&mut self, now: Instant, endpoint: &mut Endpoint, failure: SendFailure) {
        if matches!(self.state, State::Done | State::Failed(_)) {
            return;
        }
        self.state = State::Failed(failure);
        self.file_flows.clear();
        if let Some(mut session) = endpoint.session_mut(now, self.session) {
            session.close(CloseMode::Orderly);
        }
    }
}

impl<O: FnMut(SenderEvent<'_>)> App for Sender<O> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } if session == self.session => self.start(now, endpoint),
            Event::SessionFailed { session, reason } if session == self.session => {
                self.fail(now, endpoint, SendFailure::NotOpened(reason));
            }
            Event::SessionClosed { session, reason } if session == self.session => {
                self.fail(now, endpoint, SendFailure::Lost(reason));
            }
            Event::FlowOpened { flow } => self.take_return_flow(now, endpoint, flow),
            Event::FlowReadable { flow } => self.read_answers(now, endpoint, flow),
            Event::FlowFinished { flow, end } => {
                // Answers end only after the file flow has.
                let early = self
                    .file_flows
                    .iter()
                    .any(|file_flow| file_flow.answers == Some(flow) && !file_flow.unanswered.is_empty());
                if early && end != FlowEnd::SessionEnded {
                    self.fail(now, endpoint, SendFailure::Confused);
                }
            }
            Event::FlowWritable { flow } => {
                if self.state == State::Finishing {
                    self.write_last_word(now, endpoint);
                } else if let Some(index) = self.file_flows.iter().position(|file_flow| file_flow.flow == flow) {
                    self.fill(now, endpoint, index);
                    self.finish_if_answered(now, endpoint);
                }
            }
            Event::FlowRejected { flow, code, .. }
                if self.file_flows.iter().any(|file_flow| file_flow.flow == flow) =>
            {
                self.fail(now, endpoint, SendFailure::Rejected(code));
            }
            Event::FlowCompleted { flow, .. } => self.completed(now, endpoint, flow),
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.state, State::Done | State::Failed(_))
    }
}

/// The next data message of a file.
fn read_piece(reading: &mut Reading) -> io::Result<Vec<u8>> {
    let piece = usize::try_from(reading.left).unwrap_or(PIECE).min(PIECE);
    let mut buffer = protocol::data_buffer(piece);
    let read = (&mut reading.content).take(piece as u64).read_to_end(&mut buffer)?;
    if read < piece {
        return Err(io::Error::other("the file became shorter while it was read"));
    }
    reading.left -= read as u64;
    reading.hash.update(buffer.get(1..).unwrap_or_default());
    Ok(buffer)
}
