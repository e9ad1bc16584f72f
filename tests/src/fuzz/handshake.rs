//! The handshake of the modern profile, in both roles. Packets are sealed as anybody can seal them. They carry certificates,
//! discriminators, cookies, components and signatures that are right, damaged, replayed, of somebody else, or against a
//! rule of the profile. Whatever comes, an open session has a signature that its far end has made for it, and leads to
//! whom it was opened to. Nothing is proved before a packet opens under its keys. Addresses that have proved nothing get
//! no more than they may. And afterwards everybody can still begin a session.
#![expect(clippy::indexing_slicing, clippy::expect_used, reason = "a fuzz target stops at what should not be")]

mod forge;
mod forger;
mod oracle;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rtmfp_core::profile::modern::{Discriminator, Identity, ModernProfile};
use rtmfp_core::wire::{Chunk, Close, Mode, Ping};
use rtmfp_core::{Endpoint, Instant, InterfaceId, KeyAgreement, Path, RecvMeta, SessionState, Target, TransmitBuf};

use crate::duo::TestRng;
use crate::raw_peer::{RawPeer, packet, seal};
use crate::siege::{Draw, address, config};
use forger::Forger;
use oracle::Oracle;

/// The most steps of one run, to keep runs short: each may cost a key agreement.
const MOST_STEPS: usize = 120;
/// Bytes a second beyond three times what came, to all addresses together.
const MOST_EXCESS: u32 = 4_000;
/// Datagrams that one may bring out: an answer, and what a session that opens says first.
const MOST_ANSWERS: usize = 8;
/// Packets that are kept, to be sent again.
const KEPT: usize = 12;
const BEGIN: Instant = Instant::from_millis(5_000);

/// The endpoint and three others: a plain certificate, another with names by the same owner, and somebody else.
fn profiles() -> &'static [Arc<ModernProfile>; 4] {
    static PROFILES: OnceLock<[Arc<ModernProfile>; 4]> = OnceLock::new();
    PROFILES.get_or_init(|| {
        [(1, Some("victim.example")), (2, None), (2, Some("eve.example")), (3, None)].map(|(seed, hostname)| {
            let mut rng = TestRng(seed);
            let mut builder = ModernProfile::builder().identity(Identity::generate(&mut rng));
            if let Some(hostname) = hostname {
                builder = builder.hostname(hostname.as_bytes()).accept_ancillary(true);
            }
            Arc::new(builder.build(&mut rng).expect("a valid configuration"))
        })
    })
}

/// What selects an identity: its peer ID, hostname, or ancillary data.
fn discriminator(of: &ModernProfile, choice: u64) -> Vec<u8> {
    let with = Discriminator::new();
    match choice {
        0 => with.hostname(b"victim.example").to_bytes(),
        1 => with.hostname(b"eve.example").ancillary_data(b"rtmfp://x/").to_bytes(),
        2 => with.ancillary_data(b"rtmfp://x/").to_bytes(),
        _ => with.peer_id(of.peer_id()).to_bytes(),
    }
}

/// An address that nobody answers from: what is sent there was caused by what seemed to come from there.
fn spoofed(host: u64) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, host as u8], 1_000))
}

struct Handshakes {
    victim: Endpoint,
    forgers: Vec<Forger>,
    oracle: Oracle,
    draw: Draw,
    now: Instant,
    buf: TransmitBuf,
    /// Bytes from and to each spoofed address.
    counted: BTreeMap<SocketAddr, (usize, usize)>,
    /// Datagrams of both sides.
    seen: VecDeque<Vec<u8>>,
    /// Sessions before the last step.
    sessions: usize,
    /// Key agreements that are computed elsewhere.
    away: VecDeque<KeyAgreement>,
}

pub(super) fn run(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let mut limits = config();
    limits.max_excess_reply_bytes = MOST_EXCESS;
    let [near, others @ ..] = profiles();
    let mut victim = Endpoint::new(limits, near.clone(), Box::new(TestRng(7)), BEGIN).expect("a valid configuration");
    let offloads = first % 2 == 1;
    if offloads {
        victim.offload_key_agreements();
    }
    let forgers = (2..).zip(others).map(|(host, profile)| Forger::new(profile.clone(), near.clone(), host)).collect();
    let mut handshakes = Handshakes {
        victim,
        forgers,
        oracle: Oracle::new(near.clone(), offloads),
        draw: Draw::from_bytes(data),
        now: BEGIN,
        buf: TransmitBuf::new(4),
        counted: BTreeMap::new(),
        seen: VecDeque::new(),
        sessions: 0,
        away: VecDeque::new(),
    };
    for _ in 0..MOST_STEPS {
        if handshakes.draw.is_over() {
            break;
        }
        handshakes.step();
    }
    handshakes.end();
}

impl Handshakes {
    fn step(&mut self) {
        let which = self.draw.below(3) as usize;
        let forger = &mut self.forgers[which];
        let draw = &mut self.draw;
        match draw.below(20) {
            0..2 => {
                let choice = draw.below(6);
                let name = draw.discriminator(&discriminator(&profiles()[0], choice));
                let hello = forger.hello(draw, &name);
                self.arrive(which, hello);
            }
            2..6 => {
                let keying = forger.initiator_keying(draw, &mut self.oracle);
                self.arrive(which, keying);
            }
            6..9 => {
                let hello = forger.responder_hello(draw);
                self.arrive(which, hello);
            }
            9..13 => {
                if let Some(keying) = forger.responder_keying(draw, &mut self.oracle) {
                    self.arrive(which, keying);
                }
            }
            13 => {
                let change = forger.cookie_change(draw);
                self.arrive(which, change);
            }
            14 => {
                let place = draw.below(KEPT as u64) as usize;
                if let Some(mut again) = self.seen.get(place).cloned() {
                    again = draw.nearly(again);
                    self.arrive(which, again);
                }
            }
            15..17 => {
                let (path, choice) = (forger.path(), draw.below(8));
                let target = draw.discriminator(&discriminator(&forger.profile, choice));
                if let Ok(session) = self.victim.open(self.now, Target::new(target.clone(), path)) {
                    self.oracle.opening(session, target);
                }
            }
            17 => {
                let chunk = if draw.one_in(6) { Chunk::Close(Close) } else { Chunk::Ping(Ping { message: b"there?" }) };
                if let Some(packet) = forger.session_packet(draw, &chunk) {
                    self.arrive(which, packet);
                }
            }
            18 if draw.one_in(3) => self.noise(which),
            18 => self.compute(),
            _ => {
                let millis = [0, 1, 40, 900, 7_000, 70_000][draw.below(6) as usize];
                self.now += Duration::from_millis(millis);
                self.victim.handle_timeout(self.now);
                assert!(self.victim.poll_timeout().is_none_or(|at| at > self.now), "a deadline in the past");
            }
        }
        self.deliver();
    }

    /// A key agreement comes back that was computed elsewhere, the last first, or never.
    fn compute(&mut self) {
        let Some(job) = self.away.pop_back() else { return };
        let result = if self.draw.one_in(6) { job.abandoned() } else { job.run() };
        self.victim.handle_key_agreement(self.now, result);
    }

    /// Anything in a startup packet.
    fn noise(&mut self, which: usize) {
        let forger = &mut self.forgers[which];
        let len = self.draw.below(64) as usize;
        let mut plain = packet(Mode::Startup, &[]);
        plain.extend_from_slice(&self.draw.bytes(len));
        let id = forger.heard_id();
        let noise = seal(forger.default_keys.as_mut(), id, &plain);
        self.arrive(which, noise);
    }

    /// Mostly from where its sender is.
    fn arrive(&mut self, which: usize, datagram: Vec<u8>) {
        let from = match self.draw.below(8) {
            0..6 => self.forgers[which].address,
            6 => self.forgers[self.draw.below(3) as usize].address,
            _ => spoofed(self.draw.below(8)),
        };
        self.arrive_from(from, datagram);
    }

    fn arrive_from(&mut self, from: SocketAddr, mut datagram: Vec<u8>) {
        if (0..8).any(|host| spoofed(host) == from) {
            self.counted.entry(from).or_default().0 += datagram.len();
        }
        self.keep(&datagram);
        self.oracle.arriving(&datagram);
        let path = Path::new(InterfaceId(0), from);
        let _ = self.victim.handle_datagram(self.now, path, RecvMeta::default(), &mut datagram);
    }

    fn keep(&mut self, datagram: &[u8]) {
        self.seen.push_front(datagram.to_vec());
        self.seen.truncate(KEPT);
    }

    /// What the endpoint has to say reaches those it is for, and what it claims is looked at.
    fn deliver(&mut self) {
        while let Some(job) = self.victim.poll_key_agreement() {
            self.away.push_back(job);
        }
        let mut said = 0;
        while let Some(transmit) = self.victim.poll_transmit(self.now, &mut self.buf) {
            let to = transmit.path.remote;
            if let Some((_, went)) = self.counted.get_mut(&to) {
                *went += transmit.len;
            }
            let datagrams: Vec<Vec<u8>> = self.buf.datagrams().map(<[u8]>::to_vec).collect();
            for datagram in datagrams {
                said += 1;
                self.keep(&datagram);
                for forger in self.forgers.iter_mut().filter(|forger| forger.address == to) {
                    forger.receive(&datagram, &mut self.oracle);
                }
            }
        }
        // When time passes, each session may have something to say.
        assert!(said <= MOST_ANSWERS + self.sessions, "{said} datagrams at once");
        self.sessions = self.victim.sessions().count();
        self.oracle.look(&mut self.victim, self.forgers.iter().map(|forger| forger.used).sum());
        assert!(self.sessions <= config().max_sessions, "more sessions than allowed");
        let excess: usize = self.counted.values().map(|(came, went)| went.saturating_sub(3 * came)).sum();
        // The bucket is full at first, and a reply may wait for a moment.
        let seconds = 2 + self.now.saturating_duration_since(BEGIN).as_secs();
        assert!(excess as u64 <= u64::from(MOST_EXCESS) * seconds, "{excess} bytes too many: {:?}", self.counted);
    }

    /// In time everything is forgotten, and honest ends begin sessions in both directions.
    fn end(mut self) {
        for _ in 0..20_000 {
            self.deliver();
            while let Some(job) = self.away.pop_front() {
                self.victim.handle_key_agreement(self.now, job.run());
            }
            self.deliver();
            let Some(at) = self.victim.poll_timeout() else { break };
            assert!(at > self.now, "a deadline in the past");
            if at > self.now + Duration::from_secs(900) {
                break;
            }
            self.now = at;
            self.victim.handle_timeout(at);
        }
        assert_eq!(self.victim.sessions().count(), 0, "sessions that nobody uses");
        let [near, honest, ..] = profiles();
        let mut peer = RawPeer::new(honest.clone(), address(9), 99);
        peer.hello(&discriminator(near, 0));
        self.talk(&mut peer);
        assert!(peer.session.take().is_some(), "no session with an honest peer");
        let peers_id = discriminator(honest, 9);
        let mut other = RawPeer::new(honest.clone(), address(10), 98);
        let session = self.victim.open(self.now, Target::new(peers_id, other.path())).expect("room for one");
        self.talk(&mut other);
        let opened = self.victim.session(session).is_some_and(|session| session.state() == SessionState::Open);
        assert!(opened, "no session to an honest peer");
    }

    fn talk(&mut self, peer: &mut RawPeer) {
        for _ in 0..4 {
            peer.talk(&mut self.victim, self.now);
            while let Some(job) = self.victim.poll_key_agreement() {
                self.victim.handle_key_agreement(self.now, job.run());
            }
        }
    }
}
