//! Attacks on what an endpoint keeps, each against the limit that is to hold.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::wire::{
    Address, AddressOrigin, Chunk, ForwardedHello, FragmentControl, InitiatorHello, PacketFragment, Ping, Redirect,
    UserData,
};
use rtmfp_core::{Endpoint, EndpointConfig, Event, FlowOptions, InterfaceId, Path, RecvMeta, Target, TransmitBuf};
use rtmfp_tests::counting::held;
use rtmfp_tests::raw_peer::RawPeer;
use rtmfp_tests::siege::{Identity, address, named_modern, plain};

use super::{START, data, endpoint, handshakes, named};

/// What came of an attack.
pub(crate) struct Outcome {
    /// Bytes held at the most.
    pub(crate) held: isize,
    /// Packets or chunks that were refused because of a limit.
    pub(crate) refused: isize,
}

/// An attack, and what holds it.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    /// In words.
    pub(crate) limit: &'static str,
    /// Bytes that may be held.
    pub(crate) most: isize,
    pub(crate) run: fn() -> Outcome,
}

/// All of them.
pub(crate) const ALL: [Attack; 15] = [
    Attack {
        name: "100,000 hellos from as many addresses",
        limit: "nothing is kept of a hello; 256 answers may wait",
        most: 2 << 20,
        run: hellos,
    },
    Attack {
        name: "20,000 keyings with forged cookies",
        limit: "nothing is kept before a cookie is proved",
        most: 65_536,
        run: || handshakes::keyings(plain),
    },
    Attack {
        name: "3,000 sessions that are opened and left",
        limit: "`max_sessions`, 256 here",
        most: 256 * 4_096,
        run: || handshakes::sessions(plain),
    },
    Attack {
        name: "the same keyings, modern profile",
        limit: "nothing is kept before a cookie is proved",
        most: 65_536,
        run: || handshakes::keyings(named_modern),
    },
    Attack {
        name: "2,000 keyings with good cookies and forged signatures, modern profile",
        limit: "nothing is kept before a signature is verified",
        most: 65_536,
        run: handshakes::forged_signatures,
    },
    Attack {
        name: "the same sessions, modern profile",
        limit: "`max_sessions`, 256 here",
        most: 256 * 8_192,
        run: || handshakes::sessions(named_modern),
    },
    Attack {
        name: "20,000 packet fragments that make no packet",
        limit: "256 packets, 1 MiB",
        most: 2 << 20,
        run: packet_fragments,
    },
    Attack { name: "100,000 flow IDs", limit: "`max_recv_flows`, 1,024", most: 2 << 20, run: flow_ids },
    Attack {
        name: "400,000 fragments with a gap before each",
        limit: "`max_recv_bytes`, 16 MiB",
        most: 16 << 20,
        run: gaps,
    },
    Attack {
        name: "20,000 messages of 4 kB that nobody reads",
        limit: "`max_recv_bytes`, 16 MiB",
        most: 17 << 20,
        run: unread,
    },
    Attack {
        name: "96 sessions that begin messages of 16 MiB and do not go on",
        limit: "`max_recv_memory`, 32 MiB here",
        most: 33 << 20,
        run: many_unfinished,
    },
    Attack {
        name: "96 sessions with 64 flows each that take nothing of their echo",
        limit: "`max_send_memory`, 32 MiB here",
        most: 34 << 20,
        run: many_that_take_nothing,
    },
    Attack {
        name: "a session with 4,096 flows that takes nothing of its echo",
        limit: "`max_send_bytes`, 64 MiB",
        most: 65 << 20,
        run: one_that_takes_nothing,
    },
    Attack {
        name: "10,000 hellos for others, forwarded and not",
        limit: "`max_unmatched_hellos`, 64 here",
        most: 262_144,
        run: for_others,
    },
    Attack {
        name: "10,000 redirects of an opening session",
        limit: "`max_candidates`, 24",
        most: 65_536,
        run: redirects,
    },
];

/// Watches what is held while an endpoint is fed.
pub(super) struct Watch {
    before: isize,
    most: isize,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self { before: held(), most: 0 }
    }

    pub(super) fn look(&mut self) {
        self.most = self.most.max(held() - self.before);
    }

    /// A stranger is still served.
    fn end(self, endpoint: Endpoint, after: Duration, refused: u64) -> Outcome {
        self.end_as(plain, endpoint, after, refused)
    }

    /// The same, with identities of this kind.
    pub(super) fn end_as(
        self,
        identity: fn(&str) -> Identity,
        mut endpoint: Endpoint,
        after: Duration,
        refused: u64,
    ) -> Outcome {
        let later = START + after;
        endpoint.handle_timeout(later);
        let mut buf = TransmitBuf::new(4);
        while endpoint.poll_transmit(later, &mut buf).is_some() {}
        while endpoint.poll_event().is_some() {}
        let mut friend = RawPeer::new(identity("friend").0, address(1), 77);
        friend.connect(&mut endpoint, later, &identity("victim").1);
        friend.send(&mut endpoint, later, &[Chunk::UserData(data(0, 1, &named(), b"hello"))]);
        let flow = std::iter::from_fn(|| endpoint.poll_event()).find_map(|event| {
            let Event::FlowOpened { flow } = event else { return None };
            Some(flow)
        });
        let read = endpoint.recv_flow_mut(later, flow.expect("a flow")).and_then(|mut flow| flow.read());
        assert_eq!(read.expect("a message").data, "hello");
        Outcome { held: self.most, refused: refused as isize }
    }
}

pub(super) fn source(number: u64) -> SocketAddr {
    SocketAddr::from(([10, (number >> 16) as u8, (number >> 8) as u8, number as u8], 1_000))
}

pub(super) fn arrive(endpoint: &mut Endpoint, from: SocketAddr, mut datagram: Vec<u8>) {
    let path = Path::new(InterfaceId(0), from);
    let _ = endpoint.handle_datagram(START, path, RecvMeta::default(), &mut datagram);
}

fn hellos() -> Outcome {
    let mut victim = endpoint(&EndpointConfig::default(), &plain("victim"));
    let mut peer = RawPeer::new(plain("mallory").0, address(9), 9);
    let hello = peer.startup(0, &InitiatorHello { discriminator: b"victim", tag: &[7; 16] });
    let mut watch = Watch::new();
    for number in 0..100_000 {
        arrive(&mut victim, source(number), hello.clone());
        watch.look();
    }
    let refused = victim.stats().over_limit;
    watch.end(victim, Duration::from_secs(2), refused)
}

fn packet_fragments() -> Outcome {
    let mut victim = endpoint(&EndpointConfig::default(), &plain("victim"));
    let mut peer = RawPeer::new(plain("mallory").0, address(9), 9);
    let mut watch = Watch::new();
    for number in 0..20_000_u64 {
        let chunk = PacketFragment {
            more_fragments: true,
            packet_id: number / 3,
            fragment_number: number % 300,
            fragment: &[7; 1_000],
        };
        let datagram = peer.startup(0, &chunk);
        arrive(&mut victim, source(number % 250), datagram);
        watch.look();
    }
    let refused = victim.stats().over_limit;
    watch.end(victim, Duration::from_secs(70), refused)
}

/// An endpoint, and a peer with a session.
fn connected(config: &EndpointConfig) -> (Endpoint, RawPeer) {
    let mut victim = endpoint(config, &plain("victim"));
    let mut peer = RawPeer::new(plain("mallory").0, address(9), 9);
    peer.connect(&mut victim, START, b"victim");
    while victim.poll_event().is_some() {}
    (victim, peer)
}

fn flow_ids() -> Outcome {
    let (mut victim, mut peer) = connected(&EndpointConfig::default());
    let (options, mut watch) = (named(), Watch::new());
    for flow in 0..100_000 {
        peer.send(&mut victim, START, &[Chunk::UserData(data(flow, 1, &options, b"x"))]);
        watch.look();
    }
    let refused = victim.stats().over_limit;
    watch.end(victim, Duration::from_secs(1), refused)
}

fn gaps() -> Outcome {
    let (mut victim, mut peer) = connected(&EndpointConfig::default());
    let (options, mut watch) = (named(), Watch::new());
    for flow in 0..400 {
        for fragment in 1..=1_000_u64 {
            let mut chunk = data(flow, fragment * 2, &options, b"x");
            chunk.control = FragmentControl::Middle;
            peer.send(&mut victim, START, &[Chunk::UserData(chunk)]);
        }
        peer.talk(&mut victim, START);
        watch.look();
    }
    let refused = victim.stats().over_limit;
    watch.end(victim, Duration::from_secs(1), refused)
}

fn unread() -> Outcome {
    let (mut victim, mut peer) = connected(&EndpointConfig::default());
    let (options, mut watch) = (named(), Watch::new());
    for number in 0..20_000 {
        peer.send(&mut victim, START, &[Chunk::UserData(data(number % 100, number / 100 + 1, &options, &[7; 4_096]))]);
        peer.talk(&mut victim, START);
        watch.look();
    }
    let refused = victim.stats().over_limit;
    watch.end(victim, Duration::from_secs(1), refused)
}

/// For many sessions from one address: at most as many as there are, so that each has a guaranteed share of 64 KiB.
fn crowded() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.max_sessions = 128;
    config.max_keying_units_per_second = u32::MAX;
    config.max_keying_units_per_source = u32::MAX;
    config.max_recv_memory = 32 << 20;
    config.max_send_memory = 32 << 20;
    config
}

/// A peer whose packets the endpoint takes for proof of its keys.
fn proved(victim: &mut Endpoint, number: u64) -> RawPeer {
    let profile = PlainProfile::new(&number.to_be_bytes()).pretend_authentic(true);
    let mut peer = RawPeer::new(Arc::new(profile), source(number), number);
    peer.connect(victim, START, b"victim");
    peer.send(victim, START, &[Chunk::Ping(Ping { message: b"" })]);
    peer.talk(victim, START);
    peer
}

fn proving(config: &EndpointConfig) -> Endpoint {
    endpoint(config, &(Arc::new(PlainProfile::new(b"victim").pretend_authentic(true)), b"victim".to_vec()))
}

fn many_unfinished() -> Outcome {
    let (mut victim, options) = (proving(&crowded()), named());
    let mut watch = Watch::new();
    for number in 0..96 {
        let mut peer = proved(&mut victim, number);
        for sequence in 1..=12_000 {
            let before = victim.stats().over_limit;
            let control = if sequence == 1 { FragmentControl::Begin } else { FragmentControl::Middle };
            let chunk = UserData { control, ..data(1, sequence, &options, &[7; 1_400]) };
            peer.send(&mut victim, START, &[Chunk::UserData(chunk)]);
            if victim.stats().over_limit > before {
                break;
            }
        }
        peer.talk(&mut victim, START);
        while victim.poll_event().is_some() {}
        watch.look();
    }
    let refused = victim.stats().over_limit;
    watch.end(victim, Duration::from_secs(11), refused)
}

/// Opens flows to the peer and writes to each until it refuses; how many writes were refused.
fn echo(victim: &mut Endpoint, watch: &mut Watch, flows: usize) -> u64 {
    let session = std::iter::from_fn(|| victim.poll_event())
        .find_map(|event| if let Event::SessionOpened { session } = event { Some(session) } else { None })
        .unwrap();
    let mut refused = 0;
    for _ in 0..flows {
        let flow = victim.session_mut(START, session).unwrap().open_flow(FlowOptions::new("echo")).unwrap();
        while victim.send_flow_mut(START, flow).unwrap().write(vec![1; 60_000]).is_ok() {
            watch.look();
        }
        refused += 1;
    }
    refused
}

fn many_that_take_nothing() -> Outcome {
    let mut victim = proving(&crowded());
    let (mut watch, mut refused) = (Watch::new(), 0);
    for number in 0..96 {
        let _peer = proved(&mut victim, number);
        refused += echo(&mut victim, &mut watch, 64);
    }
    watch.end(victim, Duration::from_secs(11), refused)
}

fn one_that_takes_nothing() -> Outcome {
    let mut victim = proving(&EndpointConfig::default());
    let mut watch = Watch::new();
    let _peer = proved(&mut victim, 1);
    let refused = echo(&mut victim, &mut watch, 4_096);
    watch.end(victim, Duration::from_secs(11), refused)
}

fn for_others() -> Outcome {
    let mut config = EndpointConfig::default();
    config.max_unmatched_hellos = 64;
    let (mut victim, mut peer) = connected(&config);
    let mut watch = Watch::new();
    for number in 0..10_000_u64 {
        let (name, tag) = (format!("somebody {number}"), number.to_be_bytes());
        if number % 2 == 0 {
            let hello = peer.startup(0, &InitiatorHello { discriminator: name.as_bytes(), tag: &tag });
            arrive(&mut victim, source(number), hello);
        } else {
            let socket = source(number);
            let reply_address = Address { origin: AddressOrigin::Observed, socket };
            let hello = ForwardedHello { discriminator: name.as_bytes(), reply_address, tag: &tag };
            peer.send(&mut victim, START, &[Chunk::ForwardedHello(hello)]);
        }
        watch.look();
    }
    let refused = victim.stats().over_limit;
    watch.end(victim, Duration::from_secs(2), refused)
}

fn redirects() -> Outcome {
    let mut victim = endpoint(&EndpointConfig::default(), &plain("victim"));
    let mut peer = RawPeer::new(plain("mallory").0, address(9), 9);
    victim.open(START, Target::new(&b"nobody"[..], peer.path())).unwrap();
    peer.talk(&mut victim, START);
    let tag = peer.seen_tag.clone();
    let mut watch = Watch::new();
    let mut sent = 0;
    for number in 0..10_000_u64 {
        let destinations: Vec<Address> = (0..20)
            .map(|more| Address { origin: AddressOrigin::Observed, socket: source(number * 20 + more) })
            .collect();
        let destinations = destinations[..].into();
        let datagram = peer.startup(0, &Redirect { tag_echo: &tag, destinations });
        arrive(&mut victim, peer.address, datagram);
        let mut buf = TransmitBuf::new(4);
        while let Some(transmit) = victim.poll_transmit(START, &mut buf) {
            sent += transmit.len.div_ceil(transmit.segment_size.unwrap_or(transmit.len));
        }
        watch.look();
    }
    assert!(sent <= 24, "{sent} hellos to redirect destinations");
    watch.end(victim, Duration::from_secs(100), 10_000 * 20 - sent as u64)
}
