//! Two endpoints back to back, one of them with services.

extern crate std;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;
use std::sync::Mutex;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;

use super::*;
use crate::profile::plain::PlainProfile;
use crate::{
    CloseMode, EndpointConfig, FlowEnd, FlowOptions, InterfaceId, Path, RecvMeta, SessionHandle, Target, TransmitBuf,
};

/// What happens, each line beginning with the name of whoever was told.
type Log = Arc<Mutex<Vec<String>>>;

/// A service that claims what begins with its name, and answers each of its flows. It asks back in a flow of its own.
struct Named {
    name: &'static str,
    log: Log,
    own: Vec<SendFlowHandle>,
    next: Option<Instant>,
}

impl Named {
    fn tell(&self, what: &str) {
        self.log.lock().unwrap().push(format!("{} {what}", self.name));
    }
}

impl Service for Named {
    fn claims(&self, metadata: &[u8]) -> bool {
        metadata.starts_with(self.name.as_bytes())
    }

    fn owns(&self, flow: SendFlowHandle) -> bool {
        self.own.contains(&flow)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: &Event) {
        match event {
            Event::SessionOpened { .. } => self.tell("session opened"),
            Event::SessionClosed { .. } => self.tell("session closed"),
            Event::PathChanged { .. } => self.tell("session moved"),
            Event::FlowOpened { flow } => {
                self.tell("flow opened");
                let mut flow = endpoint.recv_flow_mut(now, *flow).unwrap();
                let answer = flow.open_return_flow(FlowOptions::new("of no importance")).unwrap();
                self.own.push(answer);
                let mut answer = endpoint.send_flow_mut(now, answer).unwrap();
                answer.write("answer").unwrap();
                answer.close();
            }
            Event::FlowReadable { flow } => {
                while let Some(message) = endpoint.recv_flow_mut(now, *flow).unwrap().read() {
                    self.tell(core::str::from_utf8(&message.data).unwrap());
                }
            }
            Event::FlowFinished { end, .. } => self.tell(&format!("flow {end}")),
            Event::FlowCompleted { flow, .. } => {
                self.own.retain(|own| own != flow);
                self.tell("answer delivered");
            }
            Event::FlowRejected { flow, .. } => {
                self.own.retain(|own| own != flow);
                self.tell("answer rejected");
            }
            _ => {}
        }
    }

    fn on_wake(&mut self, now: Instant, _endpoint: &mut Endpoint) {
        if self.next.take_if(|next| *next <= now).is_some() {
            self.tell("woken");
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next
    }
}

/// An application that only tells what it is told.
struct Rest(Log);

impl App for Rest {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an application acts on the events that it knows of")]
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        let tell = |what: &str| self.0.lock().unwrap().push(format!("rest {what}"));
        match event {
            Event::SessionOpened { .. } => tell("session opened"),
            Event::SessionClosed { .. } => tell("session closed"),
            Event::FlowOpened { .. } => tell("flow opened"),
            Event::FlowReadable { flow } => {
                while let Some(message) = endpoint.recv_flow_mut(now, flow).unwrap().read() {
                    tell(core::str::from_utf8(&message.data).unwrap());
                }
            }
            Event::FlowFinished { end, .. } => tell(&format!("flow {end}")),
            Event::FlowCompleted { .. } => tell("flow delivered"),
            _ => {}
        }
    }

    fn is_done(&self) -> bool {
        true
    }
}

struct World {
    near: Endpoint,
    far: Endpoint,
    router: Router,
    now: Instant,
    session: SessionHandle,
    log: Log,
    /// What the near end was told.
    events: Vec<Event>,
}

fn endpoint(name: &str) -> Endpoint {
    let rng = Box::new(ChaCha20Rng::from_seed([name.len().to_le_bytes()[0]; 32]));
    let profile = Arc::new(PlainProfile::new(name.as_bytes()));
    Endpoint::new(EndpointConfig::default(), profile, rng, Instant::ORIGIN).unwrap()
}

fn at(port: u16) -> Path {
    Path::new(InterfaceId(0), ([192, 0, 2, 1], port).into())
}

impl World {
    /// With these services and, if wanted, somebody who takes the rest.
    fn new(names: &[&'static str], rest: bool) -> Self {
        let log = Log::default();
        let service = |name: &&'static str| Named { name, log: log.clone(), own: vec![], next: None };
        let router = names.iter().map(service).fold(Router::new(), |router, one| router.with(Box::new(one)));
        let router = if rest { router.with_fallback(Box::new(Rest(log.clone()))) } else { router };
        let (mut near, far) = (endpoint("near"), endpoint("farther"));
        let session = near.open(Instant::ORIGIN, Target::new("farther", at(2))).unwrap();
        let mut world = Self { near, far, router, now: Instant::ORIGIN, session, log, events: vec![] };
        world.run(200);
        world
    }

    fn run(&mut self, millis: u64) {
        let mut flight = TransmitBuf::new(8);
        for _ in 0..millis {
            for _ in 0..4 {
                while self.near.poll_transmit(self.now, &mut flight).is_some() {
                    for datagram in flight.datagrams() {
                        let _ = self.far.handle_datagram(self.now, at(1), RecvMeta::default(), &mut datagram.to_vec());
                    }
                }
                while let Some(event) = self.far.poll_event() {
                    self.router.on_event(self.now, &mut self.far, event);
                }
                while self.far.poll_transmit(self.now, &mut flight).is_some() {
                    for datagram in flight.datagrams() {
                        let _ = self.near.handle_datagram(self.now, at(2), RecvMeta::default(), &mut datagram.to_vec());
                    }
                }
                self.events.extend(core::iter::from_fn(|| self.near.poll_event()));
            }
            self.now += Duration::from_millis(1);
            self.near.handle_timeout(self.now);
            self.far.handle_timeout(self.now);
            if self.router.next_timeout().is_some_and(|next| next <= self.now) {
                self.router.on_wake(self.now, &mut self.far);
            }
        }
    }

    fn send(&mut self, metadata: &'static str, message: &'static str) -> SendFlowHandle {
        let flow =
            self.near.session_mut(self.now, self.session).unwrap().open_flow(FlowOptions::new(metadata)).unwrap();
        let mut view = self.near.send_flow_mut(self.now, flow).unwrap();
        view.write(message).unwrap();
        // An answer can be opened as long as it is open.
        self.run(100);
        if let Some(mut view) = self.near.send_flow_mut(self.now, flow) {
            view.close();
        }
        self.run(300);
        flow
    }

    fn told(&self) -> Vec<String> {
        core::mem::take(&mut *self.log.lock().unwrap())
    }
}

#[test]
fn a_flow_is_for_the_service_that_claims_its_name_and_for_no_other() {
    let mut world = World::new(&["chat", "file", "chat/2"], false);
    assert_eq!(world.told(), ["chat session opened", "file session opened", "chat/2 session opened"]);
    world.send("file/1", "a file");
    assert_eq!(world.told(), ["file flow opened", "file a file", "file answer delivered", "file flow complete"]);
    // Two could have it: the first does.
    world.send("chat/2", "hello");
    assert!(world.told().iter().all(|line| line.starts_with("chat ")));
    assert!(world.router.claimed.is_empty(), "what has ended is forgotten");
}

#[test]
fn a_flow_that_nobody_claims_is_rejected() {
    let mut world = World::new(&["chat"], false);
    world.told();
    let flow = world.send("unknown", "x");
    assert!(world.told().is_empty());
    let rejected = |event: &Event| matches!(event, Event::FlowRejected { flow: of, code: 0, .. } if *of == flow);
    assert!(world.events.iter().any(rejected), "{:?}", world.events);
    let answered = world.events.iter().any(|event| matches!(event, Event::FlowOpened { .. }));
    assert!(!answered && world.router.claimed.is_empty());
}

#[test]
fn the_fallback_has_what_no_service_claims_and_hears_of_sessions() {
    let mut world = World::new(&["chat"], true);
    assert_eq!(world.told(), ["chat session opened", "rest session opened"]);
    world.send("unknown", "x");
    assert_eq!(world.told(), ["rest flow opened", "rest x", "rest flow complete"]);
    world.send("chat", "hello");
    assert!(world.told().iter().all(|line| line.starts_with("chat ")));
    world.near.session_mut(world.now, world.session).unwrap().close(CloseMode::Orderly);
    world.run(100);
    assert_eq!(world.told(), ["chat session closed", "rest session closed"]);
    assert!(world.router.is_done(), "as the fallback says");
}

#[test]
fn an_answer_is_for_whoever_opened_the_flow_whatever_its_name() {
    // Both ends have services: the answers of the far end come to the near end's router.
    for (asker, name) in [(Some("chat"), "chat"), (None, "rest")] {
        let mut world = World::new(&["chat", "of no importance"], true);
        world.told();
        let session = world.far.sessions().next().unwrap();
        let asked = world.far.session_mut(world.now, session).unwrap().open_flow(FlowOptions::new("question")).unwrap();
        world.far.send_flow_mut(world.now, asked).unwrap().write("?").unwrap();
        if let Some(asker) = asker {
            let log = world.log.clone();
            let own = vec![asked];
            world.router = Router::new()
                .with(Box::new(Named { name: "of no importance", log: log.clone(), own: vec![], next: None }))
                .with(Box::new(Named { name: asker, log: log.clone(), own, next: None }))
                .with_fallback(Box::new(Rest(log)));
        }
        world.run(100);
        let question = world
            .events
            .iter()
            .find_map(|event| if let Event::FlowOpened { flow } = event { Some(*flow) } else { None });
        let mut question = world.near.recv_flow_mut(world.now, question.unwrap()).unwrap();
        let answer = question.open_return_flow(FlowOptions::new("of no importance")).unwrap();
        world.near.send_flow_mut(world.now, answer).unwrap().write("!").unwrap();
        world.run(100);
        let told = world.told();
        assert!(told.contains(&format!("{name} !")), "{told:?}");
        assert!(told.iter().all(|line| line.starts_with(name)), "{told:?}");
    }
}

#[test]
fn services_are_woken_by_the_earliest_deadline_of_all() {
    let mut world = World::new(&[], false);
    let at = |millis| Some(world.now + Duration::from_millis(millis));
    let service = |name, next| Box::new(Named { name, log: world.log.clone(), own: vec![], next });
    let router = Router::new().with(service("late", at(20))).with(service("never", None)).with(service("soon", at(10)));
    assert_eq!((router.next_timeout(), router.is_done()), (at(10), false));
    world.router = router;
    world.run(15);
    assert_eq!(world.told(), ["soon woken"]);
    world.run(15);
    assert_eq!(world.told(), ["late woken"]);
    assert_eq!(world.router.next_timeout(), None);
}

#[test]
fn flows_that_end_with_their_session_are_forgotten() {
    let mut world = World::new(&["chat"], false);
    let flow = world.near.session_mut(world.now, world.session).unwrap().open_flow(FlowOptions::new("chat")).unwrap();
    world.near.send_flow_mut(world.now, flow).unwrap().write("hello").unwrap();
    world.run(100);
    assert_eq!(world.router.claimed.len(), 1);
    world.near.session_mut(world.now, world.session).unwrap().close(CloseMode::Abrupt);
    world.run(100);
    assert!(world.router.claimed.is_empty());
    assert!(world.told().contains(&format!("chat flow {}", FlowEnd::SessionEnded)));
}
