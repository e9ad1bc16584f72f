//! Two endpoints and the wire between them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::profile::CryptoProfile;
use crate::profile::flash::{Discriminator, FlashProfile};
use crate::profile::plain::PlainProfile;
use crate::{
    Disposition, Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, RecvMeta, SessionHandle, Target,
    TransmitBuf,
};

pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

/// What becomes of a datagram: when each copy of it arrives, after the sending.
type Fate = Box<dyn FnMut(&Datagram) -> Vec<Duration>>;

pub(super) struct Datagram {
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
    /// Number of this datagram among all sent, from 0.
    pub(super) ordinal: u64,
}

pub(super) struct Node {
    pub(super) endpoint: Endpoint,
    pub(super) address: SocketAddr,
    pub(super) discriminator: Vec<u8>,
    pub(super) events: Vec<Event>,
}

pub(super) struct Pair {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Instant,
    pub(super) fate: Fate,
    pub(super) sent: u64,
    in_flight: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sequence: u64,
}

pub(super) fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, node as u8 + 1], 1935))
}

pub(super) fn path_to(node: usize) -> Path {
    Path { interface: InterfaceId(0), remote: address(node) }
}

impl Pair {
    /// Two endpoints of the plain profile, 25 ms apart.
    pub(super) fn new(seed: u8) -> Self {
        Self::with_config(seed, EndpointConfig::default())
    }

    pub(super) fn with_config(seed: u8, config: EndpointConfig) -> Self {
        let profiles = ["alice", "bob"].map(|name| {
            (
                Arc::new(PlainProfile::new(name.as_bytes()).pretend_authentic(true)) as Arc<dyn CryptoProfile>,
                String::from(name).into_bytes(),
            )
        });
        Self::with_profiles(seed, config, profiles)
    }

    /// Two endpoints of the Flash profile.
    pub(super) fn flash(seed: u8) -> Self {
        let profiles = [1, 2].map(|n| {
            let mut rng = ChaCha20Rng::from_seed([seed ^ (n << 4); 32]);
            let profile = FlashProfile::builder().build(&mut rng).unwrap();
            let discriminator = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
            (Arc::new(profile) as Arc<dyn CryptoProfile>, discriminator)
        });
        Self::with_profiles(seed, EndpointConfig::default(), profiles)
    }

    fn with_profiles(seed: u8, config: EndpointConfig, profiles: [(Arc<dyn CryptoProfile>, Vec<u8>); 2]) -> Self {
        let now = Instant::from_millis(1_000);
        let nodes = profiles.into_iter().enumerate().map(|(index, (profile, discriminator))| {
            let rng = Box::new(ChaCha20Rng::from_seed([seed.wrapping_mul(2).wrapping_add(index as u8); 32]));
            let endpoint = Endpoint::new(config.clone(), profile, rng, now).unwrap();
            Node { endpoint, address: address(index), discriminator, events: Vec::new() }
        });
        let fate: Fate = Box::new(|_| alloc::vec![Duration::from_millis(25)]);
        Self { nodes: nodes.collect(), now, fate, sent: 0, in_flight: BTreeMap::new(), sequence: 0 }
    }

    /// Opens a session from one node to the other.
    pub(super) fn open(&mut self, from: usize) -> SessionHandle {
        let target = Target::new(self.nodes[1 - from].discriminator.clone(), path_to(1 - from));
        self.nodes[from].endpoint.open(self.now, target).unwrap()
    }

    /// Takes out what the endpoints have to send and to say.
    pub(super) fn flush(&mut self) {
        let mut buf = TransmitBuf::new(4);
        for index in 0..self.nodes.len() {
            while let Some(transmit) = self.nodes[index].endpoint.poll_transmit(self.now, &mut buf) {
                for bytes in buf.datagrams() {
                    let from = self.nodes[index].address;
                    let datagram = Datagram { to: transmit.path.remote, bytes: bytes.to_vec(), ordinal: self.sent };
                    self.sent += 1;
                    for delay in (self.fate)(&datagram) {
                        self.sequence += 1;
                        let key = (self.now + delay, self.sequence);
                        self.in_flight.insert(key, (from, datagram.to, datagram.bytes.clone()));
                    }
                }
            }
            while let Some(event) = self.nodes[index].endpoint.poll_event() {
                self.nodes[index].events.push(event);
            }
            let node = &mut self.nodes[index];
            assert_eq!(node.endpoint.poll_transmit(self.now, &mut buf), None, "an idle poll changes nothing");
        }
    }

    /// Hands a datagram to whoever has its address.
    pub(super) fn deliver(&mut self, from: SocketAddr, to: SocketAddr, mut bytes: Vec<u8>) -> Option<Disposition> {
        let now = self.now;
        let node = self.nodes.iter_mut().find(|node| node.address == to)?;
        let path = Path { interface: InterfaceId(0), remote: from };
        Some(node.endpoint.handle_datagram(now, path, RecvMeta::default(), &mut bytes))
    }

    /// Goes to the next thing that happens, but not past `end`. False when there is none.
    fn step(&mut self, end: Instant) -> bool {
        self.flush();
        let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
        let timeout = self.nodes.iter().filter_map(|node| node.endpoint.poll_timeout()).min();
        let Some(next) = arrival.into_iter().chain(timeout).min().filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (from, to, bytes) = entry.remove();
            let _ = self.deliver(from, to, bytes);
        }
        for node in &mut self.nodes {
            node.endpoint.handle_timeout(self.now);
            assert!(node.endpoint.poll_timeout().is_none_or(|at| at > self.now), "contract 2");
        }
        true
    }

    pub(super) fn run_for_millis(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        let mut steps = 0;
        while self.step(end) {
            steps += 1;
            assert!(steps < 1_000_000, "time stands still");
        }
        self.now = end;
        self.flush();
    }
}
