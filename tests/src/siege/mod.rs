//! An endpoint among hostile peers, and a friend: packets made by a grammar, damaged, and sealed with the right keys;
//! replays, forgeries and noise beside them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test whose world is not as it should be stops")]

mod draw;
mod grammar;
mod world;

use std::sync::Arc;
use std::time::Duration;

use rtmfp_core::profile::CryptoProfile;
use rtmfp_core::profile::flash::{Discriminator, FlashProfile, Group};
use rtmfp_core::profile::modern::{self, ModernProfile};
use rtmfp_core::profile::plain::PlainProfile;
use rtmfp_core::wire::{Mode, PacketHeader, PacketWriter, session_id};
use rtmfp_core::{CloseMode, EndpointConfig, InterfaceId, Path, Target};

pub use draw::Draw;
pub use grammar::Known;
pub use world::{World, address};

use crate::duo::TestRng;
use crate::raw_peer::{RawPeer, seal};

/// An identity and the discriminator that selects it.
pub type Identity = (Arc<dyn CryptoProfile>, Vec<u8>);

/// An identity of the plain profile, with its name as discriminator.
#[must_use]
pub fn plain(name: &str) -> Identity {
    (Arc::new(PlainProfile::new(name.as_bytes())), name.as_bytes().to_vec())
}

/// An identity of the Flash profile, with the smallest group, for speed: what is tested is behind the key agreement.
#[must_use]
pub fn flash(seed: u64) -> Identity {
    let builder = FlashProfile::builder().groups(&[Group::Modp1024]).allow_ephemeral_fingerprints(true);
    let profile = builder.build(&mut TestRng(seed)).unwrap();
    let discriminator = Discriminator::new().fingerprint(profile.fingerprint()).to_bytes();
    (Arc::new(profile), discriminator)
}

/// An identity of the modern profile, with its peer ID as discriminator.
#[must_use]
pub fn modern(seed: u64) -> Identity {
    let profile = ModernProfile::builder().build(&mut TestRng(seed)).unwrap();
    let discriminator = modern::Discriminator::new().peer_id(profile.peer_id()).to_bytes();
    (Arc::new(profile), discriminator)
}

/// An identity of the modern profile for each name, with its peer ID as discriminator.
#[must_use]
pub fn named_modern(name: &str) -> Identity {
    modern(name.bytes().fold(1, |seed, byte| seed * 257 % 0xffff_fffb + u64::from(byte)))
}

/// Identities by their names, of the plain and of the modern profile: for what does not depend on the profile, and may go
/// wrong by it.
pub const BOTH: [fn(&str) -> Identity; 2] = [plain, named_modern];

/// The first host number of hostile peers.
const HOSTILE: u8 = 100;
/// See the module.
#[derive(Debug)]
pub struct Siege {
    /// The endpoint under attack, its friend, and their time.
    pub world: World,
    peers: Vec<RawPeer>,
    names: Vec<Vec<u8>>,
    known: Known,
    /// Where every decision comes from.
    pub draw: Draw,
    /// Packets are authenticated by a secret: damaged copies of the friend's can be of any kind.
    secret: bool,
    /// Packets sealed with the keys of a session that was open.
    pub session_packets: u64,
}

/// What the endpoint under attack is allowed to hold: small enough to be reached.
#[must_use]
pub fn config() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config.max_sessions = 48;
    config.max_opening = 8;
    config.introduce = true;
    config.max_unmatched_hellos = 16;
    config.session.max_recv_flows = 64;
    config.session.max_recv_bytes = 262_144;
    config.session.recv_buffer = 65_536;
    config
}

impl Siege {
    /// Four hostile peers before the endpoint of `identity(0)`, whose friend is `identity(1)`. `secret` says whether
    /// the profile has any.
    pub fn new(seed: u64, draw: Draw, identity: impl Fn(u64) -> Identity, secret: bool) -> Self {
        let world = World::new(seed, &config(), [identity(0), identity(1)]);
        let (peers, names) = (0..4)
            .map(|index| {
                let (profile, name) = identity(2 + index);
                (RawPeer::new(profile, address(HOSTILE + index as u8), seed * 10 + index), name)
            })
            .unzip();
        let known = Known {
            discriminator: world.discriminators[0].clone(),
            // Key agreement is dear, and ends with the session.
            lethal_one_in: if secret { 120 } else { 30 },
            ..Known::default()
        };
        Self { world, peers, names, known, draw, secret, session_packets: 0 }
    }

    /// Every hostile peer opens a session of its own.
    pub fn open_all(&mut self) {
        for peer in &mut self.peers {
            peer.hello(&self.known.discriminator);
        }
        self.deliver();
    }

    /// What the endpoint said to hostile peers reaches them, and they answer.
    fn deliver(&mut self) {
        for _ in 0..8 {
            while let Some((to, datagram)) = self.world.outgoing.pop_front() {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.address == to) {
                    peer.receive(&datagram);
                }
            }
            for peer in &mut self.peers {
                while let Some(mut datagram) = peer.out.pop_front() {
                    self.world.attack(peer.address, &mut datagram);
                }
            }
            self.world.exchange();
            if self.world.outgoing.is_empty() {
                return;
            }
        }
    }

    /// A plain packet, nearly right.
    fn plain_packet(&mut self, mode: Mode) -> Vec<u8> {
        let startup = mode == Mode::Startup;
        let mut plain = Vec::new();
        let mut writer = PacketWriter::new(&mut plain, 8_000);
        let draw = &mut self.draw;
        writer.header(&PacketHeader {
            time_critical: draw.one_in(8),
            time_critical_reverse: draw.one_in(8),
            timestamp: draw.one_in(2).then(|| draw.below(65_536) as u16),
            timestamp_echo: draw.one_in(2).then(|| draw.below(65_536) as u16),
            mode,
        });
        for _ in 0..=draw.below(4) {
            draw.chunk(&self.known, startup, &mut writer);
        }
        if draw.one_in(3) {
            draw.damage(&mut plain);
        }
        plain
    }

    /// One hostile packet.
    pub fn packet(&mut self) {
        let which = self.draw.below(self.peers.len() as u64) as usize;
        let peer = &self.peers[which];
        self.known.tag.clone_from(&peer.seen_tag);
        self.known.cookie.clone_from(&peer.cookie);
        self.known.certificate = peer.profile.certificate().to_vec();
        let (mut from, mode) = (peer.address, peer.session.as_ref().map(|session| session.mode));
        let (choice, secret) = (self.draw.below(20), self.secret);
        let of_session = choice < 11 && mode.is_some();
        let mut datagram = match (choice, mode) {
            (0..11, Some(mode)) => {
                let mode = if self.draw.one_in(50) { Mode::Startup } else { mode };
                let plain = self.plain_packet(mode);
                self.peers[which].session.as_mut().map(|session| session.seal(&plain)).unwrap_or_default()
            }
            (0..14, _) => {
                let plain = self.plain_packet(Mode::Startup);
                seal(self.peers[which].default_keys.as_mut(), 0, &plain)
            }
            // Under the Default Session Key, for a session: its own, or the friend's.
            (14..16, _) => {
                let mode = [Mode::Initiator, Mode::Responder, Mode::Startup][self.draw.below(3) as usize];
                let plain = self.plain_packet(mode);
                let tapped = self.world.tapped.back().and_then(|datagram| session_id::unscramble(datagram));
                let own = self.peers[which].session.as_ref().map(|session| session.tx_id);
                let id = own.filter(|_| secret && self.draw.one_in(2)).or(tapped.map(|(id, _)| id)).unwrap_or(1);
                seal(self.peers[which].default_keys.as_mut(), id, &plain)
            }
            (16..18, _) => self.tapped(),
            (18, _) => {
                let mut copy = self.tapped();
                match (secret, copy.len()) {
                    (_, 0) => {}
                    (true, _) => self.draw.damage(&mut copy),
                    // One wrong bit is all that a checksum without a secret is sure to find.
                    (false, len) => copy[self.draw.below(len as u64) as usize] ^= 1 << self.draw.below(8),
                }
                copy
            }
            _ => {
                let len = self.draw.below(100) as usize;
                self.draw.bytes(len)
            }
        };
        if self.draw.one_in(10) {
            from = address(self.draw.below(250) as u8 + 2);
        }
        if self.draw.one_in(40) {
            from = address(1);
        }
        let unknown = self.world.victim().stats().dropped_unknown_session;
        self.world.attack(from, &mut datagram);
        let peer = &mut self.peers[which];
        if of_session && self.world.victim().stats().dropped_unknown_session > unknown {
            // The session is over. Whoever wants to do harm begins another.
            peer.session = None;
            peer.hello(&self.known.discriminator);
        } else {
            self.session_packets += u64::from(of_session);
        }
    }

    fn tapped(&mut self) -> Vec<u8> {
        let which = self.draw.below(self.world.tapped.len() as u64) as usize;
        self.world.tapped.get(which).cloned().unwrap_or_default()
    }

    /// What happens beside the packets: time, the user, new sessions from both sides.
    pub fn between(&mut self) {
        let choice = self.draw.below(1 << 32);
        if choice.is_multiple_of(4) {
            self.world.use_hostile_flow(choice / 4);
        }
        if choice.is_multiple_of(6) {
            self.world.advance(Duration::from_millis(choice % 23));
            self.deliver();
        }
        if choice % 512 == 1 {
            let peer = &mut self.peers[(choice / 512 % 4) as usize];
            peer.hello(&self.known.discriminator);
            self.deliver();
        }
        if choice % 8_192 == 2 {
            let target = self.names[(choice / 8_192 % 4) as usize].clone();
            let path = Path::new(InterfaceId(0), address(HOSTILE + (choice / 8_192 % 4) as u8));
            let now = self.world.now;
            let _ = self.world.victim().open(now, Target::new(target, path));
        }
        if choice % 4_096 == 3
            && let Some(session) = self.world.hostile_sessions.pop_front()
        {
            let mode = if choice & 8_192 == 0 { CloseMode::Orderly } else { CloseMode::Abrupt };
            let now = self.world.now;
            if let Some(mut session) = self.world.victim().session_mut(now, session) {
                session.close(mode);
            }
        }
    }
}
