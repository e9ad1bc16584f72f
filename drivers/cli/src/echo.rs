//! Answers every flow with a return flow that carries the same messages back.

use std::collections::BTreeMap;

use rtmfp_core::params::METADATA_MAX;
use rtmfp_core::{App, Bytes, Endpoint, Event, FlowOptions, Instant, RecvFlowHandle, SendFlowHandle, SessionHandle};

/// Follows the metadata of the flow that is answered, in the metadata of the answer.
const SUFFIX: &[u8] = b" return";

/// What an [`Echo`] tells its user.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EchoEvent {
    /// A session was opened by a peer.
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
    /// A session has ended.
    Closed {
        /// The session.
        session: SessionHandle,
    },
}

/// Echoes whatever any peer sends, on return flows. A peer that rejects its return flow is listened to all the same.
/// While a return flow has no room nothing more is read, so that the peer is slowed down to its own pace of reading.
pub struct Echo<O> {
    observer: O,
    flows: BTreeMap<RecvFlowHandle, Echoed>,
    answers: BTreeMap<SendFlowHandle, RecvFlowHandle>,
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
        Self { observer, flows: BTreeMap::new(), answers: BTreeMap::new() }
    }

    fn take_flow(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(metadata) = endpoint.recv_flow(flow).map(|seen| seen.metadata().clone()) else { return };
        let Some(mut receiving) = endpoint.recv_flow_mut(now, flow) else { return };
        let answer = [&metadata[..], SUFFIX].concat();
        let answer = if answer.len() > METADATA_MAX { metadata.clone() } else { answer.into() };
        let answer = receiving.open_return_flow(FlowOptions::new(answer)).ok();
        if let Some(answer) = answer {
            self.answers.insert(answer, flow);
        }
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
            Event::SessionOpened { session } => (self.observer)(EchoEvent::Opened { session }),
            Event::SessionClosed { session, .. } => {
                let flows: Vec<_> = self.flows.keys().filter(|flow| flow.session() == session).copied().collect();
                for flow in flows {
                    self.finish(now, endpoint, flow);
                }
                (self.observer)(EchoEvent::Closed { session });
            }
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
}
