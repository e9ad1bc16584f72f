//! A file by a code, through a server: how soon its first bytes are there.

use core::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use datagram_sim::{LinkSpec, NodeId, StageSpec, World};
use rtmfp_core::profile::modern::{Discriminator, ModernProfile};
use rtmfp_core::{
    App, Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, Service as _, SessionHandle, Target,
};
use rtmfp_files::manifest::{Entry, EntryKind, Manifest};
use rtmfp_files::proof::{Claimer, Made, Maker};
use rtmfp_files::storage::{Content, Sink, Source, StorageError, Store};
use rtmfp_files::transfer::{Receiver, Sender, SenderOptions, TransferEvent};
use rtmfp_files::{Secret, Words};
use rtmfp_meet::{Everybody, Guest, GuestEvent, GuestOptions, Limits, PathPolicy};
use rtmfp_sim::rtmfp::{EndpointNode, SimRandom};

use super::guest::{PORT, SERVER};
use super::script::{run, serve};
use super::server_config;

/// When the code is entered.
const BEGIN: Instant = Instant::from_millis(2_000);

/// What one tells the other.
type Number = Arc<Mutex<Option<u64>>>;

/// The end that made the code.
struct Ben {
    guest: Guest,
    maker: Maker,
    sender: Option<Sender>,
    number: Number,
    asked: bool,
    /// Bytes of the file.
    size: u64,
}

/// The end that is told it.
struct Ada {
    guest: Guest,
    secret: Secret,
    rng: Option<SimRandom>,
    number: Number,
    begin: Option<Instant>,
    session: Option<SessionHandle>,
    claimer: Option<Claimer>,
    receiver: Option<Receiver>,
    proved: bool,
    first: Option<Instant>,
    done: bool,
}

impl App for Ben {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        self.guest.offer(now, endpoint, &event);
        self.maker.offer(now, endpoint, &event);
        if let Some(sender) = &mut self.sender {
            sender.offer(now, endpoint, &event);
        }
        if let Some(Made::Proved { session, .. }) = self.maker.outcome() {
            let kind = EntryKind::File { size: Some(self.size) };
            let entry = Entry { path: "file".to_owned(), kind, mode: None, modified: None };
            let manifest = Manifest { entries: vec![entry] };
            let mut sender =
                Sender::new(session, manifest, Box::new(Zeros(self.size)), SenderOptions::default()).unwrap();
            sender.start(now, endpoint);
            self.sender = Some(sender);
        }
        while let Some(event) = self.guest.poll_event() {
            if let GuestEvent::Number { number, .. } = event {
                *self.number.lock().unwrap() = Some(number);
            }
        }
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.guest.on_wake(now, endpoint);
        if !core::mem::replace(&mut self.asked, true) {
            self.guest.want_number(now, endpoint);
        }
        self.maker.on_wake(now, endpoint);
        if let Some(sender) = &mut self.sender {
            sender.on_wake(now, endpoint);
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        let sender = self.sender.as_ref().and_then(Sender::next_timeout);
        [self.guest.next_timeout(), self.maker.next_timeout(), sender].into_iter().flatten().min()
    }
}

impl Ada {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are not about this")]
    fn look(&mut self, now: Instant, endpoint: &mut Endpoint) {
        while let Some(event) = self.guest.poll_event() {
            match event {
                GuestEvent::Found { discriminator, .. } => {
                    self.guest.connect(now, endpoint, discriminator, PathPolicy::Any);
                }
                GuestEvent::Connected { session, .. } => {
                    self.session = Some(session);
                    let rng = Box::new(self.rng.take().unwrap());
                    self.claimer = Some(Claimer::new(now, endpoint, session, &self.secret, rng));
                    self.receiver = Some(Receiver::new(session));
                }
                _ => {}
            }
        }
        if let Some(Ok(_)) = self.claimer.as_mut().and_then(Claimer::outcome) {
            self.proved = true;
            self.receiver.as_mut().unwrap().start(now, endpoint);
        }
        while let Some(event) = self.receiver.as_mut().and_then(Receiver::poll_event) {
            assert!(self.proved, "nothing is read before the proof");
            match event {
                TransferEvent::Offered { .. } => {
                    self.receiver.as_mut().unwrap().accept(now, endpoint, Box::new(Nowhere));
                }
                TransferEvent::Progress { .. } => _ = self.first.get_or_insert(now),
                TransferEvent::Ended(outcome) => {
                    assert_eq!(outcome.unwrap().verified, 1);
                    self.done = true;
                }
                _ => {}
            }
        }
    }
}

impl App for Ada {
    fn on_event(&mut self, now: Instant, endpoint: &mut Endpoint, event: Event) {
        self.guest.offer(now, endpoint, &event);
        if let Some(claimer) = &mut self.claimer {
            claimer.offer(now, endpoint, &event);
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.offer(now, endpoint, &event);
        }
        self.look(now, endpoint);
    }

    fn on_wake(&mut self, now: Instant, endpoint: &mut Endpoint) {
        self.guest.on_wake(now, endpoint);
        if self.begin.is_some_and(|begin| begin <= now) {
            self.begin = None;
            let number = self.number.lock().unwrap().unwrap();
            self.guest.find(now, endpoint, number);
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.on_wake(now, endpoint);
        }
        self.look(now, endpoint);
    }

    fn next_timeout(&self) -> Option<Instant> {
        let claimer = self.claimer.as_ref().and_then(Claimer::next_timeout);
        let receiver = self.receiver.as_ref().and_then(Receiver::next_timeout);
        [self.begin, self.guest.next_timeout(), claimer, receiver].into_iter().flatten().min()
    }
}

/// A file of zeros: so many are left.
#[derive(Debug)]
struct Zeros(u64);

impl Source for Zeros {
    fn open(&mut self, _: usize) -> Result<Box<dyn Content>, StorageError> {
        Ok(Box::new(Self(self.0)))
    }
}

impl Content for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, StorageError> {
        let read = buffer.len().min(usize::try_from(self.0).unwrap());
        buffer[..read].fill(0);
        self.0 -= read as u64;
        Ok(read)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), StorageError> {
        self.0 -= bytes;
        Ok(())
    }

    fn is_unchanged(&mut self) -> bool {
        true
    }
}

/// Takes everything and keeps nothing.
#[derive(Debug)]
struct Nowhere;

impl Store for Nowhere {
    fn prepare(&mut self, _: &Manifest) -> Result<(), StorageError> {
        Ok(())
    }

    fn stored(&mut self, _: usize) -> Option<Box<dyn Content>> {
        None
    }

    fn create(&mut self, _: usize, _: u64) -> Result<Box<dyn Sink>, StorageError> {
        Ok(Box::new(Self))
    }

    fn conclude(&mut self) -> Vec<(usize, StorageError)> {
        Vec::new()
    }
}

impl Sink for Nowhere {
    fn write(&mut self, _: &[u8]) -> Result<(), StorageError> {
        Ok(())
    }

    fn hole(&mut self, _: u64) -> Result<(), StorageError> {
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<(), StorageError> {
        Ok(())
    }
}

/// A program of the modern profile, so many milliseconds from the middle of the network.
fn join<A: App + 'static>(world: &mut World, net: NodeId, name: &str, place: (IpAddr, u64), app: A) -> NodeId {
    let (at, delay) = place;
    let mut rng = SimRandom::new(world.key(name, "profile"));
    let profile = ModernProfile::builder().accept_ancillary(true).build(&mut rng).unwrap();
    let rng = SimRandom::new(world.key(name, "endpoint"));
    let config = if name == "server" { server_config() } else { EndpointConfig::default() };
    let endpoint = Endpoint::new(config, Arc::new(profile), Box::new(rng), Instant::ORIGIN).unwrap();
    let node = world.add_host(name, EndpointNode::new(endpoint, app, PORT));
    let line = LinkSpec::symmetric(vec![StageSpec::Delay(datagram_sim::Duration::millis(delay))]);
    world.connect(name, node, net, &line);
    world.add_address(node, 0, at, false);
    node
}

/// The time from the code to the first bytes, in milliseconds, for these delays of Ada, Ben and the server.
fn first_bytes([ada, ben, server]: [u64; 3], size: u64) -> u64 {
    let mut world = World::new(1);
    let net = world.add_router("net");
    let (router, _) = serve(&world, Limits::default(), Everybody);
    join(&mut world, net, "server", (SERVER.ip(), server), router);
    let guest = |world: &World, name: &str| {
        let discriminator = Discriminator::new().ancillary_data(b"rtmfp:").to_bytes();
        let target = Target::new(discriminator, Path::new(InterfaceId(0), SERVER));
        Guest::new(0, target, GuestOptions::default(), Box::new(SimRandom::new(world.key(name, "guest"))))
    };
    let random = |world: &World, name: &str| SimRandom::new(world.key(name, "proof"));
    let secret = Secret::from(&Words::random(2, &mut random(&world, "words")));
    let number = Number::default();
    let maker = Maker::new(secret.clone(), Box::new(random(&world, "ben")));
    let app = Ben { guest: guest(&world, "ben"), maker, sender: None, number: Arc::clone(&number), asked: false, size };
    let at = |last| IpAddr::V4(Ipv4Addr::new(198, 51, 100, last));
    join(&mut world, net, "ben", (at(2), ben), app);
    let app = Ada {
        guest: guest(&world, "ada"),
        secret,
        rng: Some(random(&world, "ada")),
        number,
        begin: Some(BEGIN),
        session: None,
        claimer: None,
        receiver: None,
        proved: false,
        first: None,
        done: false,
    };
    let node = join(&mut world, net, "ada", (at(1), ada), app);
    run(&mut world, 10);
    let ada = world.node::<EndpointNode<Ada>>(node).map(EndpointNode::app).unwrap();
    assert!(ada.done, "it arrives");
    let took = ada.first.unwrap().saturating_duration_since(BEGIN);
    u64::try_from(took.as_millis()).unwrap()
}

#[test]
fn first_bytes_come_a_round_trip_to_the_server_and_four_to_the_peer_after_the_code() {
    for delays in [[5, 5, 5], [20, 30, 10], [60, 40, 5], [10, 90, 20]] {
        let [ada, ben, server] = delays;
        let most = 2 * (ada + server) + 4 * 2 * (ada + ben) + 50;
        let took = first_bytes(delays, 1_000);
        assert!(took <= most, "{delays:?}: {took} ms, of {most}");
        // Of a large file the first 16 KiB are checked together, and a session begins with 4,380 bytes in flight.
        let took = first_bytes(delays, 1_000_000);
        let most = most + 3 * 2 * (ada + ben);
        assert!(took <= most, "{delays:?}, a large file: {took} ms, of {most}");
    }
}
