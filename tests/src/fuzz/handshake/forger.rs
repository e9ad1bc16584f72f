//! Somebody who knows the protocol, and keeps it or not as the bytes say.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use rtmfp_core::profile::modern::ModernProfile;
use rtmfp_core::profile::{CryptoProfile, PendingKeying, SessionKeys};
use rtmfp_core::rand_core::Rng as _;
use rtmfp_core::wire::{
    Chunk, CookieChange, InitiatorHello, InitiatorKeying, Mode, PacketHeader, ResponderHello, ResponderKeying,
    session_id,
};
use rtmfp_core::{InterfaceId, Path, Role};

use super::oracle::{Oracle, Signed};
use crate::duo::TestRng;
use crate::raw_peer::{RawSession, packet, seal};
use crate::siege::{Draw, address};

/// Handshakes and sessions of each kind that one keeps.
const KEPT: usize = 4;

/// What one has heard of an IIKeying of the endpoint.
struct Heard {
    id: u32,
    cookie: Vec<u8>,
    component: Vec<u8>,
}

pub(super) struct Forger {
    pub(super) profile: Arc<ModernProfile>,
    pub(super) address: SocketAddr,
    pub(super) default_keys: Box<dyn SessionKeys>,
    /// How many of its sessions it has sent a packet in.
    pub(super) used: usize,
    victim: Arc<ModernProfile>,
    rng: TestRng,
    /// Cookies that the endpoint gave, the newest first.
    cookies: VecDeque<Vec<u8>>,
    tag: Vec<u8>,
    heard: Option<Heard>,
    pending: VecDeque<(u32, Box<dyn PendingKeying>)>,
    /// Sessions, and whether a packet was sent in them.
    sessions: VecDeque<(RawSession, bool)>,
    /// Components of former IIKeyings, with their session IDs.
    former: VecDeque<(u32, Vec<u8>)>,
}

fn keep<T>(list: &mut VecDeque<T>, new: T) {
    list.push_front(new);
    list.truncate(KEPT);
}

impl Forger {
    pub(super) fn new(profile: Arc<ModernProfile>, victim: Arc<ModernProfile>, host: u8) -> Self {
        Self {
            default_keys: profile.default_keys(),
            profile,
            address: address(host),
            used: 0,
            victim,
            rng: TestRng(host.into()),
            cookies: VecDeque::new(),
            tag: Vec::new(),
            heard: None,
            pending: VecDeque::new(),
            sessions: VecDeque::new(),
            former: VecDeque::new(),
        }
    }

    pub(super) fn path(&self) -> Path {
        Path::new(InterfaceId(0), self.address)
    }

    /// The session ID that the endpoint waits for an answer at.
    pub(super) fn heard_id(&self) -> u32 {
        self.heard.as_ref().map_or(0, |heard| heard.id)
    }

    fn startup(&mut self, draw: &mut Draw, id: u32, chunk: &Chunk<'_>) -> Vec<u8> {
        let plain = draw.nearly(packet(Mode::Startup, std::slice::from_ref(chunk)));
        seal(self.default_keys.as_mut(), id, &plain)
    }

    pub(super) fn hello(&mut self, draw: &mut Draw, discriminator: &[u8]) -> Vec<u8> {
        let tag = draw.bytes(16);
        self.startup(draw, 0, &Chunk::InitiatorHello(InitiatorHello { discriminator, tag: &tag }))
    }

    /// An IIKeying, with the newest cookie or another.
    pub(super) fn initiator_keying(&mut self, draw: &mut Draw, oracle: &mut Oracle) -> Vec<u8> {
        let (far, own) = (self.victim.certificate(), self.profile.certificate());
        let Ok(initiation) = self.profile.initiate(far, None, &mut self.rng) else { return Vec::new() };
        let mut id = self.rng.next_u32() | 1;
        let mut component = draw.component(&initiation.component);
        match draw.below(8) {
            6 => id = draw.number() as u32,
            7 => {
                if let Some(former) = self.former.front() {
                    (id, component) = former.clone();
                }
            }
            _ => {}
        }
        let place = if draw.one_in(6) { draw.below(KEPT as u64) as usize } else { 0 };
        let cookie = draw.nearly(self.cookies.get(place).cloned().unwrap_or_default());
        let heard = oracle.far_certificate.clone();
        let certificate = draw.certificate(own, &[far, &heard]);
        let signed = InitiatorKeying::signed_parameters(id, &cookie, &certificate, &component);
        let role = if draw.below(12) == 11 { Role::Responder } else { Role::Initiator };
        let signature = draw.signature(oracle.sign(&self.profile, Signed::new(role, far, &[&signed])));
        keep(&mut self.pending, (id, initiation.pending));
        keep(&mut self.former, (id, component.clone()));
        let keying = InitiatorKeying {
            session_id: id,
            cookie_echo: &cookie,
            certificate: &certificate,
            component: &component,
            signature: &signature,
            signed: &signed,
        };
        self.startup(draw, 0, &Chunk::InitiatorKeying(keying))
    }

    pub(super) fn responder_hello(&mut self, draw: &mut Draw) -> Vec<u8> {
        let tag_echo = draw.nearly(self.tag.clone());
        let len = if draw.below(8) == 7 { draw.below(1_400) as usize } else { 64 };
        let cookie = draw.bytes(len);
        let certificate = draw.certificate(self.profile.certificate(), &[self.victim.certificate()]);
        let hello = ResponderHello { tag_echo: &tag_echo, cookie: &cookie, certificate: &certificate };
        self.startup(draw, 0, &Chunk::ResponderHello(hello))
    }

    /// The answer to the endpoint's IIKeying, if that was heard.
    pub(super) fn responder_keying(&mut self, draw: &mut Draw, oracle: &mut Oracle) -> Option<Vec<u8>> {
        let far = self.victim.certificate();
        let heard = self.heard.as_ref()?;
        let response = self.profile.respond(far, &heard.component, None, &mut self.rng).ok()?;
        let (tx_id, skic) = (heard.id, heard.component.clone());
        let id = if draw.below(8) == 7 { draw.number() as u32 } else { self.rng.next_u32() | 1 };
        let component = draw.component(&response.component);
        let signed = ResponderKeying::signed_parameters(id, &component);
        let role = if draw.below(12) == 11 { Role::Initiator } else { Role::Responder };
        let skic = draw.nearly(skic);
        let signature = draw.signature(oracle.sign(&self.profile, Signed::new(role, far, &[&signed, &skic])));
        let session = RawSession { keys: response.keys, rx_id: id, tx_id, mode: Mode::Responder };
        keep(&mut self.sessions, (session, false));
        let keying = ResponderKeying { session_id: id, component: &component, signature: &signature, signed: &signed };
        let to = if draw.below(16) == 15 { draw.number() as u32 } else { tx_id };
        Some(self.startup(draw, to, &Chunk::ResponderKeying(keying)))
    }

    pub(super) fn cookie_change(&mut self, draw: &mut Draw) -> Vec<u8> {
        let old = draw.nearly(self.heard.as_ref().map_or_else(Vec::new, |heard| heard.cookie.clone()));
        let len = if draw.below(8) == 7 { draw.below(1_400) as usize } else { 64 };
        let new = draw.bytes(len);
        let change = CookieChange { old_cookie: &old, new_cookie: &new };
        self.startup(draw, self.heard_id(), &Chunk::CookieChange(change))
    }

    /// A packet in one of its sessions.
    pub(super) fn session_packet(&mut self, draw: &mut Draw, chunk: &Chunk<'_>) -> Option<Vec<u8>> {
        let place = draw.below(KEPT as u64) as usize % self.sessions.len().max(1);
        let (session, used) = self.sessions.get_mut(place)?;
        self.used += usize::from(!*used);
        *used = true;
        Some(session.chunks(std::slice::from_ref(chunk)))
    }

    /// Takes what the endpoint says, and remembers it.
    pub(super) fn receive(&mut self, datagram: &[u8], oracle: &mut Oracle) {
        let Some((id, offset)) = session_id::unscramble(datagram) else { return };
        let mut bytes = datagram.get(offset..).unwrap_or_default().to_vec();
        let Ok(plain) = self.default_keys.open(&mut bytes) else { return };
        let Ok((_, chunks)) = PacketHeader::parse(bytes.get(plain).unwrap_or_default()) else { return };
        for chunk in chunks.flatten() {
            self.on_chunk(id, &chunk, oracle);
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "only the handshake is listened to")]
    fn on_chunk(&mut self, id: u32, chunk: &Chunk<'_>, oracle: &mut Oracle) {
        match chunk {
            Chunk::InitiatorHello(hello) => self.tag = hello.tag.to_vec(),
            Chunk::ResponderHello(hello) => keep(&mut self.cookies, hello.cookie.to_vec()),
            Chunk::CookieChange(change) => keep(&mut self.cookies, change.new_cookie.to_vec()),
            Chunk::InitiatorKeying(keying) => {
                oracle.asked(keying);
                self.heard = Some(Heard {
                    id: keying.session_id,
                    cookie: keying.cookie_echo.to_vec(),
                    component: keying.component.to_vec(),
                });
            }
            Chunk::ResponderKeying(keying) => {
                let Some(place) = self.pending.iter().position(|(rx_id, _)| *rx_id == id) else { return };
                let Some((rx_id, pending)) = self.pending.remove(place) else { return };
                if let Ok(keys) = pending.finish(keying.component) {
                    let session = RawSession { keys, rx_id, tx_id: keying.session_id, mode: Mode::Initiator };
                    keep(&mut self.sessions, (session, false));
                }
            }
            _ => {}
        }
    }
}
