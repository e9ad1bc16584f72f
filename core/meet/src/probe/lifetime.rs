//! For how long a mapping is kept that nobody uses.

use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use rtmfp_core::{
    App, Bytes, CloseMode, Endpoint, Event, FlowOptions, Instant, InterfaceId, Path, RecvFlowHandle, SendFlowHandle,
    SessionHandle, Target,
};

use super::findings::KeptFor;
use super::incomplete::Incomplete;
use super::message::{METADATA, ProbeReply, ProbeRequest};
use super::name::{ProbeName, Token};

/// How long the last probe may be on its way.
const GRACE: Duration = Duration::from_secs(3);
/// How long a server may take to answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// A pause, with a socket that is silent for so long.
#[derive(Debug)]
struct Pause {
    interface: InterfaceId,
    seconds: u64,
    token: Option<Token>,
    /// When it is over.
    over: Option<Instant>,
    heard: bool,
}

/// Has a server send a probe after each of several pauses, each to a socket of its own, which is silent until then. So
/// all pauses pass at the same time.
///
/// A session through each socket proves its address, asks for two probes, one a second after the other, and ends. The
/// endpoint must tell of [unmatched hellos](rtmfp_core::EndpointConfig::max_unmatched_hellos).
#[derive(Debug)]
pub struct Lifetime {
    server: Bytes,
    remote: SocketAddr,
    pauses: Vec<Pause>,
    /// The pause that is being asked for.
    asking: usize,
    session: Option<SessionHandle>,
    flow: Option<SendFlowHandle>,
    /// The first of the two probes is promised.
    promised: bool,
    next: Option<Instant>,
    started: bool,
    done: bool,
    incomplete: Option<Incomplete>,
}

impl Lifetime {
    /// Asks the server of this discriminator at this address. Each pause has an interface of its own, that nothing else
    /// uses.
    pub fn new(
        server: impl Into<Bytes>,
        remote: SocketAddr,
        pauses: impl IntoIterator<Item = (InterfaceId, Duration)>,
    ) -> Self {
        let pause = |(interface, pause): (InterfaceId, Duration)| Pause {
            interface,
            seconds: pause.as_secs(),
            token: None,
            over: None,
            heard: false,
        };
        Self {
            server: server.into(),
            remote,
            pauses: pauses.into_iter().map(pause).collect(),
            asking: 0,
            session: None,
            flow: None,
            promised: false,
            next: None,
            started: false,
            done: false,
            incomplete: None,
        }
    }

    /// What it has come to: `None` if not a single pause is over, or the server did not answer.
    #[must_use]
    pub fn kept_for(&self) -> Option<KeptFor> {
        let over = self.pauses.iter().filter(|pause| pause.over.is_some());
        let at_least = over.clone().filter(|pause| pause.heard).map(|pause| pause.seconds).max();
        let missed = over.clone().filter(|pause| !pause.heard).map(|pause| pause.seconds);
        let less_than = missed.filter(|seconds| at_least.is_none_or(|at_least| *seconds > at_least)).min();
        (self.done && over.count() > 0).then(|| KeptFor {
            at_least: Duration::from_secs(at_least.unwrap_or_default()),
            less_than: less_than.map(Duration::from_secs),
        })
    }

    /// When the last pause is over, once all are asked for.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.pauses.iter().map(|pause| pause.over).max().flatten().filter(|_| self.asking >= self.pauses.len())
    }

    /// Why not all is known, once it is done.
    #[must_use]
    pub const fn incomplete(&self) -> Option<Incomplete> {
        self.incomplete
    }

    /// Opens a session through the next socket; after the last one it waits.
    fn ask_next(&mut self, now: Instant, endpoint: &mut Endpoint) {
        let Some(pause) = self.pauses.get(self.asking) else {
            (self.session, self.flow) = (None, None);
            let last = self.pauses.iter().filter_map(|pause| pause.over).max();
            self.next = last.map(|last| last + GRACE);
            self.done |= self.next.is_none();
            return;
        };
        let target = Target::new(self.server.clone(), Path::new(pause.interface, self.remote));
        (self.session, self.flow, self.promised) = (endpoint.open(now, target).ok(), None, false);
        // The endpoint's own timeout comes first, unless there is no session.
        self.next = self.session.is_none().then_some(now + GRACE);
    }

    fn open(&mut self, now: Instant, endpoint: &mut Endpoint, session: SessionHandle) {
        let flow = endpoint.session_mut(now, session);
        self.flow = flow.and_then(|mut session| session.open_flow(FlowOptions::new(METADATA)).ok());
        self.write(now, endpoint, [0].into());
        self.next = Some(now + ANSWER_WAIT);
    }

    fn write(&self, now: Instant, endpoint: &mut Endpoint, message: Vec<u8>) {
        if let Some(mut flow) = self.flow.and_then(|flow| endpoint.send_flow_mut(now, flow)) {
            let _ = flow.write(message);
        }
    }

    fn read(&mut self, now: Instant, endpoint: &mut Endpoint, flow: RecvFlowHandle) {
        while let Some(message) = endpoint.recv_flow_mut(now, flow).and_then(|mut flow| flow.read()) {
            let test = self.asking as u64;
            match ProbeReply::parse(&message.data) {
                Ok(Some(ProbeReply::Welcome { token, .. })) => {
                    let Some(pause) = self.pauses.get_mut(self.asking) else { return };
                    if pause.token.is_some() {
                        continue;
                    }
                    pause.token = Some(token);
                    let seconds = pause.seconds;
                    for seconds in [seconds, seconds + 1] {
                        self.write(now, endpoint, ProbeRequest::Later { test, seconds }.to_bytes());
                    }
                }
                Ok(Some(ProbeReply::Sent { .. })) if self.promised => return self.leave(now, endpoint),
                Ok(Some(ProbeReply::Sent { .. })) => self.promised = true,
                Ok(Some(ProbeReply::Refused { reason, seconds, .. })) => {
                    return self.give_up(now, endpoint, Incomplete::Refused(reason, seconds));
                }
                Err(_) => return self.give_up(now, endpoint, Incomplete::NoProbes(None)),
                Ok(_) => {}
            }
        }
    }

    /// The server will send: this socket is silent from here on.
    fn leave(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if let Some(mut session) = self.session.take().and_then(|session| endpoint.session_mut(now, session)) {
            session.close(CloseMode::Orderly);
        }
        if let Some(pause) = self.pauses.get_mut(self.asking) {
            pause.over = Some(now + Duration::from_secs(pause.seconds));
        }
        self.asking += 1;
        self.ask_next(now, endpoint);
    }

    fn give_up(&mut self, now: Instant, endpoint: &mut Endpoint, why: Incomplete) {
        (self.incomplete, self.done, self.next) = (Some(why), true, None);
        // Of pauses that have not passed nothing is known.
        self.pauses.iter_mut().for_each(|pause| pause.over = pause.over.filter(|over| *over <= now));
        if let Some(mut session) = self.session.take().and_then(|session| endpoint.session_mut(now, session)) {
            session.close(CloseMode::Orderly);
        }
    }

    fn hello(&mut self, discriminator: &[u8]) {
        let Some(name) = ProbeName::of(discriminator) else { return };
        let pause = usize::try_from(name.test).ok().and_then(|test| self.pauses.get_mut(test));
        if let Some(pause) = pause.filter(|pause| pause.token == Some(name.token)) {
            pause.heard = true;
        }
    }
}

impl App for Lifetime {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        match event {
            Event::SessionOpened { session } if Some(session) == self.session => self.open(now, endpoint, session),
            Event::SessionFailed { session, reason } if Some(session) == self.session => {
                self.give_up(now, endpoint, Incomplete::NotOpened(reason));
            }
            Event::SessionClosed { session, reason } if Some(session) == self.session => {
                self.give_up(now, endpoint, Incomplete::Lost(reason));
            }
            Event::FlowReadable { flow } if Some(flow.session()) == self.session => self.read(now, endpoint, flow),
            Event::FlowRejected { flow, code, .. } if Some(flow) == self.flow => {
                self.give_up(now, endpoint, Incomplete::NoProbes(Some(code)));
            }
            Event::UnmatchedHello { hello } => self.hello(&hello.discriminator),
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        if !self.started {
            self.started = true;
            return self.ask_next(now, endpoint);
        }
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        if self.asking < self.pauses.len() {
            self.give_up(now, endpoint, Incomplete::NoProbes(None));
        } else {
            (self.done, self.next) = (true, None);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn is_done(&self) -> bool {
        self.done
    }
}
