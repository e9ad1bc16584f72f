//! Answers every flow with a return flow that carries the same messages back.

use core::time::Duration;
use std::collections::BTreeMap;

use rtmfp_core::params::METADATA_MAX;
use rtmfp_core::{
    App, Bytes, CloseMode, Endpoint, Event, FlowOptions, Instant, RecvFlowHandle, SendFlowHandle, SessionHandle,
};
use rtmfp_std::Places;

use crate::admission::{Admitted, admit};

/// Exception code for a flow of a far end that there is no place for.
pub const BUSY: u64 = 4;
/// How long a session may be without any flow.
const GRACE: Duration = Duration::from_secs(10);
/// How long a session keeps its place for what it brought, if others want it.
const STALLED: Duration = Duration::from_secs(10);
/// Sessions that have a place, and how many of them one source may have.
const SESSIONS: usize = 256;
const SESSIONS_PER_SOURCE: usize = 128;

/// Follows the metadata of the flow that is answered, in the metadata of the answer.
const SUFFIX: &[u8] = b" return";

/// What an [`Echo`] tells its user.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EchoEvent {
    /// A session was opened by a peer, and has a place.
    Opened {
        /// The session.
        session: SessionHandle,
    },
    /// A flow has ended.
    Finished {
        /// Its session.
        session: SessionHandle,
        /// Its metadata.
        metadata: Bytes,
        /// Messages received.
        messages: u64,
        /// Bytes in them.
        bytes: u64,
    },
    /// Such a session has ended.
    Closed {
        /// The session.
        session: SessionHandle,
    },
}

/// Echoes whatever any peer sends, on return flows. A peer that rejects its return flow is listened to all the same.
/// While a return flow has no room nothing more is read, so that the peer is slowed down to its own pace of reading.
///
/// At most 256 sessions have a place ([`Places`]), half of them from one source. A session without any flow ends after ten
/// seconds, and flows of a session without a place are rejected with [`BUSY`].
pub struct Echo<O> {
    observer: O,
    sessions: BTreeMap<SessionHandle, EchoSession>,
    places: Places<SessionHandle>,
    flows: BTreeMap<RecvFlowHandle, Echoed>,
    answers: BTreeMap<SendFlowHandle, RecvFlowHandle>,
}

/// A session, and what keeps it.
#[derive(Debug)]
struct EchoSession {
    /// It has a place.
    admitted: bool,
    flows: usize,
    /// When it ends unless it has a flow.
    until: Instant,
}

#[derive(Debug)]
struct Echoed {
    metadata: Bytes,
    /// `None` once the peer has rejected it.
    answer: Option<SendFlowHandle>,
    finished: bool,
    messages: u64,
    bytes: u64,
}

impl<O> core::fmt::Debug for Echo<O> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Echo").field("flows", &self.flows).finish_non_exhaustive()
    }
}

impl<O: FnMut(EchoEvent)> Echo<O> {
    /// An echo whose `observer` hears of sessions and flows.
    pub const fn new(observer: O) -> Self {
        Self {
            observer,
            sessions: BTreeMap::new(),
            places: Places::new(SESSIONS, SESSIONS_PER_SOURCE).stalled_after(STALLED),
            flows: BTreeMap::new(),
            answers: BTreeMap::new(),
        }
    }

    /// A session has opened: somebody may have to go for it.
    fn take_session(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let turned_away = self.sessions.iter().filter(|(_, state)| !state.admitted);
        let turned_away = turned_away.map(|(session, state)| (*session, state.until));
        let Admitted { has_place, displaced, .. } = admit(&mut self.places, now, endpoint, session, turned_away);
        if let Some(displaced) = displaced {
            self.dismiss(now, endpoint, displaced);
        }
        self.sessions.insert(session, EchoSession { admitted: has_place, flows: 0, until: now + GRACE });
        if has_place {
            (self.observer)(EchoEvent::Opened { session });
        }
    }

    fn dismiss(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        if let Some(mut session) = endpoint.session_mut(now, session) {
            // At once, so that it holds no place in the endpoint either, whether it answers or not.
            session.close(CloseMode::Abrupt);
        }
        self.closed(now, endpoint, session);
    }

    fn closed(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let flows: Vec<_> = self.flows.keys().filter(|flow| flow.session() == session).copied().collect();
        for flow in flows {
            // Nobody is left to send it back to.
            if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
                flow.reject(0);
            }
            self.finish(now, endpoint, flow);
        }
        self.places.leave(session);
        if self.sessions.remove(&session).is_some_and(|state| state.admitted) {
            (self.observer)(EchoEvent::Closed { session });
        }
    }

    fn take_flow(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(state) = self.sessions.get_mut(&flow.session()).filter(|state| state.admitted) else {
            if let Some(mut flow) = endpoint.recv_flow_mut(now, flow) {
                flow.reject(BUSY);
            }
            return;
        };
        let Some(metadata) = endpoint.recv_flow(flow).map(|seen| seen.metadata().clone()) else { return };
        let Some(mut receiving) = endpoint.recv_flow_mut(now, flow) else { return };
        let answer = [&metadata[..], SUFFIX].concat();
        let answer = if answer.len() > METADATA_MAX { metadata.clone() } else { answer.into() };
        let answer = receiving.open_return_flow(FlowOptions::new(answer)).ok();
        if let Some(answer) = answer {
            self.answers.insert(answer, flow);
        }
        state.flows += 1;
        let echoed = Echoed { metadata, answer, finished: false, messages: 0, bytes: 0 };
        self.flows.insert(flow, echoed);
    }

    /// Sends back all that can be read and sent.
    fn echo(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(echoed) = self.flows.get_mut(&flow) else { return };
        while let Some(len) = endpoint.recv_flow(flow).and_then(|flow| flow.next_len()) {
            // What cannot be sent back is left unread, where it counts against the limits.
            let answer = echoed.answer.and_then(|answer| endpoint.send_flow_mut(now, answer));
            if answer.is_some_and(|mut answer| !answer.has_room(len)) {
                return;
            }
            let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) else { break };
            echoed.messages += 1;
            echoed.bytes += message.data.len() as u64;
            self.places.brought(now, flow.session());
            if let Some(mut answer) = echoed.answer.and_then(|answer| endpoint.send_flow_mut(now, answer)) {
                // It had room, or it is closed and nobody waits for the answer.
                let _ = answer.write(message.data);
            }
        }
        // A read that finds nothing asks to be told of the next message.
        let _ = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read());
        if echoed.finished {
            self.finish(now, endpoint, flow);
        }
    }

    fn finish(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(echoed) = self.flows.remove(&flow) else { return };
        if let Some(state) = self.sessions.get_mut(&flow.session()) {
            state.flows = state.flows.saturating_sub(1);
            state.until = now + GRACE;
        }
        if let Some(answer) = echoed.answer {
            self.answers.remove(&answer);
            if let Some(mut answer) = endpoint.send_flow_mut(now, answer) {
                answer.close();
            }
        }
        let Echoed { metadata, messages, bytes, .. } = echoed;
        (self.observer)(EchoEvent::Finished { session: flow.session(), metadata, messages, bytes });
    }
}

impl<O: FnMut(EchoEvent)> App for Echo<O> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } => self.take_session(now, endpoint, session),
            Event::SessionClosed { session, .. } => self.closed(now, endpoint, session),
            Event::FlowOpened { flow } => self.take_flow(now, endpoint, flow),
            Event::FlowReadable { flow } => self.echo(now, endpoint, flow),
            Event::FlowFinished { flow, .. } => {
                if let Some(echoed) = self.flows.get_mut(&flow) {
                    echoed.finished = true;
                }
                self.echo(now, endpoint, flow);
            }
            Event::FlowWritable { flow } => {
                if let Some(&flow) = self.answers.get(&flow) {
                    self.echo(now, endpoint, flow);
                }
            }
            Event::FlowRejected { flow, .. } => {
                if let Some(flow) = self.answers.remove(&flow) {
                    if let Some(echoed) = self.flows.get_mut(&flow) {
                        echoed.answer = None;
                    }
                    self.echo(now, endpoint, flow);
                }
            }
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let over = |state: &EchoSession| state.flows == 0 && state.until <= now;
        let due: Vec<_> = self.sessions.iter().filter(|(_, state)| over(state)).map(|(session, _)| *session).collect();
        for session in due {
            self.dismiss(now, endpoint, session);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.sessions.values().filter(|state| state.flows == 0).map(|state| state.until).min()
    }
}
