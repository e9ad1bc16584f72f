#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot go on has failed, and acts on the events that it knows of"
)]

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::SeedableRng as _;
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::{
    CloseMode, Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, RecvMeta, SessionHandle, Target,
    TransmitBuf,
};

extern crate std;

use super::memory::*;
use super::*;
use crate::manifest::{EntryKind, Manifest};
use crate::storage::StorageFailure;
use crate::tree::hash;

mod lies;
mod resume;
mod slow;
mod whole;

const SENDER: usize = 0;
const RECEIVER: usize = 1;

fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, u8::try_from(node).unwrap()], 1_936))
}

/// Two endpoints whose datagrams arrive at once, with one session.
struct World {
    now: Instant,
    endpoints: Vec<Endpoint>,
    sessions: Vec<SessionHandle>,
    sender: Option<Sender>,
    receiver: Option<Receiver>,
    /// What the receiver accepts with, as soon as there is an offer.
    store: Option<MemoryStore>,
    /// Events that neither machine has taken, by endpoint.
    others: [Vec<Event>; 2],
    /// What the sender and the receiver have told.
    told: [Vec<TransferEvent>; 2],
    /// Bytes of all datagrams from the sender.
    bytes: usize,
    /// The session is closed when so many bytes have come from the sender.
    cut: Option<usize>,
}

impl World {
    fn new() -> Self {
        Self::with_buffers(EndpointConfig::default().session.send_buffer)
    }

    /// The same with buffers of so many bytes for each flow from the receiver.
    fn with_buffers(bytes: usize) -> Self {
        let endpoint = |node: usize| {
            let mut config = EndpointConfig::default();
            *(if node == SENDER { &mut config.session.recv_buffer } else { &mut config.session.send_buffer }) = bytes;
            let profile = PlainProfile::new(&[u8::try_from(node).unwrap()]).pretend_authentic(true);
            let rng = ChaCha20Rng::from_seed([u8::try_from(node).unwrap(); 32]);
            Endpoint::new(config, Arc::new(profile), Box::new(rng), Instant::ORIGIN).unwrap()
        };
        let mut world = Self {
            now: Instant::ORIGIN,
            endpoints: (0..2).map(endpoint).collect(),
            sessions: Vec::new(),
            sender: None,
            receiver: None,
            store: None,
            others: Default::default(),
            told: Default::default(),
            bytes: 0,
            cut: None,
        };
        let candidates = vec![(Path::new(InterfaceId(0), address(RECEIVER)), Duration::ZERO)];
        let target = Target { discriminator: vec![1].into(), candidates };
        let session = world.endpoints[SENDER].open(world.now, target).unwrap();
        world.settle();
        let far = world.others[RECEIVER].iter().find_map(|event| match event {
            Event::SessionOpened { session } => Some(*session),
            _ => None,
        });
        world.sessions = vec![session, far.unwrap()];
        world.receiver = Some(Receiver::new(far.unwrap()));
        world
    }

    /// A world in which everything is ready.
    fn with(manifest: Manifest, source: MemorySource, store: &MemoryStore, options: SenderOptions) -> Self {
        let mut world = Self::new();
        world.sender = Some(Sender::new(world.sessions[SENDER], manifest, Box::new(source), options).unwrap());
        world.store = Some(store.clone());
        world
    }

    fn start(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.start(self.now, &mut self.endpoints[RECEIVER]);
        }
        if let Some(sender) = &mut self.sender {
            sender.start(self.now, &mut self.endpoints[SENDER]);
        }
        self.settle();
    }

    /// Runs it to its end, or for a virtual hour.
    fn run(&mut self) {
        self.start();
        let end = self.now + Duration::from_secs(3_600);
        while !(self.is_done(SENDER) && self.is_done(RECEIVER)) && self.now < end {
            self.pass_one(end);
        }
    }

    fn is_done(&self, node: usize) -> bool {
        if node == SENDER {
            self.sender.as_ref().is_none_or(Sender::is_done)
        } else {
            self.receiver.as_ref().is_none_or(Receiver::is_done)
        }
    }

    /// Goes to the next moment at which something is to be done.
    fn pass_one(&mut self, end: Instant) {
        let machines = [
            self.sender.as_ref().and_then(Sender::next_timeout),
            self.receiver.as_ref().and_then(Receiver::next_timeout),
        ];
        let endpoints = self.endpoints.iter().filter_map(Endpoint::poll_timeout);
        self.now = endpoints.chain(machines.into_iter().flatten()).min().unwrap_or(end).max(self.now);
        let now = self.now;
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.handle_timeout(now));
        if let Some(sender) = &mut self.sender {
            sender.on_wake(self.now, &mut self.endpoints[SENDER]);
        }
        if let Some(receiver) = &mut self.receiver {
            receiver.on_wake(self.now, &mut self.endpoints[RECEIVER]);
        }
        self.settle();
    }

    fn settle(&mut self) {
        loop {
            let mut leaving = Vec::new();
            for (from, endpoint) in self.endpoints.iter_mut().enumerate() {
                let mut buf = TransmitBuf::new(4);
                while endpoint.poll_transmit(self.now, &mut buf).is_some() {
                    leaving.extend(buf.datagrams().map(|bytes| (from, bytes.to_vec())));
                }
            }
            let nothing = leaving.is_empty();
            for (from, mut bytes) in leaving {
                self.bytes += if from == SENDER { bytes.len() } else { 0 };
                let path = Path::new(InterfaceId(0), address(from));
                let _ = self.endpoints[1 - from].handle_datagram(self.now, path, RecvMeta::default(), &mut bytes);
                self.take_events();
                if self.cut.is_some_and(|cut| self.bytes >= cut) {
                    self.cut_off();
                }
            }
            self.take_events();
            if nothing {
                return;
            }
        }
    }

    /// The session is lost at both ends.
    fn cut_off(&mut self) {
        self.cut = None;
        for (endpoint, session) in self.endpoints.iter_mut().zip(&self.sessions) {
            if let Some(mut session) = endpoint.session_mut(self.now, *session) {
                session.close(CloseMode::Abrupt);
            }
        }
        self.take_events();
    }

    fn take_events(&mut self) {
        for node in [SENDER, RECEIVER] {
            while let Some(event) = self.endpoints[node].poll_event() {
                let endpoint = &mut self.endpoints[node];
                let taken = match (node, &mut self.sender, &mut self.receiver) {
                    (SENDER, Some(sender), _) => sender.offer(self.now, endpoint, &event),
                    (RECEIVER, _, Some(receiver)) => receiver.offer(self.now, endpoint, &event),
                    _ => false,
                };
                if !taken {
                    self.others[node].push(event);
                }
            }
        }
        while let Some(event) = self.sender.as_mut().and_then(Sender::poll_event) {
            self.told[SENDER].push(event);
        }
        while let Some(event) = self.receiver.as_mut().and_then(Receiver::poll_event) {
            let is_offer = matches!(event, TransferEvent::Offered { .. });
            self.told[RECEIVER].push(event);
            if let (true, Some(store), Some(receiver)) = (is_offer, &self.store, &mut self.receiver) {
                receiver.accept(self.now, &mut self.endpoints[RECEIVER], Box::new(store.clone()));
            }
        }
    }

    /// How it ended for one of the two.
    fn ended(&self, node: usize) -> Option<&Result<Summary, Failure>> {
        self.told[node].iter().find_map(|event| match event {
            TransferEvent::Ended(result) => Some(result),
            _ => None,
        })
    }

    fn fault(&self, node: usize) -> Fault {
        match self.ended(node) {
            Some(Err(Failure::Fault(fault))) => *fault,
            other => panic!("{other:?}, {:?}", self.told[node]),
        }
    }

    /// What became of entries, for one of the two, in the order of their indexes.
    fn verdicts(&self, node: usize) -> Vec<(usize, VerdictCode)> {
        let judged = self.told[node].iter().filter_map(|event| match event {
            TransferEvent::Finished { index, verdict, .. } => Some((*index, verdict.code)),
            _ => None,
        });
        let mut judged: Vec<_> = judged.collect();
        judged.sort_unstable();
        judged
    }

    fn sum(&self, node: usize, of: impl Fn(&TransferEvent) -> Option<u64>) -> u64 {
        self.told[node].iter().filter_map(of).sum()
    }

    fn progress(&self, node: usize) -> u64 {
        self.sum(node, |event| if let TransferEvent::Progress { bytes } = event { Some(*bytes) } else { None })
    }
}

/// Sends files, and gives the world in which that happened.
fn sent(contents: &[Vec<u8>], store: &MemoryStore, options: SenderOptions) -> World {
    let (manifest, source) = files(contents);
    let mut world = World::with(manifest, source, store, options);
    world.run();
    world
}
