//! The application that does a node's work.
#![expect(clippy::wildcard_enum_match_arm, reason = "events that this application has no use for")]

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use datagram_sim::nat64;
use rtmfp_core::error::WriteRefusal;
use rtmfp_core::{
    App, CloseMode, Endpoint, Event, FlowOptions, Instant, OpenFailure, Path, ReceiveOrder, RecvFlowHandle,
    SendFlowHandle, SendOptions, SessionHandle, SessionState, Target,
};

use rtmfp_core::wire::Address;

use super::log::{SharedRunLog, content};
use crate::rtmfp::{InvariantChecker, time};
use crate::scenario::{Work, WorkKind};

/// Somebody to open a session to.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) discriminator: Vec<u8>,
    /// Where to try.
    pub(super) candidates: Vec<Path>,
}

/// What all workers of a world know.
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) peers: BTreeMap<String, Peer>,
    pub(super) works: Vec<Work>,
    /// What each node names to those who look for somebody else.
    pub(super) redirects: BTreeMap<String, Vec<Address>>,
    /// Nodes that have IPv6 alone, and find others behind a NAT64.
    pub(super) v6_alone: BTreeSet<String>,
    /// Nodes that send malformed packets. What they send is not checked.
    pub(super) malforming: BTreeSet<String>,
    /// Who is told when messages expire.
    pub(super) checkers: BTreeMap<String, InvariantChecker>,
}

impl Directory {
    fn name_of(&self, discriminator: &[u8]) -> Option<&str> {
        let found = self.peers.iter().find(|(_, peer)| peer.discriminator == discriminator);
        found.map(|(name, _)| name.as_str())
    }
}

/// The state of one work at its sender.
#[derive(Debug)]
struct Task {
    work: usize,
    due: Option<Instant>,
    flows: Vec<SendFlowHandle>,
    next: u64,
    session: Option<SessionHandle>,
    blocked: bool,
    /// Of a ping-pong: the message is on its way.
    waiting: bool,
    done: bool,
}

/// Sends what the node's works say, reads what comes, and keeps the log.
#[derive(Debug)]
pub(super) struct Worker {
    name: String,
    directory: Rc<Directory>,
    log: SharedRunLog,
    tasks: Vec<Task>,
    /// Sessions and whose they are.
    sessions: BTreeMap<SessionHandle, String>,
    opening: BTreeMap<SessionHandle, String>,
    /// Flows read from: their work and number.
    reading: BTreeMap<RecvFlowHandle, (usize, u32)>,
    /// Flows that echo back, of ping-pongs.
    echoes: BTreeMap<RecvFlowHandle, SendFlowHandle>,
    suspended: bool,
    closed: bool,
}

fn duration(span: datagram_sim::Duration) -> Duration {
    Duration::from_nanos(span.0)
}

impl Worker {
    pub(super) fn new(name: &str, directory: &Rc<Directory>, log: &SharedRunLog, began: Instant, again: bool) -> Self {
        let mine = directory.works.iter().enumerate().filter(|(_, work)| work.from == name && !again);
        let tasks = mine.map(|(index, work)| Task {
            work: index,
            due: Some(began + duration(work.start.0)),
            flows: Vec::new(),
            next: 0,
            session: None,
            blocked: false,
            waiting: false,
            done: false,
        });
        Self {
            name: name.to_owned(),
            tasks: tasks.collect(),
            directory: directory.clone(),
            log: log.clone(),
            sessions: BTreeMap::new(),
            opening: BTreeMap::new(),
            reading: BTreeMap::new(),
            echoes: BTreeMap::new(),
            suspended: false,
            closed: false,
        }
    }

    /// The same after a restart, with the works that begin later than now.
    pub(super) fn restarted(name: &str, directory: &Rc<Directory>, log: &SharedRunLog, now: Instant) -> Self {
        let mut worker = Self::new(name, directory, log, Instant::ORIGIN, false);
        worker.tasks.retain(|task| task.due.is_some_and(|due| due > now));
        worker
    }

    /// The flows read from.
    pub(super) fn reading(&self) -> impl Iterator<Item = RecvFlowHandle> + '_ {
        self.reading.keys().copied()
    }

    pub(super) fn close(&mut self, now: Instant, endpoint: &mut Endpoint, mode: CloseMode) {
        self.closed = true;
        endpoint.close_all(now, mode);
    }

    pub(super) fn suspend(&mut self, now: Instant, endpoint: &mut Endpoint, suspended: bool) {
        self.suspended = suspended;
        let flows: Vec<RecvFlowHandle> = self.reading.keys().copied().collect();
        for flow in flows {
            let Some(mut view) = endpoint.recv_flow_mut(now, flow) else { continue };
            if suspended {
                view.suspend()
            } else {
                view.resume()
            }
            if !suspended {
                self.read(now, endpoint, flow);
            }
        }
    }

    /// Sessions in S_OPEN, and in any state.
    pub(super) fn count(endpoint: &Endpoint) -> (u64, u64) {
        let states = endpoint.sessions().filter_map(|session| endpoint.session(session).map(|view| view.state()));
        states.fold((0, 0), |(open, all), state| (open + u64::from(state == SessionState::Open), all + 1))
    }

    fn work(&self, task: &Task) -> Option<&Work> {
        self.directory.works.get(task.work)
    }

    /// A work's time has come: it gets a session, now or when one opens.
    fn begin(&mut self, now: Instant, endpoint: &mut Endpoint, at: usize) {
        let Some(to) = self.tasks.get(at).and_then(|task| self.work(task)).map(|work| work.to.clone()) else { return };
        let known = self.sessions.iter().find(|(_, peer)| **peer == to).map(|(session, _)| *session);
        if let Some(session) = known {
            self.attach(now, endpoint, at, session);
            return;
        }
        if self.opening.values().any(|peer| *peer == to) || self.closed {
            return;
        }
        let Some(peer) = self.directory.peers.get(&to) else { return };
        let discriminator = peer.discriminator.clone();
        let Some(work) = self.tasks.get(at).and_then(|task| self.work(task)) else { return };
        let (peers, v6) = (&self.directory.peers, self.directory.v6_alone.contains(&self.name));
        let seen = |path: Path| if v6 { path.with_remote(nat64::embed(path.remote)) } else { path };
        let known = |name: &String| peers.get(name).and_then(|peer| peer.candidates.first().copied());
        let first: Vec<Path> =
            if work.via.is_empty() { peer.candidates.clone() } else { work.via.iter().filter_map(known).collect() };
        let mut paths = first.into_iter().chain(work.candidates.iter().filter_map(known)).map(seen);
        let Some(path) = paths.next() else { return };
        let mut target = Target::new(discriminator, path);
        target.candidates.extend(paths.map(|path| (path, Duration::ZERO)));
        match endpoint.open(now, target) {
            Ok(session) => {
                self.opening.insert(session, to);
            }
            Err(error) => self.log.with(|log| log.report_violation(format!("{}: open refused: {error}", self.name))),
        }
    }

    fn attach(&mut self, now: Instant, endpoint: &mut Endpoint, at: usize, session: SessionHandle) {
        let Some(task) = self.tasks.get_mut(at) else { return };
        if task.session.is_some() {
            return;
        }
        let Some(work) = self.directory.works.get(task.work) else { return };
        task.session = Some(session);
        task.due = None;
        if work.kind == WorkKind::Open {
            task.done = true;
            return;
        }
        for number in 0..work.flows.unwrap_or(1).max(1) {
            let mut name = (task.work as u32).to_be_bytes().to_vec();
            name.extend_from_slice(&number.to_be_bytes());
            let mut options = FlowOptions::new(name);
            options.time_critical = work.is_time_critical();
            options.priority = work.priority.map(Into::into).unwrap_or_default();
            let opened = endpoint.session_mut(now, session).map(|mut view| view.open_flow(options));
            match opened {
                Some(Ok(flow)) => task.flows.push(flow),
                Some(Err(error)) => {
                    let name = &self.name;
                    self.log.with(|log| log.report_violation(format!("{name}: flow refused: {error}")));
                }
                None => {}
            }
        }
        self.send(now, endpoint, at);
    }

    /// Writes what is due, as far as the flow takes it.
    fn send(&mut self, now: Instant, endpoint: &mut Endpoint, at: usize) {
        let Some(task) = self.tasks.get_mut(at) else { return };
        let Some(work) = self.directory.works.get(task.work) else { return };
        if task.done || task.session.is_none() || task.flows.is_empty() {
            return;
        }
        if task.due.is_some_and(|due| due > now) {
            return;
        }
        let total = work.total();
        while task.next < total && !task.waiting {
            let turn = usize::try_from(task.next % task.flows.len() as u64).unwrap_or(0);
            let Some(mut flow) = task.flows.get(turn).and_then(|&flow| endpoint.send_flow_mut(now, flow)) else {
                task.done = true;
                return;
            };
            let mut options = SendOptions::default();
            options.retransmit = !work.no_retransmit;
            options.finish_by = work.life().map(|life| now + duration(life));
            let bytes = content(task.work, task.next, work.size_of(task.next));
            match flow.write_with(bytes, options) {
                Ok(_) => {
                    if let (Some(checker), Some(at)) = (self.directory.checkers.get(&self.name), options.finish_by) {
                        checker.expires(task.work as u32, task.next, time(at));
                    }
                    task.next += 1;
                    self.log.wrote(task.work);
                }
                Err(error) => {
                    task.blocked = error.reason == WriteRefusal::Full;
                    task.done = !task.blocked;
                    task.due = None;
                    return;
                }
            }
            task.waiting = work.kind == WorkKind::PingPong;
            if let Some(pace) = work.pace() {
                task.due = (task.next < total).then(|| now + duration(pace));
                if task.next < total {
                    return;
                }
            }
        }
        if task.next >= total {
            task.done = true;
            task.due = None;
            let flows = task.flows.clone();
            if work.close {
                for flow in flows {
                    if let Some(mut view) = endpoint.send_flow_mut(now, flow) {
                        view.close();
                    }
                }
            }
        }
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(&(work, number)) = self.reading.get(&flow) else { return };
        let peer = self.sessions.get(&flow.session());
        let malformed = peer.is_some_and(|peer| self.directory.malforming.contains(peer));
        let from_me = self.directory.works.get(work).is_some_and(|known| known.from == self.name);
        while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut view| view.read()) {
            if from_me {
                // The echo of a ping-pong: the next one may go.
                if let Some(at) = self.tasks.iter().position(|task| task.work == work) {
                    if let Some(task) = self.tasks.get_mut(at) {
                        task.waiting = false;
                    }
                    self.send(now, endpoint, at);
                }
                continue;
            }
            if !malformed {
                self.log.delivered(work, number, &message.data);
            }
            let back = self.echoes.get(&flow).copied();
            if let Some(mut view) = back.and_then(|back| endpoint.send_flow_mut(now, back)) {
                let _full = view.write(message.data);
            }
        }
    }

    fn opened(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let named = endpoint.session(session).map(|view| view.far_canonical_discriminator());
        let peer = match self.opening.remove(&session) {
            Some(peer) => Some(peer),
            None => named.and_then(|named| self.directory.name_of(&named).map(str::to_owned)),
        };
        let peer = peer.unwrap_or_else(|| "?".to_owned());
        self.log.with(|log| {
            let now = log.now;
            *log.sessions_opened.entry(self.name.clone()).or_default() += 1;
            log.sessions.entry((self.name.clone(), peer.clone())).or_default().opened.push(now);
        });
        self.sessions.insert(session, peer.clone());
        let waiting: Vec<usize> = (0..self.tasks.len())
            .filter(|&at| {
                let task = self.tasks.get(at);
                let begun = task.is_some_and(|task| task.session.is_none() && task.due.is_none_or(|due| due <= now));
                begun && task.and_then(|task| self.work(task)).is_some_and(|work| work.to == peer)
            })
            .collect();
        for at in waiting {
            self.attach(now, endpoint, at, session);
        }
    }

    /// What a session did is over, or begins again.
    fn ended(&mut self, now: Instant, session: SessionHandle) {
        let works = &self.directory.works;
        for task in self.tasks.iter_mut().filter(|task| task.session == Some(session)) {
            match works.get(task.work).and_then(|work| work.reopen) {
                Some(after) => {
                    task.session = None;
                    task.done = false;
                    task.due = Some(now + duration(after.0));
                }
                None => task.done = true,
            }
        }
    }

    /// Works to this peer that are to be tried again.
    fn try_again(&mut self, now: Instant, peer: &str) {
        let works = &self.directory.works;
        for task in self.tasks.iter_mut().filter(|task| task.session.is_none() && task.due.is_none()) {
            let work = works.get(task.work).filter(|work| work.to == peer);
            if let Some(after) = work.and_then(|work| work.reopen) {
                task.due = Some(now + duration(after.0));
            }
        }
    }

    fn failed(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle, reason: OpenFailure) {
        let Some(peer) = self.opening.remove(&session) else { return };
        match reason {
            // Another session to the same end is there, or coming.
            OpenFailure::Duplicate { existing } => {
                if self.sessions.contains_key(&existing) {
                    let waiting: Vec<usize> = (0..self.tasks.len())
                        .filter(|&at| {
                            let task = self.tasks.get(at).filter(|task| task.session.is_none() && task.due.is_none());
                            task.and_then(|task| self.work(task)).is_some_and(|work| work.to == peer)
                        })
                        .collect();
                    for at in waiting {
                        self.attach(now, endpoint, at, existing);
                    }
                }
            }
            OpenFailure::Glare => {}
            _ => {
                self.log.with(|log| {
                    let now = log.now;
                    log.sessions.entry((self.name.clone(), peer.clone())).or_default().failed.push(now);
                });
                self.try_again(now, &peer);
            }
        }
    }

    fn flow_opened(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        let Some(view) = endpoint.recv_flow(flow) else { return };
        let metadata = view.metadata().clone();
        let Some((work, number)) = metadata.split_first_chunk::<4>() else { return };
        let work = u32::from_be_bytes(*work) as usize;
        let number = number.first_chunk::<4>().map_or(0, |number| u32::from_be_bytes(*number));
        self.reading.insert(flow, (work, number));
        let Some(known) = self.directory.works.get(work) else { return };
        let echo = known.kind == WorkKind::PingPong && known.to == self.name;
        if let Some(mut view) = endpoint.recv_flow_mut(now, flow) {
            if known.unordered {
                view.set_order(ReceiveOrder::Network);
            }
            if self.suspended {
                view.suspend();
            }
            if echo {
                let name = metadata.clone();
                if let Ok(back) = view.open_return_flow(FlowOptions::new(name)) {
                    self.echoes.insert(flow, back);
                }
            }
        }
    }
}

impl App for Worker {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } => self.opened(now, endpoint, session),
            Event::SessionFailed { session, reason } => self.failed(now, endpoint, session, reason),
            Event::SessionClosed { session, .. } => {
                if let Some(peer) = self.sessions.remove(&session) {
                    self.log.with(|log| {
                        let now = log.now;
                        log.sessions.entry((self.name.clone(), peer)).or_default().closed.push(now);
                    });
                }
                self.ended(now, session);
            }
            Event::PathChanged { .. } => {
                self.log.with(|log| *log.path_changes.entry(self.name.clone()).or_default() += 1);
            }
            Event::UnmatchedHello { hello } => {
                if let Some(addresses) = self.directory.redirects.get(&self.name).filter(|named| !named.is_empty()) {
                    // What is too much a second is dropped and counted.
                    let _sent = endpoint.redirect(now, &hello, addresses);
                }
            }
            Event::FlowOpened { flow } => self.flow_opened(now, endpoint, flow),
            Event::FlowReadable { flow } if !self.suspended => self.read(now, endpoint, flow),
            Event::FlowFinished { flow, .. } => {
                self.reading.remove(&flow);
                self.echoes.remove(&flow);
            }
            Event::FlowWritable { flow } => {
                let found = self.tasks.iter().position(|task| task.blocked && task.flows.contains(&flow));
                if let Some(at) = found {
                    if let Some(task) = self.tasks.get_mut(at) {
                        task.blocked = false;
                    }
                    self.send(now, endpoint, at);
                }
            }
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let due: BTreeSet<usize> = (0..self.tasks.len())
            .filter(|&at| self.tasks.get(at).is_some_and(|task| task.due.is_some_and(|due| due <= now)))
            .collect();
        for at in due {
            let attached = self.tasks.get(at).is_some_and(|task| task.session.is_some());
            if let Some(task) = self.tasks.get_mut(at) {
                task.due = None;
            }
            if attached {
                self.send(now, endpoint, at);
            } else {
                self.begin(now, endpoint, at);
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.tasks.iter().filter_map(|task| task.due).min()
    }
}
