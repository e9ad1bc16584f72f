//! What is counted.

use core::hint::black_box;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::wire::{Chunk, Ping};
use rtmfp_core::{Bytes, Endpoint, EndpointConfig, FlowOptions, Instant, SendFlowHandle, SendOptions, TransmitBuf};
use rtmfp_tests::back_to_back::BackToBack;
use rtmfp_tests::duo::TestRng;
use rtmfp_tests::pipe::{Line, Pipe};
use rtmfp_tests::raw_peer::RawPeer;
use rtmfp_tests::registered::{Registered, authentic};

/// The largest size that is not only for `--large`.
pub(crate) const LARGE: u32 = 10_000;

/// Work that is counted at several sizes.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    pub(crate) sizes: &'static [u32],
    /// How often it is done.
    pub(crate) times: u64,
    /// Makes what it needs, of this size; each call of what comes back is one time.
    make: fn(u32) -> Box<dyn FnMut()>,
}

const ONE: &[u32] = &[1];
const MANY: &[u32] = &[1, 100, 10_000, 100_000];
const FLIGHTS: &[u32] = &[1, 64];

pub(crate) const WORKS: &[Work] = &[
    Work { name: "bulk-hmac-64-KiB", sizes: ONE, times: 64, make: |_| transfer(flash(), 16_384) },
    Work { name: "bulk-plain-64-KiB", sizes: ONE, times: 64, make: |_| transfer(plain(), 16_384) },
    Work { name: "messages-200-B-hmac-64-KiB", sizes: ONE, times: 32, make: |_| transfer(flash(), 200) },
    Work { name: "handshake-group-14", sizes: ONE, times: 2, make: |_| handshake() },
    Work { name: "idle-turn-by-sessions", sizes: MANY, times: 100, make: idle },
    Work { name: "ping-by-sessions", sizes: MANY, times: 100, make: ping },
    Work { name: "look-up-by-peers", sizes: MANY, times: 100, make: look_up },
    Work { name: "introduction-by-peers", sizes: MANY, times: 100, make: introduction },
    Work { name: "message-by-flows", sizes: MANY, times: 100, make: by_flows },
    Work { name: "write-and-abandon-by-queue", sizes: MANY, times: 100, make: by_queue },
    Work { name: "packets-by-MiB-in-flight", sizes: FLIGHTS, times: 20, make: |size| in_flight(size, Line::Clean) },
    Work {
        name: "packets-with-loss-by-MiB-in-flight",
        sizes: FLIGHTS,
        times: 20,
        make: |size| in_flight(size, Line::Lossy),
    },
    Work {
        name: "packets-reordered-by-MiB-in-flight",
        sizes: FLIGHTS,
        times: 20,
        make: |size| in_flight(size, Line::Reordering),
    },
];

/// Does it so often, counted.
pub(crate) fn run(name: &str, size: u32, times: u64) -> Result<(), String> {
    let work = WORKS.iter().find(|work| work.name == name).ok_or_else(|| format!("no work is called {name}"))?;
    let mut once = (work.make)(size);
    once();
    for _ in 0..times {
        measured(&mut *once);
    }
    Ok(())
}

/// valgrind counts what happens in here.
#[inline(never)]
fn measured(once: &mut dyn FnMut()) {
    once();
    black_box(());
}

type Identities = ([Arc<dyn CryptoProfile>; 2], Vec<u8>);

fn plain() -> Identities {
    (["a", "b"].map(|name| Arc::new(PlainProfile::new(name.as_bytes())) as _), b"b".to_vec())
}

fn flash() -> Identities {
    let builder = FlashProfile::builder().groups(&[Group::Modp2048]).allow_ephemeral_fingerprints(true);
    let make = |seed| builder.clone().build(&mut TestRng(seed)).unwrap();
    let profiles = [1, 2].map(make);
    let discriminator = Discriminator::new().fingerprint(profiles[1].fingerprint()).to_bytes();
    (profiles.map(|profile| Arc::new(profile) as _), discriminator)
}

fn connected((profiles, discriminator): Identities, config: &EndpointConfig) -> BackToBack {
    let mut pair = BackToBack::new(config, profiles);
    pair.connect(&discriminator);
    pair
}

/// Both ends, until the window is as large as it gets.
fn transfer(identities: Identities, message: usize) -> Box<dyn FnMut()> {
    let mut pair = connected(identities, &EndpointConfig::default());
    let message = Bytes::from(vec![7; message]);
    pair.transfer(1 << 20, &message);
    Box::new(move || pair.transfer(65_536, &message))
}

/// Both ends: two key agreements, or four exponentiations.
fn handshake() -> Box<dyn FnMut()> {
    let (profiles, discriminator) = flash();
    Box::new(move || drop(connected((profiles.clone(), discriminator.clone()), &EndpointConfig::default())))
}

/// An endpoint with so many sessions, and the peer of the last.
fn crowded(sessions: u32) -> (Endpoint, RawPeer, Instant) {
    let now = Instant::from_millis(1_000);
    let mut config = EndpointConfig::default();
    config.max_sessions = 200_000;
    config.max_keying_units_per_second = u32::MAX;
    config.max_keying_units_per_source = u32::MAX;
    config.max_hello_replies_per_second = u32::MAX;
    config.max_hello_replies_per_source = u32::MAX;
    config.max_excess_reply_bytes = u32::MAX;
    config.max_excess_reply_bytes_per_source = u32::MAX;
    let profile = Arc::new(PlainProfile::new(b"server").pretend_authentic(true));
    let mut endpoint = Endpoint::new(config, profile, Box::new(TestRng(1)), now).unwrap();
    let mut last = None;
    for number in 0..sessions {
        let [a, b, c, d] = (0x0a00_0000 + number).to_be_bytes();
        let profile = Arc::new(PlainProfile::new(&number.to_be_bytes()).pretend_authentic(true));
        let mut peer = RawPeer::new(profile, ([a, b, c, d], 1_935).into(), number.into());
        peer.connect(&mut endpoint, now, b"server");
        last = Some(peer);
    }
    while endpoint.poll_event().is_some() {}
    (endpoint, last.unwrap(), now)
}

/// A turn of a driver's loop in which nothing happens.
fn idle(sessions: u32) -> Box<dyn FnMut()> {
    let (mut endpoint, _, now) = crowded(sessions);
    let mut buf = TransmitBuf::new(8);
    Box::new(move || {
        endpoint.handle_timeout(now);
        assert!(endpoint.poll_transmit(now, &mut buf).is_none());
        black_box((endpoint.poll_event(), endpoint.poll_timeout()));
    })
}

/// A packet in and its answer out.
fn ping(sessions: u32) -> Box<dyn FnMut()> {
    let (mut endpoint, mut peer, mut now) = crowded(sessions);
    let mut buf = TransmitBuf::new(8);
    Box::new(move || {
        now += Duration::from_micros(10);
        peer.send(&mut endpoint, now, &[Chunk::Ping(Ping { message: b"hello" })]);
        assert!(endpoint.poll_transmit(now, &mut buf).is_some());
    })
}

/// Memory is not what limits here.
fn roomy() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    (config.max_recv_memory, config.max_send_memory) = (4 << 30, 4 << 30);
    (config.session.max_recv_bytes, config.session.max_send_bytes) = (1 << 30, 1 << 30);
    config
}

/// So many flows of one session, each with a message delivered.
fn with_flows(flows: u32) -> (BackToBack, Vec<SendFlowHandle>) {
    let mut config = roomy();
    config.session.max_send_flows = 200_000;
    config.session.max_recv_flows = 200_000;
    let mut pair = connected(plain(), &config);
    let session = pair.endpoints[0].sessions().next().unwrap();
    let handles = (0..flows).map(|_| {
        let mut view = pair.endpoints[0].session_mut(pair.now, session).unwrap();
        let flow = view.open_flow(FlowOptions::new("f")).unwrap();
        pair.endpoints[0].send_flow_mut(pair.now, flow).unwrap().write("first").unwrap();
        settle(&mut pair);
        flow
    });
    let handles = handles.collect();
    (pair, handles)
}

/// Until both are quiet, or wait for time.
fn settle(pair: &mut BackToBack) {
    while pair.round() > 0 {}
    while pair.endpoints[0].poll_event().is_some() {}
    while pair.endpoints[1].poll_event().is_some() {}
}

/// A message there, and its acknowledgement back.
fn by_flows(flows: u32) -> Box<dyn FnMut()> {
    let (mut pair, handles) = with_flows(flows);
    let mut turn = handles.into_iter().cycle();
    let mut next = move || turn.next().unwrap();
    Box::new(move || {
        pair.endpoints[0].send_flow_mut(pair.now, next()).unwrap().write("again").unwrap();
        settle(&mut pair);
    })
}

/// Both ends: a peer asks a rendezvous server who has a number, and is told.
fn look_up(peers: u32) -> Box<dyn FnMut()> {
    let mut registered = Registered::with(authentic, peers.into());
    let mut peer = registered.register();
    Box::new(move || registered.look_up(&mut peer))
}

/// A hello for a peer comes to a rendezvous server, which answers and hands it on. Whoever it is from is not counted.
fn introduction(peers: u32) -> Box<dyn FnMut()> {
    let mut registered = Registered::with(authentic, peers.into());
    let mut hellos: Vec<_> = (0..1_000).map(|_| registered.hello()).collect();
    Box::new(move || registered.introduce(hellos.pop().unwrap()))
}

/// A message written, and another abandoned, while so many wait behind those that the window holds.
fn by_queue(messages: u32) -> Box<dyn FnMut()> {
    let mut pair = connected(plain(), &roomy());
    let session = pair.endpoints[0].sessions().next().unwrap();
    let mut view = pair.endpoints[0].session_mut(pair.now, session).unwrap();
    let flow = view.open_flow(FlowOptions::new("f").send_buffer(usize::MAX).unsent_limit(usize::MAX)).unwrap();
    let message = Bytes::from_static(&[7; 1_000]);
    let mut buf = TransmitBuf::new(8);
    let mut options = SendOptions::default();
    options.finish_by = Some(pair.now + Duration::from_secs(3_600));
    let mut waiting = VecDeque::new();
    for _ in 0..20 + messages {
        let mut view = pair.endpoints[0].send_flow_mut(pair.now, flow).unwrap();
        waiting.push_back(view.write_with(message.clone(), options).unwrap());
        // What the window holds is never acknowledged.
        while pair.endpoints[0].poll_transmit(pair.now, &mut buf).is_some() {}
    }
    // Past those that are on their way.
    waiting.drain(..20);
    Box::new(move || {
        let mut view = pair.endpoints[0].send_flow_mut(pair.now, flow).unwrap();
        waiting.push_back(view.write_with(message.clone(), options).unwrap());
        view.abandon(waiting.pop_front().unwrap());
        assert!(pair.endpoints[0].poll_transmit(pair.now, &mut buf).is_none());
        while pair.endpoints[0].poll_event().is_some() {}
    })
}

/// A hundred packets of one message each, there and acknowledged, while so many MiB are in flight.
fn in_flight(mib: u32, line: Line) -> Box<dyn FnMut()> {
    let mut pipe = Pipe::new((mib as usize) << 20, 1_000, line);
    Box::new(move || pipe.packets(100))
}
