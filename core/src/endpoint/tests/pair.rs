//! Two endpoints, or more, and the wire between them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::endpoint::demux::startup_chunks;
use crate::endpoint::interfaces::Blocked;
use crate::endpoint::startup::{StartupPacket, StartupQueue};
use crate::event::EventQueue;
use crate::profile::flash::{Builder, Discriminator, FlashProfile};
use crate::profile::modern;
use crate::profile::plain::PlainProfile;
use crate::profile::{CryptoProfile, SessionKeys};
use crate::wire::{self, Chunk, EncodeChunk, InitiatorHello, InitiatorKeying};
use crate::{
    Disposition, Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, RecvMeta, SessionHandle, Target,
    TransmitBuf,
};

pub(super) const A: usize = 0;
pub(super) const B: usize = 1;

/// What becomes of a datagram: when each copy of it arrives, after the sending.
type Fate = Box<dyn FnMut(&mut Datagram) -> Vec<Duration>>;

/// On its way. Its source may be changed, as a NAT or another interface does.
#[derive(Clone)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
    /// Number of this datagram among all sent, from 0.
    pub(super) ordinal: u64,
}

pub(super) struct Node {
    pub(super) endpoint: Endpoint,
    pub(super) address: SocketAddr,
    /// Further addresses that lead to it.
    pub(super) aliases: Vec<SocketAddr>,
    pub(super) discriminator: Vec<u8>,
    pub(super) events: Vec<Event>,
}

pub(super) struct Pair {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Instant,
    pub(super) fate: Fate,
    pub(super) sent: u64,
    /// Every datagram that was sent, with the time.
    pub(super) log: Vec<(Instant, Datagram)>,
    in_flight: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sequence: u64,
    /// Whether nodes of the plain profile pretend that their packets are authentic.
    authentic: bool,
}

/// What a datagram of the plain profile is, by its first chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Hello,
    ResponderHello,
    Redirect,
    CookieChange,
    InitiatorKeying,
    ResponderKeying,
    /// Not a packet under the Default Session Key.
    Session,
}

impl Datagram {
    pub(super) fn kind(&self) -> Kind {
        self.plain().map_or(Kind::Session, |(_, plain)| kind_of(&plain))
    }

    /// The session ID and the plain startup packet.
    pub(super) fn plain(&self) -> Option<(u32, Vec<u8>)> {
        self.plain_under(PlainProfile::new(b"").default_keys().as_mut())
    }

    /// The same, of a profile with these keys.
    pub(super) fn plain_under(&self, default_keys: &mut dyn SessionKeys) -> Option<(u32, Vec<u8>)> {
        let mut bytes = self.bytes.clone();
        let (id, offset) = wire::session_id::unscramble(&bytes)?;
        let plain = default_keys.open(&mut bytes[offset..]).ok()?;
        Some((id, bytes[offset..][plain].to_vec()))
    }
}

pub(super) fn kind_of(plain: &[u8]) -> Kind {
    let chunk = startup_chunks(plain).ok().and_then(|mut chunks| chunks.next());
    match chunk {
        Some(Ok(Chunk::InitiatorHello(_))) => Kind::Hello,
        Some(Ok(Chunk::ResponderHello(_))) => Kind::ResponderHello,
        Some(Ok(Chunk::Redirect(_))) => Kind::Redirect,
        Some(Ok(Chunk::CookieChange(_))) => Kind::CookieChange,
        Some(Ok(Chunk::InitiatorKeying(_))) => Kind::InitiatorKeying,
        Some(Ok(Chunk::ResponderKeying(_))) => Kind::ResponderKeying,
        _ => Kind::Session,
    }
}

/// A datagram of the plain profile under the Default Session Key.
pub(super) fn startup_datagram(session_id: u32, chunk: &impl EncodeChunk) -> Vec<u8> {
    startup_datagrams(session_id, chunk).remove(0)
}

/// All fragments of one, those that would be sent later too.
pub(super) fn startup_datagrams(session_id: u32, chunk: &impl EncodeChunk) -> Vec<Vec<u8>> {
    let mut queue = StartupQueue::default();
    queue.push_own(Instant::ORIGIN, StartupPacket::new(path_to(A), session_id, chunk));
    let mut buf = TransmitBuf::new(1);
    let mut keys = PlainProfile::new(b"").default_keys();
    let mut datagrams = Vec::new();
    loop {
        while queue
            .poll(&Blocked::default(), Instant::ORIGIN, &mut buf, keys.as_mut(), &mut EventQueue::default())
            .is_some()
        {
            datagrams.extend(buf.datagrams().map(<[u8]>::to_vec));
            buf.clear();
        }
        let Some(later) = queue.next_timeout() else { return datagrams };
        queue.handle_timeout(later);
    }
}

pub(super) fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, node as u8 + 1], 1935))
}

pub(super) fn path_to(node: usize) -> Path {
    Path::new(InterfaceId(0), address(node))
}

impl Pair {
    /// Two endpoints of the plain profile, 25 ms apart.
    pub(super) fn new(seed: u8) -> Self {
        Self::with_config(seed, EndpointConfig::default())
    }

    pub(super) fn with_config(seed: u8, config: EndpointConfig) -> Self {
        Self::named(seed, &[("alice", config.clone()), ("bob", config)])
    }

    /// Endpoints of the plain profile, each with its name and settings.
    pub(super) fn named(seed: u8, nodes: &[(&str, EndpointConfig)]) -> Self {
        Self::plain(seed, nodes, true)
    }

    /// The same, and what they send has a checksum only.
    pub(super) fn not_authentic(seed: u8, nodes: &[(&str, EndpointConfig)]) -> Self {
        Self::plain(seed, nodes, false)
    }

    fn plain(seed: u8, nodes: &[(&str, EndpointConfig)], authentic: bool) -> Self {
        let nodes = nodes.iter().map(|(name, config)| {
            let profile = PlainProfile::new(name.as_bytes()).pretend_authentic(authentic);
            (Arc::new(profile) as Arc<dyn CryptoProfile>, String::from(*name).into_bytes(), config.clone())
        });
        Self { authentic, ..Self::with_nodes(seed, nodes.collect()) }
    }

    /// Two endpoints of the Flash profile.
    pub(super) fn flash(seed: u8) -> Self {
        Self::flash_with(seed, |_, builder| builder)
    }

    /// Two endpoints of the Flash profile, made with changes.
    pub(super) fn flash_with(seed: u8, change: impl Fn(usize, Builder) -> Builder) -> Self {
        Self::flash_configured(seed, &EndpointConfig::default(), change)
    }

    /// Two endpoints of the Flash profile, made with changes and settings.
    pub(super) fn flash_configured(
        seed: u8,
        config: &EndpointConfig,
        change: impl Fn(usize, Builder) -> Builder,
    ) -> Self {
        let nodes = [A, B].map(|index| {
            let mut rng = ChaCha20Rng::from_seed([seed ^ ((index as u8 + 1) << 4); 32]);
            // They find each other by fingerprint, with fresh keys or static ones as a test likes.
            let builder = FlashProfile::builder().allow_ephemeral_fingerprints(true);
            let profile = change(index, builder).build(&mut rng).unwrap();
            let discriminator = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
            (Arc::new(profile) as Arc<dyn CryptoProfile>, discriminator, config.clone())
        });
        Self::with_nodes(seed, nodes.into())
    }

    /// Endpoints of the modern profile with these settings.
    pub(super) fn modern(seed: u8, configs: &[EndpointConfig]) -> Self {
        Self::modern_with(seed, configs, |_, builder| builder)
    }

    /// The same, made with changes.
    pub(super) fn modern_with(
        seed: u8,
        configs: &[EndpointConfig],
        change: impl Fn(usize, modern::Builder) -> modern::Builder,
    ) -> Self {
        let nodes = configs.iter().zip(1..).map(|(config, index)| {
            let set = |builder| change(index as usize - 1, builder);
            let profile = modern::tests::profile(u64::from(seed) << 8 | index, set);
            let discriminator = modern::Discriminator::new().peer_id(profile.peer_id()).to_bytes();
            (Arc::new(profile) as Arc<dyn CryptoProfile>, discriminator, config.clone())
        });
        Self::with_nodes(seed, nodes.collect())
    }

    /// Endpoints of any profiles, with the names by which they are opened.
    pub(super) fn with_nodes(seed: u8, nodes: Vec<(Arc<dyn CryptoProfile>, Vec<u8>, EndpointConfig)>) -> Self {
        let now = Instant::from_millis(1_000);
        let nodes = nodes.into_iter().enumerate().map(|(index, (profile, discriminator, config))| {
            let rng = Box::new(Self::rng(seed, index));
            // Tests that set it compute them by hand.
            let offloads = config.max_waiting_key_agreements != EndpointConfig::default().max_waiting_key_agreements;
            let mut endpoint = Endpoint::new(config, profile, rng, now).unwrap();
            if offloads {
                endpoint.offload_key_agreements();
            }
            Node { endpoint, address: address(index), aliases: Vec::new(), discriminator, events: Vec::new() }
        });
        let fate: Fate = Box::new(|_| alloc::vec![Duration::from_millis(25)]);
        Self {
            nodes: nodes.collect(),
            now,
            fate,
            sent: 0,
            log: Vec::new(),
            in_flight: BTreeMap::new(),
            sequence: 0,
            authentic: true,
        }
    }

    /// One more, at this address. Nobody looks for it by name.
    pub(super) fn add(&mut self, address: SocketAddr, endpoint: Endpoint) {
        self.nodes.push(Node { endpoint, address, aliases: Vec::new(), discriminator: Vec::new(), events: Vec::new() });
    }

    /// What a node's endpoint draws from.
    pub(super) fn rng(seed: u8, node: usize) -> ChaCha20Rng {
        ChaCha20Rng::from_seed([seed.wrapping_mul(2).wrapping_add(node as u8); 32])
    }

    /// Makes a node's endpoint anew, as after a restart: same name and address, another seed.
    pub(super) fn restart(&mut self, node: usize, seed: u8) {
        let name = self.nodes[node].discriminator.clone();
        let authentic = self.authentic;
        let profile = Arc::new(PlainProfile::new(&name).pretend_authentic(authentic));
        let rng = Box::new(ChaCha20Rng::from_seed([seed; 32]));
        self.nodes[node].endpoint = Endpoint::new(EndpointConfig::default(), profile, rng, self.now).unwrap();
        self.nodes[node].events.clear();
    }

    /// From now on, all of this kind is lost and the rest arrives as usual.
    pub(super) fn lose(&mut self, kind: Kind) {
        self.fate = Box::new(
            move |datagram| {
                if datagram.kind() == kind { Vec::new() } else { alloc::vec![Duration::from_millis(25)] }
            },
        );
    }

    /// Opens a session from one node to the other.
    pub(super) fn open(&mut self, from: usize) -> SessionHandle {
        let target = Target::new(self.nodes[1 - from].discriminator.clone(), path_to(1 - from));
        self.nodes[from].endpoint.open(self.now, target).unwrap()
    }

    /// Opens a session to an endpoint by the names and addresses given.
    pub(super) fn open_to(&mut self, from: usize, discriminator: &str, nodes: &[usize]) -> SessionHandle {
        let candidates = nodes.iter().map(|node| (path_to(*node), Duration::ZERO)).collect();
        let target = Target { discriminator: discriminator.as_bytes().to_vec().into(), candidates };
        self.nodes[from].endpoint.open(self.now, target).unwrap()
    }

    /// What was sent from a node, or to one, of this kind, as the numbers of the log.
    pub(super) fn sent_of(&self, kind: Kind, from: Option<usize>, to: Option<usize>) -> Vec<usize> {
        let is = |node: Option<usize>, at: SocketAddr| node.is_none_or(|node| address(node) == at);
        let log = self.log.iter().enumerate();
        log.filter(|(_, (_, sent))| sent.kind() == kind && is(from, sent.from) && is(to, sent.to))
            .map(|(index, _)| index)
            .collect()
    }

    /// Hands a plain startup packet of one chunk to whoever has the address.
    pub(super) fn inject(&mut self, from: SocketAddr, to: usize, session_id: u32, chunk: &impl EncodeChunk) {
        for bytes in startup_datagrams(session_id, chunk) {
            let _ = self.deliver(from, address(to), bytes);
        }
    }

    /// Begins a session as anybody can who reads what is sent to an address and sends from there: with any certificate,
    /// and without its keys.
    pub(super) fn claim(&mut self, from: SocketAddr, to: usize, certificate: &[u8], session_id: u32) {
        let discriminator = self.nodes[to].discriminator.clone();
        self.inject(from, to, 0, &InitiatorHello { discriminator: &discriminator, tag: b"a tag of his own" });
        let log = self.log.len();
        self.flush();
        let answers = self.log[log..].iter().map(|(_, sent)| sent);
        let answer = answers.rev().find(|sent| sent.to == from && sent.kind() == Kind::ResponderHello);
        let (_, answer) = answer.expect("an answer to the hello").plain().unwrap();
        let Some(Ok(Chunk::ResponderHello(hello))) = startup_chunks(&answer).unwrap().next() else {
            panic!("no hello")
        };
        let component = [7, session_id as u8];
        let signed = InitiatorKeying::signed_parameters(session_id, hello.cookie, certificate, &component);
        let keying = InitiatorKeying {
            session_id,
            cookie_echo: hello.cookie,
            certificate,
            component: &component,
            signature: b"X",
            signed: &signed,
        };
        self.inject(from, to, 0, &keying);
        self.flush();
    }

    /// Takes out what the endpoints have to send and to say.
    pub(super) fn flush(&mut self) {
        let mut buf = TransmitBuf::new(4);
        for index in 0..self.nodes.len() {
            while let Some(transmit) = self.nodes[index].endpoint.poll_transmit(self.now, &mut buf) {
                assert_eq!(buf.datagrams().collect::<Vec<_>>().concat(), buf.as_slice(), "nothing else is in a flight");
                for bytes in buf.datagrams() {
                    let from = self.nodes[index].address;
                    let bytes = bytes.to_vec();
                    let mut datagram = Datagram { from, to: transmit.path.remote, bytes, ordinal: self.sent };
                    self.sent += 1;
                    self.log.push((self.now, datagram.clone()));
                    for delay in (self.fate)(&mut datagram) {
                        self.sequence += 1;
                        let key = (self.now + delay, self.sequence);
                        self.in_flight.insert(key, (datagram.from, datagram.to, datagram.bytes.clone()));
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
        let node = self.nodes.iter_mut().find(|node| node.address == to || node.aliases.contains(&to))?;
        let path = Path::new(InterfaceId(0), from);
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
