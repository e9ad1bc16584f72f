//! Strangers before an endpoint: hellos, keyings, forwarded hellos, redirects and fragments from many addresses, made
//! by a grammar and damaged. Addresses that have proved nothing get no more than three times what came from there, and
//! beyond that the few bytes a second that are allowed to all of them; tables keep to their limits; and afterwards
//! everybody can still begin a session.
#![expect(clippy::indexing_slicing, clippy::expect_used, reason = "a fuzz target stops at what should not be")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rtmfp_core::wire::{Address, AddressOrigin, InitiatorHello, Mode, PacketFragment, PacketHeader, PacketWriter};
use rtmfp_core::{Endpoint, Instant, InterfaceId, Path, RecvMeta, Target, TransmitBuf};

use crate::duo::TestRng;
use crate::raw_peer::{RawPeer, seal};
use crate::siege::{Draw, Identity, Known, address, config, flash, plain};

/// The most steps of one run, to keep runs short.
const MOST_STEPS: usize = 300;

/// Bytes a second beyond three times what came, to all together.
const MOST_EXCESS: u32 = 4_000;

/// An address that nobody answers from: what is sent there was caused by what seemed to come from there.
fn spoofed(host: u64) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, host as u8], 1_000))
}

struct Startup {
    victim: Endpoint,
    identity: Identity,
    peers: Vec<RawPeer>,
    draw: Draw,
    known: Known,
    now: Instant,
    buf: TransmitBuf,
    /// Bytes from and to each spoofed address.
    counted: BTreeMap<SocketAddr, (usize, usize)>,
    /// What was seen on its way to peers.
    tapped: Vec<Vec<u8>>,
}

pub(super) fn run(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let secret = *first == 0xff;
    let identity = |seed: u64| if secret { flash(seed) } else { plain(["victim", "eve", "bob"][seed as usize % 3]) };
    let now = Instant::from_millis(5_000);
    let rng = Box::new(TestRng(7));
    let mut limits = config();
    limits.max_excess_reply_bytes = MOST_EXCESS;
    let victim = Endpoint::new(limits, identity(0).0, rng, now).expect("a valid configuration");
    let peers = (1..3).map(|host| RawPeer::new(identity(host).0, address(host as u8 + 1), host)).collect();
    let identity = identity(0);
    let known = Known { discriminator: identity.1.clone(), lethal_one_in: 4, ..Known::default() };
    let draw = Draw::from_bytes(data);
    let (buf, counted, tapped) = (TransmitBuf::new(4), BTreeMap::new(), Vec::new());
    let mut startup = Startup { victim, identity, peers, draw, known, now, buf, counted, tapped };
    for _ in 0..MOST_STEPS {
        if startup.draw.is_over() {
            break;
        }
        startup.step();
    }
    startup.end();
}

impl Startup {
    fn step(&mut self) {
        let which = self.draw.below(2) as usize;
        match self.draw.below(16) {
            0..6 => {
                let datagram = self.packet(which);
                self.arrive_from_peer(which, datagram);
            }
            6..9 => {
                let datagram = self.packet(which);
                let from = spoofed(self.draw.below(8));
                self.arrive(from, datagram);
            }
            9 => {
                let name = self.known.discriminator.clone();
                self.peers[which].hello(&name);
            }
            10 => self.fragments(which),
            11 => {
                if let Some(datagram) = self.tapped.get(self.draw.below(8) as usize).cloned() {
                    let from = spoofed(self.draw.below(8));
                    self.arrive(from, datagram);
                }
            }
            12 => {
                let (at, name) = (self.peers[which].path(), self.draw.below(3));
                let name =
                    if name == 0 { b"nobody".to_vec() } else { self.peers[which].profile.certificate().to_vec() };
                let _ = self.victim.open(self.now, Target::new(name, at));
            }
            13 => self.answer_hellos(which),
            14 => self.peers[which].keying(),
            _ => {
                let millis = [0, 1, 40, 900, 7_000, 70_000][self.draw.below(6) as usize];
                self.now += Duration::from_millis(millis);
                self.victim.handle_timeout(self.now);
                assert!(self.victim.poll_timeout().is_none_or(|at| at > self.now), "a deadline in the past");
            }
        }
        self.deliver();
    }

    /// A startup packet, nearly right.
    fn packet(&mut self, which: usize) -> Vec<u8> {
        let peer = &mut self.peers[which];
        self.known.tag.clone_from(&peer.seen_tag);
        self.known.cookie.clone_from(&peer.cookie);
        self.known.certificate = peer.profile.certificate().to_vec();
        let mut plain = Vec::new();
        let mut writer = PacketWriter::new(&mut plain, 8_000);
        writer.header(&PacketHeader::new(Mode::Startup));
        for _ in 0..=self.draw.below(3) {
            self.draw.chunk(&self.known, true, &mut writer);
        }
        if self.draw.one_in(4) {
            self.draw.damage(&mut plain);
        }
        let id = if self.draw.one_in(8) { self.draw.number() as u32 } else { 0 };
        seal(peer.default_keys.as_mut(), id, &plain)
    }

    /// A hello in pieces, in any order, with some of them twice or never.
    fn fragments(&mut self, which: usize) {
        let tag = self.draw.bytes(16);
        let hello = InitiatorHello { discriminator: &self.known.discriminator, tag: &tag };
        let mut plain = Vec::new();
        let mut writer = PacketWriter::new(&mut plain, 8_000);
        writer.header(&PacketHeader::new(Mode::Startup));
        writer.push(&hello);
        let size = 1 + self.draw.below(32) as usize;
        let pieces: Vec<&[u8]> = plain.chunks(size).collect();
        let packet_id = self.draw.below(4);
        for _ in 0..pieces.len() + 2 {
            let number = self.draw.below(pieces.len() as u64 + 1);
            let fragment = pieces.get(number as usize).copied().unwrap_or_default();
            let more_fragments = number + 1 < pieces.len() as u64;
            let chunk = PacketFragment { more_fragments, packet_id, fragment_number: number, fragment };
            let datagram = self.peers[which].startup(0, &chunk);
            let from = if self.draw.one_in(4) { spoofed(self.draw.below(8)) } else { self.peers[which].address };
            self.arrive(from, datagram);
        }
    }

    fn answer_hellos(&mut self, which: usize) {
        while let Some(event) = self.victim.poll_event() {
            if let rtmfp_core::Event::UnmatchedHello { hello } = event {
                let socket = self.peers[which].address;
                self.victim.redirect(self.now, &hello, &[Address { origin: AddressOrigin::Observed, socket }]);
            }
        }
    }

    fn arrive_from_peer(&mut self, which: usize, datagram: Vec<u8>) {
        self.arrive(self.peers[which].address, datagram);
    }

    fn arrive(&mut self, from: SocketAddr, mut datagram: Vec<u8>) {
        if (0..8).any(|host| spoofed(host) == from) {
            self.counted.entry(from).or_default().0 += datagram.len();
        }
        let path = Path::new(InterfaceId(0), from);
        let _ = self.victim.handle_datagram(self.now, path, RecvMeta::default(), &mut datagram);
    }

    /// What the endpoint has to say reaches those it is for, and they answer.
    fn deliver(&mut self) {
        for _ in 0..6 {
            let mut said = false;
            while let Some(transmit) = self.victim.poll_transmit(self.now, &mut self.buf) {
                said = true;
                let to = transmit.path.remote;
                if let Some((_, went)) = self.counted.get_mut(&to) {
                    *went += transmit.len;
                }
                for datagram in self.buf.datagrams() {
                    if let Some(peer) = self.peers.iter_mut().find(|peer| peer.address == to) {
                        peer.receive(datagram);
                    }
                    self.tapped.insert(0, datagram.to_vec());
                    self.tapped.truncate(8);
                }
            }
            for which in 0..self.peers.len() {
                while let Some(datagram) = self.peers[which].out.pop_front() {
                    said = true;
                    self.arrive_from_peer(which, datagram);
                }
            }
            if !said {
                break;
            }
        }
        assert!(self.victim.sessions().count() <= config().max_sessions, "more sessions than allowed");
        let excess: usize = self.counted.values().map(|(came, went)| went.saturating_sub(3 * came)).sum();
        // The bucket is full at first, and a reply may wait for a moment.
        let seconds = 2 + self.now.saturating_duration_since(Instant::from_millis(5_000)).as_secs();
        assert!(excess as u64 <= u64::from(MOST_EXCESS) * seconds, "{excess} bytes too many: {:?}", self.counted);
    }

    /// In time everything is forgotten, and an honest peer is served.
    fn end(mut self) {
        for _ in 0..20_000 {
            self.deliver();
            while self.victim.poll_event().is_some() {}
            let Some(at) = self.victim.poll_timeout() else { break };
            assert!(at > self.now, "a deadline in the past");
            if at > self.now + Duration::from_secs(900) {
                break;
            }
            self.now = at;
            self.victim.handle_timeout(at);
        }
        assert_eq!(self.victim.sessions().count(), 0, "sessions that nobody uses");
        let profile = self.peers[0].profile.clone();
        RawPeer::new(profile, address(9), 99).connect(&mut self.victim, self.now, &self.identity.1);
    }
}
