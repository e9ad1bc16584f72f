//! Two endpoints in virtual time, and a wire that does to their datagrams what a list of operations says.
//!
//! The driving contract of [`Endpoint`] is asserted at every step. For anything that needs a network rather than a
//! wire, there is the simulator.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::rand_core::{CryptoRng, TryCryptoRng, TryRng};
use rtmfp_core::{
    Endpoint, EndpointConfig, Event, Instant, InterfaceId, Path, RecvMeta, SessionHandle, Target, TransmitBuf,
};

/// A small deterministic generator (SplitMix64), for tests only: nothing here needs to be secret.
#[derive(Clone, Debug)]
pub struct TestRng(pub u64);

impl TestRng {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl TryRng for TestRng {
    type Error = core::convert::Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
        Ok((self.draw() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
        Ok(self.draw())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
        for chunk in bytes.chunks_mut(8) {
            let value = self.draw().to_le_bytes();
            chunk.copy_from_slice(value.get(..chunk.len()).unwrap_or(&value));
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}

/// What the wire does to one datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It never arrives.
    Drop,
    /// It arrives again, that many milliseconds later.
    Duplicate(u16),
    /// It arrives that many milliseconds late.
    Delay(u16),
    /// The bit with this number, modulo its length, arrives flipped.
    Corrupt(u16),
    /// Only the first bytes arrive, this many of 256 parts.
    Truncate(u8),
}

/// One of the two endpoints.
#[derive(Debug)]
pub struct Node {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// Where it is now.
    pub address: SocketAddr,
    /// What names it.
    pub discriminator: Vec<u8>,
    /// Events that the test has not looked at yet.
    pub events: VecDeque<Event>,
}

/// A datagram that was sent, for ends that it is not for.
#[derive(Clone, Debug)]
pub struct Overheard {
    at: Instant,
    from: SocketAddr,
    bytes: Vec<u8>,
}

/// Two endpoints and the wire between them.
#[derive(Debug)]
pub struct Duo {
    /// The endpoints.
    pub nodes: [Node; 2],
    /// The time of the world.
    pub now: Instant,
    /// What happens to the next datagrams, one each.
    pub faults: VecDeque<Fault>,
    /// One way, in milliseconds.
    pub latency: u64,
    /// The longest datagram allowed.
    pub mtu: usize,
    /// A running hash of all that was sent, and when: equal runs have equal hashes.
    pub trace: u64,
    /// All that was sent, if somebody wants to know.
    pub recorded: Option<Vec<Overheard>>,
    /// What others send, in order of time: it arrives at both endpoints, when one of them is busy anyway.
    pub foreign: VecDeque<Overheard>,
    wire: BTreeMap<(Instant, u64), (SocketAddr, SocketAddr, Vec<u8>)>,
    sent: u64,
    buf: TransmitBuf,
}

/// Where a node is before it moves.
#[must_use]
pub fn home(node: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, node as u8 + 1], 1935))
}

impl Duo {
    /// Two endpoints with these identities and the discriminators that select them.
    ///
    /// # Panics
    /// If the configuration is not valid.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test with a bad configuration should stop")]
    pub fn new(seed: u64, config: &EndpointConfig, identities: [(Arc<dyn CryptoProfile>, Vec<u8>); 2]) -> Self {
        let now = Instant::from_millis(1_000);
        let mut index = 0;
        let nodes = identities.map(|(profile, discriminator)| {
            let rng: Box<dyn CryptoRng + Send> = Box::new(TestRng(seed.wrapping_mul(2).wrapping_add(index)));
            let endpoint = Endpoint::new(config.clone(), profile, rng, now).expect("a valid configuration");
            let address = home(index as usize);
            index += 1;
            Node { endpoint, address, discriminator, events: VecDeque::new() }
        });
        Self {
            nodes,
            now,
            faults: VecDeque::new(),
            latency: 25,
            mtu: config.session.max_datagram.max(config.session.base_datagram),
            trace: 0xcbf2_9ce4_8422_2325,
            recorded: None,
            foreign: VecDeque::new(),
            wire: BTreeMap::new(),
            sent: 0,
            buf: TransmitBuf::new(6),
        }
    }

    /// Opens a session from `node` to where the other one is.
    pub fn open(&mut self, node: usize) -> Option<SessionHandle> {
        let far = &self.nodes[1 - node % 2];
        let path = Path::new(InterfaceId(0), far.address);
        let target = Target::new(far.discriminator.clone(), path);
        self.nodes[node % 2].endpoint.open(self.now, target).ok()
    }

    /// Moves a node to a new port; what is on its way to the old one is lost.
    pub fn rebind(&mut self, node: usize) {
        let address = &mut self.nodes[node % 2].address;
        address.set_port(address.port().wrapping_add(1).max(1_024));
    }

    fn hash(&mut self, bytes: &[u8]) {
        for byte in self.now.as_micros().to_le_bytes().iter().chain(bytes) {
            self.trace = (self.trace ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Takes from both endpoints what they have to send and to say.
    ///
    /// # Panics
    /// If the driving contract is broken.
    pub fn flush(&mut self) {
        for index in 0..2 {
            while let Some(transmit) = self.nodes[index].endpoint.poll_transmit(self.now, &mut self.buf) {
                let flight: Vec<Vec<u8>> = self.buf.datagrams().map(<[u8]>::to_vec).collect();
                assert_eq!(flight.iter().map(Vec::len).sum::<usize>(), transmit.len, "the flight is what it says");
                if let [all @ .., last] = &flight[..] {
                    let segment = transmit.segment_size.unwrap_or(last.len());
                    assert!(all.iter().all(|datagram| datagram.len() == segment) && last.len() <= segment);
                }
                for bytes in flight {
                    assert!(bytes.len() <= self.mtu, "contract 5: a datagram of {} bytes", bytes.len());
                    self.hash(&bytes);
                    if let Some(recorded) = &mut self.recorded {
                        let from = self.nodes[index].address;
                        recorded.push(Overheard { at: self.now, from, bytes: bytes.clone() });
                    }
                    self.put_on_wire(index, transmit.path.remote, bytes);
                }
            }
            let node = &mut self.nodes[index];
            while let Some(event) = node.endpoint.poll_event() {
                node.events.push_back(event);
            }
            assert_eq!(node.endpoint.poll_transmit(self.now, &mut self.buf), None, "contract 1: an idle poll");
            assert_eq!(node.endpoint.poll_event(), None, "contract 1: an idle poll");
        }
    }

    fn put_on_wire(&mut self, index: usize, to: SocketAddr, mut bytes: Vec<u8>) {
        let from = self.nodes[index].address;
        let latency = Duration::from_millis(self.latency);
        let mut arrivals = vec![latency];
        match self.faults.pop_front() {
            None => {}
            Some(Fault::Drop) => arrivals.clear(),
            Some(Fault::Duplicate(millis)) => arrivals.push(latency + Duration::from_millis(millis.into())),
            Some(Fault::Delay(millis)) => arrivals = vec![latency + Duration::from_millis(millis.into())],
            Some(Fault::Corrupt(bit)) => {
                let bit = usize::from(bit) % (bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            Some(Fault::Truncate(parts)) => bytes.truncate(bytes.len() * usize::from(parts) / 256),
        }
        for after in arrivals {
            self.sent += 1;
            self.wire.insert((self.now + after, self.sent), (from, to, bytes.clone()));
        }
    }

    /// Goes to the next thing that happens, but not past `end`; false when there is none.
    fn step(&mut self, end: Instant) -> bool {
        self.flush();
        let arrival = self.wire.keys().next().map(|(at, _)| *at);
        let timeouts = self.nodes.iter().filter_map(|node| node.endpoint.poll_timeout());
        let Some(next) = timeouts.chain(arrival).min().filter(|next| *next <= end) else { return false };
        self.now = self.now.max(next);
        while self.foreign.front().is_some_and(|foreign| foreign.at <= self.now)
            && let Some(Overheard { from, bytes, .. }) = self.foreign.pop_front()
        {
            let path = Path::new(InterfaceId(0), from);
            for node in &mut self.nodes {
                let _ = node.endpoint.handle_datagram(self.now, path, RecvMeta::default(), &mut bytes.clone());
            }
        }
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (from, to, mut bytes) = entry.remove();
            let path = Path::new(InterfaceId(0), from);
            if let Some(node) = self.nodes.iter_mut().find(|node| node.address == to) {
                let _ = node.endpoint.handle_datagram(self.now, path, RecvMeta::default(), &mut bytes);
            }
        }
        for node in &mut self.nodes {
            node.endpoint.handle_timeout(self.now);
            assert!(node.endpoint.poll_timeout().is_none_or(|at| at > self.now), "contract 2: a deadline in the past");
        }
        true
    }

    /// Lets the world run for some virtual time.
    ///
    /// # Panics
    /// If the driving contract is broken, or time stands still.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let (mut steps, mut last) = (0, self.now);
        while self.step(end) {
            steps = if self.now == last { steps + 1 } else { 0 };
            last = self.now;
            assert!(steps < 10_000, "time stands still at {last:?}");
        }
        self.now = end;
        self.flush();
    }
}
