//! What must be true of two endpoints at every step, and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::{
    Bytes, CloseMode, EndpointConfig, EndpointStats, Event, FlowEnd, FlowOptions, MessageId, MessageOutcome, Priority,
    RecvFlowHandle, SendFlowHandle, SendOptions, SessionHandle, error::WriteRefusal,
};
use rtmfp_tests::duo::{Duo, Fault, Overheard};

use super::ops::Op;

const PRIORITIES: [Priority; 8] = [
    Priority::Background,
    Priority::Bulk,
    Priority::Low,
    Priority::Routine,
    Priority::Elevated,
    Priority::High,
    Priority::Immediate,
    Priority::Urgent,
];

/// What was written to a flow.
#[derive(Debug, Default)]
struct Written {
    messages: Vec<Bytes>,
    /// Nothing in it may go missing: reliable messages only, neither closed by force nor rejected.
    reliable: bool,
    /// Set when the flow or its session was brought to an end from either side.
    cut_short: bool,
    read: usize,
    /// Which were read, and what became of those with a receipt, by their place.
    arrived: BTreeSet<usize>,
    outcomes: BTreeMap<usize, MessageOutcome>,
}

#[derive(Debug, Default)]
struct Side {
    sessions: Vec<SessionHandle>,
    ended: BTreeSet<SessionHandle>,
    send_flows: Vec<(SendFlowHandle, String)>,
    recv_flows: Vec<RecvFlowHandle>,
    /// Of receiving flows that were there to be asked when their opening was looked at.
    names: BTreeMap<RecvFlowHandle, String>,
    finished: BTreeSet<RecvFlowHandle>,
    /// Flows that were told readable, and not read until there was nothing since.
    readable: BTreeSet<RecvFlowHandle>,
    /// Flows that refused a write, and are to tell when there is room.
    refused: BTreeSet<SendFlowHandle>,
    /// Messages with a receipt that nothing was told of yet: the flow's name, and the place in it.
    receipts: BTreeMap<(SendFlowHandle, MessageId), (String, usize)>,
}

/// Two endpoints, and what they were told.
pub(crate) struct World {
    duo: Duo,
    sides: [Side; 2],
    /// By the flow's name, which is unique.
    written: BTreeMap<String, Written>,
    delivered: usize,
    /// A session was closed by a user, or an address moved: flows may be cut short anywhere.
    disturbed: bool,
}

impl World {
    pub(crate) fn new(seed: u64, identities: [(Arc<dyn CryptoProfile>, Vec<u8>); 2]) -> Self {
        let mut config = EndpointConfig::default();
        config.session.send_buffer = 100_000;
        config.session.recv_buffer = 50_000;
        Self {
            duo: Duo::new(seed, &config, identities),
            sides: Default::default(),
            written: BTreeMap::new(),
            delivered: 0,
            disturbed: false,
        }
    }

    pub(crate) fn trace(&self) -> u64 {
        self.duo.trace
    }

    /// From now on, what is sent can be [taken](Self::recorded).
    pub(crate) fn record(&mut self) {
        self.duo.recorded = Some(Vec::new());
    }

    pub(crate) fn recorded(&mut self) -> Vec<Overheard> {
        self.duo.recorded.take().unwrap_or_default()
    }

    /// Both ends get what others send.
    pub(crate) fn overhear(&mut self, foreign: Vec<Overheard>) {
        self.duo.foreign = foreign.into();
    }

    /// Datagrams of others that have not come.
    pub(crate) fn foreign_left(&self) -> usize {
        self.duo.foreign.len()
    }

    pub(crate) fn stats(&self) -> [EndpointStats; 2] {
        self.duo.nodes.each_ref().map(|node| node.endpoint.stats())
    }

    pub(crate) fn delivered(&self) -> usize {
        self.delivered
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.duo.nodes.iter().all(|node| node.endpoint.poll_timeout().is_none())
    }

    pub(crate) fn run(&mut self, time: Duration) {
        self.duo.run(time);
        self.observe();
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        let now = self.duo.now;
        match *op {
            Op::Open(node) => {
                if let Some(session) = self.duo.open(node.into()) {
                    self.sides[usize::from(node)].sessions.push(session);
                }
            }
            Op::OpenFlow(node, priority) => self.open_flow(node.into(), priority),
            Op::Write(node, pick, len) => self.write(node.into(), pick, len as usize, SendOptions::default()),
            Op::WriteUnreliable(node, pick, len) => {
                let mut options = SendOptions::default();
                options.retransmit = false;
                options.receipt = true;
                self.write(node.into(), pick, len.into(), options);
            }
            Op::WriteUntil(node, pick, len, millis) => {
                let mut options = SendOptions::default();
                options.finish_by = Some(now + Duration::from_millis(millis.into()));
                options.receipt = true;
                self.write(node.into(), pick, len.into(), options);
            }
            Op::Read(node, pick) => {
                if let Some(flow) = pick_from(&self.sides[usize::from(node)].recv_flows, pick) {
                    self.read_all(node.into(), flow);
                }
            }
            Op::CloseFlow(node, pick) => {
                if let Some((flow, _)) = pick_from(&self.sides[usize::from(node)].send_flows, pick)
                    && let Some(mut flow) = self.duo.nodes[usize::from(node)].endpoint.send_flow_mut(now, flow)
                {
                    flow.close();
                }
            }
            Op::Reject(node, pick) => self.reject(node.into(), pick),
            Op::Suspend(node, pick, suspend) => {
                if let Some(flow) = pick_from(&self.sides[usize::from(node)].recv_flows, pick)
                    && let Some(mut flow) = self.duo.nodes[usize::from(node)].endpoint.recv_flow_mut(now, flow)
                {
                    if suspend { flow.suspend() } else { flow.resume() }
                }
            }
            Op::CloseSession(node, abrupt) => {
                self.disturbed = true;
                let mode = if abrupt { CloseMode::Abrupt } else { CloseMode::Orderly };
                if let Some(session) = self.sides[usize::from(node)].sessions.last().copied()
                    && let Some(mut session) = self.duo.nodes[usize::from(node)].endpoint.session_mut(now, session)
                {
                    session.close(mode);
                }
            }
            Op::Fault(fault) => self.duo.faults.push_back(fault),
            Op::Outage(count) => self.duo.faults.extend((0..count).map(|_| Fault::Drop)),
            Op::Rebind(node) => {
                self.disturbed = true;
                self.duo.rebind(node.into());
            }
            Op::Advance(millis) => self.duo.run(Duration::from_millis(millis.into())),
        }
        self.duo.flush();
        self.observe();
    }

    fn open_flow(&mut self, node: usize, priority: u8) {
        let Some(session) = self.sides[node].sessions.last().copied() else { return };
        let Some(mut view) = self.duo.nodes[node].endpoint.session_mut(self.duo.now, session) else { return };
        let name = format!("{node}/{}", self.written.len());
        let options = FlowOptions::new(name.clone()).priority(PRIORITIES[usize::from(priority) % 8]);
        if let Ok(flow) = view.open_flow(options) {
            self.sides[node].send_flows.push((flow, name.clone()));
            self.written.insert(name, Written { reliable: true, ..Written::default() });
        }
    }

    fn write(&mut self, node: usize, pick: u8, len: usize, options: SendOptions) {
        let Some((flow, name)) = pick_from(&self.sides[node].send_flows, pick) else { return };
        let written = self.written.get_mut(&name).unwrap();
        let index = written.messages.len();
        let head = format!("{name}#{index}:");
        let body: Vec<u8> = head.bytes().cycle().take(len.max(head.len())).collect();
        // Empty messages cannot be told from each other, so none that may go missing is.
        let empty = len == 0 && options == SendOptions::default();
        let message = Bytes::from(if empty { Vec::new() } else { body });
        let Some(mut view) = self.duo.nodes[node].endpoint.send_flow_mut(self.duo.now, flow) else { return };
        match view.write_with(message.clone(), options) {
            Ok(id) => {
                written.messages.push(message);
                if options.receipt {
                    self.sides[node].receipts.insert((flow, id), (name, index));
                }
                written.reliable &= options == SendOptions::default();
            }
            Err(refused) => {
                assert_eq!(refused.data, message, "contract 8: a refused write gives the bytes back");
                if refused.reason == WriteRefusal::Full {
                    self.sides[node].refused.insert(flow);
                }
            }
        }
    }

    fn reject(&mut self, node: usize, pick: u8) {
        let Some(flow) = pick_from(&self.sides[node].recv_flows, pick) else { return };
        let endpoint = &mut self.duo.nodes[node].endpoint;
        let Some(name) = endpoint.recv_flow(flow).map(|view| name_of(view.metadata())) else { return };
        self.written.get_mut(&name).unwrap().cut_short = true;
        if let Some(mut view) = endpoint.recv_flow_mut(self.duo.now, flow) {
            view.reject(7);
        }
    }

    /// Reads a flow until it has nothing, and checks each message against what was written.
    fn read_all(&mut self, node: usize, flow: RecvFlowHandle) {
        let endpoint = &mut self.duo.nodes[node].endpoint;
        let Some(name) = endpoint.recv_flow(flow).map(|view| name_of(view.metadata())) else { return };
        let written = self.written.get_mut(&name).expect("only flows that were opened arrive");
        while let Some(message) = endpoint.recv_flow_mut(self.duo.now, flow).and_then(|mut view| view.read()) {
            let next = written.messages.iter().skip(written.read).position(|sent| *sent == message.data);
            let skipped =
                next.unwrap_or_else(|| panic!("{name}: {} bytes never written, or again", message.data.len()));
            if skipped > 0 {
                assert!(!written.reliable, "{name}: {skipped} messages of a reliable flow are missing");
                assert!(message.gap, "{name}: {skipped} messages are missing and no gap is told");
            }
            written.read += skipped + 1;
            written.arrived.insert(written.read - 1);
            self.delivered += 1;
        }
        self.sides[node].readable.remove(&flow);
    }

    /// Looks at the new events.
    fn observe(&mut self) {
        for node in 0..2 {
            while let Some(event) = self.duo.nodes[node].events.pop_front() {
                self.observe_one(node, event);
            }
        }
    }

    fn observe_one(&mut self, node: usize, event: Event) {
        let side = &mut self.sides[node];
        let about = match &event {
            Event::SessionOpened { session }
            | Event::SessionFailed { session, .. }
            | Event::SessionClosed { session, .. }
            | Event::PathChanged { session, .. } => Some(*session),
            Event::FlowOpened { flow } | Event::FlowReadable { flow } | Event::FlowFinished { flow, .. } => {
                Some(flow.session())
            }
            Event::FlowWritable { flow }
            | Event::FlowRejected { flow, .. }
            | Event::FlowCompleted { flow, .. }
            | Event::MessageDone { flow, .. } => Some(flow.session()),
            _ => None,
        };
        // A flow that was complete is read, and told to be over, after its session too.
        let of_complete_flow = match &event {
            Event::FlowReadable { flow } | Event::FlowFinished { flow, .. } => !side.finished.contains(flow),
            _ => false,
        };
        if let Some(session) = about {
            assert!(
                !side.ended.contains(&session) || of_complete_flow,
                "contract 7: {event:?} after the session's end"
            );
        }
        match event {
            Event::SessionOpened { session } if !side.sessions.contains(&session) => side.sessions.push(session),
            Event::SessionFailed { session, .. } | Event::SessionClosed { session, .. } => {
                side.ended.insert(session);
                // Flows of the session are over; and the far end's are, too.
                self.written.values_mut().for_each(|written| written.cut_short = true);
            }
            Event::FlowOpened { flow } => {
                side.recv_flows.push(flow);
                if let Some(view) = self.duo.nodes[node].endpoint.recv_flow(flow) {
                    side.names.insert(flow, name_of(view.metadata()));
                }
            }
            Event::FlowReadable { flow } => {
                assert!(side.recv_flows.contains(&flow), "readable before it is open");
                assert!(!side.finished.contains(&flow), "readable after it is finished");
                assert!(side.readable.insert(flow), "contract 9: told again before it was read");
            }
            Event::FlowFinished { flow, end } => {
                assert!(side.finished.insert(flow), "finished twice");
                if end == FlowEnd::Complete
                    && let Some(name) = side.names.get(&flow)
                {
                    let written = &self.written[name];
                    assert!(
                        !written.reliable || written.read == written.messages.len(),
                        "{name}: complete after {} of {} messages",
                        written.read,
                        written.messages.len()
                    );
                }
            }
            Event::MessageDone { flow, message, outcome } => {
                let receipt = side.receipts.remove(&(flow, message));
                let (name, place) = receipt.expect("told once, and of those with a receipt");
                self.written.get_mut(&name).unwrap().outcomes.insert(place, outcome);
            }
            Event::FlowWritable { flow } => assert!(side.refused.remove(&flow), "writable, and nobody was refused"),
            Event::FlowRejected { flow, .. } => {
                side.refused.remove(&flow);
            }
            _ => {}
        }
    }

    /// Lets all faults end, reads everything, and asks for what must then be so.
    pub(crate) fn settle(&mut self) {
        self.duo.faults.clear();
        for _ in 0..60 {
            for node in 0..2 {
                for flow in self.sides[node].recv_flows.clone() {
                    if let Some(mut view) = self.duo.nodes[node].endpoint.recv_flow_mut(self.duo.now, flow) {
                        view.resume();
                    }
                    // What resuming told is looked at before it is acted on, as everywhere.
                    self.duo.flush();
                    self.observe();
                    self.read_all(node, flow);
                }
            }
            self.run(Duration::from_secs(2));
        }
        if !self.disturbed {
            for (name, written) in &self.written {
                if written.reliable && !written.cut_short {
                    assert_eq!(written.read, written.messages.len(), "{name}: not all was delivered in 120 s");
                }
            }
        }
        self.check_receipts();
        for (side, node) in self.sides.iter().zip(&self.duo.nodes) {
            for (flow, name) in &side.send_flows {
                // Contract 3: what has ended is named by its handle no more.
                let view = node.endpoint.send_flow(*flow);
                assert!(
                    view.is_none() || !side.ended.contains(&flow.session()),
                    "{name}: a flow of a session that ended"
                );
                // Contract 8: no wake-up is lost.
                let idle = view.is_some_and(|view| view.is_open() && view.stats().buffered == 0);
                assert!(!idle || !side.refused.contains(flow), "{name}: there is room, and the writer was not told");
            }
        }
        // Contract 7: whatever was opened and is not open any more has been told so.
        for (side, node) in self.sides.iter().zip(&self.duo.nodes) {
            for session in &side.sessions {
                let known = node.endpoint.session(*session).is_some();
                assert!(known || side.ended.contains(session), "{session:?} is gone without a word");
            }
        }
    }
}

impl World {
    /// What receipts said is what happened.
    fn check_receipts(&self) {
        for (name, written) in &self.written {
            for (place, outcome) in &written.outcomes {
                let arrived = written.arrived.contains(place);
                match outcome {
                    MessageOutcome::Delivered => {
                        // What was acknowledged may be unread when its session ends.
                        assert!(arrived || written.cut_short || self.disturbed, "{name}#{place} was not delivered");
                    }
                    MessageOutcome::Abandoned => assert!(!arrived, "{name}#{place} was abandoned, and has arrived"),
                    _ => {}
                }
            }
        }
        for side in &self.sides {
            let open = side.receipts.keys().find(|(flow, _)| side.ended.contains(&flow.session()));
            assert_eq!(open, None, "a receipt outlived its session");
        }
    }
}

fn name_of(metadata: &Bytes) -> String {
    String::from_utf8(metadata.to_vec()).unwrap()
}

fn pick_from<T: Clone>(items: &[T], pick: u8) -> Option<T> {
    items.get(usize::from(pick) % items.len().max(1)).cloned()
}
